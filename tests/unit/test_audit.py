"""Audits of a store in memory: an untouched record holds, and every change to it is found."""

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from contracts.gateway import AttemptStarted, CallAccepted, CallModel, ChatMessage
from contracts.requests import SubmitRequest
from hansard.decider import Context, Decider
from hansard.message import Message
from hansard.policy import StoredPolicy, version_of
from hansard.service import Service
from infra.audit.differences import Difference, differences
from infra.audit.policies import Policies
from infra.audit.verify import in_parts, verify, verify_all, workflows
from infra.cli.verifying import _Found
from services.gateway.app import build
from shared.eventstore.memory import InMemoryEventStore
from shared.eventstore.model import History, InboxEntry, ListedWorkflow, StoredMessage, Stream
from shared.kafka.record import Record
from shared.runtime.assembly import store_policy
from shared.runtime.inbound import Inbound
from shared.runtime.processor import Processor
from shared.settings import Settings
from tests.unit.recorded import STREAM, recorded, with_decide
from tests.unit.toy import NOON, Count, parser, processor, request, service, topics


async def audited(store: InMemoryEventStore, today: Service[Any] = service) -> list[Difference]:
    return (await verify(store, {"router": today}, topics, "default", "w1")).differences


async def test_an_untouched_record_holds() -> None:
    store = await recorded(request("a"), request("b", id="r2", offset=1), request("silence", id="r3", offset=2))
    report = await verify(store, {"router": service}, topics, "default", "w1")
    assert (report.differences, report.decided, report.streams, report.forged) == ([], 3, 1, [])


async def test_dead_letters_and_unknown_services_are_counted_apart_from_what_is_decided_again() -> None:
    store = await recorded(request("a"), request("poison", id="r2", offset=1))
    known = await verify(store, {"router": service}, topics, "default", "w1")
    assert (known.decided, known.dead, known.outcomes, known.unknown) == (1, 1, 0, 0)
    unknown = await verify(store, {}, topics, "default", "w1")
    assert (unknown.decided, unknown.dead, unknown.outcomes, unknown.unknown) == (0, 0, 0, 2)
    found = _Found(json=False)
    found.add(known)
    assert found.totals() == "No differences: 1 workflow, 1 message decided again; not decided again: 1 dead letter"
    found.add(replace(unknown, decided=5, outcomes=4, workflow="w2"))
    assert found.totals() == (
        "No differences: 2 workflows, 6 messages decided again, 4 of them of performers; not decided again: 1 dead letter, "
        "2 messages of services that are not known here"
    )


async def test_a_message_with_other_data_today_is_a_difference_that_shows_both() -> None:
    def loud(count: Count, message: Message, context: Context) -> Iterable[Message]:
        for answer in service.decider.decide(count, message, context):
            yield answer.model_copy(update={"reasoning": "LOUD"})

    (difference,) = await audited(await recorded(request("hello")), with_decide(loud))
    assert "hello" in difference.recorded and "LOUD" in difference.today and difference.sequence == 1


async def test_no_message_today_where_one_was_stored_is_a_difference() -> None:
    (difference,) = await audited(await recorded(request("hello")), with_decide(lambda *_: ()))
    assert difference.today == "(no message)"


async def test_a_message_today_where_none_was_stored_is_a_difference() -> None:
    def chatty(count: Count, message: Message, context: Context) -> Iterable[Message]:
        return service.decider.decide(count, message.model_copy(update={"text": "again"}), context)

    (difference,) = await audited(await recorded(request("silence")), with_decide(chatty))
    assert difference.recorded == "(no message)"


