"""How a workflow ended: one terminal message each."""

from typing import Literal

from pydantic import Field

from hansard.message import Confidence, Event
from hansard.values import Answer, Attribution, ContentReference, Cost, Degradable, Inserts, Tokens, Whole

FailReason = Literal["deadline", "budget", "step-failed", "no-answer", "plan-rejected", "dead-letter", "internal"]


Part = ContentReference | None


def _absent(part: Part) -> bool:
    return part is None


class Contribution(Attribution, Degradable):
    """A step's part in the answer."""

    step: str
    worker: str
    confidence: Confidence | None = Field(default=None, description="unknown where nobody measured one")
    sources: tuple[str, ...] = ()
    answer: Part = Field(default=None, exclude_if=_absent, description="the step's whole answer, where it travels by reference")
    data: Part = Field(default=None, exclude_if=_absent, description="the same of its data")


class Result(Event, Tokens, Cost):
    once = "workflow"
    request: str = Field(default="", description="CloudEvents id of the request, as its sender wrote it")


class WorkflowCompleted(Result, Answer, Degradable):
    kind = "hansard.results.completed.v1"
    answered_by: Literal["rule", "plan"]
    handler: str = Field(default="", description="the rule or the plan")
    contributions: tuple[Contribution, ...] = ()
    text_inserts: Inserts = ()
    contributions_ref: Whole = None


class WorkflowFailed(Result):
    kind = "hansard.results.failed.v1"
    reason: FailReason
    detail: str
    partial: tuple[Contribution, ...] = ()
    detail_ref: Whole = None
    partial_ref: Whole = None


class WorkflowRefused(Result):
    """The request was readable and cannot be served as it stands. Correct it and send it under a new id."""

    kind = "hansard.results.refused.v1"
    reason: Literal["invalid", "unknown-type", "unknown-plan", "too-large", "past-deadline", "unsupported"]
    detail: str


class WorkflowCancelled(Result):
    kind = "hansard.results.cancelled.v1"
    by: str = Field(description="as the sender stated it, unproven")
    detail: str = ""
