"""Fields that several messages carry, each defined once: a message inherits them, so that its JSON stays flat.

A subclass has the fields of its bases first, from the last base to the first, and then its own.
"""

from functools import cache
from typing import Any, Literal

from pydantic import Field

from hansard.message import Confidence, Json, Money, Value


class Passage(Value):
    """A piece of a source, with the name to cite it by."""

    source: str
    text: str


class Content(Value):
    text: str = Field(description="the answer")
    data: Json = Field(default=None, description="the answer as data, if a rule, a schema or a worker gave one")
    sources: tuple[str, ...] = Field(default=(), description="the sources that the answer cites")


class Answer(Content):
    confidence: Confidence | None = Field(default=None, description="absent if nobody measured one")


class Degradable(Value):
    degraded: tuple[str, ...] = Field(
        default=(),
        exclude_if=lambda reasons: not reasons,
        description="why it is worse than it should be, one reason each, as `primary: 401, the key was refused`; absent where "
        "whatever should have a part in it had one",
    )


class WorkerAnswer(Answer, Degradable):
    passages: tuple[Passage, ...] = Field(default=(), description="passages on which the next steps may rest")


class Attribution(Value):
    """Which tier of the gateway answered, or was asked."""

    tier: str = Field(description="name of the tier: an endpoint's, or `cache`, `extractive`, `rules`")
    provider: str = ""
    model: str = ""


class Tokens(Value):
    input_tokens: int = 0
    output_tokens: int = 0


class Cost(Value):
    cost: Money = Field(default=0, validate_default=True, description="US dollars spent on models")


class Usage(Tokens):
    """The price of an answer. The cost is required here, even if it is 0: an answer whose cost was forgotten is not free."""

    cost: Money = Field(description="US dollars spent on models; 0 for a model of one's own")


class Estimated(Value):
    estimated: bool = Field(default=False, description="the cost is an estimate: the price or the usage is not known")


RecordPart = Literal["key", "headers", "body"]


class RecordContent(Value):
    """The key, headers and body of a Kafka record, as they were received."""

    key: str | None = Field(default=None, description="base64")
    headers: tuple[tuple[str, str], ...] = Field(default=(), description="name, base64 value")
    body: str | None = Field(default=None, description="base64")


def carried(message: Value, *parts: type[Value]) -> dict[str, Any]:
    """The fields of `parts` as `message` has them, to make the next message with: `carried(reply, Answer, Usage)`."""
    return {name: getattr(message, name) for name in _names(parts)}


@cache
def _names(parts: tuple[type[Value], ...]) -> tuple[str, ...]:
    return tuple(name for part in parts for name in part.model_fields)
