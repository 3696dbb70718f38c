"""The door for requests. Publish here."""

from typing import Any, Literal, Self

from pydantic import AwareDatetime, Field, JsonValue, model_validator

from contracts.message import Command, Money, Name
from contracts.plans import Plan

Architecture = Literal[
    "specialist",
    "pipeline",
    "fan-out",
    "hierarchical",
    "debate",
    "rag",
    "plan-and-execute",
    "human",
    "agent",
    "event-driven",
    "hybrid",
]


class SubmitRequest(Command):
    """A typed request (`type` and `data`) or a free one (`text`). Free text never reaches a typed handler by guesswork."""

    kind = "hansard.requests.submit.v1"
    text: str | None = Field(default=None, min_length=1, description="a free request, in the caller's words")
    type: Name | None = Field(default=None, description="a typed request: the handler's name")
    data: dict[str, JsonValue] = Field(default_factory=dict, description="what the typed handler needs")
    plan: Name | Plan | None = Field(default=None, description="a named plan, or a plan of the caller's own")
    architecture: Architecture | None = Field(
        default=None, description="the caller's own choice; else the router chooses"
    )
    deadline: AwareDatetime | None = Field(
        default=None, description="answer by then, or say that it was not possible"
    )
    budget: Money | None = Field(default=None, description="US dollars that may be spent on models")

    @model_validator(mode="before")
    @classmethod
    def _one_of_two(cls, given: Any) -> Any:
        if isinstance(given, dict) and (given.get("text") is None) == (given.get("type") is None):
            raise ValueError("give either `text` (a free request) or `type` with `data` (a typed one)")
        return given

    @model_validator(mode="after")
    def _data_needs_a_type(self) -> Self:
        if self.data and self.type is None:
            raise ValueError("`data` goes with `type`")
        return self
