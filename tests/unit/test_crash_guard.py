"""After an unclean end the records of that batch are tried with care, and none is dead for its neighbours."""

from collections.abc import Mapping, Sequence

from shared.eventstore.memory import InMemoryEventStore
from shared.kafka.record import Record
from shared.runtime.crash_guard import CrashGuard
from shared.runtime.inbound import Inbound, Intake
from tests.unit.toy import parser

RECORDS = [Record("requests", 0, offset, 0, None, b"{}") for offset in range(4)]
CRASHES = 2  # the offset at which the process ends


async def run(store: InMemoryEventStore) -> dict[int, int]:
    """One run of the process after an unclean end: which offsets it tried alone, and how often each was tried so before."""
    guard = CrashGuard(store, "router", depth=500)
    alone: dict[int, int] = {}
    for group in await guard.count_and_group(RECORDS):
        before = await guard.count_attempt(group)
        if len(group) == 1:
            alone[group[0].offset] = before
        if before >= 3:
            continue
        if any(record.offset == CRASHES for record in group):
            break
    return alone


async def test_the_first_time_all_records_are_processed_together() -> None:
    assert await run(InMemoryEventStore()) == {}


async def test_the_record_that_ends_the_process_is_found_and_the_record_after_it_is_not_counted_with_it() -> None:
    store = InMemoryEventStore()
    runs = [await run(store) for _ in range(5)]
    assert runs[:4] == [{}, {0: 0, 1: 0, 2: 0}, {0: 1, 1: 1, 2: 1}, {0: 2, 1: 2, 2: 2}]
    assert (runs[4][CRASHES], runs[4][3]) == (3, 0)


async def test_after_a_clean_end_nothing_is_counted() -> None:
    batches: list[int] = []
    done: list[Mapping[tuple[str, int], int]] = []

    async def process(inbounds: Sequence[Inbound]) -> None:
        batches.append(len(inbounds))

    await Intake(parser, process, done.append).receive(RECORDS)
    assert batches == [4]
    assert done == [{("requests", 0): 4}]