@pytest.mark.parametrize(("slot", "kind"), [(True, AttemptStarted.kind), (False, CallAccepted.kind)])
async def test_the_stored_messages_show_whether_a_slot_was_free(slot: bool, kind: str) -> None:
    gateway, store = build(Settings(model_url="http://127.0.0.1:1/v1")), InMemoryEventStore(lambda: NOON)
    call = CallModel(call="a/1", messages=(ChatMessage(role="user", content="?"),), deadline=NOON + timedelta(days=1))
    of_gateway, stream = Processor(gateway, topics, max_message_bytes=4000), Stream("default", "w1", "gateway/a/1")
    pending = of_gateway.begin(stream, of_gateway.new_stream(), NOON)
    inbound = Inbound(stream, uuid4(), CallModel.kind, b"\0" * 32, message=call)
    of_gateway.process(pending, inbound, may_perform=slot)
    assert (await store.append([pending])).accepted
    history = (await store.load([stream]))[stream]
    assert [one.kind for one in history.messages] == [kind]
    assert differences(gateway, history, await store.inbox_entries(stream), {inbound.causation_id: inbound}, topics) == []


def ending_with(mark: str) -> Service[Count]:
    """The toy service under a policy: its answers end with a mark."""

    def made(version: str, data: dict[str, str]) -> Decider[Count]:
        def decide(count: Count, message: Message, context: Context) -> Iterable[Message]:
            for answer in service.decider.decide(count, message, context):
                yield answer.model_copy(update={"reasoning": answer.reasoning + data["mark"]})  # type: ignore[attr-defined]

        return replace(service.decider, decide=decide, policy=version)

    data = {"mark": mark}
    return replace(service, decider=made(version_of("1", {**data}), data), stored_policy=StoredPolicy({**data}, made))


CALM, LOUD = ending_with("."), ending_with("!")


async def of_two_policies(*, keep: bool = True) -> InMemoryEventStore:
    """Three inbox entries of one stream: under a policy, under a second one, and under the first again."""
    store = InMemoryEventStore(lambda: NOON)
    for n, today in enumerate((CALM, LOUD, CALM)):
        if keep:
            await store_policy(store, today)
        inbound = parser.parse(request("hello", id=f"r{n}", offset=n))
        assert inbound is not None
        processor = Processor(today, topics, max_message_bytes=4000)
        pending = processor.begin(STREAM, processor.fold((await store.load([STREAM]))[STREAM]), NOON)
        processor.process(pending, inbound)
        assert (await store.append([pending])).accepted
    return store


async def test_an_audit_decides_by_the_policy_of_then() -> None:
    store = await of_two_policies()
    for today in (CALM, LOUD, ending_with("?")):
        assert await audited(store, today) == []


async def test_a_policy_that_is_not_on_the_record_is_found_and_todays_policy_needs_no_record() -> None:
    store = await of_two_policies(keep=False)
    (difference,) = await audited(store, CALM)
    assert difference.sequence == 2
    assert f"policy {LOUD.decider.policy!r} cannot be made again" in difference.what
    assert "not on the record" in difference.what
    assert [one.sequence for one in await audited(store, LOUD)] == [1, 3]
    (difference,) = await audited(await recorded(request("hello")), with_decide(lambda *_: (), policy="2"))
    assert "policy '1' cannot be made again: this service stored no policy data" in difference.what


async def test_changed_policy_data_is_found_also_for_todays_policy() -> None:
    store = await of_two_policies()
    store._policies["router", LOUD.decider.policy] = b'{"mark": "."}'
    for today in (CALM, LOUD):
        (difference,) = await audited(store, today)
        assert difference.sequence == 2 and "does not match its version" in difference.what


async def test_a_policy_that_this_code_cannot_read_is_reported() -> None:
    def unwilling(version: str, data: Any) -> Decider[Count]:
        raise KeyError("tone")

    stored_policy = ending_with("?").stored_policy
    assert stored_policy is not None
    today = replace(ending_with("?"), stored_policy=replace(stored_policy, decider=unwilling))
    found = await audited(await of_two_policies(), today)
    assert len(found) == 3 and all("this code cannot decide by policy" in one.what and "tone" in one.what for one in found)


async def test_a_policy_is_read_and_made_once_for_all_workflows() -> None:
    store, reads = await of_two_policies(), []
    policies, read_policies = Policies(store), store.load_policies

    async def counted(versions: Any) -> Any:
        reads.append(versions)
        return await read_policies(versions)

    store.load_policies = counted  # type: ignore[method-assign]
    for _ in range(3):
        assert not (await verify(store, {"router": LOUD}, topics, "default", "w1", policies)).differences
    assert len(reads) == 1


