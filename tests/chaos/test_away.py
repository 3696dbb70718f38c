"""A server is unavailable for a while: /ready says so, nothing is lost, and work continues by itself."""

import asyncio
import json
import os
import signal

from infra.servers import Servers
from tests.deployment import QUESTION, RULE, Deployment
from tests.processes import Process, until


async def test_work_continues_after_postgres_was_unavailable(own: Servers, scripted: str) -> None:
    async with Deployment.open(own, scripted) as deployment:
        deployment.serve("router", key="router")
        rest = deployment.serve("planner", "specialists", "gateway", "verifier", key="rest")
        await deployment.ready()
        before = await deployment.ask(*[QUESTION, RULE] * 10)
        await deployment.answered_so_far(5)
        await asyncio.to_thread(own.stop, "postgres")
        try:
            during = await deployment.ask(*[QUESTION, RULE] * 10)
            router = deployment.processes["router"]
            await until(lambda: router.health()[0] == 503, "the router is not ready")
            assert "the event store is unavailable" in json.loads(router.health()[1])["router"]["event_store"]
            assert router.health("health")[0] == 200, "the process is alive meanwhile"
        finally:
            await asyncio.to_thread(own.start, "postgres")
        await continues(deployment, [*before, *during], router, rest)


async def test_work_continues_after_kafka_was_unavailable(own: Servers, scripted: str) -> None:
    async with Deployment.open(own, scripted) as deployment:
        router = deployment.serve("router", key="router")
        rest = deployment.serve("planner", "specialists", "gateway", "verifier", key="rest")
        await deployment.ready()
        ids = await deployment.ask(*[QUESTION, RULE] * 20)
        await deployment.answered_so_far(5)
        [broker] = [one.pid for one in own.status() if one.name == "kafka-1"]
        os.kill(broker, signal.SIGSTOP)
        try:
            await until(lambda: router.health()[0] == 503, "the router is not ready")
            assert json.loads(router.health()[1])["router"]["consumer"].startswith("Kafka is unavailable")
            assert router.health("health")[0] == 200, "the process is alive meanwhile"
        finally:
            os.kill(broker, signal.SIGCONT)
        await continues(deployment, ids, router, rest)


async def continues(deployment: Deployment, ids: list[str], *processes: Process) -> None:
    results = await deployment.answered([*ids, *await deployment.ask(QUESTION, RULE)])
    assert {result.kind for result in results.values()} == {"hansard.results.completed.v1"}
    assert all(process.alive for process in processes)
    await deployment.ready()
    await deployment.at_rest()
    await deployment.is_whole()
    assert (await deployment.verified()).differences == []
