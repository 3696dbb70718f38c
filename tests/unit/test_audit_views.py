"""What an audit shows of a record: timelines, effects without an outcome, totals."""

from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from contracts.gateway import AttemptStarted
from hansard.identity import outcome_causation_id
from hansard.message import Message
from infra.audit import projections
from infra.audit.message import Numbering
from infra.audit.timeline import timeline
from shared.eventstore.memory import InMemoryEventStore
from shared.eventstore.model import StoredMessage, Stream
from shared.runtime.inbound import wake_up
from tests.unit.recorded import STREAM, recorded, with_decide
from tests.unit.toy import NOON, processor, request, routed, topics


async def test_a_timeline_begins_at_the_door_and_names_causes() -> None:
    store = await recorded(request("hello"))
    found = await timeline(store, "default", "w1")
    assert found is not None
    door, answer = found.messages
    assert (door.kind, answer.causation_id, found.without_message) == ("hansard.requests.submit.v1", door.id, 0)


async def test_a_message_stored_at_a_wake_up_is_shown_so_after_its_streams_message_before() -> None:
    store = await recorded(request("hello"))
    awake = replace(processor, service=with_decide(lambda *_: [routed("awake")]))
    pending = awake.begin(STREAM, awake.fold((await store.load([STREAM]))[STREAM]), NOON)
    assert awake.process(pending, wake_up(STREAM, 1))
    await store.append([pending])
    found = await timeline(store, "default", "w1")
    assert found is not None
    _, before, after = found.messages
    assert (before.woke_up, after.woke_up, after.causation_id) == (False, True, before.id)
    assert Numbering().causation(after) == "← wake-up"


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


async def test_only_what_was_routed_or_ended_counts_as_a_workflow() -> None:
    totals = projections.Totals()
    store = await recorded(request("a"), request("b", workflow="w2", id="r2"))
    answered = [one async for batch in store.read_all() for one in batch]
    for one in [stored(intent(1, deadline=NOON), 1, uuid4(), CALL), *answered]:
        totals.add(one, projections.read(one, topics))
    assert totals.as_json()["workflows"] == 2
