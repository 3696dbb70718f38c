"""Tasks for the specialists and for workers of a user's own."""

from typing import Literal

from pydantic import AwareDatetime, Field

from contracts.values import Attribution, Content, Cost, Passage, Usage, WorkerAnswer
from hansard.message import Command, Event, Json, Money, Name, Path


class Given(Content):
    """The answer of an earlier step, for the next."""

    step: Name
    worker: str


class PerformTask(Command):
    kind = "hansard.specialists.perform.v1"
    task: Path = Field(description="step and attempt: `draft.1`")
    service: Name = Field(
        default="specialists", description="the service that performs it: this is published to its topic of commands"
    )
    role: Name
    goal: str = Field(description="what the caller asked for")
    instructions: str = Field(default="", description="this task's part in it")
    context: tuple[Given, ...] = ()
    passages: tuple[Passage, ...] = ()
    feedback: tuple[str, ...] = Field(default=(), description="why the previous attempt did not pass")
    input: Json = None
    deadline: AwareDatetime
    budget: Money | None = None


class CancelTask(Command):
    kind = "hansard.specialists.cancel.v1"
    task: Path
    service: Name = "specialists"


class TaskAnswered(Event, Usage, Attribution, WorkerAnswer):
    kind = "hansard.specialists.task-answered.v1"
    once = "stream"
    task: Path
    role: Name
    call: Path | None = Field(default=None, description="the gateway's call that gave this answer")


class TaskFailed(Event, Cost):
    kind = "hansard.specialists.task-failed.v1"
    once = "stream"
    task: Path
    role: str
    reason: Literal["no-answer", "unknown-role", "deadline", "budget", "internal"]
    detail: str


class TaskCancelled(Event):
    kind = "hansard.specialists.task-cancelled.v1"
    once = "stream"
    task: Path
