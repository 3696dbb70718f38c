"""Actions and what is known of them, for tests of the policy."""

from typing import Any

from contracts.approval import Assessment, Option, Proposal, Requester, SimilarCase
from hansard.actions import Action, action_bytes, action_reference
from services.approval.personal_data import personal_data_in
from services.approval.policy import Policy, assess, load

SHIPPED = load()
BOB = Requester(name="bob@example.org", proof="signature", key="0f1e2d3c4b5a6978")
OPTIONS = (Option(source="analyst", view="Refund half."), Option(source="writer", view="Refund nothing."))


def similar(likeness: float) -> tuple[SimilarCase, ...]:
    return (SimilarCase(workflow="w", action="a.1", about="", status="human_approved", similarity=likeness),)


def action(about: str = "Respond to general FAQ question", **fields: Any) -> Action:
    return Action.model_validate({"tool": "ledger", "about": about, **fields})


def proposal(of: Action, **fields: Any) -> Proposal:
    """Confident, of a proven requester, and with nothing against it but what the fields say."""
    data = action_bytes(of)
    given = {"action_id": "pay.1", "action": data.decode(), "sha256": action_reference(data).sha256, "proposer": "planner"}
    return Proposal.model_validate({**given, "requester": BOB, "confidence": 0.95, **fields})


def assessed(
    of: Action, policy: Policy = SHIPPED, cases: int = 0, past: tuple[SimilarCase, ...] = (), **fields: Any
) -> Assessment:
    """As the service does it: with what it finds itself."""
    return assess(policy, of, proposal(of, **fields), personal_data_in(of), past, cases)
