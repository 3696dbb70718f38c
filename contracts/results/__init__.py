"""How a workflow ended: one terminal message each."""

from contracts.results.messages import (
    Contribution,
    FailReason,
    Result,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowFailed,
    WorkflowRefused,
)

__all__ = ["Contribution", "FailReason", "Result", "WorkflowCancelled", "WorkflowCompleted", "WorkflowFailed", "WorkflowRefused"]