async def test_an_inbox_entry_is_decided_from_the_state_before_it() -> None:
    store = await recorded(*(request("same", id=f"r{n}", offset=n) for n in range(5)))
    assert await audited(store) == []
    forgetful = replace(service, decider=replace(service.decider, evolve=lambda count, _: count))
    assert [one.sequence for one in await audited(store, forgetful)] == [2, 3, 4, 5]


async def test_an_inbox_entry_is_decided_at_its_recorded_time() -> None:
    store = await recorded(request("hello"))
    entries = await store.inbox_entries(STREAM)
    late = [replace(entries[0], at=NOON + timedelta(hours=1))]
    history, received = await read(store)
    difference, second = differences(service, history, late, received)
    assert "another time" in second.what
    assert "12:00" in difference.recorded and "13:00" in difference.today


async def read(store: InMemoryEventStore) -> tuple[History, dict[UUID, Inbound]]:
    """The toy service's stream, and the messages that it received, by causation id."""
    history = (await store.load([STREAM]))[STREAM]
    received = {}
    for door in (await store.door_messages("default", "w1")).values():
        place = (door.topic, door.partition, door.offset, int(door.at.timestamp() * 1000))
        again = parser.parse(Record(*place, door.key, door.body, door.headers))
        if again is not None and again.message is not None:
            received[again.causation_id] = again
    return history, received


async def spoilt(change: Any) -> list[Difference]:
    """The differences in a record of three inbox entries after `change(messages, entries)`."""
    store = await recorded(*(request(text, id=text, offset=n) for n, text in enumerate("abc")))
    history, received = await read(store)
    entries = await store.inbox_entries(STREAM)
    change(history.messages, entries)
    return differences(service, history, entries, received)


async def test_changed_data_is_found_by_its_hash() -> None:
    def forge(messages: list[StoredMessage], _: list[InboxEntry]) -> None:
        messages[1] = replace(messages[1], data=messages[1].data.replace(b"b 1", b"x 1"))

    (difference,) = await spoilt(forge)
    assert "hash" in difference.what


async def test_data_changed_together_with_its_hash_is_found_by_deciding_again() -> None:
    def forge(messages: list[StoredMessage], _: list[InboxEntry]) -> None:
        data = messages[1].data.replace(b"b 1", b"x 1")
        messages[1] = replace(messages[1], data=data, hash=hashlib.sha256(data).digest())

    (difference,) = await spoilt(forge)
    assert "with other data" in difference.what and difference.sequence == 2


async def test_an_id_that_does_not_follow_from_its_causation_id_is_found() -> None:
    def forge(messages: list[StoredMessage], _: list[InboxEntry]) -> None:
        messages[0] = replace(messages[0], id=uuid4())

    (difference,) = await spoilt(forge)
    assert "id" in difference.what and difference.sequence == 1


async def test_a_message_with_another_causation_id_is_found() -> None:
    def forge(messages: list[StoredMessage], _: list[InboxEntry]) -> None:
        messages[2] = replace(messages[2], causation_id=messages[0].causation_id)

    (difference,) = await spoilt(forge)
    assert "another causation id" in difference.what


@pytest.mark.parametrize("gone", [0, 1, 2])
async def test_a_missing_message_is_found(gone: int) -> None:
    assert await spoilt(lambda messages, _: messages.pop(gone))


@pytest.mark.parametrize("gone", [0, 1, 2])
async def test_a_missing_inbox_entry_is_found(gone: int) -> None:
    assert await spoilt(lambda _, entries: entries.pop(gone))


