"""A service runner starts and stops, wherever it is stopped."""

import asyncio
from dataclasses import replace
from typing import Any

from hansard.service import Service
from shared.eventstore.memory import InMemoryEventStore
from shared.runtime.assembly import ServiceRunner
from shared.settings import Settings
from tests.unit.toy import service


async def test_a_service_that_is_stopped_while_it_starts_stops_without_an_error() -> None:
    preparing = asyncio.Event()

    async def prepare(store: Any) -> Service[Any]:
        preparing.set()
        await asyncio.Event().wait()
        raise AssertionError

    runner = ServiceRunner(replace(service, prepare=prepare), Settings(), InMemoryEventStore())
    start = asyncio.create_task(runner.start())
    await preparing.wait()
    start.cancel()
    await asyncio.gather(start, return_exceptions=True)
    await runner.stop(1)
    assert runner.health == {"startup": "not finished"}
