"""The way out: one terminal message a workflow. Consume here."""

from typing import Literal

from pydantic import Field

from hansard.message import Confidence, Event, Json, Money, Value

FailReason = Literal["deadline", "budget", "step-failed", "no-answer", "plan-rejected", "dead-letter", "internal"]


class Contribution(Value):
    """Who had a part in the answer."""

    step: str
    worker: str
    confidence: Confidence | None = Field(default=None, description="unknown where nobody measured one")
    sources: tuple[str, ...] = ()
    tier: str = Field(default="", description="which tier of the gateway spoke")
    model: str = ""


class Result(Event):
    once = "workflow"
    request: str = Field(default="", description="CloudEvents id of the request, as its sender wrote it")
    cost: Money = Field(default=0, validate_default=True, description="US dollars spent on models")
    input_tokens: int = 0
    output_tokens: int = 0


class WorkflowCompleted(Result):
    kind = "hansard.results.completed.v1"
    text: str = Field(description="the answer")
    data: Json = Field(default=None, description="the answer as data, where a rule or a schema gave one")
    answered_by: Literal["rule", "plan"]
    handler: str = Field(default="", description="the rule or the plan")
    confidence: Confidence | None = None
    sources: tuple[str, ...] = ()
    contributions: tuple[Contribution, ...] = ()


class WorkflowFailed(Result):
    kind = "hansard.results.failed.v1"
    reason: FailReason
    detail: str
    partial: tuple[Contribution, ...] = ()


class WorkflowRefused(Result):
    """The request was readable and cannot be served as it stands. Mend it and send it under a new id."""

    kind = "hansard.results.refused.v1"
    reason: Literal["invalid", "unknown-type", "unknown-plan", "too-large", "past-deadline", "unsupported"]
    detail: str


class WorkflowCancelled(Result):
    kind = "hansard.results.cancelled.v1"
    by: str = Field(description="a claim until a principal's own topic or a signature proves it")
    detail: str = ""
