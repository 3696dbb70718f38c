"""The door for requests."""

from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, Discriminator, Field, Tag, field_validator, model_validator

from contracts.plans import Plan
from hansard.message import Command, Json, Money, Name
from hansard.values import Whole, Wholes

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


def _named_or_whole(plan: object) -> str:
    return "<name>" if isinstance(plan, str) else "<plan>"


def _empty(text: str) -> bool:
    return text == ""


class SubmitRequest(Command):
    """A typed request (`type` and `data`) or a free one (`text`). Free text never reaches a typed handler by guesswork."""

    kind = "hansard.requests.submit.v1"
    text: str | None = Field(default=None, min_length=1, description="a free request, in the caller's words")
    type: Name | None = Field(default=None, description="a typed request: the handler's name")
    data: dict[str, Json] = Field(default_factory=dict, description="what the typed handler needs")
    plan: Annotated[Annotated[Name, Tag("<name>")] | Annotated[Plan, Tag("<plan>")], Discriminator(_named_or_whole)] | None = (
        Field(default=None, description="a named plan, or a plan of the caller's own")
    )
    architecture: Architecture | None = Field(default=None, description="the caller's own choice; else the router chooses")
    deadline: AwareDatetime | None = Field(default=None, description="the result is published by then, also if it is a failure")
    budget: Money | None = Field(default=None, description="US dollars that may be spent on models")
    text_ref: Whole = None
    data_refs: Wholes = Field(default_factory=dict)
    requester: str = Field(default="", max_length=256, exclude_if=_empty, description="who sends it: bob@example.org")
    requester_key: str = Field(default="", max_length=128, exclude_if=_empty, description="the id of the key that signed")
    requester_signature: str = Field(
        default="", max_length=512, exclude_if=_empty, description="base64, over hansard.reviews.request_statement"
    )

    @field_validator("deadline")
    @classmethod
    def _in_utc(cls, deadline: datetime | None) -> datetime | None:
        try:
            return deadline and deadline.astimezone(UTC)
        except OverflowError:
            raise ValueError("should be a time between the years 1 and 9999, in UTC too") from None

    @model_validator(mode="after")
    def _free_or_typed(self) -> Self:
        if (self.text is None) == (self.type is None):
            raise ValueError("give either `text` (a free request) or `type` with `data` (a typed one)")
        if self.data and self.type is None:
            raise ValueError("`data` goes with `type`")
        if self.text_ref is not None and self.text is None:
            raise ValueError("`text_ref` goes with `text`, the beginning of what it names")
        if unknown := self.data_refs.keys() - {name for name, value in self.data.items() if isinstance(value, str)}:
            raise ValueError(f"`data_refs` names {min(unknown)!r}, and `data` has no text of that name: give its beginning")
        return self
