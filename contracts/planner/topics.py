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
        ),
        ("planner",),
        ("console",),
    ),
)
