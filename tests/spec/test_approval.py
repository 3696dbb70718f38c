"""An action from its proposal to its decision, by the policy, by time, and by whoever proposed it."""

from datetime import timedelta
from typing import Any

import pytest

from contracts.approval import (
    ActionApproved,
    ActionAssessed,
    ActionEscalated,
    ActionProposed,
    ActionRejected,
    AskPerson,
    LookupStarted,
    QuestionAsked,
    QuestionExpired,
    SimilarCase,
    WithdrawAction,
)
from hansard.actions import Action
from hansard.decider import WakeUp
from hansard.testing import NOON, Given, given
from services.approval.decider import State, approval
from services.approval.facts import LookedUp, Registration
from tests.spec.approval_kit import AGENT, POLICY, REFUND, proposal, sha_of

DECIDER = approval(POLICY)
FAQ = Action(tool="desk", about="Respond to general FAQ question")
NOTHING_FOUND = LookedUp(attempt=1, action_id="pay.1")
PROVEN = NOTHING_FOUND.model_copy(update={"people": (Registration(name=AGENT.name, number=1, person=AGENT.person),)})
DAY = timedelta(days=1)


def proposed(action: Action = REFUND, **more: Any) -> Given[State]:
    return given(DECIDER).when(proposal(action, **more)).then(ActionProposed, LookupStarted)


def waiting(action: Action = REFUND, **more: Any) -> Given[State]:
    return proposed(action, **more).when(NOTHING_FOUND).then(ActionAssessed)


def test_similar_cases_are_looked_for_before_anything_is_decided() -> None:
    decided = given(DECIDER).when(proposal())
    _, lookup = decided.messages
    assert isinstance(lookup, LookupStarted)
    assert (lookup.similar_to, lookup.people, lookup.attempt) == ("ledger Process $50 refund for delayed shipment", (), 1)
    assert decided.wake_at == lookup.deadline + timedelta(seconds=5)


def test_what_nothing_stands_against_is_approved_by_the_policy_alone() -> None:
    decided = proposed(FAQ, confidence=0.92, requester=AGENT.asks()).when(PROVEN)
    assessed, approved = decided.messages
    assert isinstance(approved, ActionApproved) and isinstance(assessed, ActionAssessed)
    assert (approved.status, approved.by, approved.sha256) == ("auto_approved", (), sha_of(FAQ))
    assert approved.action_ref is not None and approved.action_ref.sha256 == approved.sha256
    assert (approved.policy, approved.rule) == (POLICY.version, assessed.rule)
    assert (assessed.expires_at, decided.wake_at) == (None, None)


def test_a_risky_action_waits_for_a_reviewer() -> None:
    [assessed] = proposed().when(NOTHING_FOUND).messages
    assert isinstance(assessed, ActionAssessed)
    assert (assessed.status, assessed.queue, assessed.role) == ("pending_review", "reviewers", "reviewer")
    assert (assessed.escalates_at, assessed.expires_at) == (NOON + timedelta(hours=8), NOON + DAY)


def test_what_was_found_is_part_of_the_assessment() -> None:
    case = SimilarCase(workflow="w", action="pay.1", about="a refund", status="human_approved", similarity=0.7)
    [assessed] = proposed().when(LookedUp(attempt=1, action_id="pay.1", similar=(case,), cases=30)).messages
    assert isinstance(assessed, ActionAssessed)
    assert (assessed.similar, assessed.cases) == ((case,), 30)


def test_a_novel_case_goes_to_the_specialists() -> None:
    [assessed] = proposed(FAQ, confidence=0.99).when(LookedUp(attempt=1, action_id="pay.1", cases=20)).messages
    assert isinstance(assessed, ActionAssessed)
    assert (assessed.rule, assessed.queue) == ("novel", "specialists")


