"""A service stops whenever it is told to: no task of it goes on because its cancellation met something else."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import pytest
from aiokafka import TopicPartition

from shared import tasks
from shared.kafka import health
from shared.kafka.health import HealthCheck
from shared.kafka.offsets import Offsets
from shared.runtime.outbox import Outbox
from shared.runtime.wake_ups import WakeUps
from tests.unit.toy import NOON

STEPS = 60  # of the event loop, at each of which it is cancelled once
PARTITIONS = [TopicPartition("events", number) for number in range(4)]


class Brokers:
    """Answers at once. It is everything that the tasks below ask."""

    healthy, in_flight = True, 0

    def __init__(self) -> None:
        self.claim_now, self.next_claim_at = asyncio.Event(), None

    async def position(self, _: TopicPartition) -> int:
        return 7

    def last_poll_timestamp(self, _: TopicPartition) -> float:
        return time.time() * 1000

    def partitions_for_topic(self, _: str) -> set[int]:
        return {0}

    async def check(self, *_: object) -> None:
        pass

    async def unpublished(self, *_: object) -> list[Any]:
        return []

    async def mark_published(self, _: object) -> None:
        pass

    async def claim_wake_ups(self, *_: object) -> tuple[list[Any], float]:
        return [], 10.0

    async def process_wake_ups(self, _: object) -> None:
        pass

    def now(self) -> datetime:
        return NOON

    def take_acknowledged(self) -> list[Any]:
        return []


def health_check(brokers: Any) -> tuple[Coroutine[Any, Any, None], Callable[[], None]]:
    offsets, assigned = Offsets(), asyncio.Event()
    offsets.assign(PARTITIONS)
    assigned.set()
    return HealthCheck("router", ["events"], offsets, brokers, assigned, lambda: brokers).run(), lambda: None


def wake_ups(brokers: Any) -> tuple[Coroutine[Any, Any, None], Callable[[], None]]:
    return WakeUps("router", brokers, brokers, lease=5).run(), brokers.claim_now.set


def publishing(brokers: Any) -> tuple[Coroutine[Any, Any, None], Callable[[], None]]:
    outbox = Outbox(brokers, "router", brokers)
    return outbox.keep_publishing(10, 5), outbox.failed


@asynccontextmanager
async def again_and_again(call: Callable[[], None]) -> AsyncIterator[None]:
    async def calling() -> None:
        while True:
            call()
            await asyncio.sleep(0)

    task = asyncio.create_task(calling())
    yield
    task.cancel()


async def steps(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize("part", [health_check, wake_ups, publishing])
async def test_a_task_ends_at_whichever_step_it_is_cancelled(part: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "CHECK_EVERY", 0)
    monkeypatch.setattr(tasks, "AGAIN", 0.01)
    went_on = []
    for at in range(STEPS):
        work, happens = part(Brokers())
        task = asyncio.create_task(work)
        async with again_and_again(happens):
            await steps(at)
            task.cancel()
            await steps(20)
        if not task.done():
            went_on.append(at)
            await tasks.end([task])
    assert went_on == []


def deaf(times: int, seen: list[str]) -> Callable[[], Awaitable[None]]:
    async def work() -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                seen.append("cancelled")
                if len(seen) > times:
                    raise

    return work


async def test_a_task_that_swallows_its_cancellation_is_cancelled_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tasks, "AGAIN", 0.001)
    seen: list[str] = []
    task = asyncio.ensure_future(deaf(2, seen)())
    await steps(1)
    await tasks.end([task])
    assert task.cancelled() and len(seen) == 3
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2


async def test_what_an_ended_task_raised_is_nobodys_trouble() -> None:
    async def failing() -> None:
        raise ValueError

    await tasks.end([asyncio.create_task(failing()), asyncio.create_task(asyncio.sleep(0))])
    await tasks.end([])
