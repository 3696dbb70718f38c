from contracts.router.messages import CancelNoted, RequestRouted
from contracts.samples import CANCEL, Samples

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
    CancelNoted: CANCEL,
}
