"""After an unclean end the records of that batch are tried with care, and none is dead for its neighbours."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

import pytest

from contracts.router import RequestRouted
from shared.eventstore.memory import InMemoryEventStore
from shared.eventstore.model import Appended, History, Stream, StreamAppend
from shared.kafka.record import Record
from shared.runtime.crash_guard import CrashGuard
from shared.runtime.inbound import Inbound, Intake
from shared.runtime.loop import Loop
from tests.unit.loop_kit import Publisher, parsed
from tests.unit.toy import parser, processor, request

T = TypeVar("T")

RECORDS = [Record("requests", 0, offset, 0, None, b"{}") for offset in range(4)]
CRASHES = 2  # the offset at which the process ends


class EndOfProcess(BaseException): ...


async def run(store: InMemoryEventStore) -> dict[int, int]:
    """One run of the process after an unclean end: which offsets it tried alone, and how often each was tried so before."""
    guard = CrashGuard(store, "router", depth=500)
    alone: dict[int, int] = {}
    for group in await guard.count_and_group(RECORDS):
        before = await guard.crashes(group)
        if len(group) == 1:
            alone[group[0].offset] = before
        if before < 3:
            try:
                async with guard.watch(group):
                    if any(record.offset == CRASHES for record in group):
                        raise EndOfProcess
            except EndOfProcess:
                break
        guard.passed(group)
    return alone


async def test_the_first_time_all_records_are_processed_together() -> None:
    assert await run(InMemoryEventStore()) == {}


async def test_the_record_that_ends_the_process_is_found_and_the_record_after_it_is_not_counted_with_it() -> None:
    store = InMemoryEventStore()
    runs = [await run(store) for _ in range(5)]
    assert runs[:4] == [{}, {0: 0, 1: 0, 2: 0}, {0: 0, 1: 0, 2: 1}, {0: 0, 1: 0, 2: 2}]
    assert (runs[4][CRASHES], runs[4][3]) == (3, 0)


async def test_after_a_clean_end_nothing_is_counted() -> None:
    batches: list[int] = []
    done: list[Mapping[tuple[str, int], int]] = []

    async def process(inbounds: Sequence[Inbound]) -> None:
        batches.append(len(inbounds))

    await Intake(parser, process, done.append).receive(RECORDS)
    assert batches == [4]
    assert done == [{("requests", 0): 4}]


class HangingStore(InMemoryEventStore):
    """Answers all but loads and appends: somebody holds a lock on the messages."""

    def __init__(self, hanging: str) -> None:
        super().__init__()
        self.hanging = hanging
        self.asked = asyncio.Event()

    async def load(self, streams: Sequence[Stream]) -> dict[Stream, History]:
        return await self._ask("load", lambda: InMemoryEventStore.load(self, streams))

    async def append(self, appends: Sequence[StreamAppend]) -> Appended:
        return await self._ask("append", lambda: InMemoryEventStore.append(self, appends))

    async def _ask(self, what: str, answer: Callable[[], Awaitable[T]]) -> T:
        while self.hanging == what:
            self.asked.set()
            await asyncio.sleep(0.001)
        return await answer()


@pytest.mark.parametrize("hanging", ["load", "append"])
async def test_a_request_is_not_blamed_for_ends_of_the_process_while_it_waited_for_the_store(hanging: str) -> None:
    store = HangingStore("")
    await Loop(processor, store, Publisher(store)).process(parsed(request("before", id="r0")))
    store.hanging = hanging

    async def run_until_it_is_killed() -> None:
        guard = CrashGuard(store, "router", depth=500)
        loop = Loop(processor, store, Publisher(store), crash_guard=guard)
        await Intake(parser, loop.process, lambda _: None, guard, crash_attempts=2).receive([request()])

    for _ in range(6):
        store.asked.clear()
        process = asyncio.create_task(run_until_it_is_killed())
        await store.asked.wait()
        process.cancel()
        await asyncio.gather(process, return_exceptions=True)

    store.hanging = ""
    await run_until_it_is_killed()
    stream = Stream("default", "w1", "router")
    assert [stored.kind for stored in (await store.load([stream]))[stream].messages] == [RequestRouted.kind] * 2
