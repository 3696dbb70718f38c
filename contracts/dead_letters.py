"""What could not be heard: never lost, never looping, never in the way of its neighbours."""

from pydantic import Field

from hansard.message import DeadReason, Event


class DeadLettered(Event):
    """Something heard that could not be decided, with its cause, attempts and origin."""

    kind = "hansard.dead-letters.dead-lettered.v1"
    service: str
    reason: DeadReason
    detail: str
    attempts: int = Field(ge=1)
    door: bool = Field(description="it came from outside: what it claims about a workflow is only a claim")
    message_kind: str = Field(default="", description="CloudEvents type of what was heard, where it was readable")
    message_id: str = Field(default="", description="CloudEvents id of what was heard, as its sender wrote it")
    causation_id: str = Field(description="cause id of the dead hearing")
    topic: str
    partition: int
    offset: int
    timestamp: int = Field(description="milliseconds since the epoch, as the broker had it")
    key: str | None = Field(default=None, description="base64")
    headers: tuple[tuple[str, str], ...] = Field(default=(), description="name, base64 value")
    body: str | None = Field(default=None, description="base64; absent when too large to carry: read it at its origin")
    hash: str = Field(description="SHA-256 of the body, hex")
