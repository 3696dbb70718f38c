"""The messages about tasks: those that a worker receives, and its answers.

A worker is a service that a step of a plan names. The planner sends it `PerformTask`; it answers each task once, with
`TaskAnswered` or `TaskFailed`, or with `TaskCancelled` if it was asked to stop.
"""

from decimal import Decimal
from typing import Any, Literal

from pydantic import AwareDatetime, Field

from hansard.actions import Approval
from hansard.message import Command, Event, Json, Money, Name, Path
from hansard.topics import Kind, Topic
from hansard.values import Attribution, Content, Cost, Passage, Usage, Whole, Wholes, WorkerAnswer

FailedBecause = Literal["no-answer", "unknown-role", "deadline", "budget", "internal"]


class Given(Content):
    """The answer of an earlier step, for the next."""

    step: Name
    worker: str


class PerformTask(Command):
    kind = "hansard.specialists.perform.v1"
    task: Path = Field(description="step and attempt: `draft.1`")
    service: Name = Field(default="specialists", description="the service that performs it, on its topic of commands")
    role: Name
    goal: str = Field(description="what the caller asked for")
    instructions: str = Field(default="", description="this task's part in it")
    context: tuple[Given, ...] = ()
    passages: tuple[Passage, ...] = ()
    feedback: tuple[str, ...] = Field(default=(), description="why the previous attempt did not pass")
    input: Json = None
    deadline: AwareDatetime
    budget: Money | None = None
    goal_ref: Whole = None
    instructions_ref: Whole = None
    input_refs: Wholes = Field(default_factory=dict)
    context_ref: Whole = None
    passages_ref: Whole = None
    approval: Approval | None = Field(
        default=None,
        exclude_if=lambda approval: approval is None,
        description="of an action that needed one: what may run is the content that it names, and nothing else",
    )

    def answer(
        self,
        text: str,
        *,
        data: Any = None,
        sources: tuple[str, ...] = (),
        confidence: float | None = None,
        degraded: tuple[str, ...] = (),
    ) -> "TaskAnswered":
        """Makes the answer of a worker that did not call the gateway's models: it cost nothing. `degraded`: why it is worse than
        it should be, where it is."""
        return TaskAnswered(
            task=self.task,
            role=self.role,
            text=text,
            data=data,
            sources=sources,
            confidence=confidence,
            degraded=degraded,
            tier="code",
            model="",
            cost=Decimal(0),
        )

    def failure(self, reason: "FailedBecause", detail: str, *, final: bool = False) -> "TaskFailed":
        """Makes a failure with its reason. The planner tries again if the step allows it, unless the failure is `final`."""
        return TaskFailed(task=self.task, role=self.role, reason=reason, detail=detail, final=final)


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
    reason: FailedBecause
    detail: str
    final: bool = Field(default=False, exclude_if=lambda final: not final, description="another attempt would fail as well")


class TaskCancelled(Event):
    kind = "hansard.specialists.task-cancelled.v1"
    once = "stream"
    task: Path


def task_topics(name: str, *, facts: tuple[Kind, ...] = (), outside: bool = False) -> tuple[Topic, ...]:
    """The topics of a worker of your own: it takes tasks on one and publishes its answers on the other.

    `facts` are further events of its own; they get a topic `NAME.facts`, which nobody waits for. `outside`: the worker is
    a program that does not store its messages (a FastStream handler, another language): its answers come in at a door.
    """
    answers = (TaskAnswered, TaskFailed, TaskCancelled)
    topics = (
        Topic(f"{name}.commands", f"Tasks for {name}.", (PerformTask, CancelTask), ("planner",), (name,)),
        Topic(f"{name}.events", "What became of each task.", answers, (name,), ("planner", "console"), door=outside),
    )
    if not facts:
        return topics
    return (*topics, Topic(f"{name}.facts", f"What {name} notes, for whoever watches.", facts, (name,), ("console",)))
