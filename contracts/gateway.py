"""The words about model calls, in the terms of OpenTelemetry's GenAI conventions."""

from typing import Literal

from pydantic import AwareDatetime, Field

from contracts.verifier import Passage
from hansard.message import Command, Confidence, Event, Intent, Json, Money, Name, Path, Value

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
    judges: Path | None = Field(
        default=None, exclude_if=lambda call: call is None, description="where a judge is asked: the call whose answer it judges"
    )


class CancelCall(Command):
    kind = "hansard.gateway.cancel.v1"
    call: Path


class RejectReply(Command):
    """The answer of this call did not hold: it is not to be used again."""

    kind = "hansard.gateway.reject-reply.v1"
    call: Path
    reasons: tuple[str, ...] = Field(min_length=1)


class Fall(Value):
    """Why a tier did not give the answer."""

    tier: str
    attempt: int = Field(default=0, ge=0, description="0 where nothing left the house")
    provider: str = ""
    model: str = ""
    reason: FallReason
    detail: str = ""


class CallAccepted(Event):
    """The call as it was heard. It waits until somebody can make an attempt."""

    kind = "hansard.gateway.call-accepted.v1"
    request: CallModel
    at: AwareDatetime = Field(description="recorded time of the request")


class AttemptStarted(Intent):
    """One attempt. Where the call did not have to wait for it, its first attempt accepts the call too."""

    kind = "hansard.gateway.attempt-started.v1"
    call: Path
    tier: str
    provider: str
    model: str
    endpoint: str = Field(description="name of the endpoint in the configuration; never its key")
    request: CallModel | None = Field(
        default=None,
        exclude_if=lambda request: request is None,
        description="the call as it was heard, where this is the first that is said of it",
    )


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
    resume_at: AwareDatetime | None = Field(default=None, description="when the call goes on, at whatever tier")
    estimated: bool = Field(default=False, description="the cost is an estimate, or not known")
    circuit_open_until: AwareDatetime | None = None


class Learned(Value):
    """The event on the record whose answer was used again."""

    event: str
    workflow: str
    stream: str
    tier: str
    at: AwareDatetime


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
    learned: Learned | None = Field(default=None, description="where the cache has the answer from; none for a known answer")


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


class ReplyRejected(Event):
    """The reply stays on the record, and is not used again."""

    kind = "hansard.gateway.reply-rejected.v1"
    call: Path
    reasons: tuple[str, ...] = Field(min_length=1)


class CircuitOpened(Event):
    """No process calls this endpoint until then; after that one call is its probe."""

    kind = "hansard.gateway.circuit-opened.v1"
    endpoint: Name
    change: int = Field(ge=1, description="numbers the changes of this circuit")
    until: AwareDatetime
    failures: int = Field(ge=0)
    of: int = Field(ge=0)
    probes: int = Field(default=0, ge=0, description="that failed since it opened first")
    reason: FallReason
    detail: str = ""


class ProbeGranted(Event):
    kind = "hansard.gateway.probe-granted.v1"
    endpoint: Name
    change: int = Field(ge=1)
    by: str
    until: AwareDatetime


class CircuitClosed(Event):
    kind = "hansard.gateway.circuit-closed.v1"
    endpoint: Name
    change: int = Field(ge=1)
    by: str


class RetriesGranted(Event):
    """So many retries may be made by this process at this endpoint; 0 where the budget is spent."""

    kind = "hansard.gateway.retries-granted.v1"
    endpoint: Name
    by: str
    calls: int = Field(ge=0)
    granted: int = Field(ge=0)
    left: float = Field(ge=0, allow_inf_nan=False, description="retries that are left for whoever asks next")


class TokensStreamed(Event):
    """A piece of an answer while it is being written: for watching, never on the record, never for deciding."""

    kind = "hansard.gateway.tokens-streamed.v1"
    call: Path
    attempt: int = Field(ge=1)
    tier: str
    piece: int = Field(ge=1, description="numbers the pieces of one attempt")
    text: str
