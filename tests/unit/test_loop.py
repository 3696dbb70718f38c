"""The loop stores first and publishes then: rules 1 to 5 and 10 of the record, on the in-memory store."""

import asyncio
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from contracts.gateway import AttemptStarted, CallAccepted, CallCancelled, CallModel, CancelCall, ChatMessage, ReplyDiscarded
from hansard.decider import Context, Decider, WakeUp
from hansard.message import Message
from hansard.service import Service
from services.gateway.facts import AttemptReturned
from shared.backoff import Backoff
from shared.eventstore.memory import InMemoryEventStore
from shared.eventstore.model import Appended, StoredMessage, StoreRefused, StoreUnavailable, Stream, StreamAppend
from shared.kafka.record import Record
from shared.runtime.inbound import Inbound, InboundParser, outcome_message
from shared.runtime.loop import Loop
from shared.runtime.performer import AttemptRunner
from shared.runtime.processor import Processor
from tests.unit.toy import NOON, parser, processor, request, service, topics

STREAM = Stream("default", "w1", "router")


@dataclass
class Publisher:
    """Keeps what is published, once, and checks that it was stored by then."""

    store: InMemoryEventStore
    messages: list[StoredMessage] = field(default_factory=list)

    async def publish(self, messages: Sequence[StoredMessage]) -> None:
        on_record = await self.store.find_messages([stored.id for stored in messages])
        assert all(stored.id in on_record for stored in messages), "published before it was stored"
        self.messages.extend(stored for stored in messages if stored.id not in {known.id for known in self.messages})

    def acknowledged_version(self, stream: Stream) -> int:
        return 0

    def marked_published(self, stream: Stream, version: int) -> None: ...


class Unsteady(InMemoryEventStore):
    """Is unavailable `before` times before the commit and `after` times after it; refuses whatever contains `refuses`."""

    before = after = 0
    refuses = ""

    async def append(self, appends: Sequence[StreamAppend]) -> Appended:
        if self.before:
            self.before -= 1
            raise StoreUnavailable("gone")
        refused = [
            append
            for append in appends
            if self.refuses and any(self.refuses.encode() in stored.data for stored in append.messages)
        ]
        if refused and len(appends) == 1:
            raise StoreRefused(f"cannot hold {self.refuses} hateful")
        appended = await super().append([append for append in appends if append not in refused])
        if self.after:
            self.after -= 1
            raise StoreUnavailable("gone after the commit")
        return appended


def parsed(*records: Record) -> list[Inbound]:
    return [inbound for inbound in map(parser.parse, records) if inbound is not None]


@pytest.fixture
def store() -> Unsteady:
    return Unsteady(lambda: NOON)


@pytest.fixture
def publisher(store: Unsteady) -> Publisher:
    return Publisher(store)


@pytest.fixture
def loop(store: Unsteady, publisher: Publisher) -> Loop:
    return Loop(processor, store, publisher, backoff=Backoff(0.001, 0.001))


def reasonings(messages: Iterable[StoredMessage]) -> list[str]:
    return [json.loads(stored.data).get("reasoning") or json.loads(stored.data)["reason"] for stored in messages]


async def test_a_message_is_stored_and_then_published(loop: Loop, store: Unsteady, publisher: Publisher) -> None:
    await loop.process(parsed(request("hello")))
    assert reasonings(publisher.messages) == ["hello 0 12:00"]
    assert publisher.messages[0].at is not None


async def test_a_redelivery_publishes_nothing_new(loop: Loop, publisher: Publisher) -> None:
    await loop.process(parsed(request("hello")))
    await loop.process(parsed(request("hello", offset=1)))
    assert len({stored.id for stored in publisher.messages}) == 1


async def test_a_redelivery_to_another_process_publishes_what_was_left_unpublished(loop: Loop, store: Unsteady) -> None:
    await loop.process(parsed(request("hello")))
    later = Publisher(store)
    await Loop(processor, store, later).process(parsed(request("hello", offset=1)))
    assert reasonings(later.messages) == ["hello 0 12:00"]


async def test_while_the_store_is_unavailable_the_loop_waits_and_loses_nothing(
    loop: Loop, store: Unsteady, publisher: Publisher
) -> None:
    store.before = 5
    await loop.process(parsed(request("hello")))
    assert (reasonings(publisher.messages), loop.healthy) == (["hello 0 12:00"], True)


