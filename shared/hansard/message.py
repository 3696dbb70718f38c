"""The base of every message that services exchange."""

from decimal import Decimal
from math import isfinite
from typing import Annotated, ClassVar, Literal

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
    """A part of a message. Unknown fields, of a newer version, are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Message(Value):
    """One message. `kind` is its CloudEvents type: it stays when the class is renamed, and a change of meaning gets a new one."""

    kind: ClassVar[str]
    by_runtime: ClassVar[bool] = False  # the runtime stores it in a stream, unasked: `evolve` need not know it
    once: ClassVar[Once] = ""  # stored at most once a "stream" or a "workflow": see identity.stored_message_id
    inline: ClassVar[int] = 256 * 1024  # bytes; of a larger one long texts and lists travel by reference: see hansard.references
    # Texts whose bytes are in the content store however short they are: the decider names them in `X_ref`, beside `X`, which
    # stays whole. The bytes are stored before the message.
    stored_whole: ClassVar[tuple[str, ...]] = ()


class Command(Message):
    """Asks for something and may be refused. Its name is imperative."""


class Event(Message):
    """States a fact, and is never refused. Its name is in the past tense."""


Safety = Literal["safe", "keyed", "never-repeat"]


class Intent(Event):
    """Stored before an effect outside is attempted. One attempt, under a fencing token."""

    attempt: int = Field(ge=1, description="the fencing token: the outcome of an older attempt never wins")
    safety: Safety = Field(
        description="what may be done when it is in doubt: repeat it, repeat it under its key, or ask a person"
    )
    key: str = Field(description="idempotency key sent along with the effect")
    deadline: AwareDatetime


class Outcome(Event):
    """The end of one attempt, as its performer reports it to its own stream: what was seen outside, before any policy. It is
    recorded as it came and never published; an audit decides on it again."""

    attempt: int = Field(ge=1)


# Why a message was not processed and became a dead letter.
DeadReason = Literal[
    "unreadable",  # headers or envelope cannot be read; data that is not JSON is `invalid`
    "unknown-kind",  # waits for an upgrade
    "invalid",  # a known kind with fields that are not of its schema
    "too-large",
    "id-reused",  # the same id with another body, or in another workflow
    "correlation-in-use",
    "not-expected",  # it answers nothing that was asked, or its kind is not allowed on this topic
    "poison",  # the decision itself failed
    "set-aside",  # this version cannot fold the history of its stream; redrive it after an upgrade
    "crashed",  # the process ended more than once while processing it
    "refused-by-store",
    "not-on-the-record",  # forged: it came on an internal topic, and the record does not hold exactly it
]
# A request that is dead for one of these gets no result of its own: its dead letter is the only answer. (An unreadable one that
# names its workflow has a result there.)
WITHOUT_RESULT: tuple[DeadReason, ...] = ("correlation-in-use", "id-reused", "unreadable")


def refuse_float(value: object) -> object:
    if isinstance(value, float | bool):
        raise ValueError("money travels as a string, never as a float")
    return value


JSON_DEPTH = 100  # levels of lists and objects in one value: half of what common JSON readers read
JSON_DIGITS = 4000  # of an integer: Python reads no more than 4,300
_INTEGER_BITS = int(JSON_DIGITS / 0.30103)


def refuse_unreadable(value: JsonValue, depth: int = 0) -> JsonValue:
    """Refuses what could be written and not be read again: NaN and Infinity, which JSON has not, huge integers, deep nesting."""
    if isinstance(value, float):
        if not isfinite(value):
            raise ValueError("NaN, Infinity and numbers beyond 1.8e308 are not JSON")
    elif isinstance(value, int):
        if value.bit_length() > _INTEGER_BITS:
            raise ValueError(f"an integer may have at most {JSON_DIGITS} digits")
    elif isinstance(value, list | dict):
        if depth == JSON_DEPTH:
            raise ValueError(f"lists and objects may be nested at most {JSON_DEPTH} levels deep")
        for item in value if isinstance(value, list) else value.values():
            refuse_unreadable(item, depth + 1)
    return value


Money = Annotated[
    Decimal,
    Field(ge=0, le=10**12, max_digits=60, allow_inf_nan=False, description="US dollars"),
    BeforeValidator(refuse_float),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?([Ee][+-]?[0-9]+)?$"}),
]
Json = Annotated[JsonValue, AfterValidator(refuse_unreadable)]
Confidence = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", description="a short name, without slashes")]
Path = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_./-]{0,254}$", description="names joined by slashes")]
