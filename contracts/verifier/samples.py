from contracts.samples import ANSWER, DEADLINE, FELL, PASSAGE, QUESTION, Samples
from contracts.verifier.messages import CheckClaim, ClaimPassed, ClaimRejected

COMPLETE: Samples = {
    CheckClaim: {
        "check": "draft.1",
        "question": QUESTION,
        "claim": ANSWER,
        "sources": ["kafka.apache.org"],
        "passages": [PASSAGE],
        "facts": {"invoice": "2026-0815"},
        "judge": True,
        "deadline": DEADLINE,
        "tier": "primary",
        "call": "specialists/draft.1/1",
    },
    ClaimPassed: {
        "check": "draft.1",
        "by": ["cites-what-it-was-given"],
        "confidence": 0.9,
        "cost": "0.00042",
        "policy": "1",
        "degraded": [f"judge: {FELL}"],
    },
    ClaimRejected: {
        "check": "draft.1",
        "reasons": ["It cites nothing."],
        "failed": ["cites-what-it-was-given"],
        "cost": "0.00042",
        "policy": "1",
    },
}
