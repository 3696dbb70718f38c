"""The audit on a record in memory: what holds is found to hold, and what was changed is found."""

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid4

import pytest

from contracts.gateway import AttemptStarted, CallAccepted, CallModel, ChatMessage
from contracts.requests import SubmitRequest
from hansard.decider import Context, Decider
from hansard.envelope import Envelope, headers
from hansard.identity import outcome_causation_id
from hansard.message import Message
from infra.audit import projections, rebuild, replay, show
from infra.audit.policies import Policies
from infra.audit.verify import Difference, differences, in_parts, verify, verify_all, workflows
from infra.audit.words import Minutes
from services.gateway.app import build
from shared.eventstore.memory import InMemoryEventStore
from shared.eventstore.model import History, InboxEntry, ListedWorkflow, StoredMessage, Stream
from shared.eventstore.ports import EventStore
from shared.kafka.record import Record
from shared.policy import StoredPolicy, version_of
from shared.runtime.assembly import store_policy
from shared.runtime.inbound import Inbound, wake_up
from shared.runtime.processor import Processor
from shared.service import Service
from shared.settings import Settings
from tests.unit.toy import NOON, Count, parser, processor, request, routed, service, topics

S = TypeVar("S", bound=EventStore)
STREAM = Stream("default", "w1", "router")


async def recorded(*records: Record) -> InMemoryEventStore:
    """What the toy says to these, on the record, one append each."""
    return await record(InMemoryEventStore(lambda: NOON), *records)


async def record(store: S, *records: Record) -> S:
    """The same, in a store of one's choice."""
    for record in records:
        entry = parser.parse(record)
        assert entry is not None
        history = (await store.load([entry.stream]))[entry.stream]
        work = processor.begin(entry.stream, processor.fold(history), store.now())
        processor.process(work, entry)
        assert entry.stream in (await store.append([work])).accepted
    return store


def with_decide(decide: Any, **more: Any) -> Service[Count]:
    return replace(service, decider=replace(service.decider, decide=decide, **more))


async def audited(store: InMemoryEventStore, today: Service[Any] = service) -> list[Difference]:
    return (await verify(store, {"router": today}, topics, "default", "w1")).differences


async def test_a_record_that_nobody_touched_holds() -> None:
    store = await recorded(request("a"), request("b", id="r2", offset=1), request("silence", id="r3", offset=2))
    report = await verify(store, {"router": service}, topics, "default", "w1")
    assert (report.differences, report.decided, report.streams, report.strangers) == ([], 3, 1, [])


async def test_another_text_today_is_a_difference_with_both_texts() -> None:
    def shouting(count: Count, entry: Message, context: Context) -> Iterable[Message]:
        for said in service.decider.decide(count, entry, context):
            yield said.model_copy(update={"reasoning": "LOUD"})

    (difference,) = await audited(await recorded(request("hello")), with_decide(shouting))
    assert "hello" in difference.recorded and "LOUD" in difference.today and difference.sequence == 1


async def test_silence_where_something_was_said_is_a_difference() -> None:
    (difference,) = await audited(await recorded(request("hello")), with_decide(lambda *_: ()))
    assert difference.today == "(silence)"


async def test_something_said_where_there_was_silence_is_a_difference() -> None:
    def chatty(count: Count, entry: Message, context: Context) -> Iterable[Message]:
        return service.decider.decide(count, entry.model_copy(update={"text": "again"}), context)

    (difference,) = await audited(await recorded(request("silence")), with_decide(chatty))
    assert difference.recorded == "(silence)"


@pytest.mark.parametrize(("slot", "kind"), [(True, AttemptStarted.kind), (False, CallAccepted.kind)])
async def test_whether_a_slot_was_free_is_told_by_what_was_said(slot: bool, kind: str) -> None:
    gateway, store = build(Settings(model_url="http://127.0.0.1:1/v1")), InMemoryEventStore(lambda: NOON)
    call = CallModel(call="a/1", messages=(ChatMessage(role="user", content="?"),), deadline=NOON + timedelta(days=1))
    there, stream = Processor(gateway, topics, max_message_bytes=4000), Stream("default", "w1", "gateway/a/1")
    work = there.begin(stream, there.new_stream(), NOON)
    entry = Inbound(stream, uuid4(), CallModel.kind, b"\0" * 32, message=call)
    there.process(work, entry, may_perform=slot)
    assert (await store.append([work])).accepted
    history = (await store.load([stream]))[stream]
    assert [one.kind for one in history.messages] == [kind]
    assert differences(gateway, history, await store.inbox_entries(stream), {entry.causation_id: entry}, topics) == []


