"""The public package, for services of your own, their tests and their callers. It imports no other package of the project.

A service is a decider (`decide`, `evolve`: pure functions) and a line for each kind that it receives:

    from hansard import Decider, PerformTask, Service, task_topics

    def decide(answered, message, context):
        if not answered:
            yield message.answer(f"You asked: {message.goal}")

    service = Service(
        "echo",
        Decider(False, decide, lambda *_: True),
        receives={PerformTask: lambda task: task.task if task.service == "echo" else None},
        topics=task_topics("echo"),
    )

`hansard serve worker.py:service` runs it, `hansard.testing` tries it without servers, `hansard.client` submits requests and
waits for results, `hansard.outside` is for workers that are programs of their own. `hansard init worker NAME` writes one.
"""

from hansard.decider import CannotProcess, Context, Decider, WakeUp
from hansard.identity import Stream, mine
from hansard.message import (
    Command,
    Confidence,
    Event,
    Intent,
    Json,
    Message,
    Money,
    Name,
    Outcome,
    Path,
    Value,
)
from hansard.policy import StoredPolicy, version_of
from hansard.service import Perform, Performer, PerformerContext, Service
from hansard.tasks import CancelTask, Given, PerformTask, TaskAnswered, TaskCancelled, TaskFailed, task_topics
from hansard.topics import Topic
from hansard.values import ContentReference, Passage, Whole

__all__ = [
    "CancelTask",
    "CannotProcess",
    "Command",
    "Confidence",
    "ContentReference",
    "Context",
    "Decider",
    "Event",
    "Given",
    "Intent",
    "Json",
    "Message",
    "Money",
    "Name",
    "Outcome",
    "Passage",
    "Path",
    "Perform",
    "PerformTask",
    "Performer",
    "PerformerContext",
    "Service",
    "StoredPolicy",
    "Stream",
    "TaskAnswered",
    "TaskCancelled",
    "TaskFailed",
    "Topic",
    "Value",
    "WakeUp",
    "Whole",
    "mine",
    "task_topics",
    "version_of",
]
