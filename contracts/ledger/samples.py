from contracts.ledger.messages import EntryPosted, PostingFailed, PostingStarted
from contracts.samples import DEADLINE, Samples

_HASH = "eb6b52bddc931f63136d17de35a9318dc6e9f58ab50a79e4ec1f1760d75b7d21"
_DECISION = "0e1c1f6e-7d2b-5b0e-9a1c-2f6b7c1d3e4f"

COMPLETE: Samples = {
    PostingStarted: {
        "attempt": 1,
        "safety": "keyed",
        "key": _DECISION,
        "deadline": DEADLINE,
        "task": "pay.1",
        "role": "ledger",
        "approval": {
            "action": {"sha256": _HASH, "size": 147, "media_type": "application/json"},
            "decision": _DECISION,
            "status": "human_approved",
            "by": ["alice@example.org"],
            "policy": "1-3f2a9c0d1e4b",
            "at": "2026-01-05T09:00:00Z",
        },
        "until": DEADLINE,
    },
    PostingFailed: {
        "task": "pay.1",
        "attempt": 1,
        "detail": "the book did not answer: database is locked",
        "resume_at": "2026-01-05T09:00:02Z",
    },
    EntryPosted: {
        "task": "pay.1",
        "entry": {
            "number": 12,
            "decision": _DECISION,
            "sha256": _HASH,
            "amount": "2500",
            "currency": "USD",
            "recipient": "acct-9",
            "about": "Process $2,500 refund for service outage",
            "arguments": {"invoice": "R-17"},
            "at": "2026-01-05T09:00:01Z",
        },
        "late": True,
    },
}
