"""The language of tasks: see `hansard.tasks`, where whoever writes a worker finds it."""

from hansard.tasks import CancelTask, Given, PerformTask, TaskAnswered, TaskCancelled, TaskFailed

__all__ = ["CancelTask", "Given", "PerformTask", "TaskAnswered", "TaskCancelled", "TaskFailed"]