def test_the_same_proposal_again_changes_nothing() -> None:
    proposed().when(proposal()).then()
    waiting().when(proposal()).then()
    waiting().when(proposal(FAQ)).then()


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"sha256": "0" * 64}, "the hash of the action is"),
        ({"action": "not JSON"}, "JSON"),
        ({"action": '{"about":"no tool"}'}, "tool"),
        ({"action": '{"tool":"ledger", "amount":"5"}'}, "not written as"),
        ({"action": '{"tool":"ledger","tool":"shell"}'}, "not written as"),
        ({"action": '{"tool":"ledger","about":"' + "a" * 66_000 + '"}'}, "bytes"),
    ],
)
def test_a_proposal_that_is_no_action_or_other_bytes_is_rejected_at_once(wrong: dict[str, str], why: str) -> None:
    bad = proposal().model_copy(update=wrong)
    decided = given(DECIDER).when(bad)
    [rejected] = decided.messages
    assert isinstance(rejected, ActionRejected)
    assert (rejected.because, rejected.rule, rejected.sha256) == ("invalid", "exact-bytes", bad.sha256)
    assert why in rejected.notes
    decided.then(ActionRejected).when(proposal()).then()


def test_a_lookup_that_found_nothing_out_is_made_again_until_the_time_is_over() -> None:
    trouble = LookedUp(attempt=1, action_id="pay.1", trouble="the event store is unavailable")
    again = proposed().when(trouble, at=timedelta(seconds=10)).then(LookupStarted)
    lost = again.when(WakeUp()).then(LookupStarted)
    assert [one.attempt for one in lost.stored if isinstance(one, LookupStarted)] == [1, 2, 3]
    lost.when(LookedUp(attempt=2, action_id="pay.1")).then()
    lost.when(LookedUp(attempt=3, action_id="pay.1")).then(ActionAssessed)
    [rejected] = lost.when(LookedUp(attempt=3, action_id="pay.1"), at=DAY).messages
    assert isinstance(rejected, ActionRejected) and rejected.because == "expired"


def test_silence_is_never_consent() -> None:
    escalated = waiting().when(WakeUp()).then(ActionEscalated)
    decided = escalated.when(WakeUp())
    [rejected] = decided.messages
    assert isinstance(rejected, ActionRejected)
    assert (rejected.because, rejected.by, rejected.status) == ("expired", (), "expired")
    assert (decided.context.at, decided.wake_at) == (NOON + DAY, None)


def test_whoever_proposes_gives_less_time() -> None:
    [assessed] = proposed(seconds=90.0).when(NOTHING_FOUND).messages
    assert isinstance(assessed, ActionAssessed)
    assert (assessed.escalates_at, assessed.expires_at) == (NOON + timedelta(seconds=30), NOON + timedelta(seconds=90))


def test_what_the_seniors_have_already_goes_to_nobody_else() -> None:
    delete = Action(tool="desk", about="Delete user account")
    [assessed] = proposed(delete).when(NOTHING_FOUND).messages
    assert isinstance(assessed, ActionAssessed) and assessed.escalates_at is None
    waiting(delete).when(WakeUp()).then(ActionRejected)


def test_whoever_proposed_it_may_withdraw_it() -> None:
    withdraw = WithdrawAction(action_id="pay.1", reason="cancelled")
    for before in (proposed(), waiting()):
        decided = before.when(withdraw)
        [rejected] = decided.messages
        assert isinstance(rejected, ActionRejected)
        assert (rejected.because, rejected.notes) == ("withdrawn", "cancelled")
        after = decided.then(ActionRejected)
        after.when(withdraw).then()
        after.when(NOTHING_FOUND).then()


def test_a_question_waits_for_an_answer_and_ends_without_one() -> None:
    ask = AskPerson(action_id="pay.1", question="Which account?", proposer="planner")
    asked = given(DECIDER).when(ask).then(QuestionAsked)
    asked.when(WakeUp()).then(QuestionExpired(action_id="pay.1", because="expired"))
    asked.when(WithdrawAction(action_id="pay.1")).then(QuestionExpired(action_id="pay.1", because="withdrawn"))
    assert given(DECIDER).when(ask.model_copy(update={"seconds": 60.0})).wake_at == NOON + timedelta(minutes=1)
