"""What a performer brought back is on the record as it came, no long text twice, and an audit decides on it."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from contracts.dead_letters import DeadLettered
from contracts.gateway import AttemptFailed, Fall, ModelReplied
from hansard.codec import decode, encode
from hansard.decider import Context, Decider
from hansard.message import Message, Outcome
from hansard.service import Service
from infra.audit.differences import Difference
from infra.audit.timeline import timeline
from infra.audit.verify import Report, verify
from services.gateway.facts import AttemptReturned, EndpointFailed
from shared.eventstore.memory import InMemoryEventStore
from shared.eventstore.model import InboxEntry, Stream
from shared.eventstore.outcomes import LEAST, whole, with_references
from shared.runtime.inbound import internal_message, outcome_message
from shared.runtime.processor import Processor
from tests.unit.recorded import CALL, CALLER, TEXT, gateway, process, replied, with_a_call
from tests.unit.toy import NOON, topics

JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | some.text(max_size=200),
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(some.text(max_size=80), inner, max_size=4),
    max_leaves=20,
)


def compact(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def returned(stored: bytes, outcome: bytes, messages: list[bytes]) -> bytes:
    json.loads(stored)
    return whole(stored, hashlib.sha256(outcome).digest(), messages)


@given(JSON, JSON, some.text(min_size=LEAST, max_size=300))
def test_every_outcome_comes_back_as_it_was(one: Any, other: Any, shared: str) -> None:
    outcome = compact({"a": one, "reply": {"text": shared, "data": other, "b": one}})
    messages = [compact({"x": other}), compact({"text": shared, "y": {"data": other, "one": one}})]
    assert returned(with_references(outcome, messages), outcome, messages) == outcome


def test_what_a_message_holds_too_is_stored_once_and_the_rest_can_be_read() -> None:
    outcome = compact({"attempt": 1, "reply": {"text": "x" * 5000, "data": {"long": ["y" * 90, 1]}, "own": "z" * 90}})
    messages = [b"{}", compact({"text": "x" * 5000, "data": {"long": ["y" * 90, 1]}})]
    stored = with_references(outcome, messages)
    assert json.loads(stored) == {
        "attempt": 1,
        "reply": {"text": {"$message": [2, 8, 5002]}, "data": {"$message": [2, 5018, 105]}, "own": "z" * 90},
    }
    assert returned(stored, outcome, messages) == outcome


@pytest.mark.parametrize("name", ["n" * 100, 'a"b' * 40])
def test_the_name_of_a_field_is_never_a_reference(name: str) -> None:
    outcome = compact({"deep": {name: 1}})
    stored = with_references(outcome, [compact({"about": name, "x": "y" * 70})])
    assert stored == outcome


@pytest.mark.parametrize("forged", ['{"$message":[1,0,70]}', {"$message": [1, 0, 70]}, {"$message": [9, 0, 70]}])
def test_an_outcome_that_looks_like_a_reference_comes_back_too(forged: Any) -> None:
    outcome = compact({"data": forged, "text": "x" * 100})
    messages = [compact({"text": "x" * 100})]
    assert returned(with_references(outcome, messages), outcome, messages) == outcome


@pytest.mark.parametrize("broken", [b'{"$message":[3,0,5]}', b'{"$message":[0,0,5]}', b'{"$message":[1,9,999999999]}'])
def test_a_reference_that_leads_nowhere_is_no_error_and_has_another_hash(broken: bytes) -> None:
    assert hashlib.sha256(whole(broken, b"\0" * 32, [b"{}"])).digest() != b"\0" * 32


SUCCESS = AttemptReturned(attempt=1, call="specialists/1", reply=replied())


async def of_call(store: InMemoryEventStore) -> list[InboxEntry]:
    return await store.inbox_entries(CALL)


async def audit(store: InMemoryEventStore, today: Service[Any]) -> Report:
    return await verify(store, {"specialists": CALLER, "gateway": today}, topics, "default", "w1")


async def test_an_outcome_is_stored_as_it_came_and_its_text_once() -> None:
    store = await with_a_call(InMemoryEventStore(lambda: NOON), gateway(), SUCCESS)
    entry, (message,) = (await of_call(store))[-1], (await store.load([CALL]))[CALL].messages[-1:]
    assert entry.outcome is not None and message.kind == ModelReplied.kind
    came = encode(SUCCESS)
    assert entry.hash == hashlib.sha256(came).digest() and whole(entry.outcome, entry.hash, [message.data]) == came
    assert len(came) > len(TEXT) > 2000 and len(entry.outcome) < 600
    assert b'"confidence":null' in entry.outcome, "what the policy makes of it is the decider's"
    assert decode(ModelReplied, message.data).confidence == 0.9


async def test_an_audit_decides_on_an_outcome_again() -> None:
    today = gateway()
    store = await with_a_call(InMemoryEventStore(lambda: NOON), today, SUCCESS)
    report = await audit(store, today)
    assert (report.differences, report.decided, report.outcomes) == ([], 4, 1)
    other = gateway(confidence=0.4)
    policy = today.decider.policy
    (difference,) = (await audit(store, replace(other, decider=replace(other.decider, policy=policy)))).differences
    assert (difference.stream, difference.sequence) == (CALL, 3)
    assert '"confidence":0.9' in difference.recorded and '"confidence":0.4' in difference.today


FAILURE = AttemptFailed(call="specialists/1", fall=Fall(tier="one", reason="error", detail="e" * 100, attempt=1), latency_ms=3)


@pytest.mark.parametrize("outcome", [SUCCESS, AttemptReturned(attempt=1, call="specialists/1", failure=FAILURE)])
async def test_a_changed_or_missing_outcome_is_found(outcome: AttemptReturned) -> None:
    changes: list[dict[str, Any]] = [
        {"outcome": encode(outcome).replace(b'"latency_ms"', b'"latency_mS"')},
        {"outcome": None},
        {"hash": b"\1" * 32},
        {"outcome": b'{"attempt":1,"call":"specialists/1"}'},
    ]
    for change in changes:
        store = await with_a_call(InMemoryEventStore(lambda: NOON), gateway(), outcome)
        assert (await audit(store, gateway())).differences == []
        store._entries[CALL][-1] = replace(store._entries[CALL][-1], **change)
        found = (await audit(store, gateway())).differences
        assert found and {one.stream for one in found} == {CALL}


async def test_an_outcome_that_is_changed_with_its_hash_is_found_by_deciding_again() -> None:
    store = await with_a_call(InMemoryEventStore(lambda: NOON), gateway(), SUCCESS)
    forged = encode(AttemptReturned(attempt=1, call="specialists/1", reply=replied(finish_reason="length")))
    last = store._entries[CALL][-1]
    store._entries[CALL][-1] = replace(last, outcome=forged, hash=hashlib.sha256(forged).digest())
    (difference,) = (await audit(store, gateway())).differences
    assert '"finish_reason":"stop"' in difference.recorded and '"finish_reason":"length"' in difference.today


async def test_of_two_outcomes_of_one_attempt_the_first_wins_and_the_second_is_no_dead_letter() -> None:
    second = AttemptReturned(attempt=1, call="specialists/1", failure=FAILURE)
    store = await with_a_call(InMemoryEventStore(lambda: NOON), gateway(), SUCCESS, second)
    kinds = [stored.kind.split(".")[-2] for stored in (await store.load([CALL]))[CALL].messages]
    assert kinds == ["call-accepted", "attempt-started", "model-replied"]
    assert len(await of_call(store)) == 3 and (await audit(store, gateway())).differences == []


async def test_an_outcome_that_a_decision_fails_on_is_on_the_record_all_the_same() -> None:
    def fails(state: Any, message: Message, context: Context) -> Iterable[Message]:
        if isinstance(message, AttemptReturned):
            raise ZeroDivisionError
        return today.decider.decide(state, message, context)

    today = gateway()
    failing = replace(today, decider=replace(today.decider, decide=fails))
    store = await with_a_call(InMemoryEventStore(lambda: NOON), failing, SUCCESS)
    *_, last = await of_call(store)
    (letter,) = [m.data for m in (await store.load([CALL]))[CALL].messages if m.kind == DeadLettered.kind]
    assert last.dead and last.outcome is not None and whole(last.outcome, last.hash, [letter]) == encode(SUCCESS)
    report = await audit(store, failing)
    assert (report.differences, report.dead, report.forged) == ([], 1, [])


class Tasted(Outcome):
    kind = "acme.kitchen.tasted.v1"
    dish: str
    salt: float = 0.0


ENDPOINT = Stream("default", "endpoint.one", "gateway/endpoint/one/circuit/2026-01-01")


async def test_a_fact_that_a_performer_records_is_an_outcome_too() -> None:
    today, store = gateway(), InMemoryEventStore(lambda: NOON)
    fact = EndpointFailed(attempt=1, endpoint="one", failures=9, of=9, reason="error", detail="d" * 200)
    await process(store, Processor(today, topics, 100_000), internal_message(ENDPOINT, fact, "change/1"))
    (entry,) = await store.inbox_entries(ENDPOINT)
    (opened,) = (await store.load([ENDPOINT]))[ENDPOINT].messages
    assert entry.outcome is not None and len(entry.outcome) < 200
    assert whole(entry.outcome, entry.hash, [opened.data]) == encode(fact)
    report = await verify(store, {"gateway": today}, topics, ENDPOINT.tenant, ENDPOINT.workflow)
    assert (report.differences, report.outcomes) == ([], 1)
    store._messages[ENDPOINT][0].data = opened.data.replace(b'"failures":9', b'"failures":8')
    differing: list[Difference] = (
        await verify(store, {"gateway": today}, topics, ENDPOINT.tenant, ENDPOINT.workflow)
    ).differences
    assert differing


def test_what_is_decided_upon_is_what_the_bytes_say() -> None:
    inbound = outcome_message(CALL, Tasted(attempt=1, dish="soup", salt=float(3)))
    assert inbound.outcome == b'{"attempt":1,"dish":"soup","salt":3.0}' and inbound.message == decode(Tasted, inbound.outcome)
    with pytest.raises(ValueError, match="salt"):
        outcome_message(CALL, Tasted(attempt=1, dish="soup", salt=float("nan")))  # JSON has none: it would come back as another


async def test_a_timeline_shows_the_outcome_between_its_attempt_and_what_was_made_of_it() -> None:
    store = await with_a_call(InMemoryEventStore(lambda: NOON), gateway(), SUCCESS)
    found = await timeline(store, "default", "w1")
    assert found is not None
    *_, attempt, outcome, answer = found.messages
    assert [one.name for one in (attempt, outcome, answer)] == ["attempt-started", "attempt-returned", "model-replied"]
    assert (outcome.causation_id, answer.causation_id, outcome.topic) == (attempt.id, outcome.id, "")
    assert outcome.data["reply"]["text"] == TEXT and outcome.summary.startswith("“A quorum is")
    assert found.cost == answer.cost, "an outcome is not billed twice"


def test_a_performers_outcome_in_memory_is_read_from_its_json() -> None:
    from hansard.testing import InMemory

    seen: list[Message] = []

    def decide(state: int, message: Message, context: Context) -> Iterable[Message]:
        seen.append(message)
        return ()

    kitchen = Service("kitchen", Decider(0, decide, lambda state, _: state), receives={Tasted: lambda _: ""})
    there = InMemory(kitchen)
    outcome = Tasted(attempt=1, dish="soup")
    there.fact(Stream("default", "wf-1", "kitchen"), outcome, "attempt/1")
    assert seen == [outcome] and seen[0] is not outcome
