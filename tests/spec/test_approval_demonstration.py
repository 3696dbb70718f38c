"""The reference's demonstration: eight scenarios, two reviews, and the figures that it prints."""

from decimal import Decimal

import pytest

from contracts.approval import ActionApproved, ActionAssessed
from hansard.actions import Action
from services.approval.statistics import Statistics
from tests.spec.approval_kit import AGENT, ALICE, Approvals

SCENARIOS = (
    ("Send order confirmation email", 0.95, "0.01", False, "auto_approved"),
    ("Process $50 refund for delayed shipment", 0.88, "50", False, "pending_review"),
    ("Update customer address in database", 0.82, "0", True, "pending_review"),
    ("Process $2,500 refund for service outage", 0.75, "2500", False, "pending_review"),
    ("Delete user account and all associated data", 0.90, "0", True, "escalated"),
    ("Respond to general FAQ question", 0.92, "0", False, "auto_approved"),
    ("Recommend treatment plan to patient", 0.45, "0", True, "escalated"),
    ("Create support ticket for follow-up", 0.89, "0", False, "auto_approved"),
)


@pytest.fixture(scope="module")
def demonstration() -> Approvals:
    approvals = Approvals(ALICE, AGENT)
    for n, (about, confidence, cost, personal, _) in enumerate(SCENARIOS, 1):
        approvals.propose(
            Action(tool="desk", about=about),
            action_id=f"case.{n}",
            confidence=confidence,
            cost=cost,
            personal_data=personal,
            requester=AGENT.asks(),
        )
    return approvals


def figures(approvals: Approvals) -> Statistics:
    counted = Statistics()
    for n in range(1, len(SCENARIOS) + 1):
        for message in approvals.messages(f"case.{n}"):
            counted.add(n, message)
    return counted


@pytest.mark.parametrize("number", range(1, len(SCENARIOS) + 1), ids=[about for about, *_ in SCENARIOS])
def test_a_scenario_gets_the_status_that_the_reference_gives_it(demonstration: Approvals, number: int) -> None:
    assessed = [m for m in demonstration.messages(f"case.{number}") if isinstance(m, ActionAssessed)]
    assert [one.status for one in assessed] == [SCENARIOS[number - 1][-1]]


def test_the_figures_are_those_of_the_reference_before_and_after_two_are_approved(demonstration: Approvals) -> None:
    before = figures(demonstration)
    assert before.statuses == {"auto_approved": 3, "pending_review": 3, "escalated": 2}
    assert (before.total_decisions, before.automation_rate, before.queue_depth()) == (8, Decimal("37.5"), 3)
    pending = [n for n, (*_, status) in enumerate(SCENARIOS, 1) if status == "pending_review"]
    for n in pending[:2]:
        *_, approved = demonstration.review(ALICE, action_id=f"case.{n}", notes="Approved per policy")
        assert isinstance(approved, ActionApproved)
        assert (approved.status, approved.by, approved.notes) == ("human_approved", (ALICE.name,), "Approved per policy")
    after = figures(demonstration)
    assert after.statuses == {"auto_approved": 3, "pending_review": 1, "escalated": 2, "human_approved": 2}
    assert (after.total_decisions, after.automation_rate) == (8, Decimal("37.5"))
    assert (after.queue_depth(), after.queue_depth("seniors"), after.queue_depth("specialists")) == (1, 2, 0)
