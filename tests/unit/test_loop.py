"""Record, then speak: rules 1 to 5 and 10 of the record, on the in-memory store."""

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
from services.gateway.facts import AttemptReturned
from shared.backoff import Backoff
from shared.eventstore.memory import InMemoryEventStore
from shared.eventstore.model import Appended, StoredMessage, StoreRefused, StoreUnavailable, Stream, StreamAppend
from shared.kafka.record import Record
from shared.runtime.inbound import Inbound, InboundParser, outcome_message
from shared.runtime.loop import Loop
from shared.runtime.performer import AttemptRunner
from shared.runtime.processor import Processor
from shared.service import Service
from tests.unit.toy import NOON, parser, processor, request, topics

STREAM = Stream("default", "w1", "router")


@dataclass
class Publisher:
    """Notes what is said, once, and that it was on the record by then."""

    store: InMemoryEventStore
    messages: list[StoredMessage] = field(default_factory=list)

    async def publish(self, stored: Sequence[StoredMessage]) -> None:
        on_record = await self.store.find_messages([event.id for event in stored])
        assert all(event.id in on_record for event in stored), "spoken before it was recorded"
        self.messages.extend(event for event in stored if event.id not in {known.id for known in self.messages})

    def mark(self, stream: Stream) -> int:
        return 0

    def noted(self, stream: Stream, mark: int) -> None: ...


class Unsteady(InMemoryEventStore):
    """Fails as it is told: before the commit, or after it, when nobody learns of it."""

    before = after = 0
    hates = ""

    async def append(self, appends: Sequence[StreamAppend]) -> Appended:
        if self.before:
            self.before -= 1
            raise StoreUnavailable("gone")
        hated = [
            append for append in appends if self.hates and any(self.hates.encode() in stored.data for stored in append.messages)
        ]
        if hated and len(appends) == 1:
            raise StoreRefused(f"cannot hold {self.hates} hateful")
        appended = await super().append([append for append in appends if append not in hated])
        if self.after:
            self.after -= 1
            raise StoreUnavailable("gone after the commit")
        return appended


def heard(*records: Record) -> list[Inbound]:
    return [it for it in map(parser.parse, records) if it is not None]


@pytest.fixture
def store() -> Unsteady:
    return Unsteady(lambda: NOON)


@pytest.fixture
def voice(store: Unsteady) -> Publisher:
    return Publisher(store)


@pytest.fixture
def loop(store: Unsteady, voice: Publisher) -> Loop:
    return Loop(processor, store, voice, backoff=Backoff(0.001, 0.001))


def words(stored: Iterable[StoredMessage]) -> list[str]:
    return [json.loads(event.data).get("reasoning") or json.loads(event.data)["reason"] for event in stored]


async def test_what_is_heard_is_recorded_then_spoken(loop: Loop, store: Unsteady, voice: Publisher) -> None:
    await loop.process(heard(request("hello")))
    assert words(voice.messages) == ["hello 0 12:00"]
    assert voice.messages[0].at is not None


async def test_a_redelivery_says_nothing_new(loop: Loop, voice: Publisher) -> None:
    await loop.process(heard(request("hello")))
    await loop.process(heard(request("hello", offset=1)))
    assert len({event.id for event in voice.messages}) == 1


async def test_a_redelivery_to_another_process_publishes_what_was_left_unpublished(loop: Loop, store: Unsteady) -> None:
    await loop.process(heard(request("hello")))
    later = Publisher(store)
    await Loop(processor, store, later).process(heard(request("hello", offset=1)))
    assert words(later.messages) == ["hello 0 12:00"]


async def test_while_the_store_is_away_it_waits_and_loses_nothing(loop: Loop, store: Unsteady, voice: Publisher) -> None:
    store.before = 5
    await loop.process(heard(request("hello")))
    assert (words(voice.messages), loop.healthy) == (["hello 0 12:00"], True)


async def test_a_commit_of_unknown_outcome_is_not_decided_twice(loop: Loop, store: Unsteady) -> None:
    store.after = 1
    await loop.process(heard(request("hello")))
    assert len(await store.inbox_entries(STREAM)) == 1


