"""Running a plan."""

from contracts.planner.messages import (
    Assignment,
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

__all__ = [
    "Assignment",
    "ExpireWorkflow",
    "PlanCancelNoted",
    "PlanRejected",
    "PlanStarted",
    "RunPlan",
    "StepAnswered",
    "StepCancelled",
    "StepFailed",
    "StepPassed",
    "StepRetried",
    "StepSkipped",
]
