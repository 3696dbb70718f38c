"""What is read of the record for a decision: earlier cases of the same tenant, and registrations."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from contracts.approval import ActionAssessed, LookupStarted, PersonKey, PersonRegistered, SimilarCase
from hansard.actions import Action
from hansard.identity import Stream, person_stream
from hansard.testing import NOON, given
from services.approval.decider import approval
from services.approval.facts import LookedUp, RegistrationGiven, RemovalGiven
from services.approval.performer import open_performer
from services.approval.performer.cases import KINDS, Cases
from shared.eventstore.model import StoredMessage, StoreUnavailable
from tests.spec.approval_kit import ALICE, POLICY, Approvals, Recent, Someone

EARLIER = Action(tool="ledger", about="Process $75 refund for delayed shipment")


def assessed(approvals: Approvals, action_id: str) -> ActionAssessed:
    [found] = [message for message in approvals.messages(action_id) if isinstance(message, ActionAssessed)]
    return found


class Broken:
    """A store that is away."""

    recent = None

    def __init__(self) -> None:
        self.asked = 0

    def now(self) -> datetime:
        return NOON

    async def load(self, streams: Any) -> list[Any]:
        self.asked += 1
        raise StoreUnavailable("it is away")


def test_a_case_that_was_decided_before_is_found_and_named() -> None:
    approvals = Approvals(ALICE)
    approvals.propose(EARLIER, action_id="pay.0")
    approvals.review(ALICE, action_id="pay.0")
    approvals.there.advance(timedelta(minutes=1))
    approvals.propose()
    [case] = assessed(approvals, "pay.1").similar
    expected = SimilarCase(
        workflow="wf-1", action="pay.0", about=EARLIER.about, status="human_approved", by=(ALICE.name,), similarity=1.0
    )
    assert (case, assessed(approvals, "pay.1").cases) == (expected, 1)


def test_what_still_waits_or_was_withdrawn_is_no_case_and_another_tenant_has_none_of_it() -> None:
    approvals = Approvals(ALICE)
    approvals.propose(EARLIER, action_id="pay.0")
    approvals.there.advance(timedelta(minutes=1))
    approvals.propose()
    assert assessed(approvals, "pay.1").cases == 0
    approvals.review(ALICE)
    approvals.there.advance(timedelta(minutes=1))
    approvals.propose(action_id="pay.2")
    assert assessed(approvals, "pay.2").cases == 1


def test_another_tenants_cases_are_never_searched() -> None:
    approvals = Approvals(ALICE)
    approvals.propose(EARLIER, action_id="pay.0")
    approvals.review(ALICE, action_id="pay.0")
    stored = asyncio.run(Recent(approvals.there).read_last(list(KINDS), 100))

    class Others:
        async def read_last(self, kinds: Any, messages: int, tenant: str = "") -> list[StoredMessage]:
            return [replace(one, stream=one.stream._replace(tenant="other")) for one in stored]

    def found(tenant: str) -> int:
        cases = Cases(Others(), lambda: NOON)
        _, searched = asyncio.run(cases.similar(Stream(tenant, "wf-2", "approval/pay.1"), "ledger a refund"))
        return searched

    assert (found("other"), found("default")) == (1, 0)


def test_a_store_that_is_away_until_the_deadline_is_told_as_trouble() -> None:
    context = Broken()
    intent = LookupStarted(attempt=3, safety="safe", key="", deadline=NOON + timedelta(seconds=0.3), people=("alice",))

    async def looked_up() -> Any:
        async with open_performer(context) as perform:  # type: ignore[arg-type]
            return await perform(None, intent, Stream("default", "wf-1", "approval/pay.1"))

    found = asyncio.run(looked_up())
    assert isinstance(found, LookedUp)
    assert (found.attempt, found.action_id, found.people) == (3, "pay.1", ())
    assert "unavailable" in found.trouble and context.asked >= 1


def test_a_registration_takes_the_place_of_the_last_and_the_same_again_changes_nothing() -> None:
    approvals = Approvals(ALICE)
    assert approvals.register(ALICE.person) == ()
    fresh = Someone(ALICE.name)
    [registered] = approvals.register(fresh.person)
    assert isinstance(registered, PersonRegistered) and registered.keys == (fresh.key,)
    state = approvals.there.state(person_stream("default", ALICE.name).name, "people")
    assert (state.number, state.former_keys) == (2, (ALICE.key.id,))
    approvals.remove(ALICE.name)
    assert approvals.remove(ALICE.name) == ()
    assert approvals.there.state(person_stream("default", ALICE.name).name, "people").number == 3


def test_a_key_that_is_none_or_has_anothers_id_is_not_registered() -> None:
    decider = approval(POLICY)
    for key in (ALICE.key.model_copy(update={"id": "0" * 16}), PersonKey(id="0" * 16, public="AAAA")):
        fact = RegistrationGiven(attempt=1, person=ALICE.person.model_copy(update={"keys": (key,)}), by="operator")
        given(decider).when(fact).then_refused("invalid")
    given(decider).when(RemovalGiven(attempt=1, name="nobody", by="operator")).then()