async def test_a_commit_of_unknown_outcome_is_not_decided_twice(loop: Loop, store: Unsteady) -> None:
    store.after = 1
    await loop.process(parsed(request("hello")))
    assert len(await store.inbox_entries(STREAM)) == 1


async def test_a_commit_of_unknown_outcome_is_still_published(loop: Loop, store: Unsteady, publisher: Publisher) -> None:
    store.after = 1
    await loop.process(parsed(request("hello")))
    assert reasonings(publisher.messages) == ["hello 0 12:00"]


async def test_a_process_whose_cache_is_stale_reloads_and_decides_again(
    loop: Loop, store: Unsteady, publisher: Publisher
) -> None:
    await loop.process(parsed(request("a", id="1")))
    await Loop(processor, store, Publisher(store)).process(parsed(request("b", id="2")))
    await loop.process(parsed(request("c", id="3")))
    assert reasonings((await store.load_workflow("default", "w1"))[STREAM].messages) == ["a 0 12:00", "b 1 12:00", "c 2 12:00"]


async def test_after_a_rebalance_during_a_batch_its_streams_are_loaded_again(
    loop: Loop, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    await loop.process(parsed(request("a", id="1")))
    publish, left = publisher.publish, [None]

    async def interrupted(messages: Sequence[StoredMessage]) -> None:
        await publish(messages)
        if left:
            left.pop()
            loop.drop_cache()

    monkeypatch.setattr(publisher, "publish", interrupted)
    await loop.process(parsed(request("b", id="2"), request("c", id="3", workflow="w2")))
    assert sorted(reasonings(publisher.messages)) == ["a 0 12:00", "b 1 12:00", "c 0 12:00"]


async def test_one_stale_stream_does_not_stop_the_others_of_its_batch(loop: Loop, store: Unsteady) -> None:
    await loop.process(parsed(request("a", id="1")))
    await Loop(processor, store, Publisher(store)).process(parsed(request("b", id="2")))
    await loop.process(parsed(request("c", id="3"), request("x", id="4", workflow="w2")))
    assert reasonings((await store.load_workflow("default", "w2"))[STREAM._replace(workflow="w2")].messages) == ["x 0 12:00"]


async def test_only_what_the_store_can_never_hold_becomes_a_dead_letter(
    loop: Loop, store: Unsteady, publisher: Publisher
) -> None:
    store.refuses = '"reasoning":"hateful'
    await loop.process(
        parsed(request("a", id="1"), request("hateful", id="2"), request("c", id="3"), request("d", id="4", workflow="w2"))
    )
    assert sorted(reasonings(publisher.messages)) == ["a 0 12:00", "c 2 12:00", "d 0 12:00", "refused-by-store"]


async def test_even_a_dead_letter_that_the_store_refuses_blocks_nobody(loop: Loop, store: Unsteady, publisher: Publisher) -> None:
    store.refuses = "hateful"
    await loop.process(parsed(request("hateful", id="1"), request("good", id="2")))
    assert sorted(reasonings(publisher.messages)) == ["good 1 12:00", "refused-by-store"]


async def test_a_poisoned_message_does_not_block_its_neighbours(loop: Loop, publisher: Publisher) -> None:
    await loop.process(parsed(request("poison", id="1"), request("good", id="2"), request("good", id="3", workflow="w2")))
    assert sorted(reasonings(publisher.messages)) == ["good 0 12:00", "good 1 12:00", "poison"]


async def test_an_entry_without_messages_makes_a_stale_append_fail_too(loop: Loop, store: Unsteady) -> None:
    await loop.process(parsed(request("silence", id="1")))
    await Loop(processor, store, Publisher(store)).process(parsed(request("silence", id="2")))
    await loop.process(parsed(request("silence", id="3")))
    assert [entry.sequence for entry in await store.inbox_entries(STREAM)] == [1, 2, 3]


async def test_what_arrives_while_a_batch_is_processed_is_one_batch(
    loop: Loop, store: Unsteady, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    append = store.append

    async def counted(appends: Sequence[StreamAppend]) -> Appended:
        sizes.append(len(appends))
        await asyncio.sleep(0.01)
        return await append(appends)

    monkeypatch.setattr(store, "append", counted)
    await asyncio.gather(*(loop.process(parsed(request(workflow=f"w{n}"))) for n in range(10)))
    assert sizes == [1, 9]


async def test_a_service_observes_the_messages_that_were_stored(store: Unsteady, publisher: Publisher) -> None:
    observed: list[Message] = []
    observing = Processor(replace(service, observe=observed.extend), topics, max_message_bytes=4000)
    store.refuses = "hateful"
    await Loop(observing, store, publisher).process(parsed(request("hello", id="1"), request("hateful", id="2")))
    assert [message.kind for message in observed] == [stored.kind for stored in publisher.messages]
    assert len(observed) == 2, "the answer to one, the dead letter of the other"


# A small performer's stream


@dataclass(frozen=True)
class Call:
    ready: datetime | None = None
    attempt: int = 0
    over: bool = False


CALL = CallModel(call="t/1", messages=(ChatMessage(role="user", content="?"),), deadline=NOON)


def decide(call: Call, message: Message, context: Context) -> Iterable[Message]:
    match message:
        case CallModel() if call == Call() and not context.may_perform:
            yield CallAccepted(request=message, at=context.at)
        case CallModel() | WakeUp() if not call.over:
            yield AttemptStarted(
                attempt=call.attempt + 1, safety="safe", key="k", deadline=context.at + timedelta(seconds=30), call="t/1",
                tier="one", provider="", model="", endpoint="",
            )  # fmt: skip
        case AttemptReturned(attempt=attempt) if not call.over and attempt == call.attempt:
            yield CallCancelled(call="t/1")
        case AttemptReturned(attempt=attempt):
            yield ReplyDiscarded(call="t/1", attempt=attempt, because="superseded", cost=0)
        case _:
            return


def evolve(call: Call, message: Message) -> Call:
    match message:
        case CallAccepted():
            return replace(call, ready=NOON)
        case AttemptStarted(attempt=attempt, deadline=deadline):
            return replace(call, ready=deadline, attempt=attempt)
        case CallCancelled():
            return replace(call, ready=None, over=True)
    return call


gateway = Service(
    "gateway",
    Decider(Call(), decide, evolve, wake_at=lambda call: call.ready),
    receives={CallModel: lambda m: m.call, CancelCall: lambda m: m.call},
)
CALLS = Stream("default", "w1", "gateway/t/1")


def call_message() -> list[Inbound]:
    record = request(id="6a0f5f0e-5f5a-5b1e-9d5e-000000000001", ce_type=CallModel.kind, body=CALL.model_dump_json().encode())
    found = InboundParser(gateway, topics, 2000).parse(record._replace(topic="gateway.commands"))
    assert found is not None
    return [found]


def cancel_message() -> list[Inbound]:
    body = CancelCall(call="t/1").model_dump_json().encode()
    record = request(id="6a0f5f0e-5f5a-5b1e-9d5e-000000000002", ce_type=CancelCall.kind, body=body)
    found = InboundParser(gateway, topics, 2000).parse(record._replace(topic="gateway.commands"))
    assert found is not None
    return [found]


async def until(true: Any) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.001)


async def kinds(store: InMemoryEventStore) -> list[str]:
    return [stored.kind.split(".")[2] for stored in (await store.load([CALLS]))[CALLS].messages]


def performing(store: InMemoryEventStore, perform: Any, limit: int = 2) -> tuple[Loop, AttemptRunner]:
    loop = Loop(Processor(gateway, topics, 9000), store, Publisher(store), process_name="mine")
    loop.attempt_runner = AttemptRunner(perform, limit, loop.process)
    return loop, loop.attempt_runner


def two_processes(store: InMemoryEventStore) -> tuple[Loop, Loop]:
    """Of one service, on one store. They make no attempts."""
    (one, _), (other, _) = performing(store, None), performing(store, None)
    one.attempt_runner = other.attempt_runner = None
    return one, other


async def test_an_intent_is_stored_before_its_attempt_starts(store: Unsteady) -> None:
    seen: list[list[str]] = []

    async def perform(state: Call, intent: AttemptStarted, stream: Stream) -> AttemptReturned:
        seen.append(await kinds(store))
        return AttemptReturned(call="t/1", attempt=intent.attempt)

    loop, runner = performing(store, perform)
    await loop.process(call_message())
    await until(lambda: runner.free_slots == 2)
    assert seen == [["attempt-started"]]
    assert await kinds(store) == ["attempt-started", "call-cancelled"]


async def test_without_a_free_slot_the_call_waits_in_the_store(store: Unsteady) -> None:
    loop, _ = performing(store, None, limit=0)
    await loop.process(call_message())
    claimed, _ = await store.claim_wake_ups("gateway", 10, 15)
    assert [claim.stream for claim in claimed] == [CALLS]


async def test_no_more_attempts_run_at_once_than_there_are_slots(store: Unsteady) -> None:
    async def slow(state: Call, intent: AttemptStarted, stream: Stream) -> AttemptReturned:
        await asyncio.Event().wait()
        raise AssertionError

    loop, runner = performing(store, slow, limit=2)
    (first,) = call_message()
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
    await loop.process(call_message())
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
    store: Unsteady, with_message: bool, after_claim: bool
) -> None:
    """What is claimed is leased: were its wake-up dropped, no process would claim it until the lease ends."""
    late = outcome_message(CALLS, AttemptReturned(call="t/1", attempt=7))
    loop, other = two_processes(store)
    await loop.process(call_message())
    claimed = (await store.claim_wake_ups("gateway", 10, 15))[0] if after_claim else []
    await other.process([late] if with_message else cancel_message())
    await loop.process_wake_ups(claimed or (await store.claim_wake_ups("gateway", 10, 15))[0])
    assert await kinds(store) == ["call-accepted", *["reply-discarded"] * with_message, "attempt-started"]


