"""An event store as small protocols: a caller names the one that it needs as its type.

Every method raises StoreUnavailable; those that write also raise StoreRefused. All are safe for many callers at once.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from shared.content.ports import Place
from shared.eventstore.api_keys import ApiKeyStore
from shared.eventstore.model import (
    Appended,
    Claim,
    Cursor,
    Disorder,
    DoorMessage,
    DueWakeUp,
    Epoch,
    History,
    InboxEntry,
    ListedWorkflow,
    StoredMessage,
    Stream,
    StreamAppend,
    WorkflowHistory,
)


class StoreClock(Protocol):
    """The one clock that counts."""

    def now(self) -> datetime:
        """The store's clock: its last answer, plus the monotonic time since that answer arrived. Never ahead of the store,
        unless its clock was put back since. Recorded times are proposed by this clock alone."""
        ...

    @property
    def ahead(self) -> float:
        """Seconds by which this machine's clock was ahead of the store's at its last answer."""
        ...


class StreamStore(StoreClock, Protocol):
    """Streams: load them, and append to them."""

    async def append(self, appends: Sequence[StreamAppend]) -> Appended:
        """Stores the accepted appends in one transaction and one round trip; each is accepted or refused by itself.

        Refuses an append whose stream has moved on; one whose time is ahead of both the store's clock and its `not_before`;
        one whose time is more than `STALE` seconds behind that clock; one with a message from outside whose identity another
        message has (`Appended.taken`); one with a claim that was not on the record before this append (`Appended.forged`).

        Raises StoreRefused only when a single append is given and the store cannot hold it. With several, the store finds the
        bad ones by halving and leaves them out of `accepted`; retry each alone to get the error.
        """
        ...

    async def load(self, streams: Sequence[Stream]) -> dict[Stream, History]:
        """Loads these streams in one round trip; a stream that does not exist is an empty History."""
        ...


class AttemptCounter(Protocol):
    """Counts how often a Kafka record was tried, after an unclean end."""

    async def count_attempts(self, service: str, records: Sequence[tuple[str, int, int]], by: int = 1) -> list[int]:
        """Adds `by` attempts to each (topic, partition, offset); returns the counts after that."""
        ...


class OutboxStore(Protocol):
    """Messages that are stored and not yet acknowledged by a broker."""

    async def mark_published(self, versions: Mapping[Stream, int]) -> None:
        """Notes that a broker has acknowledged every message of each stream up to this version."""
        ...

    async def unpublished(self, service: str, older_than: float, limit: int = 1000) -> list[StoredMessage]:
        """Messages that this service stored at least `older_than` seconds ago and no broker has acknowledged, in order by
        stream."""
        ...

    async def outbox_age(self, service: str) -> float:
        """Seconds since the oldest message was recorded that no broker has acknowledged; 0 if there is none."""
        ...


class WakeUpStore(StoreClock, Protocol):
    """Wake-ups that streams asked for."""

    async def claim_wake_ups(self, service: str, limit: int, lease: float) -> tuple[list[DueWakeUp], float]:
        """Claims due wake-ups of this service for `lease` seconds. Returns them and the seconds until the next (inf: none)."""
        ...


class TaskKeyStore(Protocol):
    """The key of the tokens of tasks that are given to workers outside."""

    async def task_key(self) -> bytes:
        """Made at random with the store; it never leaves the deployment."""
        ...


class InstanceStore(Protocol):
    """The processes of a service. When one ends, the wake-ups that it holds may be claimed at once."""

    async def process_started(self, service: str, instance: str, process: str, alone: bool) -> bool:
        """Notes that this process runs under this instance name; True if an earlier one of that name did not end cleanly.

        `alone`: no other process may run under that name, so the wake-ups of an earlier one may be claimed at once.
        """
        ...

    async def heartbeat(self, service: str, process: str, silent: Mapping[str, datetime]) -> dict[str, datetime]:
        """Notes that this process is alive. Returns the last heartbeat of each other process of its service that has not ended.

        Marks the `silent` processes as ended unless they have sent a newer heartbeat. Wake-ups held by ended processes are
        free to claim at once. A process that sends a heartbeat again counts as running. Each heartbeat has a new value.
        """
        ...

    async def process_ended(self, service: str, process: str) -> None:
        """Notes that this process ended cleanly."""
        ...


class RecentMessages(Protocol):
    """What was stored last."""

    async def read_last(self, kinds: Sequence[str], messages: int, tenant: str = "") -> list[StoredMessage]:
        """The last `messages` of each of these kinds, of this tenant or of all, in order. Whatever is stored of other kinds, be
        it ever so much, hides none of them."""
        ...


class MessagesById(Protocol):
    """Messages by what names them."""

    async def find_messages(self, ids: Sequence[UUID]) -> dict[UUID, StoredMessage]:
        """The messages with these ids, of any workflow."""
        ...


class MessageReader(RecentMessages, MessagesById, Protocol):
    """All stored messages. A message is settled when no transaction that began before it can still commit."""

    async def cursor(self) -> Cursor:
        """The beginning, in the current epoch."""
        ...

    def read_all(self, since: Cursor | None = None, *, batch: int = 1000) -> AsyncIterator[list[StoredMessage]]:
        """The settled messages after `since`, in an order that never skips a late commit; then ends.

        Raises EpochChanged if the store was restored after `since` was read.
        """
        ...

    def read_streams(self, *, batch: int = 1000) -> AsyncIterator[list[StoredMessage]]:
        """The settled messages, in the order of (tenant, workflow, stream, version); then ends."""
        ...

    async def not_on_record(self, claims: Sequence[Claim]) -> set[Claim]:
        """The claims for which no message is stored that has exactly these properties."""
        ...

    async def estimate_size(self) -> int:
        """A rough number of messages, at no cost."""
        ...

    async def reader_lag(self) -> float:
        """Seconds since the start of the oldest transaction that keeps `read_all` waiting; 0 if there is none.

        Unless this user may read all statistics, another user's transaction shows only by the messages that it holds back.
        """
        ...


class TailStore(MessagesById, Protocol):
    """What is needed to compare Kafka's tail with the record."""

    async def epoch(self) -> Epoch:
        """The present epoch. Begins a new one where the store is on another server, database or timeline than the last."""
        ...

    async def epoch_compared(self, epoch: str) -> None:
        """Notes that Kafka's tail was compared since this epoch began."""
        ...

    def read_published_back(self, *, batch: int = 1000) -> AsyncIterator[list[StoredMessage]]:
        """The messages that a broker has acknowledged, the newest first; then ends. A page has at most `batch`, perhaps none."""
        ...


