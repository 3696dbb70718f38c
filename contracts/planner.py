"""The words about running a plan."""

from typing import Literal

from pydantic import AwareDatetime, Field

from contracts.plans import Plan
from contracts.verifier import Passage
from hansard.message import Command, Confidence, Event, Json, Money, Name


class RunPlan(Command):
    kind = "hansard.planner.run.v1"
    request: str = Field(default="", description="CloudEvents id of the request")
    goal: str
    plan: Plan
    deadline: AwareDatetime
    budget: Money | None = None


class ExpireWorkflow(Command):
    """The deadline of a workflow that was handed over has passed: the planner ends it, also where the plan never came."""

    kind = "hansard.planner.expire.v1"
    request: str = Field(description="CloudEvents id of the request")
    deadline: AwareDatetime


class PlanStarted(Event):
    kind = "hansard.planner.plan-started.v1"
    request: str
    goal: str
    plan: Plan
    deadline: AwareDatetime
    budget: Money | None = None
    policy: str


class PlanRejected(Event):
    kind = "hansard.planner.plan-rejected.v1"
    problems: tuple[str, ...] = Field(min_length=1)


class StepAnswered(Event):
    """A worker's answer as the planner heard it: the steps that need it are given this text. What is not checked has
    passed with it; otherwise the verdict follows."""

    kind = "hansard.planner.step-answered.v1"
    step: Name
    attempt: int
    text: str
    data: Json = None
    confidence: Confidence | None = None
    sources: tuple[str, ...] = ()
    passages: tuple[Passage, ...] = ()
    tier: str = ""
    model: str = ""
    cost: Money
    input_tokens: int = 0
    output_tokens: int = 0
    passed: bool = Field(default=False, description="nobody was asked to check it, so the step has passed")


class StepPassed(Event):
    kind = "hansard.planner.step-passed.v1"
    step: Name
    attempt: int
    by: tuple[str, ...] = ()
    confidence: Confidence | None = Field(default=None, description="the judge's, where one was asked")
    cost: Money = Field(default=0, validate_default=True, description="of the check")


class StepRetried(Event):
    """An attempt that did not pass, and its reasons: the next one is told."""

    kind = "hansard.planner.step-retried.v1"
    step: Name
    attempt: int = Field(description="the attempt that failed")
    reasons: tuple[str, ...]
    cost: Money = Field(default=0, validate_default=True)
    resume_at: AwareDatetime | None = Field(default=None, description="when the next one begins; none: at once")


class StepFailed(Event):
    kind = "hansard.planner.step-failed.v1"
    step: Name
    attempt: int
    reasons: tuple[str, ...]
    cost: Money = Field(default=0, validate_default=True)


class StepSkipped(Event):
    kind = "hansard.planner.step-skipped.v1"
    step: Name
    because: tuple[Name, ...] = Field(description="the needs that will not be met")


class StepCancelled(Event):
    kind = "hansard.planner.step-cancelled.v1"
    step: Name
    because: Literal["cancelled", "deadline", "failed", "budget"]


class PlanCancelNoted(Event):
    """A cancel came before its plan did."""

    kind = "hansard.planner.cancel-noted.v1"
    by: str
    reason: str = ""