async def test_a_stream_that_another_process_woke_gets_its_next_wake_up() -> None:
    """The other process's wake-up had the number that this one, by its stale cache, would give to its own."""
    at = [datetime.now(UTC)]
    store = InMemoryEventStore(lambda: at[0])
    loop, other = two_processes(store)
    await loop.process(call_message())
    await other.process_wake_ups((await store.claim_wake_ups("gateway", 10, 15))[0])
    at[0] += timedelta(minutes=1)
    await loop.process_wake_ups((await store.claim_wake_ups("gateway", 10, 15))[0])
    assert await kinds(store) == ["call-accepted", "attempt-started", "attempt-started"]


async def test_a_stream_of_a_silent_process_gets_its_wake_up_though_it_processed_a_message_meanwhile() -> None:
    at = [datetime.now(UTC)]
    store = InMemoryEventStore(lambda: at[0])
    loop, other = two_processes(store)
    await loop.process(call_message())
    await loop.process_wake_ups((await store.claim_wake_ups("gateway", 10, 15))[0])
    at[0] += timedelta(minutes=1)
    claimed, _ = await store.claim_wake_ups("gateway", 10, 15)
    await other.process(cancel_message())
    await loop.process_wake_ups(claimed)
    assert await kinds(store) == ["call-accepted", "attempt-started", "attempt-started"]


