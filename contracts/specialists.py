"""The words about tasks for specialists."""

from typing import Literal

from pydantic import AwareDatetime, Field

from contracts.verifier import Passage
from hansard.message import Command, Confidence, Event, Json, Money, Name, Path, Value


class Given(Value):
    """The answer of an earlier step, for the next."""

    step: Name
    worker: str
    text: str
    data: Json = None
    sources: tuple[str, ...] = ()


class PerformTask(Command):
    kind = "hansard.specialists.perform.v1"
    task: Path = Field(description="step and attempt: `draft.1`")
    service: Name = Field(default="specialists", description="the service that does it: its topic of commands gets this")
    role: Name
    goal: str = Field(description="what the caller asked for")
    instructions: str = Field(default="", description="this task's part in it")
    context: tuple[Given, ...] = ()
    passages: tuple[Passage, ...] = ()
    feedback: tuple[str, ...] = Field(default=(), description="why the attempt before did not pass")
    input: Json = None
    deadline: AwareDatetime
    budget: Money | None = None


class CancelTask(Command):
    kind = "hansard.specialists.cancel.v1"
    task: Path
    service: Name = "specialists"


class TaskAnswered(Event):
    kind = "hansard.specialists.task-answered.v1"
    once = "stream"
    task: Path
    role: Name
    text: str
    data: Json = None
    confidence: Confidence | None = None
    sources: tuple[str, ...] = ()
    passages: tuple[Passage, ...] = Field(default=(), description="what the next steps may rest on")
    tier: str
    provider: str = ""
    model: str
    cost: Money
    input_tokens: int = 0
    output_tokens: int = 0
    call: Path | None = Field(default=None, description="the gateway's call that gave this answer")


class TaskFailed(Event):
    kind = "hansard.specialists.task-failed.v1"
    once = "stream"
    task: Path
    role: str
    reason: Literal["no-answer", "unknown-role", "deadline", "budget", "internal"]
    detail: str
    cost: Money = Field(default=0, validate_default=True)


class TaskCancelled(Event):
    kind = "hansard.specialists.task-cancelled.v1"
    once = "stream"
    task: Path
