"""The loop of a performer's service: it stores an intent before the attempt, and each wake-up is processed once."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from contracts.gateway import AttemptStarted
from services.gateway.facts import AttemptReturned
from shared.eventstore.memory import InMemoryEventStore
from shared.eventstore.model import Stream
from shared.runtime.inbound import outcome_message
from tests.unit.loop_kit import CALLS, Call, call_message, cancel_message, kinds, performing, two_processes, until
from tests.unit.toy import NOON


@pytest.fixture
def store() -> InMemoryEventStore:
    return InMemoryEventStore(lambda: NOON)


async def test_an_intent_is_stored_before_its_attempt_starts(store: InMemoryEventStore) -> None:
    seen: list[list[str]] = []

    async def perform(state: Call, intent: AttemptStarted, stream: Stream) -> AttemptReturned:
        seen.append(await kinds(store))
        return AttemptReturned(call="t/1", attempt=intent.attempt)

    loop, runner = performing(store, perform)
    await loop.process(call_message(store))
    await until(lambda: runner.free_slots == 2)
    assert seen == [["attempt-started"]]
    assert await kinds(store) == ["attempt-started", "call-cancelled"]


async def test_without_a_free_slot_the_call_waits_in_the_store(store: InMemoryEventStore) -> None:
    loop, _ = performing(store, None, limit=0)
    await loop.process(call_message(store))
    claimed, _ = await store.claim_wake_ups("gateway", 10, 15)
    assert [claim.stream for claim in claimed] == [CALLS]


async def test_no_more_attempts_run_at_once_than_there_are_slots(store: InMemoryEventStore) -> None:
    async def slow(state: Call, intent: AttemptStarted, stream: Stream) -> AttemptReturned:
        await asyncio.Event().wait()
        raise AssertionError

    loop, runner = performing(store, slow, limit=2)
    (first,) = call_message(store)
    streams = [CALLS._replace(workflow=f"w{n}") for n in range(5)]
    await loop.process([replace(first, stream=stream, causation_id=uuid4()) for stream in streams])
    assert runner.free_slots == 0
    assert len((await store.claim_wake_ups("gateway", 10, 15))[0]) == 3


async def test_an_attempt_of_a_silent_process_is_taken_over_long_before_its_deadline() -> None:
    at = [datetime.now(UTC)]
    store = InMemoryEventStore(lambda: at[0])
    for process in ("mine", "other"):
        await store.process_started("gateway", process, process, True)

    async def silent(state: Call, intent: AttemptStarted, stream: Stream) -> AttemptReturned:
        await asyncio.Event().wait()
        raise AssertionError

    loop, _ = performing(store, silent)
    await loop.process(call_message(store))
    at[0] += timedelta(seconds=6)
    assert (await store.claim_wake_ups("gateway", 10, 15))[0] == []
    await store.heartbeat("gateway", "other", await store.heartbeat("gateway", "other", {}))
    other, _ = performing(store, silent)
    claimed, _ = await store.claim_wake_ups("gateway", 10, 15)
    await other.process_wake_ups(claimed)
    assert await kinds(store) == ["attempt-started", "attempt-started"]


@pytest.mark.parametrize("with_message", [False, True], ids=["entry alone", "entry and message"])
@pytest.mark.parametrize("after_claim", [False, True], ids=["before the claim", "after it"])
async def test_a_stream_to_which_another_process_appended_gets_its_wake_up_all_the_same(
    store: InMemoryEventStore, with_message: bool, after_claim: bool
) -> None:
    """What is claimed is leased: were its wake-up dropped, no process would claim it until the lease ends."""
    late = outcome_message(CALLS, AttemptReturned(call="t/1", attempt=7))
    loop, other = two_processes(store)
    await loop.process(call_message(store))
    claimed = (await store.claim_wake_ups("gateway", 10, 15))[0] if after_claim else []
    await other.process([late] if with_message else cancel_message(store))
    await loop.process_wake_ups(claimed or (await store.claim_wake_ups("gateway", 10, 15))[0])
    assert await kinds(store) == ["call-accepted", *["reply-discarded"] * with_message, "attempt-started"]


async def test_a_stream_that_another_process_woke_gets_its_next_wake_up() -> None:
    """The other process's wake-up had the number that this one, by its stale cache, would give to its own."""
    at = [datetime.now(UTC)]
    store = InMemoryEventStore(lambda: at[0])
    loop, other = two_processes(store)
    await loop.process(call_message(store))
    await other.process_wake_ups((await store.claim_wake_ups("gateway", 10, 15))[0])
    at[0] += timedelta(minutes=1)
    await loop.process_wake_ups((await store.claim_wake_ups("gateway", 10, 15))[0])
    assert await kinds(store) == ["call-accepted", "attempt-started", "attempt-started"]


async def test_a_stream_of_a_silent_process_gets_its_wake_up_though_it_processed_a_message_meanwhile() -> None:
    at = [datetime.now(UTC)]
    store = InMemoryEventStore(lambda: at[0])
    loop, other = two_processes(store)
    await loop.process(call_message(store))
    await loop.process_wake_ups((await store.claim_wake_ups("gateway", 10, 15))[0])
    at[0] += timedelta(minutes=1)
    claimed, _ = await store.claim_wake_ups("gateway", 10, 15)
    await other.process(cancel_message(store))
    await loop.process_wake_ups(claimed)
    assert await kinds(store) == ["call-accepted", "attempt-started", "attempt-started"]


async def test_a_stream_that_answers_its_wake_up_with_nothing_gets_no_other(store: InMemoryEventStore) -> None:
    loop, _ = performing(store, None, limit=0)
    loop.attempt_runner = None
    await loop.process(call_message(store))
    claimed, _ = await store.claim_wake_ups("gateway", 10, 15)
    await loop.process_wake_ups(claimed)
    await loop.process([outcome_message(CALLS, AttemptReturned(call="t/1", attempt=1))])
    async with asyncio.timeout(10):
        await loop.process_wake_ups(claimed)
    assert await kinds(store) == ["call-accepted", "attempt-started", "call-cancelled"]


async def test_what_another_process_did_meanwhile_is_not_done_again(store: InMemoryEventStore) -> None:
    loop, other = two_processes(store)
    await loop.process(call_message(store))
    claimed, _ = await store.claim_wake_ups("gateway", 10, 15)
    await other.process_wake_ups(claimed)
    await loop.process_wake_ups(claimed)
    assert await kinds(store) == ["call-accepted", "attempt-started"]


async def test_an_outcome_of_an_older_attempt_is_recorded_and_never_wins() -> None:
    at = [datetime.now(UTC)]
    store = InMemoryEventStore(lambda: at[0])
    loop, _ = performing(store, None, limit=0)
    loop.attempt_runner = None
    await loop.process(call_message(store))
    for _ in range(2):
        at[0] += timedelta(minutes=1)
        claimed, _ = await store.claim_wake_ups("gateway", 10, 15)
        await loop.process_wake_ups(claimed)
    await loop.process([outcome_message(CALLS, AttemptReturned(call="t/1", attempt=1))])
    assert await kinds(store) == ["call-accepted", "attempt-started", "attempt-started", "reply-discarded"]
