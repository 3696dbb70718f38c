"""The base of every message that services say to each other."""

from decimal import Decimal
from math import isfinite
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    WithJsonSchema,
)

Once = Literal["", "stream", "workflow"]


class Value(BaseModel):
    """A part of a message. Unknown fields of a newer version are survived."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Message(Value):
    """One message. Its `kind` is its CloudEvents type: it outlives the class's name, and a change of meaning gets a new one."""

    kind: ClassVar[str]
    once: ClassVar[Once] = ""  # "stream", "workflow": its id comes from there, so that a second one cannot be recorded


class Command(Message):
    """Asks for something and may be refused. Imperative."""


class Event(Message):
    """Says what is so. Past tense, never refused."""


Safety = Literal["safe", "keyed", "never-repeat"]


class Intent(Event):
    """Recorded before an effect leaves the house. One attempt, under a fencing token."""

    attempt: int = Field(ge=1, description="the fencing token: a receipt of an older attempt never wins")
    safety: Safety = Field(
        description="what may be done when it is in doubt: repeat it, repeat it under its key, or ask a person"
    )
    key: str = Field(description="idempotency key sent along with the effect")
    deadline: AwareDatetime


class Outcome(Event):
    """What a performer brings back from one attempt. Heard by the performer's own stream, never decided again by an audit."""

    attempt: int = Field(ge=1)


# Why a message was not processed and became a dead letter.
DeadReason = Literal[
    "unreadable",  # body, headers or envelope cannot be parsed
    "unknown-kind",  # waits for an upgrade
    "invalid",  # a known kind with fields that are not of its schema
    "too-large",
    "id-reused",  # the same id with another body
    "correlation-in-use",
    "not-expected",  # nothing that this could be an answer to, or not allowed on this topic
    "poison",  # the decision itself failed
    "crashed",  # the process ended more than once while hearing it
    "refused-by-store",
]


def refuse_float(value: Any) -> Any:
    if isinstance(value, float | bool):
        raise ValueError("money travels as a string, never as a float")
    return value


def refuse_infinite(value: JsonValue) -> JsonValue:
    """JSON has no NaN and no Infinity: written out again they would silently become null."""
    if isinstance(value, float):
        if not isfinite(value):
            raise ValueError("NaN, Infinity and numbers beyond 1.8e308 are not JSON")
    elif isinstance(value, list):
        for item in value:
            refuse_infinite(item)
    elif isinstance(value, dict):
        for item in value.values():
            refuse_infinite(item)
    return value


Money = Annotated[
    Decimal,
    Field(ge=0, le=10**12, max_digits=60, allow_inf_nan=False, description="US dollars"),
    BeforeValidator(refuse_float),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?([Ee][+-]?[0-9]+)?$"}),
]
Json = Annotated[JsonValue, AfterValidator(refuse_infinite)]
Confidence = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", description="a short name, without slashes")]
Path = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_./-]{0,254}$", description="names joined by slashes")]
