"""An audit finds a decision that rests on a registration which the record did not have."""

from datetime import datetime, timedelta

import pytest

from contracts.approval import Person, ProposeAction, Requester, ReviewAction
from hansard.codec import encode
from hansard.envelope import Envelope, headers
from hansard.identity import Stream, person_stream
from hansard.message import Outcome
from hansard.reviews import requester_statement, sign
from infra.audit.verify import verify
from services.approval.app import serving
from services.approval.facts import LookedUp, Registration, RegistrationGiven
from services.approval.people import Registered
from shared.eventstore.memory import InMemoryEventStore
from shared.kafka.record import Record
from shared.runtime.inbound import InboundParser, internal_message, outcome_message
from shared.runtime.processor import Processor
from tests.spec.approval_kit import ALICE, BOB, DOOR, EXPIRY, POLICY, REFUND, TENANT, WORKFLOW, Someone, proposal, sha_of
from tests.unit.internal import put_on_record, stored_message
from tests.unit.recorded import process, published
from tests.unit.toy import NOON, topics

APPROVAL = serving(POLICY)
ACTION, PERSON = Stream(TENANT, WORKFLOW, "approval/pay.1"), person_stream(TENANT, ALICE.name)
by, parser = Processor(APPROVAL, topics, 1_000_000), InboundParser(APPROVAL, topics, 100_000)


class Clock:
    """The store's, which a test moves."""

    def __init__(self) -> None:
        self.now: datetime = NOON


async def registered(store: InMemoryEventStore, person: Person, name: str) -> Registration:
    given = RegistrationGiven(attempt=1, person=person, by="operator")
    await process(store, by, internal_message(PERSON, given, name))
    state = by.fold((await store.load([PERSON]))[PERSON]).state
    assert isinstance(state, Registered)
    return state.as_read(person.name)


async def proposed(store: InMemoryEventStore, requester: Requester = BOB, *people: Registration) -> None:
    message: ProposeAction = proposal(requester=requester)
    stored = stored_message(message, Stream(TENANT, WORKFLOW, "planner"), "approval.commands", version=1)
    put_on_record(store, stored)
    received = parser.parse(published(stored))
    assert received is not None
    await process(store, by, received)
    await process(store, by, outcome_message(ACTION, LookedUp(attempt=1, action_id="pay.1", people=people)))


async def reviewed(store: InMemoryEventStore, review: ReviewAction, found: Registration, attempt: int = 2) -> None:
    envelope = Envelope(id="r-1", source="/alice", type=review.kind, correlation_id=WORKFLOW, data=encode(review))
    record = Record(DOOR, 0, 1, 0, WORKFLOW.encode(), envelope.data, tuple(headers(envelope)))
    received = parser.parse(record)
    assert received is not None
    await process(store, by, received)
    outcome: Outcome = LookedUp(attempt=attempt, action_id="pay.1", people=(found,))
    await process(store, by, outcome_message(ACTION, outcome))


def review_of(who: Someone) -> ReviewAction:
    fields = {"review": "review-1", "action_id": "pay.1", "sha256": sha_of(REFUND), "decision": "approve"}
    return who.signed(ReviewAction(**fields, expires_at=EXPIRY, reviewer=who.name))


async def differences(store: InMemoryEventStore) -> list[str]:
    report = await verify(store, {"approval": APPROVAL}, topics, TENANT, WORKFLOW)
    return [one.what for one in report.differences if one.stream.service == "approval"]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> InMemoryEventStore:
    return InMemoryEventStore(lambda: clock.now)


async def kinds(store: InMemoryEventStore) -> list[str]:
    return [stored.kind.split(".")[2] for stored in (await store.load([ACTION]))[ACTION].messages]


async def test_a_decision_by_the_registration_on_record_holds(store: InMemoryEventStore) -> None:
    found = await registered(store, ALICE.person, "1")
    await proposed(store)
    await reviewed(store, review_of(ALICE), found)
    assert (await kinds(store))[-1] == "approved"
    assert await differences(store) == []


async def test_a_registration_that_was_never_on_record_is_found(store: InMemoryEventStore) -> None:
    """Somebody with the store in their hands makes up a registration for a key of their own, and signs with it."""
    mallory = Someone(ALICE.name)
    await registered(store, ALICE.person, "1")
    await proposed(store)
    await reviewed(store, review_of(mallory), Registration(name=ALICE.name, number=1, person=mallory.person))
    assert (await kinds(store))[-1] == "approved"
    [found] = await differences(store)
    assert "is not the one on record" in found


def asked_by(who: Someone) -> Requester:
    signature = sign(who.private, requester_statement("5a" * 32, TENANT, WORKFLOW, who.name))
    return Requester(name=who.name, key=who.key.id, sha256="5a" * 32, signature=signature)


async def test_a_requester_is_proven_by_the_registration_on_record(store: InMemoryEventStore) -> None:
    found = await registered(store, ALICE.person, "1")
    await proposed(store, asked_by(ALICE), found)
    assert (await kinds(store))[-1] == "assessed"
    assert await differences(store) == []


async def test_a_made_up_registration_that_proves_a_requester_is_found(store: InMemoryEventStore) -> None:
    mallory = Someone(ALICE.name)
    await registered(store, ALICE.person, "1")
    await proposed(store, asked_by(mallory), Registration(name=ALICE.name, number=1, person=mallory.person))
    assert (await kinds(store))[-1] == "assessed"
    [found] = await differences(store)
    assert "is not the one on record" in found


async def test_a_number_that_the_record_does_not_have_is_found(store: InMemoryEventStore) -> None:
    found = await registered(store, ALICE.person, "1")
    await proposed(store)
    await reviewed(store, review_of(ALICE), found.model_copy(update={"number": 2}))
    assert any("is not the one on record" in one for one in await differences(store))


async def test_a_registration_that_another_had_replaced_by_then_is_found(store: InMemoryEventStore, clock: Clock) -> None:
    old = await registered(store, ALICE.person, "1")
    clock.now += timedelta(minutes=1)
    await registered(store, Someone(ALICE.name).person, "2")
    clock.now += timedelta(minutes=1)
    await proposed(store)
    await reviewed(store, review_of(ALICE), old)
    [found] = await differences(store)
    assert "is not the one of that time" in found


async def test_a_later_registration_changes_nothing_about_an_earlier_decision(store: InMemoryEventStore, clock: Clock) -> None:
    found = await registered(store, ALICE.person, "1")
    await proposed(store)
    await reviewed(store, review_of(ALICE), found)
    clock.now += timedelta(minutes=1)
    await registered(store, Someone(ALICE.name).person, "2")
    assert await differences(store) == []
