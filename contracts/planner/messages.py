"""Running a plan."""

from typing import Literal

from pydantic import AwareDatetime, Field

from contracts.approval.messages import Requester
from contracts.plans import Plan
from hansard.message import Command, Confidence, Event, Json, Money, Name, Path, Value
from hansard.values import Attribution, Cost, Degradable, Usage, Whole, WorkerAnswer


class Assignment(Value):
    """What is to be run, and within which limits."""

    request: str = Field(default="", description="CloudEvents id of the request")
    goal: str
    plan: Plan
    deadline: AwareDatetime
    budget: Money | None = None
    goal_ref: Whole = None
    requester: Requester | None = Field(
        default=None, exclude_if=lambda requester: requester is None, description="who sent the request, as stated there"
    )


class RunPlan(Command, Assignment):
    kind = "hansard.planner.run.v1"


class ExpireWorkflow(Command):
    """The deadline of a workflow of the planner has passed: the planner ends it, even if it never received the plan."""

    kind = "hansard.planner.expire.v1"
    request: str = Field(description="CloudEvents id of the request")
    deadline: AwareDatetime


class PlanStarted(Event, Assignment):
    kind = "hansard.planner.plan-started.v1"
    policy: str


class PlanRejected(Event):
    kind = "hansard.planner.plan-rejected.v1"
    problems: tuple[str, ...] = Field(min_length=1)


class StepAnswered(Event, Usage, Attribution, WorkerAnswer):
    """A worker's answer as the planner received it: the steps that need it are given this text. An answer that is not
    checked passes at once; otherwise the verdict follows."""

    kind = "hansard.planner.step-answered.v1"
    step: Name
    attempt: int
    passed: bool = Field(default=False, description="no check was asked for, so the step has passed")


class StepPassed(Event, Cost, Degradable):
    """The check passed. `cost` is the check's, and so are the reasons in `degraded`."""

    kind = "hansard.planner.step-passed.v1"
    step: Name
    attempt: int
    by: tuple[str, ...] = ()
    confidence: Confidence | None = Field(default=None, description="the judge's, where one was asked")


class StepRetried(Event, Cost):
    """An attempt that did not pass, with its reasons, which are given to the next attempt."""

    kind = "hansard.planner.step-retried.v1"
    step: Name
    attempt: int = Field(description="the attempt that failed")
    reasons: tuple[str, ...]
    resume_at: AwareDatetime | None = Field(default=None, description="when the next attempt begins; none: at once")


class StepFailed(Event, Cost):
    kind = "hansard.planner.step-failed.v1"
    step: Name
    attempt: int
    reasons: tuple[str, ...]


class StepSkipped(Event):
    kind = "hansard.planner.step-skipped.v1"
    step: Name
    because: tuple[Name, ...] = Field(description="the steps it needs that failed or were skipped")


class StepCancelled(Event):
    kind = "hansard.planner.step-cancelled.v1"
    step: Name
    because: Literal["cancelled", "deadline", "failed", "budget"]


class StepWaiting(Event):
    """The step waits: for a decision about its action, or for what its plan says. The workflow's clock stands still."""

    kind = "hansard.planner.step-waiting.v1"
    step: Name
    attempt: int
    awaited: Literal["approval", "answer", "event", "time"]
    since: AwareDatetime
    until: AwareDatetime = Field(description="the time that is awaited, or the time-out")


class DeadlineMoved(Event):
    """No step waits any more: the clock of the workflow goes on, and its deadline is later by the time that was waited."""

    kind = "hansard.planner.deadline-moved.v1"
    deadline: AwareDatetime


class SignalNoted(Event):
    """An event that a step of the plan waits for, now or later. The first of its name counts; one that no step waits for is not
    noted, and before the plan came only some are."""

    kind = "hansard.planner.signal-noted.v1"
    name: Name
    data: Json = None
    by: str = Field(default="", description="as the sender stated it, unproven")


class ReviewerAnswered(Event, Usage):
    """A reviewer's question about the step's action has its answer, from a worker; what that cost."""

    kind = "hansard.planner.reviewer-answered.v1"
    task: Path = Field(description="the task of that worker: `pay.1.q2`")
    failed: str = Field(default="", description="why there is no answer")


class PlanCancelNoted(Event):
    """A cancel was received before its plan."""

    kind = "hansard.planner.cancel-noted.v1"
    by: str
    reason: str = ""
