"""The words about model calls, in the terms of OpenTelemetry's GenAI conventions."""

from typing import Literal

from pydantic import AwareDatetime, Field

from contracts.message import Command, Confidence, Event, Intent, Json, Money, Name, Outcome, Path, Value
from contracts.verifier import Passage

FallReason = Literal[
    "error",
    "timeout",
    "rate-limit",
    "circuit-open",
    "invalid-output",
    "low-confidence",
    "no-endpoint",
    "miss",
    "lost",
    "retry-budget",
    "refused",
]
ModelClass = Literal["capable", "fast"]


class ToolCall(Value):
    id: str
    name: str
    arguments: str = Field(description="JSON, as the model wrote it")


class ChatMessage(Value):
    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_call_id: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()


class CallModel(Command):
    kind = "hansard.gateway.call.v1"
    call: Path = Field(description="the asking stream and a number: `specialists/draft.1/1`")
    role: Name = Field(default="assistant", description="on whose behalf; part of the cache key")
    model_class: ModelClass = "fast"
    api: Literal["chat", "responses"] = "chat"
    messages: tuple[ChatMessage, ...] = Field(min_length=1)
    question: str = Field(default="", description="what is asked, in short: for the cache, the extractive tier and the rules")
    passages: tuple[Passage, ...] = ()
    tools: tuple[dict[str, Json], ...] = ()
    response_schema: dict[str, Json] | None = Field(default=None, description="JSON Schema of a structured output")
    max_output_tokens: int = Field(default=512, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    minimum_confidence: Confidence | None = None
    deadline: AwareDatetime


class CancelCall(Command):
    kind = "hansard.gateway.cancel.v1"
    call: Path


class Fall(Value):
    """Why a tier did not give the answer."""

    tier: str
    attempt: int = Field(default=0, ge=0, description="0 where nothing left the house")
    provider: str = ""
    model: str = ""
    reason: FallReason
    detail: str = ""


class CallAccepted(Event):
    """The call as it was heard: what a performer that takes over needs."""

    kind = "hansard.gateway.call-accepted.v1"
    request: CallModel
    at: AwareDatetime = Field(description="recorded time of the request")


class AttemptStarted(Intent):
    kind = "hansard.gateway.attempt-started.v1"
    call: Path
    tier: str
    provider: str
    model: str
    endpoint: str = Field(description="name of the endpoint in the configuration; never its key")


class AttemptFailed(Event):
    """The receipt of an attempt that brought no answer. What it cost all the same is here."""

    kind = "hansard.gateway.attempt-failed.v1"
    call: Path
    fall: Fall
    latency_ms: float = Field(ge=0)
    cost: Money = Field(default=0, validate_default=True)
    input_tokens: int = 0
    output_tokens: int = 0
    retry_at: AwareDatetime | None = Field(default=None, description="not before then: backoff, or the provider's Retry-After")
    resume_at: AwareDatetime | None = Field(default=None, description="when the call goes on, at whatever tier; none: at once")
    estimated: bool = Field(default=False, description="the cost is an estimate, or not known")
    circuit_open_until: AwareDatetime | None = None


class ModelReplied(Event):
    """The answer, whoever gave it, and why the better tiers did not."""

    kind = "hansard.gateway.model-replied.v1"
    once = "stream"
    call: Path
    attempt: int = Field(ge=0, description="0 where nothing left the house")
    tier: str = Field(description="name of the tier: an endpoint's, or `cache`, `extractive`, `rules`")
    provider: str
    model: str
    text: str
    data: Json = Field(default=None, description="the structured output, where a schema was given")
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str = "stop"
    confidence: Confidence | None = None
    sources: tuple[str, ...] = ()
    falls: tuple[Fall, ...] = ()
    latency_ms: float = Field(ge=0)
    cost: Money = Field(description="US dollars of all attempts of this call; 0 for a model of one's own")
    input_tokens: int = 0
    output_tokens: int = 0
    estimated: bool = Field(default=False, description="the cost is an estimate: no price or no usage was told")
    policy: str = ""


class ModelFailed(Event):
    kind = "hansard.gateway.model-failed.v1"
    once = "stream"
    call: Path
    reason: Literal["deadline", "no-answer", "in-doubt", "refused"]
    falls: tuple[Fall, ...] = ()
    detail: str = ""
    cost: Money = Field(default=0, validate_default=True)


class CallCancelled(Event):
    kind = "hansard.gateway.call-cancelled.v1"
    call: Path


class ReplyDiscarded(Event):
    """An answer that came after the call was settled or cancelled: not used, but paid for."""

    kind = "hansard.gateway.reply-discarded.v1"
    call: Path
    attempt: int
    because: Literal["cancelled", "superseded"]
    cost: Money
    input_tokens: int = 0
    output_tokens: int = 0


class AttemptReturned(Outcome):
    """What one attempt brought back. Never published: the stream says what it makes of it."""

    kind = "hansard.gateway.attempt-returned.v1"
    call: Path
    reply: ModelReplied | None = None
    failure: AttemptFailed | None = None
