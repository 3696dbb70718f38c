"""Connections and slots of an endpoint."""

import asyncio
from typing import Any

import pytest

from services.gateway.performer.openai_client import open_clients
from tests.edge.test_gateway_openai_client import asks, at, attempting, failed, now, replied, server, tiers, transport, until
from tests.scripted import Scripted

__all__ = ["server", "transport"]


async def test_connections_are_kept_and_shared(server: Scripted, transport: Any) -> None:
    table = tiers(at(server, "ok"))
    async with open_clients(table, {}, now) as make_attempt:
        for _ in range(20):
            replied(await make_attempt(*attempting(table, asks())))
    assert (server.calls["ok"], server.connections) == (20, 1)


async def test_the_concurrency_of_an_endpoint_is_limited_and_delays_no_other_endpoint(server: Scripted) -> None:
    table = tiers(at(server, "ok@200ms", concurrency=2), at(server, "ok", name="second"))
    slow, fast = attempting(table, asks()), attempting(tiers(table.endpoints[1]), asks())
    async with open_clients(table, {}, now) as make_attempt:
        waiting = [asyncio.create_task(make_attempt(*slow)) for _ in range(6)]
        replied(await make_attempt(*fast))
        assert not any(task.done() for task in waiting)
        for task in waiting:
            replied(await task)
    assert server.peak <= 3
    assert server.calls["ok@200ms"] == 6


async def test_no_attempt_waits_for_a_slot_beyond_its_deadline(server: Scripted) -> None:
    table = tiers(at(server, "timeout", concurrency=1, timeout=0.3))
    async with open_clients(table, {}, now) as make_attempt:
        returned = await asyncio.gather(*(make_attempt(*attempting(table, asks())) for _ in range(3)))
    assert {failed(one).fall.detail for one in returned} == {"no answer in time", "no slot was free in time"}
    assert server.calls["timeout"] == 1


async def test_a_cancelled_attempt_releases_its_connection(server: Scripted, transport: Any) -> None:
    table = tiers(at(server, "timeout", timeout=60))
    async with open_clients(table, {}, now) as make_attempt:
        task = asyncio.create_task(make_attempt(*attempting(table, asks(seconds=60))))
        async with asyncio.timeout(5):
            await until(lambda: server.now == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until(lambda: not server.open)
