"""What the record is made of, and what a store must do. The rules are in the design, section 6."""

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple, Protocol
from uuid import UUID

from hansard.service import Stream as Stream

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
STALE = 5.0  # seconds by which a proposed time may be behind the store's clock
NAMESPACE = UUID("6a0f5f0e-5f5a-5b1e-9d5e-1f0b6f7a9c11")


def uuid5(causation_id: UUID, name: str) -> UUID:
    """As uuid.uuid5, for a third of its time."""
    digest = bytearray(hashlib.sha1(causation_id.bytes + name.encode(), usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    return UUID(bytes=bytes(digest))


@dataclass(frozen=True, slots=True)
class DoorMessage:
    """What came from outside, as it was heard."""

    tenant: str
    workflow: str
    causation_id: UUID
    topic: str
    partition: int
    offset: int
    at: datetime  # the broker's
    key: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    body: bytes | None


@dataclass(frozen=True, slots=True)
class InboxEntry:
    """That a stream heard something, once. `sequence` counts the stream's hearings from 1."""

    causation_id: UUID
    sequence: int
    version_before: int  # the stream's version when it was heard
    kind: str
    at: datetime  # recorded time: proposed before it was decided, and that of all that was said to it
    hash: bytes  # SHA-256 of the data that was heard
    code: str
    policy: str
    dead: bool = False
    attempt: int = 1  # a redrive of a dead hearing is heard as its next attempt


@dataclass(slots=True)
class StoredMessage:
    """An event as it is stored and as it is published: the bytes are the same."""

    stream: Stream
    version: int
    id: UUID
    kind: str
    topic: str
    causation_id: UUID
    data: bytes
    hash: bytes
    traceparent: str = ""
    at: datetime | None = None  # recorded time; that of its hearing
    position: int = 0
    transaction: int = 0


@dataclass(slots=True)
class StreamAppend:
    """All that one stream heard and said since what its caller last knew of it. Accepted or refused as a whole."""

    stream: Stream
    processed: int  # hearings that the caller knows: the append is refused where the stream has another count
    version: int  # the version that goes with it
    at: datetime  # recorded time of all of it
    not_before: datetime = LONG_AGO  # the latest recorded time of what is involved: the stream's own, the messages'
    entries: list[InboxEntry] = field(default_factory=list)
    messages: list[StoredMessage] = field(default_factory=list)
    doors: list[DoorMessage] = field(default_factory=list)
    wake_at: datetime | None = None  # wants to be woken then; None: not at all
    holder: str = ""  # the process that works on it: when that falls silent, the stream is due at once
    keep: bool = False  # nothing changed: leave its due row, or that there is none, as it is
    published: int = 0  # all up to this version was acknowledged by a broker, as far as its caller knows


@dataclass(frozen=True, slots=True)
class Appended:
    """`accepted` streams are on the record; `earlier` was said before by them and is not yet published: it goes first."""

    accepted: frozenset[Stream]
    earlier: tuple[StoredMessage, ...] = ()


@dataclass(slots=True)
class History:
    """A stream as the store has it. `causes`: what was heard, by cause id, latest attempt."""

    stream: Stream
    processed: int = 0
    version: int = 0
    published: int = 0
    messages: list[StoredMessage] = field(default_factory=list)
    entries: dict[UUID, InboxEntry] = field(default_factory=dict)

    @property
    def unpublished(self) -> list[StoredMessage]:
        """What no broker has acknowledged, in order."""
        return self.messages[self.published :]

    @property
    def at(self) -> datetime:
        """Recorded time of what it heard last."""
        return max((entry.at for entry in self.entries.values()), default=LONG_AGO)


@dataclass(slots=True)
class Workflow:
    """All that the store has of one workflow, but for its outbox. `hearings` are every attempt's, in order."""

    tenant: str
    workflow: str
    histories: dict[Stream, History] = field(default_factory=dict)
    entries: dict[Stream, list[InboxEntry]] = field(default_factory=dict)
    doors: dict[UUID, DoorMessage] = field(default_factory=dict)


class ListedWorkflow(NamedTuple):
    """A workflow that is there, with how much there is of it."""

    tenant: str
    workflow: str
    events: int
    entries: int
    wanted: bool  # it said something of what was asked for


class DueWakeUp(NamedTuple):
    """A stream that is to be woken, claimed for the caller until its lease ends."""

    stream: Stream
    at: datetime  # when it wanted to be woken
    processed: int  # how many hearings it had then


class Cursor(NamedTuple):
    """Where a reader of everything stands. Belongs to a store epoch."""

    epoch: str
    transaction: int = 0
    position: int = 0


class StoreRefused(Exception):
    """The store cannot hold this (NUL in a text, a broken number, too large): the same append will never succeed."""


class StoreUnavailable(Exception):
    """The store cannot be reached, or the outcome is unknown: drop what was cached, wait, read again, decide again."""


class EpochChanged(Exception):
    """The cursor belongs to another epoch: the store was restored since. Read everything again, from `cursor()`."""


class EventStore(Protocol):
    """A place for the record. Safe for many callers at once. Raises Unavailable; `append` also Refused."""

    def now(self) -> datetime:
        """The store's clock: as last answered, plus the monotonic time since that answer arrived. Never ahead of it, unless
        it was put back since. The only clock that counts, and what a recorded time is proposed by."""
        ...

    @property
    def ahead(self) -> float:
        """Seconds by which this machine's clock was ahead of the store's when it last answered."""
        ...

    async def append(self, appends: Sequence[StreamAppend]) -> Appended:
        """All accepted turns in one transaction and one round trip; a turn whose stream has moved on is left out.

        So is one whose time is ahead of both the store's clock and its `floor`, or behind that clock by more than `STALE`.

        Raises Refused only when a single turn is given and the store cannot hold it; of several, the refused ones are found
        by halving and are missing from `accepted` like the others (their callers try them alone and see).
        """
        ...

    async def load(self, streams: Sequence[Stream]) -> dict[Stream, History]:
        """Every stream asked for, in one round trip; one that does not exist is an empty History."""
        ...

    async def published(self, marks: Mapping[Stream, int]) -> None:
        """Of each stream all up to this version was acknowledged by a broker."""
        ...

    async def unpublished(self, service: str, older_than: float, limit: int = 1000) -> list[StoredMessage]:
        """What this service said at least `older_than` seconds ago and no broker has acknowledged, in order by stream."""
        ...

    async def claim(self, service: str, limit: int, lease: float) -> tuple[list[DueWakeUp], float]:
        """Streams of this service that are due, leased to the caller; and seconds until the next one is due (inf: none)."""
        ...

    async def alive(self, service: str, process: str, silent: Mapping[str, datetime]) -> dict[str, datetime]:
        """This process lives. The last signs of life of the others of its service that have not ended: they change while
        their process lives. The `silent` have ended, if these are still their last signs; what they hold, and those that had
        ended, is due at once. One that gives a sign again has not ended."""
        ...

    async def attempts(self, service: str, records: Sequence[tuple[str, int, int]]) -> list[int]:
        """Counts one more attempt for each (topic, partition, offset); the counts after it. Used after an unclean end."""
        ...

    async def began(self, service: str, instance: str, process: str, alone: bool) -> bool:
        """Notes that this process runs under this name; True where an earlier one of that name did not end cleanly.

        `alone`: no other may run under it, so whatever an earlier one holds is due at once.
        """
        ...

    async def ended(self, service: str, process: str) -> None:
        """Notes a clean end. What it still holds is due at once."""
        ...

    def everything(self, since: Cursor | None = None, *, batch: int = 1000) -> AsyncIterator[list[StoredMessage]]:
        """All events after `since`, in an order that never skips a late commit, up to what is settled now; then ends."""
        ...

    async def cursor(self) -> Cursor:
        """The beginning, in today's epoch."""
        ...

    def by_stream(self, *, batch: int = 1000) -> AsyncIterator[list[StoredMessage]]:
        """All events that are settled now, in the order of (tenant, workflow, stream, version); then ends."""
        ...

    async def size(self) -> int:
        """How many events there are: about, and at no cost."""
        ...

    def workflows(self, since: datetime | None = None, *, batch: int = 1000) -> AsyncIterator[list[ListedWorkflow]]:
        """Every workflow, in the order of (tenant, workflow), in pages; then ends. One that begins meanwhile may be listed.

        `wanted` are those of which an event is settled now that was recorded at `since` or later.
        """
        ...

    async def whole(self, workflows: Sequence[tuple[str, str]]) -> list[Workflow]:
        """All of these (tenant, workflow), in one snapshot, each in the place in which it was asked for."""
        ...

    async def workflow(self, tenant: str, workflow: str) -> Mapping[Stream, History]:
        """Every stream of one workflow."""
        ...

    async def entries(self, stream: Stream) -> list[InboxEntry]:
        """All hearings of a stream, every attempt, in order."""
        ...

    async def doors(self, tenant: str, workflow: str, entries: Sequence[UUID] = ()) -> dict[UUID, DoorMessage]: ...

    async def events(self, ids: Sequence[UUID]) -> dict[UUID, StoredMessage]: ...

    async def last(self, kinds: Sequence[str], events: int) -> list[StoredMessage]:
        """Those of these kinds among the last `events` that were said by anyone, in order."""
        ...

    async def keep_policy(self, service: str, version: str, data: bytes) -> None:
        """Puts on the record what stands behind a policy's version: once, for good. Data are JSON, never a secret.

        Raises Refused where other data stand behind that version already, or the store cannot hold them.
        """
        ...

    async def policies(self, wanted: Sequence[tuple[str, str]]) -> dict[tuple[str, str], bytes]:
        """The data of those of these (service, version) that are on the record."""
        ...

    async def outbox_age(self, service: str) -> float:
        """Seconds since the oldest event was recorded that no broker has acknowledged; 0 where there is none."""
        ...

    async def reader_lag(self) -> float:
        """Seconds since the beginning of the oldest transaction that keeps `everything` waiting; 0 where there is none."""
        ...

    async def remember(self, answers: Sequence[tuple[bytes, Stream]], keep: float) -> None:
        """Notes that what these keys stand for was answered in these streams, for their tenants; the last one counts.

        No part of the record: it may be lost. What is older than `keep` seconds is forgotten by and by.
        """
        ...

    async def remembered(self, tenant: str, key: bytes, kind: str, unless: str = "") -> StoredMessage | None:
        """The last event of this kind in the stream that this tenant's key was noted for; None where that stream has also
        said something of the kind `unless`."""
        ...

    async def ping(self) -> None: ...

    async def close(self) -> None: ...
