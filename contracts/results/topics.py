from contracts.results.messages import WorkflowCancelled, WorkflowCompleted, WorkflowFailed, WorkflowRefused
from hansard.topics import Topic

TOPICS = (
    Topic(
        "results",
        "Consume results here: one terminal message a workflow.",
        (WorkflowCompleted, WorkflowFailed, WorkflowRefused, WorkflowCancelled),
        producers=("router", "planner"),
        consumers=("console",),
    ),
)
