from contracts.notifier.messages import (
    ActionNoted,
    DeliverWebhook,
    DeliveryAccepted,
    DeliveryFailed,
    DeliveryMissed,
    DeliveryStarted,
    Notification,
    WebhookDelivered,
)
from contracts.samples import DEADLINE, Samples

_HASH = "eb6b52bddc931f63136d17de35a9318dc6e9f58ab50a79e4ec1f1760d75b7d21"
_ABOUT = "Process $2,500 refund for service outage"
_AT = "2026-01-05T09:00:00Z"
_NAMED = {"delivery": "pay.1/1/chat", "endpoint": "chat"}
_DELIVER = {
    **_NAMED,
    "type": "approval.decision-needed",
    "at": _AT,
    "data": {"action_id": "pay.1", "about": _ABOUT},
    "data_ref": {"sha256": _HASH, "size": 147, "media_type": "application/json"},
}

COMPLETE: Samples = {
    Notification: {
        "number": 1,
        "event": "decision-needed",
        "action_id": "pay.1",
        "sha256": _HASH,
        "about": _ABOUT,
        "tool": "ledger",
        "amount": "2500",
        "currency": "USD",
        "recipient": "acct-9",
        "queue": "reviewers",
        "role": "reviewer",
        "person": "carol@example.org",
        "risk": "high",
        "reasons": ["high risk: refund"],
        "status": "pending_review",
        "by": ["alice@example.org"],
        "requester": {"name": "bob@example.org", "proof": "signature", "key": "0f1e2d3c4b5a6978"},
        "escalates_at": DEADLINE,
        "deadline": DEADLINE,
    },
    ActionNoted: {
        "action_id": "pay.1",
        "sha256": _HASH,
        "action": {
            "tool": "ledger",
            "about": _ABOUT,
            "arguments": {"invoice": "R-17"},
            "amount": "2500",
            "currency": "USD",
            "recipient": "acct-9",
        },
    },
    DeliverWebhook: _DELIVER,
    DeliveryAccepted: {"request": _DELIVER, "at": _AT, "until": "2026-01-06T09:00:00Z"},
    DeliveryStarted: {
        **_NAMED,
        "attempt": 1,
        "safety": "keyed",
        "key": "msg_0e1c1f6e7d2b5b0e9a1c2f6b7c1d3e4f",
        "deadline": DEADLINE,
        "until": "2026-01-06T09:00:00Z",
        "request": _DELIVER,
    },
    DeliveryMissed: {
        **_NAMED,
        "attempt": 1,
        "reason": "status",
        "status": 503,
        "detail": "try again later",
        "resume_at": "2026-01-05T09:00:07Z",
    },
    WebhookDelivered: {**_NAMED, "attempt": 2, "status": 204, "latency_ms": 41.5},
    DeliveryFailed: {**_NAMED, "because": "gone", "attempts": 2, "detail": "the endpoint answered 410"},
}
