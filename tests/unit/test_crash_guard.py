"""After an unclean end what was being heard is heard with care; its neighbours are not to suffer."""

from shared.eventstore.memory import InMemoryEventStore
from shared.kafka.record import Record
from shared.runtime.crash_guard import CrashGuard

RECORDS = [Record("requests", 0, offset, 0, None, b"{}") for offset in range(4)]
CRASHES = 2  # the offset at which the process ends


async def run(store: InMemoryEventStore) -> dict[int, int]:
    """One life of the process after an unclean end: what it heard alone, and how often that was tried before."""
    suspects = CrashGuard(store, "router", depth=500, attempts=3)
    alone: dict[int, int] = {}
    for group in await suspects.sort(RECORDS):
        before = await suspects.before(group)
        if len(group) == 1:
            alone[group[0].offset] = before
        if before >= 3:
            continue
        if any(record.offset == CRASHES for record in group):
            break
    return alone


async def test_the_first_time_all_are_heard_together() -> None:
    assert await run(InMemoryEventStore()) == {}


async def test_what_ends_the_process_is_found_alone_and_nothing_is_held_against_what_follows_it() -> None:
    store = InMemoryEventStore()
    lives = [await run(store) for _ in range(5)]
    assert lives[:4] == [{}, {0: 0, 1: 0, 2: 0}, {0: 1, 1: 1, 2: 1}, {0: 2, 1: 2, 2: 2}]
    assert (lives[4][CRASHES], lives[4][3]) == (3, 0)


async def test_after_a_clean_end_nothing_is_counted() -> None:
    store = InMemoryEventStore()
    suspects = CrashGuard.none(store, "router")
    assert [len(group) for group in await suspects.sort(RECORDS)] == [4]
    assert await suspects.before(RECORDS) == 0