def ending_with(mark: str) -> Service[Count]:
    """The toy under a policy: its words end with a mark."""

    def made(version: str, data: dict[str, str]) -> Decider[Count]:
        def decide(count: Count, entry: Message, context: Context) -> Iterable[Message]:
            for said in service.decider.decide(count, entry, context):
                yield said.model_copy(update={"reasoning": said.reasoning + data["mark"]})  # type: ignore[attr-defined]

        return replace(service.decider, decide=decide, policy=version)

    data = {"mark": mark}
    return replace(service, decider=made(version_of("1", {**data}), data), stored_policy=StoredPolicy({**data}, made))


CALM, LOUD = ending_with("."), ending_with("!")


async def of_two_policies(*, keep: bool = True) -> InMemoryEventStore:
    """Three hearings of one stream, under a policy, another, and the first again."""
    store = InMemoryEventStore(lambda: NOON)
    for n, today in enumerate((CALM, LOUD, CALM)):
        if keep:
            await store_policy(store, today)
        entry = parser.parse(request("hello", id=f"r{n}", offset=n))
        assert entry is not None
        there = Processor(today, topics, max_message_bytes=4000)
        work = there.begin(STREAM, there.fold((await store.load([STREAM]))[STREAM]), NOON)
        there.process(work, entry)
        assert (await store.append([work])).accepted
    return store


async def test_the_policy_of_then_decides() -> None:
    store = await of_two_policies()
    for today in (CALM, LOUD, ending_with("?")):
        assert await audited(store, today) == []


async def test_a_policy_that_is_not_on_the_record_is_found_and_todays_own_holds_without() -> None:
    store = await of_two_policies(keep=False)
    (difference,) = await audited(store, CALM)
    assert difference.sequence == 2
    assert f"policy {LOUD.decider.policy!r} is not here any more" in difference.what
    assert "not on the record" in difference.what
    assert [one.sequence for one in await audited(store, LOUD)] == [1, 3]
    (difference,) = await audited(await recorded(request("hello")), with_decide(lambda *_: (), policy="2"))
    assert "policy '1' is not here any more: it was code alone" in difference.what


async def test_what_was_forged_behind_a_policy_is_found_be_it_todays_own() -> None:
    store = await of_two_policies()
    store._policies["router", LOUD.decider.policy] = b'{"mark": "."}'
    for today in (CALM, LOUD):
        (difference,) = await audited(store, today)
        assert difference.sequence == 2 and "not what it is named after" in difference.what


async def test_a_policy_that_this_code_cannot_read_is_said_to_be_so() -> None:
    def unwilling(version: str, data: Any) -> Decider[Count]:
        raise KeyError("tone")

    basis = ending_with("?").stored_policy
    assert basis is not None
    today = replace(ending_with("?"), stored_policy=replace(basis, decider=unwilling))
    found = await audited(await of_two_policies(), today)
    assert len(found) == 3 and all("this code cannot decide by policy" in one.what and "tone" in one.what for one in found)


async def test_a_policy_is_read_and_made_once_for_all_workflows() -> None:
    store, asked = await of_two_policies(), []
    policies, read_ = Policies(store), store.load_policies

    async def counted(versions: Any) -> Any:
        asked.append(versions)
        return await read_(versions)

    store.load_policies = counted  # type: ignore[method-assign]
    for _ in range(3):
        assert not (await verify(store, {"router": LOUD}, topics, "default", "w1", policies)).differences
    assert len(asked) == 1


async def test_a_hearing_is_decided_from_the_fold_up_to_it() -> None:
    store = await recorded(*(request("same", id=f"r{n}", offset=n) for n in range(5)))
    assert await audited(store) == []
    forgetful = replace(service, decider=replace(service.decider, evolve=lambda count, _: count))
    assert [one.sequence for one in await audited(store, forgetful)] == [2, 3, 4, 5]


