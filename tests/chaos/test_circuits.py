"""A provider is down while two processes of the gateway are under load; and tokens are published as they are written."""

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
from tests.deployment import Deployment
from tests.processes import until
from tests.published import Json

DOWN = 15.0  # seconds
WAVE = 20  # calls at once
KINDS = "select count(*) from messages where kind = $1"


def call(number: int) -> CallModel:
    return CallModel(
        call="bench/call/1",
        messages=(ChatMessage(role="user", content=f"What is a quorum of {number}?"),),
        deadline=datetime.now(UTC) + timedelta(seconds=60),
    )


async def provider_calls(scripted: str, script: str) -> int:
    def fetch() -> Json:
        with urllib.request.urlopen(scripted.removesuffix("/v1") + "/calls", timeout=10) as answer:
            found: Json = json.load(answer)
            return found

    calls = (await asyncio.to_thread(fetch))["calls"]
    return sum(count for name, count in calls.items() if name.startswith(script))


async def answers(deployment: Deployment, ids: list[str]) -> dict[str, Json]:
    wanted = set(ids)

    def found() -> dict[str, Json]:
        return {
            one.workflow: one.data for one in deployment.published if one.kind == ModelReplied.kind and one.workflow in wanted
        }

    await until(lambda: len(found()) == len(wanted), "every call is answered")
    return found()


async def test_a_provider_that_is_down_gets_only_probes_and_every_caller_gets_an_answer(servers: Servers, scripted: str) -> None:
    script = f"503#{uuid4().hex}"
    async with Deployment.open(
        servers, scripted, script=script, gateway={"circuits": {"cooldown": 1, "longest": 4}}
    ) as deployment:
        for instance in ("1", "2"):
            deployment.serve("gateway", instance=instance)
        await deployment.ready()
        await deployment.listen()
        end, ids = time.monotonic() + DOWN, list[str]()
        while time.monotonic() < end:
            wave = await deployment.command("gateway.commands", *(call(n) for n in range(WAVE)))
            await answers(deployment, wave)
            ids += wave
        replies = await answers(deployment, ids)
        [(probes,)] = await deployment.rows(KINDS, ProbeGranted.kind)
        [(openings,)] = await deployment.rows(KINDS, CircuitOpened.kind)
        received = await provider_calls(scripted, script)
        print(f"{len(ids)} calls in {DOWN:g} s, {received} reached the provider, {probes} of them probes, {openings} openings")
        falls = Counter(fall["reason"] for reply in replies.values() for fall in reply["falls"])
        assert {reply["tier"] for reply in replies.values()} == {"rules"}
        assert len(ids) > 10 * WAVE
        assert 2 <= probes <= 8  # at 1, 3, 7, 11, 15 seconds, …
        assert received - probes <= 3 * WAVE  # calls made before its circuit opened, and their retries
        assert falls["circuit-open"] >= len(ids) - received
        counted = json.loads(await deployment.hansard("stats", "--json"))["gateway"]
        assert (counted["calls"], counted["tiers"], counted["primary_success_rate"]) == (len(ids), {"rules": 1.0}, 0.0)
        assert (counted["probes"], counted["circuits_opened"]) == ({"scripted": probes}, {"scripted": openings - probes})
        assert [one for one in (await deployment.verified()).differences if one.stream.workflow.startswith("endpoint.")] == []


async def test_tokens_are_published_before_the_answer_is_stored(servers: Servers, scripted: str) -> None:
    async with Deployment.open(servers, scripted, HANSARD_STREAM_TOKENS="true") as deployment:
        deployment.serve("gateway")
        await deployment.ready()
        await deployment.listen()
        name = deployment.settings.topic_prefix + "tokens"
        consumer = AIOKafkaConsumer(name, bootstrap_servers=deployment.settings.kafka, auto_offset_reset="earliest")
        await consumer.start()
        try:
            [id_] = await deployment.command("gateway.commands", call(1))
            answer = (await answers(deployment, [id_]))[id_]
            text = ""
            async with asyncio.timeout(60):
                while text != answer["text"]:
                    record = await consumer.getone()
                    headers = dict(record.headers)
                    assert (headers["ce_type"].decode(), record.key.decode()) == (TokensStreamed.kind, id_)
                    text += json.loads(record.value)["text"]
        finally:
            await consumer.stop()
        assert await deployment.rows(KINDS, TokensStreamed.kind) == [(0,)]
