"""What an audit shows of a record: timelines, effects without an outcome, totals."""

from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from rich.console import Console

from contracts.gateway import AttemptStarted
from hansard.identity import outcome_causation_id, place_of
from hansard.message import Message
from infra.audit import projections
from infra.audit.message import Numbering
from infra.audit.timeline import Timeline, as_json, timeline, timeline_of
from infra.audit.verify import verify
from infra.cli.audit import _tree, without_result
from services.gateway.circuit import circuit_stream
from shared.eventstore.memory import InMemoryEventStore
from shared.eventstore.model import History, InboxEntry, StoredMessage, Stream
from shared.runtime.inbound import wake_up
from tests.unit.recorded import STREAM, recorded, with_decide
from tests.unit.toy import NOON, processor, request, routed, service, topics


async def test_a_timeline_begins_at_the_door_and_names_causes() -> None:
    store = await recorded(request("hello"))
    found = await timeline(store, "default", "w1")
    assert found is not None
    door, answer = found.messages
    assert (door.kind, answer.causation_id, found.without_message) == ("hansard.requests.submit.v1", door.id, 0)


async def awakened() -> Timeline:
    store = await recorded(request("hello"))
    awake = replace(processor, service=with_decide(lambda *_: [routed("awake")]))
    pending = awake.begin(STREAM, awake.fold((await store.load([STREAM]))[STREAM]), NOON)
    assert awake.process(pending, wake_up(STREAM, 1))
    await store.append([pending])
    found = await timeline(store, "default", "w1")
    assert found is not None
    return found


async def test_a_message_stored_at_a_wake_up_keeps_its_causation_id_and_names_the_wake_up_beside_it() -> None:
    found = await awakened()
    _, before, after = found.messages
    id_ = str(wake_up(STREAM, 1).causation_id)
    assert (before.cause, after.cause, after.causation_id, found.without_message) == ("", "wake-up", id_, 0)
    assert Numbering().causation(after) == "← wake-up"
    shown = [(line["causation_id"], line.get("cause")) for line in as_json(found)]
    assert shown[2] == (id_, "wake-up") and shown[4] == (id_, None), "the message, and its inbox entry"


async def test_a_tree_shows_what_a_wake_up_caused_below_the_wake_up() -> None:
    lines = tree_of(await awakened())
    assert [line.strip("│├└─ ").split(" ")[:2] for line in lines[1:]] == [
        ["a", "client"],
        ["router", "request-routed"],
        ["router", "wake-up"],
        ["router", "request-routed"],
    ]
    assert lines[3].index("router") == lines[1].index("a client") < lines[4].index("router")


async def test_a_tree_shows_an_outcome_below_its_attempt() -> None:
    asked, id_ = uuid4(), outcome_causation_id(CALL, 1)
    messages = [
        replace(stored(one, version, causation_id, CALL), position=version)
        for version, one, causation_id in ((1, intent(1, deadline=NOON), asked), (2, intent(2, deadline=NOON), id_))
    ]
    entries = [
        InboxEntry(causation_id, n, n - 1, kind, NOON, b"", "", "1")
        for n, causation_id, kind in ((1, asked, "hansard.gateway.call.v1"), (2, id_, "hansard.tasting.tasted.v1"))
    ]
    histories = {CALL: History(CALL, 2, 2, 0, messages, {entry.causation_id: entry for entry in entries})}
    found = timeline_of("default", "w1", histories, {}, {CALL: entries})
    assert [(one.causation_id, one.cause) for one in found.messages] == [(str(asked), ""), (str(id_), "attempt 1")]
    assert Numbering().causation(found.messages[1]) == "← try 1"
    first, attempt, second = tree_of(found)[1:]
    assert f"{CALL.name} attempt 1" in attempt
    assert first.index("gateway") < attempt.index("gateway") < second.index("gateway")


