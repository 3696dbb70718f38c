"""Messages that could not be processed. They are kept, never retried in a loop, and never block later messages."""

from typing import ClassVar

from pydantic import Field

from hansard.message import DeadReason, Event
from hansard.values import RecordContent, RecordPart


class DeadLettered(Event, RecordContent):
    """A message that was received and could not be processed, with its cause, attempts and origin."""

    kind = "hansard.dead-letters.dead-lettered.v1"
    by_runtime: ClassVar[bool] = True
    service: str
    reason: DeadReason
    detail: str
    attempts: int = Field(ge=1)
    door: bool = Field(description="it was received at a door: what it states about a workflow is unproven")
    message_kind: str = Field(default="", description="CloudEvents type of the dead message, where it was readable")
    message_id: str = Field(default="", description="CloudEvents id of the dead message, as its sender wrote it")
    causation_id: str = Field(description="causation id of the dead inbox entry")
    topic: str
    partition: int
    offset: int
    timestamp: int = Field(description="milliseconds since the epoch, as the broker had it")
    hash: str = Field(description="SHA-256 of the body, hex")
    omitted: tuple[RecordPart, ...] = Field(
        default=(), description="what is too large to be carried here: read it at its topic, partition and offset"
    )
