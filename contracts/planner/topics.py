from contracts.planner.messages import (
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
from hansard.topics import Topic

TOPICS = (
    Topic(
        "planner.commands",
        "Plans to run, and workflows whose deadline has passed.",
        (RunPlan, ExpireWorkflow),
        ("router",),
        ("planner",),
    ),
    Topic(
        "planner.events",
        "The course of every plan.",
        (
            PlanStarted,
            PlanRejected,
            StepAnswered,
            StepPassed,
            StepRetried,
            StepFailed,
            StepSkipped,
            StepCancelled,
            PlanCancelNoted,
            StepWaiting,
            DeadlineMoved,
            SignalNoted,
            ReviewerAnswered,
        ),
        ("planner",),
        ("console",),
    ),
)
