"""A server is away for a while: health says so, nothing is lost, and all goes on by itself."""

import asyncio
import json
import os
import signal

from infra.servers import Servers
from tests.house import QUESTION, RULE, House, Process, until


async def test_postgres_is_away_for_a_while(own: Servers, scripted: str) -> None:
    async with House.open(own, scripted) as house:
        house.serve("router", key="router")
        rest = house.serve("planner", "specialists", "gateway", "verifier", key="rest")
        await house.ready()
        before = await house.ask(*[QUESTION, RULE] * 10)
        await house.answered_so_far(5)
        await asyncio.to_thread(own.stop, "postgres")
        try:
            during = await house.ask(*[QUESTION, RULE] * 10)
            router = house.processes["router"]
            await until(lambda: router.health()[0] == 503, "the router says that it is not ready")
            assert "the event store is unavailable" in json.loads(router.health()[1])["router"]["event_store"]
            assert router.health("health")[0] == 200, "it is alive all the same"
        finally:
            await asyncio.to_thread(own.start, "postgres")
        await goes_on(house, [*before, *during], router, rest)


async def test_kafka_is_away_for_a_while(own: Servers, scripted: str) -> None:
    async with House.open(own, scripted) as house:
        router = house.serve("router", key="router")
        rest = house.serve("planner", "specialists", "gateway", "verifier", key="rest")
        await house.ready()
        ids = await house.ask(*[QUESTION, RULE] * 20)
        await house.answered_so_far(5)
        [broker] = [one.pid for one in own.status() if one.name == "kafka-1"]
        os.kill(broker, signal.SIGSTOP)
        try:
            await until(lambda: router.health()[0] == 503, "the router says that it is not ready")
            assert json.loads(router.health()[1])["router"]["consumer"] == "Kafka is unavailable"
            assert router.health("health")[0] == 200, "it is alive all the same"
        finally:
            os.kill(broker, signal.SIGCONT)
        await goes_on(house, ids, router, rest)


async def goes_on(house: House, ids: list[str], *processes: Process) -> None:
    results = await house.answered([*ids, *await house.ask(QUESTION, RULE)])
    assert {result.kind for result in results.values()} == {"hansard.results.completed.v1"}
    assert all(process.alive for process in processes)
    await house.ready()
    await house.at_rest()
    await house.is_whole()
    assert (await house.verified()).differences == []