def later(*, seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


async def test_an_inbox_entry_with_an_earlier_time_than_the_one_before_is_found() -> None:
    def forge(messages: list[StoredMessage], entries: list[InboxEntry]) -> None:
        entries[0], messages[0] = replace(entries[0], at=later(seconds=1)), replace(messages[0], at=later(seconds=1))

    (difference,) = await spoilt(forge)
    assert "an earlier time than the inbox entry before it" in difference.what and difference.sequence == 2
    assert ("12:00:00" in difference.recorded, "12:00:01" in difference.today) == (True, True)


async def test_a_message_with_another_time_than_its_inbox_entry_is_found() -> None:
    def forge(messages: list[StoredMessage], _: list[InboxEntry]) -> None:
        messages[2] = replace(messages[2], at=later(seconds=1))

    (difference,) = await spoilt(forge)
    assert "version 3 has another time than its inbox entry" in difference.what and difference.sequence == 3


async def test_an_inbox_entry_with_an_earlier_time_than_its_message_is_found_across_streams() -> None:
    store = await recorded(request("a"))
    history, _ = await read(store)
    (message,) = history.messages
    entry = InboxEntry(message.id, 1, 0, message.kind, NOON, message.hash, "code", "1")
    also = STREAM._replace(name="elsewhere")
    store._versions[also], store._entries[also] = (1, 0), [entry]
    assert await audited(store) == []
    store._entries[also] = [replace(entry, at=later(seconds=-1))]
    (difference,) = await audited(store)
    assert (difference.stream, difference.sequence) == (also, 1)
    assert "an earlier time than the message that it processed" in difference.what


async def test_times_that_never_go_back_hold() -> None:
    assert await spoilt(lambda messages, entries: postpone(messages, entries, from_=1)) == []


def postpone(messages: list[StoredMessage], entries: list[InboxEntry], *, from_: int) -> None:
    entries[from_:] = [replace(one, at=later(seconds=n)) for n, one in enumerate(entries[from_:], 1)]
    messages[from_:] = [replace(one, at=later(seconds=n)) for n, one in enumerate(messages[from_:], 1)]


async def test_a_processed_message_that_is_not_on_the_record_is_found() -> None:
    store = await recorded(request("hello"))
    history, _ = await read(store)
    (difference,) = differences(service, history, await store.inbox_entries(STREAM), {})
    assert "not on the record" in difference.what


async def test_a_dead_inbox_entry_without_a_dead_letter_is_found() -> None:
    store = await recorded(request("poison"))
    assert await audited(store) == []
    alive = await recorded(request("hello"))
    history, received = await read(alive)
    entries = [replace(one, dead=True) for one in await alive.inbox_entries(STREAM)]
    (difference,) = differences(service, history, entries, received)
    assert "dead" in difference.what


async def test_a_message_processed_again_after_a_redrive_holds() -> None:
    store = await recorded(request("poison"))
    fixed = with_decide(lambda *_: [])
    inbound = parser.parse(request("poison"))
    assert inbound is not None
    later = replace(processor, service=fixed)
    pending = later.begin(STREAM, later.fold((await store.load([STREAM]))[STREAM]), NOON)
    assert later.process(pending, replace(inbound, redrive=True))
    await store.append([pending])
    assert await audited(store, fixed) == []
    (difference,) = await audited(store, with_decide(lambda *_: [*service.decider.decide(Count(), HELLO, inbound.context(NOON))]))
    assert difference.sequence == 2


HELLO = SubmitRequest(text="hello")


async def test_every_workflow_is_listed_or_only_those_since_a_time() -> None:
    store = await recorded(request("a"), request("b", workflow="w2", id="r2"))
    assert list(await workflows(store)) == [("default", "w1"), ("default", "w2")]
    assert list(await workflows(store, NOON + timedelta(seconds=1))) == []


async def test_verifying_all_workflows_gives_the_report_of_each() -> None:
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


def test_a_page_is_split_into_parts_of_so_many_rows_and_at_least_one_workflow() -> None:
    page = [ListedWorkflow("default", f"w{n}", messages=3, entries=2, active=n != 1) for n in range(6)]
    large = ListedWorkflow("default", "large", messages=900, entries=100, active=True)
    parts = in_parts([*page[:4], large, *page[4:]], rows=10)
    assert [[one.workflow for one in part] for part in parts] == [["w0", "w1", "w2"], ["w3"], ["large"], ["w4", "w5"]]