async def test_only_a_workflow_with_a_request_waits_for_a_result() -> None:
    asked = await timeline(await recorded(request("hello")), "default", "w1")
    nameless = request("hello", id="", ce_correlationid="")._replace(key=None)
    unreadable = await timeline(await recorded(nameless), "default", place_of("requests", 0, 0))
    histories = {CALL: History(CALL, 1, 1, 0, [stored(intent(1, deadline=NOON), 1, uuid4(), CALL)])}
    assert asked and unreadable
    assert [without_result(one) for one in (asked, unreadable, timeline_of("default", "w1", histories, {}, {}))] == [
        "There is no result yet.",
        "This workflow has no result: its request cannot be read.",
        "This workflow has no result: no request began it.",
    ]


def tree_of(found: Timeline) -> list[str]:
    console = Console(width=120)
    with console.capture() as captured:
        console.print(_tree(found))
    return captured.get().splitlines()


async def test_an_unknown_workflow_has_no_timeline() -> None:
    assert await timeline(InMemoryEventStore(), "default", "nobody") is None


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


def stored(message: Message, version: int, causation_id: UUID, stream: Stream) -> StoredMessage:
    data = message.model_dump_json().encode()
    return StoredMessage(stream, version, uuid4(), message.kind, "gateway.events", causation_id, data, b"", at=NOON)


CALL = Stream("default", "w1", "gateway/specialists/a.1/1")


def test_an_intent_without_an_outcome_is_in_doubt_after_its_deadline() -> None:
    (effect,) = projections.effects([stored(intent(1, deadline=NOON), 1, uuid4(), CALL)], topics)
    assert effect.status(NOON - timedelta(seconds=1)) == "in flight"
    assert effect.status(NOON + timedelta(seconds=1)) == "in doubt"


def test_an_intent_without_an_outcome_is_in_doubt_once_a_later_attempt_began() -> None:
    later = NOON + timedelta(hours=1)
    both = [stored(intent(n, deadline=later), n, uuid4(), CALL) for n in (1, 2)]
    assert [one.status(NOON) for one in projections.effects(both, topics)] == ["in doubt", "in flight"]


def test_an_outcome_settles_an_effect_also_where_nothing_was_stored() -> None:
    one = stored(intent(1, deadline=NOON), 1, uuid4(), CALL)
    causation_id = outcome_causation_id(CALL, 1)
    (effect,) = projections.effects([one], topics, {CALL: {causation_id}})
    assert effect.status(NOON + timedelta(days=1)) == "done"


def test_the_id_of_an_outcome_is_the_one_that_the_runtime_gives_it() -> None:
    from services.gateway.facts import AttemptReturned
    from shared.runtime.inbound import outcome_message

    inbound = outcome_message(CALL, AttemptReturned(attempt=3, call="specialists/a.1/1"))
    assert inbound.causation_id == outcome_causation_id(CALL, 3)


def test_totals_count_stored_messages() -> None:
    totals = projections.Totals()
    one = stored(intent(1, deadline=NOON), 1, uuid4(), CALL)
    totals.add(one, projections.read(one, topics))
    assert (totals.messages, totals.tiers["local"].attempts) == (1, 1)


async def test_every_workflow_counts_and_an_endpoint_is_none() -> None:
    totals = projections.Totals()
    other, endpoint = Stream("default", "w3", "tasting/count"), circuit_stream("local", NOON)
    store = await recorded(request("a"), request("b", workflow="w2", id="r2"))
    answered = [one async for batch in store.read_all() for one in batch]
    for one in [*(stored(intent(1, deadline=NOON), 1, uuid4(), stream) for stream in (CALL, other, endpoint)), *answered]:
        totals.add(one, projections.read(one, topics))
    assert totals.workflows == {("default", "w1"), ("default", "w2"), ("default", "w3")}


async def test_an_unreadable_request_that_is_filed_under_its_senders_workflow_is_no_difference() -> None:
    store = await recorded(request(id="u1", workflow="u1", ce_time="yesterday"), request("good", id="r2"))
    for workflow in ("u1", "w1"):
        report = await verify(store, {"router": service}, topics, "default", workflow)
        assert (report.differences, report.forged, report.streams) == ([], [], 1)
