"""Tasks for the specialists and for workers of a user's own."""

from contracts.specialists.messages import (
    CancelTask,
    Given,
    PerformTask,
    TaskAnswered,
    TaskCancelled,
    TaskFailed,
)

__all__ = ["CancelTask", "Given", "PerformTask", "TaskAnswered", "TaskCancelled", "TaskFailed"]
