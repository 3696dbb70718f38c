from contracts.planner.messages import (
    ExpireWorkflow,
    PlanCancelNoted,
    PlanRejected,
    PlanStarted,
    RunPlan,
    StepAnswered,
    StepCancelled,
    StepFailed,
    StepPassed,
    StepRetried,
    StepSkipped,
)
from contracts.samples import ANSWER, ATTRIBUTION, CANCEL, DEADLINE, FELL, PASSAGE, PLAN, QUESTION, USAGE, Samples

_RUN = {"request": "order-77", "goal": QUESTION, "plan": PLAN, "deadline": DEADLINE, "budget": "0.25"}

COMPLETE: Samples = {
    RunPlan: _RUN,
    ExpireWorkflow: {"request": "order-77", "deadline": DEADLINE},
    PlanStarted: {**_RUN, "policy": "1"},
    PlanRejected: {"problems": ["step draft needs research, which is not in the plan"]},
    StepAnswered: {
        "step": "draft",
        "attempt": 1,
        "text": ANSWER,
        "data": {"words": 10},
        "confidence": 0.9,
        "sources": ["kafka.apache.org"],
        "passages": [PASSAGE],
        "degraded": [FELL],
        **ATTRIBUTION,
        **USAGE,
        "passed": True,
    },
    StepPassed: {
        "step": "draft",
        "attempt": 1,
        "by": ["cites-what-it-was-given"],
        "confidence": 0.9,
        "cost": "0.00042",
        "degraded": [f"judge: {FELL}"],
    },
    StepRetried: {
        "step": "draft",
        "attempt": 1,
        "reasons": ["no-answer: every tier failed"],
        "cost": "0.00042",
        "resume_at": "2026-01-05T09:00:02Z",
    },
    StepFailed: {"step": "draft", "attempt": 2, "reasons": ["It cites nothing."], "cost": "0.00084"},
    StepSkipped: {"step": "draft", "because": ["research"]},
    StepCancelled: {"step": "draft", "because": "deadline"},
    PlanCancelNoted: CANCEL,
}