async def test_the_time_of_a_hearing_is_the_recorded_one() -> None:
    store = await recorded(request("hello"))
    entries = await store.inbox_entries(STREAM)
    late = [replace(entries[0], at=NOON + timedelta(hours=1))]
    history, entry = await read(store)
    difference, another = differences(service, history, late, entry)
    assert "another time" in another.what
    assert "12:00" in difference.recorded and "13:00" in difference.today


async def read(store: InMemoryEventStore) -> tuple[History, dict[UUID, Inbound]]:
    history = (await store.load([STREAM]))[STREAM]
    entry = {}
    for door in (await store.door_messages("default", "w1")).values():
        place = (door.topic, door.partition, door.offset, int(door.at.timestamp() * 1000))
        again = parser.parse(Record(*place, door.key, door.body, door.headers))
        if again is not None and again.message is not None:
            entry[again.causation_id] = again
    return history, entry


async def spoilt(change: Any) -> list[Difference]:
    """What is found in a record of three hearings after `change(said, hearings)`."""
    store = await recorded(*(request(text, id=text, offset=n) for n, text in enumerate("abc")))
    history, entry = await read(store)
    entries = await store.inbox_entries(STREAM)
    change(history.messages, entries)
    return differences(service, history, entries, entry)


async def test_a_text_that_was_changed_is_found_by_its_hash() -> None:
    def forge(said: list[StoredMessage], _: list[InboxEntry]) -> None:
        said[1] = replace(said[1], data=said[1].data.replace(b"b 1", b"x 1"))

    (difference,) = await spoilt(forge)
    assert "hash" in difference.what


async def test_a_text_and_its_hash_changed_together_are_found_by_deciding_again() -> None:
    def forge(said: list[StoredMessage], _: list[InboxEntry]) -> None:
        data = said[1].data.replace(b"b 1", b"x 1")
        said[1] = replace(said[1], data=data, hash=hashlib.sha256(data).digest())

    (difference,) = await spoilt(forge)
    assert "another text" in difference.what and difference.sequence == 2


async def test_an_id_that_does_not_follow_from_its_cause_is_found() -> None:
    def forge(said: list[StoredMessage], _: list[InboxEntry]) -> None:
        said[0] = replace(said[0], id=uuid4())

    (difference,) = await spoilt(forge)
    assert "id" in difference.what and difference.sequence == 1


async def test_an_event_under_another_cause_is_found() -> None:
    def forge(said: list[StoredMessage], _: list[InboxEntry]) -> None:
        said[2] = replace(said[2], causation_id=said[0].causation_id)

    (difference,) = await spoilt(forge)
    assert "cause" in difference.what


@pytest.mark.parametrize("gone", [0, 1, 2])
async def test_an_event_that_is_missing_is_found(gone: int) -> None:
    assert await spoilt(lambda said, _: said.pop(gone))


@pytest.mark.parametrize("gone", [0, 1, 2])
async def test_a_hearing_that_is_missing_is_found(gone: int) -> None:
    assert await spoilt(lambda _, entries: entries.pop(gone))