async def test_a_stream_that_answers_its_wake_up_with_nothing_gets_no_other(store: Unsteady) -> None:
    loop, _ = performing(store, None, limit=0)
    loop.attempt_runner = None
    await loop.process(call_message())
    claimed, _ = await store.claim_wake_ups("gateway", 10, 15)
    await loop.process_wake_ups(claimed)
    await loop.process([outcome_message(CALLS, AttemptReturned(call="t/1", attempt=1))])
    async with asyncio.timeout(10):
        await loop.process_wake_ups(claimed)
    assert await kinds(store) == ["call-accepted", "attempt-started", "call-cancelled"]


async def test_what_another_process_did_meanwhile_is_not_done_again(store: Unsteady) -> None:
    loop, other = two_processes(store)
    await loop.process(call_message())
    claimed, _ = await store.claim_wake_ups("gateway", 10, 15)
    await other.process_wake_ups(claimed)
    await loop.process_wake_ups(claimed)
    assert await kinds(store) == ["call-accepted", "attempt-started"]


async def test_an_outcome_of_an_older_attempt_is_recorded_and_never_wins() -> None:
    at = [datetime.now(UTC)]
    store = InMemoryEventStore(lambda: at[0])
    loop, _ = performing(store, None, limit=0)
    loop.attempt_runner = None
    await loop.process(call_message())
    for _ in range(2):
        at[0] += timedelta(minutes=1)
        claimed, _ = await store.claim_wake_ups("gateway", 10, 15)
        await loop.process_wake_ups(claimed)
    await loop.process([outcome_message(CALLS, AttemptReturned(call="t/1", attempt=1))])
    assert await kinds(store) == ["call-accepted", "attempt-started", "attempt-started", "reply-discarded"]
