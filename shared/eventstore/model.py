"""The data that the event store holds, and its errors. Its rules: infra/decisions/0014-rules-of-the-record.md."""

import hashlib
from collections.abc import Mapping
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
    recorded_at: datetime | None = field(default=None, compare=False)  # of the append that stored it
    position: int = field(default=0, compare=False)
    transaction: int = field(default=0, compare=False)


class DoorIdentity(NamedTuple):
    """What is processed under the identity of a message from outside."""

    workflow: str
    hash: bytes  # SHA-256 of the body


def body_hash(door: DoorMessage) -> bytes:
    return hashlib.sha256(door.body or b"").digest()


@dataclass(frozen=True, slots=True)
class DoorCopy:
    """A message from outside as Kafka has it. `reused_id`: the causation id it gets if an earlier message had the same id and
    another body; `elsewhere_id`: if its identity belongs to another workflow; `elsewhere_reused_id`: if both."""

    message: DoorMessage
    kind: str
    hash: bytes
    reused_id: UUID
    elsewhere_id: UUID
    elsewhere_reused_id: UUID


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
    outcome: bytes | None = None  # what a performer brought back, with references (see outcomes.py); a History lacks it
    position: int = field(default=0, compare=False)
    transaction: int = field(default=0, compare=False)


class Claim(NamedTuple):
    """What a message on an internal topic says of itself. It counts only if the record holds a message with exactly these."""

    stream: Stream
    version: int
    id: UUID
    kind: str
    topic: str
    causation_id: UUID
    hash: bytes
    traceparent: str
    at: datetime


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

    @property
    def claim(self) -> Claim:
        """What it says of itself once it is published."""
        at = self.at or LONG_AGO
        return Claim(
            self.stream, self.version, self.id, self.kind, self.topic, self.causation_id, self.hash, self.traceparent, at
        )


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
    claims: list[Claim] = field(default_factory=list)  # of the messages that were processed: one that is false refuses it


@dataclass(frozen=True, slots=True)
class Appended:
    """`accepted` streams were stored; their `unpublished` messages from before this append must be published first.

    `taken`: causation ids of messages from outside, under which another message is on the record, each with what is known of
    that: the workflow is another, or the body. `forged`: claims that are not on the record. Appends that hold one are refused.
    """

    accepted: frozenset[Stream]
    unpublished: tuple[StoredMessage, ...] = ()
    taken: Mapping[UUID, DoorIdentity] = field(default_factory=dict)
    forged: frozenset[Claim] = frozenset()


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


class LastAppend(NamedTuple):
    """The last append to a stream: its recorded time, and the numbers of inbox entries and of messages that it built upon."""

    at: datetime
    processed_before: int
    version_before: int


class Disorder(NamedTuple):
    """A row of a table that was stored after another one, and has a much earlier time."""

    table: str
    tenant: str
    workflow: str
    stream: str  # "" in door_messages
    at: datetime
    after: datetime  # the latest time of the rows that were stored before


@dataclass(slots=True)
class WorkflowHistory:
    """Everything that the store has of one workflow, except its outbox. `entries` has every attempt, in order.

    `last_appends` lacks a stream that has messages or inbox entries and no row of its own. `identities` has those of the door
    messages, by causation id.
    """

    tenant: str
    workflow: str
    histories: dict[Stream, History] = field(default_factory=dict)
    entries: dict[Stream, list[InboxEntry]] = field(default_factory=dict)
    door_messages: dict[UUID, DoorMessage] = field(default_factory=dict)
    last_appends: dict[Stream, LastAppend] = field(default_factory=dict)
    identities: dict[UUID, DoorIdentity] = field(default_factory=dict)


class ListedWorkflow(NamedTuple):
    """A workflow in the store, with its number of messages and inbox entries."""

    tenant: str
    workflow: str
    messages: int
    entries: int
    active: bool  # something of it was recorded at or after the time that was asked for


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
