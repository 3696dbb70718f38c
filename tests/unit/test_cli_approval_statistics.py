"""What `hansard stats` prints of approvals."""

from infra.audit.projections import Totals
from infra.cli.statistics import rows
from services.approval.statistics import Statistics
from tests.spec.approval_kit import ALICE, CAROL, DELETE, Approvals, Someone


def shown(approvals: Approvals, *action_ids: str) -> dict[str, object]:
    counted = Statistics()
    for action_id in action_ids:
        for message in approvals.messages(action_id):
            counted.add(action_id, message)
    extra = {"router": {}, "gateway": {}, "approval": counted.as_json()}
    return {name: value for name, value in rows(Totals(), extra) if name.startswith("approvals: ")}


def test_approvals_are_shown_with_their_queues_and_refused_reviews() -> None:
    approvals = Approvals(ALICE, CAROL)
    approvals.propose()
    approvals.propose(DELETE, action_id="pay.2")
    approvals.propose(action_id="pay.3")
    approvals.review(Someone(CAROL.name))
    approvals.review(ALICE)
    assert shown(approvals, "pay.1", "pay.2", "pay.3") == {
        "approvals: actions": "3",
        "approvals: by what became of them": "human_approved 1, escalated 1, pending_review 1",
        "approvals: approved by the policy alone, %": "0.0",
        "approvals: waiting for": "reviewers 1, seniors 1",
        "approvals: reviews that counted": "approve 1",
        "approvals: reviews refused": "bad-signature 1",
    }


def test_nothing_is_shown_where_nothing_was_proposed() -> None:
    assert shown(Approvals()) == {}
