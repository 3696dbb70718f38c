from contracts.approval.messages import (
    ActionApproved,
    ActionAssessed,
    ActionEscalated,
    ActionProposed,
    ActionRejected,
    AskPerson,
    GiveMore,
    LookupStarted,
    MoreAsked,
    MoreGiven,
    PersonRegistered,
    PersonRemoved,
    ProposeAction,
    QuestionAnswered,
    QuestionAsked,
    QuestionExpired,
    ReviewAccepted,
    ReviewAction,
    ReviewDelegated,
    ReviewRefused,
    WithdrawAction,
)
from contracts.samples import DEADLINE, Samples

_ABOUT = "Process $2,500 refund for service outage"
_ACTION = (
    '{"about":"Process $2,500 refund for service outage","amount":"2500","arguments":{"invoice":"R-17"},"currency":"USD",'
    '"recipient":"acct-9","tool":"ledger"}'
)
_REF = {
    "sha256": "eb6b52bddc931f63136d17de35a9318dc6e9f58ab50a79e4ec1f1760d75b7d21",
    "size": 147,
    "media_type": "application/json",
}
_HASH = _REF["sha256"]
_REQUESTER = {"name": "bob@example.org", "proof": "signature", "key": "0f1e2d3c4b5a6978"}
_PROPOSAL = {
    "action_id": "pay.1",
    "action": _ACTION,
    "action_ref": _REF,
    "sha256": _HASH,
    "gate": "policy",
    "reasons": ["The outage lasted nine hours."],
    "confidence": 0.75,
    "cost": "2500",
    "currency": "USD",
    "personal_data": True,
    "domain": "financial",
    "options": [{"source": "analyst", "view": "Refund half.", "confidence": 0.6}],
    "requester": _REQUESTER,
    "proposer": "planner",
    "quorum": 2,
    "seconds": 86400.0,
}
_ASSESSMENT = {
    "status": "pending_review",
    "risk": "high",
    "rule": "risk",
    "reasons": ["high risk: refund"],
    "personal_data": ["declared"],
    "queue": "reviewers",
    "role": "reviewer",
    "quorum": 2,
}
_REVIEW = {
    "review": "5f0c9d6e1b2a",
    "action_id": "pay.1",
    "sha256": _HASH,
    "decision": "edit",
    "reviewer": "alice@example.org",
    "notes": "Half of it, per policy.",
    "edited": _ACTION,
    "question": "How long did the outage last?",
    "to": "carol@example.org",
    "answer": {"hours": 9},
    "key": "0f1e2d3c4b5a6978",
    "signature": "c2lnbmF0dXJl",
}
_DECISION = {
    "action_id": "pay.1",
    "sha256": _HASH,
    "by": ["alice@example.org"],
    "notes": "Approved per policy.",
    "policy": "1-3f2a9c0d1e4b",
    "rule": "risk",
}
_PERSON = {
    "name": "alice@example.org",
    "roles": ["reviewer", "senior"],
    "keys": [{"id": "0f1e2d3c4b5a6978", "algorithm": "Ed25519", "public": "c3R1dnd4eXowMTIzNDU2Nzg5YWJjZGVmZ2hpamtsbW4="}],
    "identities": ["https://id.example.org 24601"],
    "topics": ["approvals.reviews.alice"],
}

COMPLETE: Samples = {
    ProposeAction: _PROPOSAL,
    WithdrawAction: {"action_id": "pay.1", "reason": "cancelled"},
    GiveMore: {"action_id": "pay.1", "question": 1, "answer": "Nine hours.", "answer_ref": _REF},
    AskPerson: {
        "action_id": "ask.1",
        "question": "Which account?",
        "question_ref": _REF,
        "role": "reviewer",
        "choices": ["acct-9", "acct-10"],
        "proposer": "planner",
        "requester": _REQUESTER,
        "seconds": 3600.0,
    },
    ReviewAction: _REVIEW,
    ActionProposed: _PROPOSAL,
    LookupStarted: {
        "attempt": 1,
        "safety": "safe",
        "key": "",
        "deadline": DEADLINE,
        "similar_to": _ABOUT,
        "people": ["alice@example.org"],
    },
    ActionAssessed: {
        "action_id": "pay.1",
        "sha256": _HASH,
        **_ASSESSMENT,
        "similar": [
            {
                "workflow": "order-76",
                "action": "pay.1",
                "about": _ABOUT,
                "status": "human_approved",
                "by": ["alice@example.org"],
                "similarity": 0.9,
            }
        ],
        "cases": 41,
        "escalates_at": DEADLINE,
        "expires_at": DEADLINE,
        "policy": "1-3f2a9c0d1e4b",
    },
    ActionApproved: {**_DECISION, "status": "human_approved", "action": _ACTION, "action_ref": _REF, "proposed": _HASH},
    ActionRejected: {**_DECISION, "because": "reviewed", "status": "human_rejected"},
    ActionEscalated: {"action_id": "pay.1", "because": "nobody decided in time", "role": "senior", "expires_at": DEADLINE},
    ReviewAccepted: {
        "action_id": "pay.1",
        "review": _REVIEW,
        "proof": "signature",
        "roles": ["reviewer"],
        "approvals": ["alice@example.org"],
    },
    ReviewRefused: {
        "action_id": "pay.1",
        "review": "5f0c9d6e1b2a",
        "reviewer": "mallory@example.org",
        "decision": "approve",
        "reason": "bad-signature",
        "detail": "the signature is not that of key 0f1e2d3c4b5a6978 over this review",
    },
    ReviewDelegated: {"action_id": "pay.1", "by": "alice@example.org", "to": "carol@example.org"},
    MoreAsked: {"action_id": "pay.1", "question": 1, "text": "How long did the outage last?", "by": "alice@example.org"},
    MoreGiven: {"action_id": "pay.1", "question": 1, "answer": "Nine hours.", "answer_ref": _REF},
    QuestionAsked: {
        "action_id": "ask.1",
        "question": "Which account?",
        "question_ref": _REF,
        "role": "reviewer",
        "choices": ["acct-9", "acct-10"],
        "requester": _REQUESTER,
        "proposer": "planner",
        "expires_at": DEADLINE,
        "policy": "1-3f2a9c0d1e4b",
    },
    QuestionAnswered: {"action_id": "ask.1", "answer": "acct-9", "by": "alice@example.org", "notes": "as on the invoice"},
    QuestionExpired: {"action_id": "ask.1", "because": "expired"},
    PersonRegistered: {**_PERSON, "by": "operator@example.org"},
    PersonRemoved: {"name": "alice@example.org", "by": "operator@example.org"},
}
