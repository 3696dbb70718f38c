"""Endpoints and messages of the notifier's specs."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from contracts.approval import ActionApproved, ActionAssessed, ActionProposed
from hansard.actions import Action, action_bytes, action_reference
from hansard.testing import NOON
from shared.webhooks.endpoints import Endpoints

REFUND = Action(
    tool="ledger",
    about="Refund the outage",
    amount=Decimal(2500),
    recipient="acct-9",
    arguments={"invoice": "R-17", "memo": "for Ada's eyes"},
)
BYTES = action_bytes(REFUND)
SHA256 = action_reference(BYTES).sha256
PROPOSED = ActionProposed(action_id="pay.1", action=BYTES.decode(), sha256=SHA256, proposer="planner")
ASSESSED = ActionAssessed(
    action_id="pay.1",
    sha256=SHA256,
    status="pending_review",
    risk="high",
    rule="risk",
    reasons=("high risk: refund",),
    queue="reviewers",
    role="reviewer",
    escalates_at=NOON + timedelta(hours=4),
    expires_at=NOON + timedelta(hours=24),
    policy="1",
)
APPROVED = ActionApproved(
    action_id="pay.1", sha256=SHA256, by=("alice",), policy="1", status="human_approved", action=BYTES.decode()
)


def endpoints(*given: dict[str, Any], **more: Any) -> Endpoints:
    """Endpoints, each with an address and a secret unless it names its own."""
    named = [{"url": "https://example.org/hook", "secret_env": "HOOK_SECRET"} | one for one in given]
    return Endpoints.model_validate({"endpoints": named, **more})
