"""Running a plan."""

from contracts.planner.messages import (
    Assignment,
    DeadlineMoved,
    ExpireWorkflow,
    PlanCancelNoted,
    PlanRejected,
    PlanStarted,
    ReviewerAnswered,
    RunPlan,
    SignalNoted,
    StepAnswered,
    StepCancelled,
    StepFailed,
    StepPassed,
    StepRetried,
    StepSkipped,
    StepWaiting,
)

__all__ = [
    "Assignment",
    "DeadlineMoved",
    "ExpireWorkflow",
    "PlanCancelNoted",
    "PlanRejected",
    "PlanStarted",
    "ReviewerAnswered",
    "RunPlan",
    "SignalNoted",
    "StepAnswered",
    "StepCancelled",
    "StepFailed",
    "StepPassed",
    "StepRetried",
    "StepSkipped",
    "StepWaiting",
]
