"""What a client gets: the result of a request, the messages of its workflow, and what goes wrong."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from pydantic import Field

from hansard.envelope import Envelope
from hansard.message import Json, Value
from hansard.values import Inserts, Whole

Status = Literal["completed", "failed", "refused", "cancelled"]


class ClientError(Exception):
    """What went wrong, and what to do about it."""


class NotAccepted(ClientError):
    """The request became a dead letter: it has no result of its own."""


class NoResult(ClientError, TimeoutError):
    """No result came in time. It may still come: ask for it again under the same id."""


class Result(Value):
    """How a workflow ended. `text` and `data` are the answer where it was completed, `reason` and `detail` say why it was not.

    An answer too long for a message has its beginning here, and in the fields `…_ref` what the content store has of it.
    `hansard.references.whole(result, read)` puts it together.
    """

    id: str
    status: Status
    text: str = ""
    data: Json = None
    reason: str = ""
    detail: str = ""
    confidence: float | None = None
    answered_by: str = Field(default="", description="`rule` or `plan`")
    handler: str = Field(default="", description="the rule or the plan")
    sources: tuple[str, ...] = ()
    degraded: tuple[str, ...] = Field(
        default=(),
        description="why the answer is worse than it should be, as `primary: 401, the key was refused`; empty: it is not",
    )
    contributions: tuple[dict[str, Json], ...] = Field(default=(), description="who had a part in it: step, worker, model, …")
    cost: Decimal = Field(default=Decimal(0), description="US dollars spent on models")
    input_tokens: int = 0
    output_tokens: int = 0
    text_ref: Whole = None
    text_inserts: Inserts = ()
    data_ref: Whole = None
    sources_ref: Whole = None
    detail_ref: Whole = None
    contributions_ref: Whole = None

    @property
    def ok(self) -> bool:
        return self.status == "completed"


@dataclass(frozen=True)
class Received:
    """One message of a workflow. `at` is its recorded time, `topic` is named without the prefix."""

    topic: str
    envelope: Envelope
    data: Any
    at: datetime

    @property
    def kind(self) -> str:
        return self.envelope.type

    @property
    def name(self) -> str:
        """`hansard.planner.step-passed.v1` in short: `step-passed`."""
        parts = self.kind.split(".")
        return parts[-2] if len(parts) > 2 else self.kind

    @property
    def stream(self) -> str:
        """The stream that stored it: `specialists/draft.1`."""
        return self.envelope.subject


@dataclass(frozen=True)
class Sent:
    """What this client submitted last under an id. `at`: the brokers' time in milliseconds."""

    hash: str
    at: int
    known: bool  # the caller chose the id: it may have been used before
    changed: bool  # this client sent another body under this id before

    @property
    def since(self) -> int:
        return 0 if self.known else self.at