async def test_a_commit_of_unknown_outcome_is_still_spoken(loop: Loop, store: Unsteady, voice: Publisher) -> None:
    store.after = 1
    await loop.process(heard(request("hello")))
    assert words(voice.messages) == ["hello 0 12:00"]


async def test_a_process_whose_cache_is_stale_reloads_and_decides_again(loop: Loop, store: Unsteady, voice: Publisher) -> None:
    await loop.process(heard(request("a", id="1")))
    await Loop(processor, store, Publisher(store)).process(heard(request("b", id="2")))
    await loop.process(heard(request("c", id="3")))
    assert words((await store.load_workflow("default", "w1"))[STREAM].messages) == ["a 0 12:00", "b 1 12:00", "c 2 12:00"]


async def test_a_rebalance_in_the_middle_of_a_batch_only_has_it_loaded_again(
    loop: Loop, voice: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    await loop.process(heard(request("a", id="1")))
    say, left = voice.publish, [None]

    async def interrupted(stored: Sequence[StoredMessage]) -> None:
        await say(stored)
        if left:
            left.pop()
            loop.forget()

    monkeypatch.setattr(voice, "publish", interrupted)
    await loop.process(heard(request("b", id="2"), request("c", id="3", workflow="w2")))
    assert sorted(words(voice.messages)) == ["a 0 12:00", "b 1 12:00", "c 0 12:00"]


async def test_one_stale_stream_does_not_stop_the_others_of_its_batch(loop: Loop, store: Unsteady) -> None:
    await loop.process(heard(request("a", id="1")))
    await Loop(processor, store, Publisher(store)).process(heard(request("b", id="2")))
    await loop.process(heard(request("c", id="3"), request("x", id="4", workflow="w2")))
    assert words((await store.load_workflow("default", "w2"))[STREAM._replace(workflow="w2")].messages) == ["x 0 12:00"]


async def test_what_the_store_can_never_hold_is_a_dead_letter_and_only_that(
    loop: Loop, store: Unsteady, voice: Publisher
) -> None:
    store.hates = '"reasoning":"hateful'
    await loop.process(
        heard(request("a", id="1"), request("hateful", id="2"), request("c", id="3"), request("d", id="4", workflow="w2"))
    )
    assert sorted(words(voice.messages)) == ["a 0 12:00", "c 2 12:00", "d 0 12:00", "refused-by-store"]


async def test_even_a_dead_letter_that_the_store_refuses_blocks_nobody(loop: Loop, store: Unsteady, voice: Publisher) -> None:
    store.hates = "hateful"
    await loop.process(heard(request("hateful", id="1"), request("good", id="2")))
    assert sorted(words(voice.messages)) == ["good 1 12:00", "refused-by-store"]


async def test_a_poisoned_message_does_not_block_its_neighbours(loop: Loop, voice: Publisher) -> None:
    await loop.process(heard(request("poison", id="1"), request("good", id="2"), request("good", id="3", workflow="w2")))
    assert sorted(words(voice.messages)) == ["good 0 12:00", "good 1 12:00", "poison"]


async def test_a_silent_hearing_refuses_a_stale_neighbour_too(loop: Loop, store: Unsteady) -> None:
    await loop.process(heard(request("silence", id="1")))
    await Loop(processor, store, Publisher(store)).process(heard(request("silence", id="2")))
    await loop.process(heard(request("silence", id="3")))
    assert [entry.sequence for entry in await store.inbox_entries(STREAM)] == [1, 2, 3]


async def test_what_is_brought_meanwhile_is_one_batch(loop: Loop, store: Unsteady, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    append = store.append

    async def counted(appends: Sequence[StreamAppend]) -> Appended:
        sizes.append(len(appends))
        await asyncio.sleep(0.01)
        return await append(appends)

    monkeypatch.setattr(store, "append", counted)
    await asyncio.gather(*(loop.process(heard(request(workflow=f"w{n}"))) for n in range(10)))
    assert sizes == [1, 9]


# A performer's stream, small enough to see through


@dataclass(frozen=True)
class Call:
    ready: datetime | None = None
    attempt: int = 0
    over: bool = False


CALL = CallModel(call="t/1", messages=(ChatMessage(role="user", content="?"),), deadline=NOON)


def performs(call: Call, it: Message, context: Context) -> Iterable[Message]:
    match it:
        case CallModel() if call == Call() and not context.may_perform:
            yield CallAccepted(request=it, at=context.at)
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


def performed(call: Call, stored: Message) -> Call:
    match stored:
        case CallAccepted():
            return replace(call, ready=NOON)
        case AttemptStarted(attempt=attempt, deadline=deadline):
            return replace(call, ready=deadline, attempt=attempt)
        case CallCancelled():
            return replace(call, ready=None, over=True)
    return call


gateway = Service(
    "gateway",
    Decider(Call(), performs, performed, wake_at=lambda call: call.ready),
    receives={CallModel: lambda m: m.call, CancelCall: lambda m: m.call},
)
CALLS = Stream("default", "w1", "gateway/t/1")


def call_heard() -> list[Inbound]:
    record = request(id="6a0f5f0e-5f5a-5b1e-9d5e-000000000001", ce_type=CallModel.kind, body=CALL.model_dump_json().encode())
    found = InboundParser(gateway, topics, 2000).parse(record._replace(topic="gateway.commands"))
    assert found is not None
    return [found]


def cancel_heard() -> list[Inbound]:
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


def hands(store: InMemoryEventStore, perform: Any, limit: int = 2) -> tuple[Loop, AttemptRunner]:
    loop = Loop(Processor(gateway, topics, 9000), store, Publisher(store), holder="mine")
    loop.attempts = AttemptRunner(perform, limit, loop.process)
    return loop, loop.attempts


def two_processes(store: InMemoryEventStore) -> tuple[Loop, Loop]:
    """Of one service on one store. They perform nothing."""
    (one, _), (other, _) = hands(store, None), hands(store, None)
    one.attempts = other.attempts = None
    return one, other


async def test_an_intent_is_on_the_record_before_anything_is_performed(store: Unsteady) -> None:
    seen: list[list[str]] = []

    async def perform(state: Call, intent: AttemptStarted, stream: Stream) -> AttemptReturned:
        seen.append(await kinds(store))
        return AttemptReturned(call="t/1", attempt=intent.attempt)

    loop, mine = hands(store, perform)
    await loop.process(call_heard())
    await until(lambda: mine.free == 2)
    assert seen == [["attempt-started"]]
    assert await kinds(store) == ["attempt-started", "call-cancelled"]


async def test_without_a_free_slot_the_call_waits_in_the_store(store: Unsteady) -> None:
    loop, _ = hands(store, None, limit=0)
    await loop.process(call_heard())
    due_wake_ups, _ = await store.claim_wake_ups("gateway", 10, 15)
    assert [due_.stream for due_ in due_wake_ups] == [CALLS]


async def test_no_more_attempts_are_made_at_once_than_there_are_slots(store: Unsteady) -> None:
    async def slow(state: Call, intent: AttemptStarted, stream: Stream) -> AttemptReturned:
        await asyncio.Event().wait()
        raise AssertionError

    loop, mine = hands(store, slow, limit=2)
    (first,) = call_heard()
    streams = [CALLS._replace(workflow=f"w{n}") for n in range(5)]
    await loop.process([replace(first, stream=stream, causation_id=uuid4()) for stream in streams])
    assert mine.free == 0
    assert len((await store.claim_wake_ups("gateway", 10, 15))[0]) == 3


async def test_an_attempt_whose_process_fell_silent_is_taken_over_long_before_its_deadline() -> None:
    at = [datetime.now(UTC)]
    store = InMemoryEventStore(lambda: at[0])
    for process in ("mine", "other"):
        await store.process_started("gateway", process, process, True)

    async def silent(state: Call, intent: AttemptStarted, stream: Stream) -> AttemptReturned:
        await asyncio.Event().wait()
        raise AssertionError

    loop, _ = hands(store, silent)
    await loop.process(call_heard())
    at[0] += timedelta(seconds=6)
    assert (await store.claim_wake_ups("gateway", 10, 15))[0] == []
    await store.heartbeat("gateway", "other", await store.heartbeat("gateway", "other", {}))
    other, _ = hands(store, silent)
    due_wake_ups, _ = await store.claim_wake_ups("gateway", 10, 15)
    await other.wake(due_wake_ups)
    assert await kinds(store) == ["attempt-started", "attempt-started"]


@pytest.mark.parametrize("aloud", [False, True], ids=["silent", "aloud"])
@pytest.mark.parametrize("claimed", [False, True], ids=["before the claim", "after it"])
async def test_whom_another_process_overtook_is_woken_all_the_same(store: Unsteady, aloud: bool, claimed: bool) -> None:
    """What is claimed is leased: were its waking dropped, nobody would look at it until the lease ends."""
    late = outcome_message(CALLS, AttemptReturned(call="t/1", attempt=7))
    loop, other = two_processes(store)
    await loop.process(call_heard())
    due_wake_ups = (await store.claim_wake_ups("gateway", 10, 15))[0] if claimed else []
    await other.process([late] if aloud else cancel_heard())
    await loop.wake(due_wake_ups or (await store.claim_wake_ups("gateway", 10, 15))[0])
    assert await kinds(store) == ["call-accepted", *["reply-discarded"] * aloud, "attempt-started"]


async def test_who_was_woken_by_another_process_before_is_woken_again_when_due() -> None:
    """The other's waking had the number that this one's memory would give to its own."""
    at = [datetime.now(UTC)]
    store = InMemoryEventStore(lambda: at[0])
    loop, other = two_processes(store)
    await loop.process(call_heard())
    await other.wake((await store.claim_wake_ups("gateway", 10, 15))[0])
    at[0] += timedelta(minutes=1)
    await loop.wake((await store.claim_wake_ups("gateway", 10, 15))[0])
    assert await kinds(store) == ["call-accepted", "attempt-started", "attempt-started"]


async def test_whose_process_fell_silent_is_woken_though_something_was_heard_meanwhile() -> None:
    at = [datetime.now(UTC)]
    store = InMemoryEventStore(lambda: at[0])
    loop, other = two_processes(store)
    await loop.process(call_heard())
    await loop.wake((await store.claim_wake_ups("gateway", 10, 15))[0])
    at[0] += timedelta(minutes=1)
    due_wake_ups, _ = await store.claim_wake_ups("gateway", 10, 15)
    await other.process(cancel_heard())
    await loop.wake(due_wake_ups)
    assert await kinds(store) == ["call-accepted", "attempt-started", "attempt-started"]


async def test_who_is_woken_and_has_nothing_to_say_is_left_alone(store: Unsteady) -> None:
    loop, _ = hands(store, None, limit=0)
    loop.attempts = None
    await loop.process(call_heard())
    due_wake_ups, _ = await store.claim_wake_ups("gateway", 10, 15)
    await loop.wake(due_wake_ups)
    await loop.process([outcome_message(CALLS, AttemptReturned(call="t/1", attempt=1))])
    async with asyncio.timeout(10):
        await loop.wake(due_wake_ups)
    assert await kinds(store) == ["call-accepted", "attempt-started", "call-cancelled"]


async def test_what_another_process_did_in_the_meantime_is_not_done_again(store: Unsteady) -> None:
    loop, other = two_processes(store)
    await loop.process(call_heard())
    due_wake_ups, _ = await store.claim_wake_ups("gateway", 10, 15)
    await other.wake(due_wake_ups)
    await loop.wake(due_wake_ups)
    assert await kinds(store) == ["call-accepted", "attempt-started"]


async def test_a_zombies_answer_is_recorded_and_never_wins() -> None:
    at = [datetime.now(UTC)]
    store = InMemoryEventStore(lambda: at[0])
    loop, _ = hands(store, None, limit=0)
    loop.attempts = None
    await loop.process(call_heard())
    for _ in range(2):
        at[0] += timedelta(minutes=1)
        due_wake_ups, _ = await store.claim_wake_ups("gateway", 10, 15)
        await loop.wake(due_wake_ups)
    await loop.process([outcome_message(CALLS, AttemptReturned(call="t/1", attempt=1))])
    assert await kinds(store) == ["call-accepted", "attempt-started", "attempt-started", "reply-discarded"]
