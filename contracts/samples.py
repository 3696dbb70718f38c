"""Values that the samples of several services share.

Each service has a `samples.py` beside its messages: `COMPLETE`, one sample of every kind with every field, and, where what is
required cannot be read from the fields, `MINIMAL`. The golden examples are made of them. Nothing of this is used at run time.
"""

from typing import Any

from hansard.message import Message

Samples = dict[type[Message], dict[str, Any]]

DEADLINE = "2026-01-05T09:05:00Z"
QUESTION = "What is an event log?"
ANSWER = "An event log keeps what happened, in order, for good."
PASSAGE = {"source": "kafka.apache.org", "text": "A log is a sequence of records, ordered by time."}
USAGE = {"cost": "0.00042", "input_tokens": 212, "output_tokens": 31}
ATTRIBUTION = {"tier": "primary", "provider": "local", "model": "SmolLM2-135M-Instruct"}
FELL = "primary: 401, the key was refused"
CANCEL = {"by": "operator@example.org", "reason": "no longer needed"}
RECORD = {
    "topic": "requests",
    "partition": 3,
    "offset": 42,
    "timestamp": 1767603600000,
    "key": "b3JkZXItNzc=",
    "headers": [["ce_id", "b3JkZXItNzc="]],
    "body": "eyJ0ZXh0Ijo1fQ==",
}
_STEP = {
    "id": "draft",
    "worker": "writer",
    "instructions": "Write one sentence.",
    "needs": ["research"],
    "input": {"words": 40},
    "verify": "judge",
    "retries": 1,
    "timeout": 30.0,
    "optional": True,
}
_ACTION = {"tool": "ledger", "about": "Refund invoice R-17", "arguments": {"invoice": "R-17"}, "currency": "USD"}
_GATED = {
    "id": "pay",
    "worker": "ledger",
    "needs": ["draft", "asked"],
    "gate": {
        "approval": "always",
        "action": _ACTION,
        "action_from": "draft",
        "confidence": 0.75,
        "cost": "2500",
        "currency": "USD",
        "personal_data": True,
        "domain": "financial",
        "options_from": ["draft"],
        "quorum": 2,
        "seconds": 86400.0,
        "ask": "analyst",
    },
}
_WAITS = [
    {
        "id": "asked",
        "worker": "wait",
        "wait": {"question": "Which account?", "role": "reviewer", "choices": ["A", "B"], "timeout": 3600.0, "otherwise": "A"},
    },
    {"id": "arrived", "worker": "wait", "wait": {"event": "payment-received"}},
    {"id": "morning", "worker": "wait", "wait": {"until": "2026-01-06T09:00:00Z"}},
    {"id": "later", "worker": "wait", "wait": {"seconds": 60.0}},
]
PLAN = {
    "name": "explain",
    "version": "2",
    "architecture": "pipeline",
    "steps": [{"id": "research", "worker": "research"}, _STEP, _GATED, *_WAITS],
    "answer": ["draft"],
}
