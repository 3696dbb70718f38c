"""The data that the event store holds, and its errors. Its rules: infra/decisions/0014-rules-of-the-record.md."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from hansard.identity import Stream as Stream

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
STALE = 5.0  # seconds by which a proposed time may lag behind the store's clock


@dataclass(frozen=True, slots=True)
class DoorMessage:
    """A message from outside, exactly as it was received."""

    tenant: str
    workflow: str
    causation_id: UUID
    topic: str
    partition: int
    offset: int
    at: datetime  # the broker's time
    key: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    body: bytes | None


@dataclass(frozen=True, slots=True)
class DoorCopy:
    """A message from outside as Kafka has it. `reused_id`: the causation id it gets if an earlier message had the same id and
    another body."""

    message: DoorMessage
    kind: str
    hash: bytes
    reused_id: UUID


@dataclass(frozen=True, slots=True)
class InboxEntry:
    """Records that a stream has processed a message. There is one per stream, message and attempt.

    `sequence` counts the entries of the stream from 1.
    """

    causation_id: UUID
    sequence: int
    version_before: int  # the stream's version before this message was processed
    kind: str
    at: datetime  # recorded time: proposed before the decision, shared by all messages that this entry stored
    hash: bytes  # SHA-256 of the data that was received
    code: str
    policy: str
    dead: bool = False
    attempt: int = 1  # a redrive of a dead entry is its next attempt


@dataclass(slots=True)
class StoredMessage:
    """A command or event as it is stored and as it is published: the bytes are the same."""

    stream: Stream
    version: int
    id: UUID
    kind: str
    topic: str
    causation_id: UUID
    data: bytes
    hash: bytes
    traceparent: str = ""
    at: datetime | None = None  # recorded time, the same as its inbox entry's; None: no time is proposed yet
    position: int = 0
    transaction: int = 0


@dataclass(slots=True)
class StreamAppend:
    """All that one stream processed and stored since its caller loaded it. Accepted or refused as a whole."""

    stream: Stream
    processed: int  # inbox entries that the caller knows: the append is refused if the stream has another count
    version: int  # the stream's version at that count
    at: datetime  # recorded time of all its entries and messages
    not_before: datetime = LONG_AGO  # `at` must not be earlier than the stream's last entry and the messages received
    entries: list[InboxEntry] = field(default_factory=list)
    messages: list[StoredMessage] = field(default_factory=list)
    door_messages: list[DoorMessage] = field(default_factory=list)
    wake_at: datetime | None = None  # the stream's next wake-up; None: no wake-up
    holder: str = ""  # the process that works on the stream: when it falls silent, the wake-up may be claimed at once
    keep_wake_up: bool = False  # nothing changed: leave the wake-up (or that there is none) as it is
    published: int = 0  # as far as the caller knows, a broker has acknowledged every message up to this version


@dataclass(frozen=True, slots=True)
class Appended:
    """`accepted` streams were stored; their `unpublished` messages from before this append must be published first."""

    accepted: frozenset[Stream]
    unpublished: tuple[StoredMessage, ...] = ()


@dataclass(slots=True)
class History:
    """A stream as the store has it. `entries` has the latest attempt for each causation id."""

    stream: Stream
    processed: int = 0
    version: int = 0
    published: int = 0
    messages: list[StoredMessage] = field(default_factory=list)
    entries: dict[UUID, InboxEntry] = field(default_factory=dict)

    @property
    def unpublished(self) -> list[StoredMessage]:
        """The messages that no broker has acknowledged, in order."""
        return self.messages[self.published :]

    @property
    def at(self) -> datetime:
        """Recorded time of its latest inbox entry."""
        return max((entry.at for entry in self.entries.values()), default=LONG_AGO)


@dataclass(slots=True)
class WorkflowHistory:
    """Everything that the store has of one workflow, except its outbox. `entries` has every attempt, in order."""

    tenant: str
    workflow: str
    histories: dict[Stream, History] = field(default_factory=dict)
    entries: dict[Stream, list[InboxEntry]] = field(default_factory=dict)
    door_messages: dict[UUID, DoorMessage] = field(default_factory=dict)


class ListedWorkflow(NamedTuple):
    """A workflow in the store, with its number of messages and inbox entries."""

    tenant: str
    workflow: str
    messages: int
    entries: int
    active: bool  # one of its settled messages was recorded at or after the time that was asked for


class DueWakeUp(NamedTuple):
    """A stream whose wake-up is due, claimed for the caller until the lease ends."""

    stream: Stream
    at: datetime  # the time that the stream asked for
    processed: int  # the stream's number of inbox entries when it was claimed


class Cursor(NamedTuple):
    """The place that a reader of all messages has reached. Belongs to a store epoch."""

    epoch: str
    transaction: int = 0
    position: int = 0


class Epoch(NamedTuple):
    """A store's time between two restores. `compared`: Kafka's tail was compared with the record since it began."""

    epoch: str
    compared: bool


class StoreRefused(Exception):
    """The store cannot hold this (NUL in a text, a broken number, too large): the same append will never succeed."""


class StoreUnavailable(Exception):
    """The store cannot be reached, or the outcome is unknown: drop cached streams, wait, load again, decide again."""


class EpochChanged(Exception):
    """The cursor belongs to another epoch, since the store was restored. Read all again, from `cursor()`."""


class NotEmpty(ValueError):
    """A store is rebuilt into an empty schema, and this one holds messages already."""
