"""A provider that is down while two processes of the gateway are under load; and an answer that is watched."""

import asyncio
import json
import time
import urllib.request
from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from aiokafka import AIOKafkaConsumer

from contracts.gateway import CallModel, ChatMessage, CircuitOpened, ModelReplied, ProbeGranted, TokensStreamed
from infra.servers import Servers
from tests.house import House, Json, until

DOWN = 15.0  # seconds
WAVE = 20  # calls at once
KINDS = "select count(*) from messages where kind = $1"


def call(number: int) -> Json:
    return CallModel(
        call="bench/call/1",
        messages=(ChatMessage(role="user", content=f"What is a quorum of {number}?"),),
        deadline=datetime.now(UTC) + timedelta(seconds=60),
    ).model_dump(mode="json")


async def provider_calls(scripted: str, script: str) -> int:
    def fetch() -> Json:
        with urllib.request.urlopen(scripted.removesuffix("/v1") + "/calls", timeout=10) as answer:
            found: Json = json.load(answer)
            return found

    calls = (await asyncio.to_thread(fetch))["calls"]
    return sum(count for name, count in calls.items() if name.startswith(script))


async def answers(house: House, ids: list[str]) -> dict[str, Json]:
    wanted = set(ids)

    def found() -> dict[str, Json]:
        return {one.workflow: one.data for one in house.processed if one.kind == ModelReplied.kind and one.workflow in wanted}

    await until(lambda: len(found()) == len(wanted), "every call is answered")
    return found()


async def test_a_provider_that_is_down_gets_probes_only_and_every_caller_an_answer(servers: Servers, scripted: str) -> None:
    script = f"503#{uuid4().hex}"
    async with House.open(servers, scripted, script=script, gateway={"circuits": {"cooldown": 1, "longest": 4}}) as house:
        for instance in ("1", "2"):
            house.serve("gateway", instance=instance)
        await house.ready()
        await house.listen()
        end, ids = time.monotonic() + DOWN, list[str]()
        while time.monotonic() < end:
            wave = await house.ask(
                *(call(n) for n in range(WAVE)),
                ids=[str(uuid4()) for _ in range(WAVE)],
                topic="gateway.commands",
                kind=CallModel.kind,
            )
            await answers(house, wave)
            ids += wave
        told = await answers(house, ids)
        [(probes,)] = await house.rows(KINDS, ProbeGranted.kind)
        [(openings,)] = await house.rows(KINDS, CircuitOpened.kind)
        received = await provider_calls(scripted, script)
        print(f"{len(ids)} calls in {DOWN:g} s, {received} reached the provider, {probes} of them probes, {openings} openings")
        falls = Counter(fall["reason"] for one in told.values() for fall in one["falls"])
        assert {one["tier"] for one in told.values()} == {"rules"}
        assert len(ids) > 10 * WAVE
        assert 2 <= probes <= 8  # at 1, 3, 7, 11, 15 seconds, …
        assert received - probes <= 3 * WAVE  # what was on its way when it went down, and the retries of that
        assert falls["circuit-open"] >= len(ids) - received
        counted = json.loads(await house.hansard("stats", "--json"))["gateway"]
        assert (counted["calls"], counted["tiers"], counted["primary_success_rate"]) == (len(ids), {"rules": 1.0}, 0.0)
        assert (counted["probes"], counted["circuits_opened"]) == ({"scripted": probes}, {"scripted": openings - probes})
        assert [it for it in (await house.verified()).differences if it.stream.workflow.startswith("endpoint.")] == []


async def test_who_watches_sees_an_answer_before_it_is_on_the_record(servers: Servers, scripted: str) -> None:
    async with House.open(servers, scripted, HANSARD_STREAM_TOKENS="true") as house:
        house.serve("gateway")
        await house.ready()
        await house.listen()
        name = house.settings.topic_prefix + "tokens"
        consumer = AIOKafkaConsumer(name, bootstrap_servers=house.settings.kafka, auto_offset_reset="earliest")
        await consumer.start()
        try:
            [id_] = await house.ask(call(1), ids=[str(uuid4())], topic="gateway.commands", kind=CallModel.kind)
            answer = (await answers(house, [id_]))[id_]
            text = ""
            async with asyncio.timeout(60):
                while text != answer["text"]:
                    record = await consumer.getone()
                    headers = dict(record.headers)
                    assert (headers["ce_type"].decode(), record.key.decode()) == (TokensStreamed.kind, id_)
                    text += json.loads(record.value)["text"]
        finally:
            await consumer.stop()
        assert await house.rows(KINDS, TokensStreamed.kind) == [(0,)]
