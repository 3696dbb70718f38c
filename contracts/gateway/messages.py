"""Model calls, in the terms of OpenTelemetry's GenAI conventions; circuits and retry budgets of endpoints."""

from typing import Literal

from pydantic import AwareDatetime, Field

from hansard.message import Command, Confidence, Event, Intent, Json, Name, Path, Value
from hansard.values import Answer, Attribution, Cost, Estimated, Inserts, Passage, Tokens, Usage, Whole

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
    "content-missing",  # what the call carries by reference is not in the content store: no tier can answer it
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
    content_ref: Whole = None
    content_inserts: Inserts = ()


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
    passages_ref: Whole = None
    judges: Path | None = Field(
        default=None,
        exclude_if=lambda call: call is None,
        description="set where a judge is asked: the call whose answer it judges",
    )


class CancelCall(Command):
    kind = "hansard.gateway.cancel.v1"
    call: Path


class RejectReply(Command):
    """The answer of this call was found wrong: the gateway does not use it again."""

    kind = "hansard.gateway.reject-reply.v1"
    call: Path
    reasons: tuple[str, ...] = Field(min_length=1)


class Fall(Attribution):
    """Why a tier did not give the answer."""

    attempt: int = Field(default=0, ge=0, description="0 where no request was sent")
    reason: FallReason
    detail: str = ""


class CallAccepted(Event):
    """The call as it was received. It waits until a process has a slot for an attempt."""

    kind = "hansard.gateway.call-accepted.v1"
    request: CallModel
    at: AwareDatetime = Field(description="recorded time of the request")


class AttemptStarted(Intent, Attribution):
    """One attempt. The first attempt of a call that did not have to wait accepts the call too."""

    kind = "hansard.gateway.attempt-started.v1"
    call: Path
    endpoint: str = Field(description="name of the endpoint in the configuration; never its key")
    request: CallModel | None = Field(
        default=None,
        exclude_if=lambda request: request is None,
        description="the call as it was received, where this is the first message of its stream",
    )


class AttemptFailed(Event, Estimated, Tokens, Cost):
    """An attempt that gave no answer. It may have a cost all the same."""

    kind = "hansard.gateway.attempt-failed.v1"
    call: Path
    fall: Fall
    latency_ms: float = Field(ge=0)
    retry_at: AwareDatetime | None = Field(default=None, description="not before then: backoff, or the provider's Retry-After")
    resume_at: AwareDatetime | None = Field(default=None, description="when the call goes on, at whatever tier")
    circuit_open_until: AwareDatetime | None = None


class Learned(Value):
    """The recorded event whose answer was used again."""

    event: str
    workflow: str
    stream: str
    tier: str
    at: AwareDatetime


class ModelReplied(Event, Estimated, Usage, Attribution, Answer):
    """The answer, which tier gave it, and why the better tiers did not. Its usage is that of all attempts of the call."""

    kind = "hansard.gateway.model-replied.v1"
    once = "stream"
    call: Path
    attempt: int = Field(ge=0, description="0 where no request was sent")
    tool_calls: tuple[ToolCall, ...] = ()
    tool_calls_ref: Whole = None
    finish_reason: str = "stop"
    falls: tuple[Fall, ...] = ()
    latency_ms: float = Field(ge=0)
    policy: str = ""
    learned: Learned | None = Field(default=None, description="where the cache found the answer; none for a known answer")
    without: tuple[str, ...] = Field(
        default=(),
        exclude_if=lambda fields: not fields,
        description="fields of the call that the endpoint does not take: left out, or sent in another form",
    )


class ModelFailed(Event, Cost):
    kind = "hansard.gateway.model-failed.v1"
    once = "stream"
    call: Path
    reason: Literal["deadline", "no-answer", "in-doubt", "refused"]
    falls: tuple[Fall, ...] = ()
    detail: str = ""


class CallCancelled(Event):
    kind = "hansard.gateway.call-cancelled.v1"
    call: Path


class ReplyDiscarded(Event, Usage):
    """An answer that arrived after the call was settled or cancelled: not used, but paid for."""

    kind = "hansard.gateway.reply-discarded.v1"
    call: Path
    attempt: int
    because: Literal["cancelled", "superseded"]


class ReplyRejected(Event):
    """The reply stays in the event store, and is not used again."""

    kind = "hansard.gateway.reply-rejected.v1"
    call: Path
    reasons: tuple[str, ...] = Field(min_length=1)


class CircuitOpened(Event):
    """No process calls this endpoint before `until`; after that one call is its probe."""

    kind = "hansard.gateway.circuit-opened.v1"
    endpoint: Name
    change: int = Field(ge=1, description="numbers the changes of this circuit")
    until: AwareDatetime
    failures: int = Field(ge=0)
    of: int = Field(ge=0)
    probes: int = Field(default=0, ge=0, description="probes that failed since it first opened")
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
    """How many retries this process may make at this endpoint; 0 where the budget is spent."""

    kind = "hansard.gateway.retries-granted.v1"
    endpoint: Name
    by: str
    calls: int = Field(ge=0)
    granted: int = Field(ge=0)
    left: float = Field(ge=0, allow_inf_nan=False, description="retries that are left for the next process that asks")


class FieldRefused(Event):
    """The endpoint does not take this field of a request for this model. All processes leave it out or send its other form, until
    the day is over."""

    kind = "hansard.gateway.field-refused.v1"
    endpoint: Name
    model: str
    field: str = Field(description="as `takes_no` in the configuration of an endpoint names it")
    detail: str = Field(default="", description="what the endpoint said")


class TokensStreamed(Event):
    """A piece of an answer while it is being written: for watching, never recorded, never decided on."""

    kind = "hansard.gateway.tokens-streamed.v1"
    call: Path
    attempt: int = Field(ge=1)
    tier: str
    piece: int = Field(ge=1, description="numbers the pieces of one attempt")
    text: str
