from contracts.router.messages import CancelNoted, ExpiryPostponed, MoveDeadline, RequestRouted
from contracts.samples import CANCEL, DEADLINE, Samples

COMPLETE: Samples = {
    RequestRouted: {
        "path": "llm",
        "handler": "explain",
        "architecture": "pipeline",
        "agents": ["research", "writer"],
        "confidence": 0.8,
        "reasoning": "No rule decides this; the caller named a plan.",
        "cost_estimate": "0.0006",
        "policy": "1",
    },
    MoveDeadline: {"deadline": DEADLINE},
    ExpiryPostponed: {"deadline": DEADLINE},
    CancelNoted: CANCEL,
}
