from contracts.results.messages import WorkflowCancelled, WorkflowCompleted, WorkflowFailed, WorkflowRefused
from contracts.samples import ANSWER, ATTRIBUTION, FELL, USAGE, Samples

_RESULT = {"request": "order-77", **USAGE}
_CONTRIBUTION = {
    "step": "draft",
    "worker": "writer",
    "confidence": 0.9,
    "sources": ["kafka.apache.org"],
    "degraded": [FELL],
    **ATTRIBUTION,
}

COMPLETE: Samples = {
    WorkflowCompleted: {
        **_RESULT,
        "text": ANSWER,
        "data": {"total": "129.95"},
        "answered_by": "plan",
        "handler": "explain",
        "confidence": 0.9,
        "sources": ["kafka.apache.org"],
        "contributions": [_CONTRIBUTION],
        "degraded": [FELL],
    },
    WorkflowFailed: {
        **_RESULT,
        "reason": "deadline",
        "detail": "the deadline passed while draft was at work",
        "partial": [_CONTRIBUTION],
    },
    WorkflowRefused: {
        **_RESULT,
        "reason": "unknown-plan",
        "detail": "there is no plan explian; did you mean explain?",
    },
    WorkflowCancelled: {**_RESULT, "by": "operator@example.org", "detail": "no longer needed"},
}