def later(*, seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


async def test_a_time_that_goes_back_from_hearing_to_hearing_is_found() -> None:
    def forge(said: list[StoredMessage], entries: list[InboxEntry]) -> None:
        entries[0], said[0] = replace(entries[0], at=later(seconds=1)), replace(said[0], at=later(seconds=1))

    (difference,) = await spoilt(forge)
    assert "an earlier time than the hearing before it" in difference.what and difference.sequence == 2
    assert ("12:00:00" in difference.recorded, "12:00:01" in difference.today) == (True, True)


async def test_a_message_that_does_not_bear_the_time_of_its_hearing_is_found() -> None:
    def forge(said: list[StoredMessage], _: list[InboxEntry]) -> None:
        said[2] = replace(said[2], at=later(seconds=1))

    (difference,) = await spoilt(forge)
    assert "version 3 bears another time than the hearing it stands in" in difference.what and difference.sequence == 3


async def test_what_was_recorded_before_what_it_heard_is_found_from_stream_to_stream() -> None:
    store = await recorded(request("a"))
    history, _ = await read(store)
    (asked,) = history.messages
    entry = InboxEntry(asked.id, 1, 0, asked.kind, NOON, asked.hash, "code", "1")
    also = STREAM._replace(name="elsewhere")
    store._versions[also], store._entries[also] = (1, 0), [entry]
    assert await audited(store) == []
    store._entries[also] = [replace(entry, at=later(seconds=-1))]
    (difference,) = await audited(store)
    assert (difference.stream, difference.sequence) == (also, 1)
    assert "an earlier time than what was heard" in difference.what


async def test_times_that_only_go_on_hold() -> None:
    assert await spoilt(lambda said, entries: postpone(said, entries, from_=1)) == []


def postpone(said: list[StoredMessage], entries: list[InboxEntry], *, from_: int) -> None:
    entries[from_:] = [replace(one, at=later(seconds=n)) for n, one in enumerate(entries[from_:], 1)]
    said[from_:] = [replace(one, at=later(seconds=n)) for n, one in enumerate(said[from_:], 1)]


async def test_what_was_heard_and_is_not_on_the_record_is_found() -> None:
    store = await recorded(request("hello"))
    history, _ = await read(store)
    (difference,) = differences(service, history, await store.inbox_entries(STREAM), {})
    assert "not on the record" in difference.what


async def test_a_dead_hearing_is_expected_to_have_said_so() -> None:
    store = await recorded(request("poison"))
    assert await audited(store) == []
    history, entry = await read(store)
    entries = [replace(one, dead=True) for one in await store.inbox_entries(STREAM)]
    alive = await recorded(request("hello"))
    history, entry = await read(alive)
    entries = [replace(one, dead=True) for one in await alive.inbox_entries(STREAM)]
    (difference,) = differences(service, history, entries, entry)
    assert "dead" in difference.what


async def test_what_was_heard_again_after_a_redrive_holds() -> None:
    store = await recorded(request("poison"))
    mended = with_decide(lambda *_: [])
    entry = parser.parse(request("poison"))
    assert entry is not None
    later = replace(processor, service=mended)
    work = later.begin(STREAM, later.fold((await store.load([STREAM]))[STREAM]), NOON)
    assert later.process(work, replace(entry, redrive=True))
    await store.append([work])
    assert await audited(store, mended) == []
    (difference,) = await audited(store, with_decide(lambda *_: [*service.decider.decide(Count(), HELLO, entry.context(NOON))]))
    assert difference.sequence == 2


HELLO = SubmitRequest(text="hello")


async def test_every_workflow_is_looked_at_and_only_those_since_then() -> None:
    store = await recorded(request("a"), request("b", workflow="w2", id="r2"))
    assert list(await workflows(store)) == [("default", "w1"), ("default", "w2")]
    assert list(await workflows(store, NOON + timedelta(seconds=1))) == []


async def test_all_workflows_are_verified_one_after_the_other_each_as_by_itself() -> None:
    names = [("default", f"w{n}") for n in range(5)]
    store = await recorded(*(request("a", workflow=name, id=f"{name}{n}", offset=n) for n in range(3) for _, name in names))
    store._log[1].data = b"{}"
    passed: list[int] = []
    reports = [one async for one in verify_all(store, {"router": service}, topics, passed=passed.append)]
    assert reports == [await verify(store, {"router": service}, topics, *name) for name in names]
    assert [(one.tenant, one.workflow) for one in reports if one.differences] == [names[1]]
    assert sum(passed) == 15
    later = NOON + timedelta(seconds=1)
    assert [one async for one in verify_all(store, {"router": service}, topics, later)] == []


def test_workflows_are_read_in_parts_that_hold_so_many_rows_and_at_least_one_workflow() -> None:
    page = [ListedWorkflow("default", f"w{n}", messages=3, entries=2, active=n != 1) for n in range(6)]
    large = ListedWorkflow("default", "large", messages=900, entries=100, active=True)
    parts = in_parts([*page[:4], large, *page[4:]], rows=10)
    assert [[one.workflow for one in part] for part in parts] == [["w0", "w1", "w2"], ["w3"], ["large"], ["w4", "w5"]]


async def test_a_story_begins_at_the_door_and_names_causes() -> None:
    store = await recorded(request("hello"))
    story = await show.story(store, topics, "default", "w1")
    assert story is not None
    door, said = story.words
    assert (door.kind, said.causation_id, story.silent) == ("hansard.requests.submit.v1", door.id, 0)


async def test_what_was_said_at_a_wake_up_is_told_so_beside_what_its_stream_said_before() -> None:
    store = await recorded(request("hello"))
    there = replace(processor, service=with_decide(lambda *_: [routed("awake")]))
    work = there.begin(STREAM, there.fold((await store.load([STREAM]))[STREAM]), NOON)
    assert there.process(work, wake_up(STREAM, 1))
    await store.append([work])
    story = await show.story(store, topics, "default", "w1")
    assert story is not None
    _, before, after = story.words
    assert (before.woke_up, after.woke_up, after.causation_id) == (False, True, before.id)
    assert Minutes().causation_id(after) == "← wake-up"


async def test_nothing_is_told_of_a_workflow_that_nobody_knows() -> None:
    assert await show.story(InMemoryEventStore(), topics, "default", "nobody") is None


def intent(attempt: int, *, deadline: datetime) -> AttemptStarted:
    return AttemptStarted(
        attempt=attempt,
        safety="safe",
        key="k",
        deadline=deadline,
        call="specialists/a.1/1",
        tier="local",
        provider="p",
        model="m",
        endpoint="e",
    )


def said(message: Message, version: int, causation_id: UUID, stream: Stream) -> StoredMessage:
    data = message.model_dump_json().encode()
    return StoredMessage(stream, version, uuid4(), message.kind, "gateway.events", causation_id, data, b"", at=NOON)


CALL = Stream("default", "w1", "gateway/specialists/a.1/1")


def test_an_intent_without_a_receipt_is_in_doubt_when_its_deadline_is_over() -> None:
    (effect,) = projections.effects([said(intent(1, deadline=NOON), 1, uuid4(), CALL)], topics)
    assert effect.status(NOON - timedelta(seconds=1)) == "in flight"
    assert effect.status(NOON + timedelta(seconds=1)) == "in doubt"


def test_an_intent_is_in_doubt_when_another_attempt_followed_without_its_receipt() -> None:
    later = NOON + timedelta(hours=1)
    both = [said(intent(n, deadline=later), n, uuid4(), CALL) for n in (1, 2)]
    assert [one.status(NOON) for one in projections.effects(both, topics)] == ["in doubt", "in flight"]


def test_a_receipt_even_a_silent_one_settles_an_effect() -> None:
    one = said(intent(1, deadline=NOON), 1, uuid4(), CALL)
    causation_id = outcome_causation_id(CALL, 1)
    (effect,) = projections.effects([one], topics, {CALL: {causation_id}})
    assert effect.status(NOON + timedelta(days=1)) == "done"


def test_the_cause_of_a_receipt_is_the_one_under_which_the_runtime_hears_it() -> None:
    from services.gateway.facts import AttemptReturned
    from shared.runtime.inbound import outcome_message

    entry = outcome_message(CALL, AttemptReturned(attempt=3, call="specialists/a.1/1"))
    assert entry.causation_id == outcome_causation_id(CALL, 3)


@pytest.mark.parametrize("topic", ["requests", "my.requests", "gateway.events", "my.gateway.events"])
def test_a_replay_into_a_topic_of_the_table_is_refused(topic: str) -> None:
    with pytest.raises(replay.Forbidden):
        replay.allowed(topic, topics, "my.")


def test_a_replay_elsewhere_is_allowed() -> None:
    assert replay.allowed("analysis", topics, "my.") == "analysis"


async def test_a_replayed_event_is_the_same_and_marked() -> None:
    store = await recorded(request("hello"))
    (one,) = [one async for one in replay.events(store, replay.Choice(kinds=("request-routed",)))]
    again = replay.envelope(one, NOON)
    assert (again.data, again.id, again.replayed) == (one.data, str(one.id), "2026-01-01T12:00:00Z")
    assert not [one async for one in replay.events(store, replay.Choice(kinds=("nothing",)))]
    assert not [one async for one in replay.events(store, replay.Choice(since=NOON + timedelta(seconds=1)))]
    assert not [one async for one in replay.events(store, replay.Choice(workflow="w2"))]


def published(one: StoredMessage) -> Record:
    envelope = replace(replay.envelope(one, NOON), replayed="")
    return Record(one.topic, 0, one.version, 0, b"w1", envelope.data, tuple(headers(envelope)))


async def test_what_kafka_tells_of_an_event_is_the_event() -> None:
    (one,) = (await (await recorded(request("hello"))).load([STREAM]))[STREAM].messages
    parsed = rebuild.parse(published(one), topics)
    assert parsed is not None and parsed.message is not None
    names = ("version", "id", "kind", "topic", "causation_id", "data", "hash", "traceparent", "at")
    assert [getattr(parsed.message, name) for name in names] == [getattr(one, name) for name in names]
    assert parsed.message.stream == Stream("default", "w1", "router")


def test_what_is_not_said_by_us_is_left_out_of_a_rebuilt_store() -> None:
    forged = Envelope(str(uuid4()), "/elsewhere", "x", b"{}", "w1", subject="router", sequence=1)
    parsed = rebuild.parse(Record("router.events", 0, 0, 0, None, b"{}", tuple(headers(forged))), topics)
    assert parsed is not None and parsed.rejected == "router.events/0/0: its ids are not ours" and parsed.message is None


@pytest.mark.parametrize("change", [{"source": "/hansard/planner"}, {"sequence": 0}, {"time": None}, {"replayed": "yes"}])
async def test_a_word_that_does_not_say_where_it_stands_is_left_out(change: dict[str, Any]) -> None:
    (one,) = (await (await recorded(request("hello"))).load([STREAM]))[STREAM].messages
    envelope = replace(replay.envelope(one, NOON), replayed="")
    parsed = rebuild.parse(published(one)._replace(headers=tuple(headers(replace(envelope, **change)))), topics)
    assert parsed is not None and "which stream it stands in" in parsed.rejected
    parsed = rebuild.parse(published(one)._replace(value=b"{}"), topics)
    assert parsed is not None and "not those of its hash" in parsed.rejected


async def test_two_stores_are_alike_only_hash_for_hash() -> None:
    one, other = await recorded(request("a")), await recorded(request("a"))
    assert (await rebuild.compare(one, other)).unlike == []
    assert len((await rebuild.compare(one, await recorded(request("b")))).unlike) == 1
    assert len((await rebuild.compare(one, InMemoryEventStore())).unlike) == 1


async def test_two_stores_are_compared_event_by_event_and_what_differs_is_told_once_a_stream() -> None:
    texts = [request(text, id=text, workflow=workflow) for workflow in ("w1", "w2", "w3") for text in "abc"]
    one, other = await recorded(*texts), await recorded(*texts[:5], *texts[6:8], request("x", id="x", workflow="w0"))
    passed: list[int] = []
    compared = await rebuild.compare(one, other, passed.append)
    assert (compared.streams, compared.messages, compared.differ, sum(passed)) == (3, 9, 3, 9)
    assert [(unlike.stream.workflow, unlike.what) for unlike in compared.unlike] == [
        ("w0", "version 1 (of 0 and 1)"),
        ("w2", "version 3 (of 3 and 2)"),
        ("w3", "version 3 (of 3 and 2)"),
    ]
    assert compared.unlike[0].one == "is not there" and "request-routed" in compared.unlike[0].other


async def test_of_many_streams_that_differ_the_first_are_told_and_all_are_counted() -> None:
    many = await recorded(*(request("a", workflow=f"w{n:02}", id=f"{n}") for n in range(30)))
    compared = await rebuild.compare(many, InMemoryEventStore())
    assert (compared.differ, [one.stream.workflow for one in compared.unlike]) == (30, [f"w{n:02}" for n in range(20)])


def test_totals_count_what_was_said() -> None:
    totals = projections.Totals()
    one = said(intent(1, deadline=NOON), 1, uuid4(), CALL)
    totals.add(one, projections.read(one, topics))
    assert (totals.events, totals.tiers["local"].attempts) == (1, 1)


async def test_only_what_was_routed_or_ended_is_counted_as_a_workflow() -> None:
    totals = projections.Totals()
    store = await recorded(request("a"), request("b", workflow="w2", id="r2"))
    answered = [one async for batch in store.read_all() for one in batch]
    for one in [said(intent(1, deadline=NOON), 1, uuid4(), CALL), *answered]:
        totals.add(one, projections.read(one, topics))
    assert totals.as_json()["workflows"] == 2