class WorkflowReader(Protocol):
    """Whole workflows, for audits."""

    def list_workflows(self, since: datetime | None = None, *, batch: int = 1000) -> AsyncIterator[list[ListedWorkflow]]:
        """Every workflow that any table names, in the order of (tenant, workflow), in pages; then ends. One that begins meanwhile
        may be listed."""
        ...

    async def load_workflows(self, workflows: Sequence[tuple[str, str]]) -> list[WorkflowHistory]:
        """Loads these (tenant, workflow) in one snapshot, in the given order."""
        ...

    async def load_workflow(self, tenant: str, workflow: str) -> Mapping[Stream, History]:
        """Every stream of one workflow."""
        ...

    async def inbox_entries(self, stream: Stream) -> list[InboxEntry]:
        """All inbox entries of a stream, every attempt, in order."""
        ...

    async def door_messages(self, tenant: str, workflow: str, causation_ids: Sequence[UUID] = ()) -> dict[UUID, DoorMessage]:
        """The workflow's messages from outside, by causation id: these, or all if none is named."""
        ...


class RecordReader(Protocol):
    """What an audit asks of all tables as a whole."""

    async def unsettled_since(self, transaction: int) -> datetime | None:
        """When the oldest transaction began that is older than `transaction` and can still commit; None: there is none. It is the
        present where this user may not see when."""
        ...

    async def next_transaction(self) -> int:
        """Every transaction that can have stored something until now is older than this one."""
        ...

    async def disorder(self, slack: float, limit: int) -> list[Disorder]:
        """The first rows that were stored after others, and have a time that is more than `slack` seconds earlier."""
        ...

    async def identities_without_door(self, limit: int) -> list[tuple[str, UUID, str]]:
        """(tenant, causation id, workflow) of the first identities whose message from outside is not there."""
        ...


class PolicyStore(Protocol):
    """The data that a policy's version stands for, so that an audit can decide again by the policy of that time."""

    async def store_policy(self, service: str, version: str, data: bytes) -> None:
        """Stores this data (JSON, never a secret) under the version, once and for good.

        Raises StoreRefused if that version has other data already, or if the store cannot hold it.
        """
        ...

    async def load_policies(self, versions: Sequence[tuple[str, str]]) -> dict[tuple[str, str], bytes]:
        """The data of these (service, version); leaves out those that are not stored."""
        ...


class AnswerIndex(Protocol):
    """An index of good answers, for the gateway's cache. It is not part of the record and may be lost."""

    async def index_answers(self, answers: Sequence[tuple[bytes, Stream]], keep: float) -> None:
        """Notes for each key which stream answered it, for that stream's tenant; the last one counts.

        Entries older than `keep` seconds are deleted little by little.
        """
        ...

    async def find_answer(self, tenant: str, key: bytes, kind: str, unless: str = "") -> StoredMessage | None:
        """The latest message of `kind` in the stream indexed under the tenant's `key`. None if that stream also holds the kind
        `unless`."""
        ...


class AuditReader(MessageReader, WorkflowReader, RecordReader, PolicyStore, Protocol):
    """The parts of a store that an audit reads."""


class EventStore(
    StreamStore,
    AttemptCounter,
    OutboxStore,
    WakeUpStore,
    InstanceStore,
    TaskKeyStore,
    AuditReader,
    TailStore,
    AnswerIndex,
    Protocol,
):
    """The whole store, for the code that assembles a process."""

    @property
    def contents(self) -> Place:
        """Contents beside the record."""
        ...

    @property
    def api_keys(self) -> ApiKeyStore:
        """Keys of programs that come by HTTP, beside the record."""
        ...

    async def ping(self) -> None: ...

    async def close(self) -> None: ...
