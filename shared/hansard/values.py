"""Fields that several messages carry, each defined once: a message inherits them, so that its JSON stays flat.

A subclass has the fields of its bases first, from the last base to the first, and then its own.
"""

from functools import cache
from typing import Annotated, Any, Literal

from pydantic import Field

from hansard.message import Confidence, Json, Money, Value


class ContentReference(Value):
    """Names bytes in the content store: by their SHA-256, so that whoever reads them can check them."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0, description="bytes")
    media_type: str = Field(default="text/plain", max_length=200)
    name: str = Field(default="", max_length=255, exclude_if=lambda name: name == "", description="of the file, if it was one")


def _absent(value: object) -> bool:
    return not value


# A field `X_ref` beside a field `X` (see `hansard.references`): X is an excerpt, and the whole is in the content store.
Whole = Annotated[
    ContentReference | None,
    Field(default=None, exclude_if=_absent, description="the whole, where the field of this name without `_ref` is an excerpt"),
]
# The same for texts that are members of an object `X`.
Wholes = Annotated[
    dict[str, ContentReference],
    Field(
        default_factory=dict, exclude_if=_absent, description="the whole texts, by the names of those members that are excerpts"
    ),
]


class Insert(Value):
    """A part of a text that is an excerpt: whoever needs the whole puts up to `limit` characters of it there."""

    start: int = Field(ge=0, description="characters before it in the text")
    end: int = Field(ge=0)
    whole: ContentReference
    limit: int | None = Field(default=None, ge=0)


# Beside a text `X` that is made of several: where in it there are excerpts, in order.
Inserts = Annotated[
    tuple[Insert, ...],
    Field(default=(), exclude_if=_absent, description="the parts of the field of this name that are excerpts of other texts"),
]


class Passage(Value):
    """A piece of a source, with the name to cite it by."""

    source: str
    text: str


class Content(Value):
    text: str = Field(description="the answer")
    data: Json = Field(default=None, description="the answer as data, if a rule, a schema or a worker gave one")
    sources: tuple[str, ...] = Field(default=(), description="the sources that the answer cites")
    text_ref: Whole = None
    data_ref: Whole = None
    sources_ref: Whole = None


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
    passages_ref: Whole = None


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
