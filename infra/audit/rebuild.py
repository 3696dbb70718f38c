"""Rebuilds the store from Kafka's topics alone, and compares two stores, stream by stream, hash for hash.

Every message comes back, byte for byte. Kafka does not carry inbox entries that stored no message, the versions of code and
policy with their data, nor what performers brought back, so these cannot come back. Neither function holds more than a batch in
memory: Postgres puts a rebuilt store in order, and both compared stores are read in one order.
"""

import hashlib
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC
from typing import TYPE_CHECKING
from uuid import UUID

from contracts.catalog import Topics
from contracts.dead_letters import DeadLettered
from hansard.envelope import TENANT, Envelope, Unreadable, named, read
from hansard.identity import (
    door_causation_id,
    elsewhere_causation_id,
    place_of,
    reused_causation_id,
    source_of,
    unreadable_causation_id,
)
from shared.eventstore.model import DoorCopy, StoredMessage, Stream
from shared.eventstore.ports import MessageReader
from shared.kafka.record import Record
from shared.runtime.inbound import door_message

if TYPE_CHECKING:
    from shared.eventstore.postgres.rebuild import Rebuild

SHOWN = 20  # findings of each sort that are kept to be shown; the others are only counted


@dataclass(frozen=True)
class Parsed:
    """The content of one record: a stored message, a message from outside, or neither, with the reason (`rejected`)."""

    message: StoredMessage | None = None
    door: DoorCopy | None = None
    rejected: str = ""


def place(record: Record) -> str:
    """Where a record is in Kafka: `topic/partition/offset`."""
    return f"{record.topic}/{record.partition}/{record.offset}"


def parse(record: Record, topics: Topics) -> Parsed | None:
    """Parses a record. None if its topic is not part of the record."""
    topic = topics.by_name[record.topic]
    if not topic.recorded:
        return None
    try:
        envelope = read(record.value, record.headers)
    except Unreadable as why:
        place = place_of(record.topic, record.partition, record.offset)
        causation_id = unreadable_causation_id(place)
        tenant, workflow = (named(why, record.key) if topic.name == "requests" else None) or (TENANT, place)
        nameless = Envelope(str(causation_id), "", "", record.value or b"", workflow, tenant)
        return Parsed(door=_door(record, nameless, causation_id))
    if topic.door:
        causation_id = door_causation_id(envelope.tenant, record.topic, envelope.source, envelope.id)
        return Parsed(door=_door(record, envelope, causation_id))
    return _stored(record, envelope)


def _door(record: Record, envelope: Envelope, causation_id: UUID) -> DoorCopy:
    digest = hashlib.sha256(envelope.data).digest()
    stream = Stream(envelope.tenant, envelope.correlation_id, "")
    message = door_message(record, stream, causation_id)
    elsewhere = elsewhere_causation_id(causation_id, stream.workflow)
    reused = (reused_causation_id(one, digest) for one in (causation_id, elsewhere))
    return DoorCopy(message, envelope.type, digest, next(reused), elsewhere, next(reused))


def _stored(record: Record, envelope: Envelope) -> Parsed:
    stream = Stream(envelope.tenant, envelope.correlation_id, envelope.subject)
    digest = hashlib.sha256(envelope.data)
    try:
        id_, causation_id = UUID(envelope.id), UUID(envelope.causation_id)
    except ValueError:
        return Parsed(rejected=f"{place(record)}: its ids are not UUIDs")
    ours = envelope.source == source_of(stream.service) and envelope.sequence and envelope.time and not envelope.replayed
    if not ours:
        return Parsed(
            rejected=f"{place(record)}: its source, sequence or time is not that of a stored message, or it is a replay"
        )
    if envelope.datahash != digest.hexdigest():
        return Parsed(rejected=f"{place(record)}: its data does not match ce_datahash")
    return Parsed(
        StoredMessage(
            stream,
            envelope.sequence,
            id_,
            envelope.type,
            record.topic,
            causation_id,
            envelope.data,
            digest.digest(),
            envelope.traceparent,
            envelope.time,
        )
    )


@dataclass
class Rebuilt:
    """Counts of the records read and the rows made of them. `rejections`, `gaps` (streams that lack messages) and
    `contradictions` (what Kafka has twice and not the same) are the first ones, to be shown; `rejected`, `gapped` and
    `contradicted` count all. Where something is contradicted, nothing was rebuilt."""

    records: int = 0
    staged: int = 0
    messages: int = 0
    door_messages: int = 0
    streams: int = 0
    rejected: int = 0
    rejections: list[str] = field(default_factory=list)
    gapped: int = 0
    gaps: list[str] = field(default_factory=list)
    left_out: int = 0
    contradicted: int = 0
    contradictions: list[str] = field(default_factory=list)

    @property
    def repeats(self) -> int:
        return self.staged - self.messages - self.door_messages


@dataclass
class Rebuilding:
    """Takes records from Kafka, and fills an empty schema with their messages. `without`: places, as `place` writes them, of
    records that are left out, since a person found them to be forged."""

    into: "Rebuild"
    topics: Topics
    without: frozenset[str] = frozenset()
    rebuilt: Rebuilt = field(default_factory=Rebuilt)

    async def add(self, records: Iterable[Record]) -> None:
        """Adds records, in the order of their partitions."""
        rebuilt = self.rebuilt
        messages: list[tuple[int, str, StoredMessage]] = []
        doors: list[tuple[int, DoorCopy]] = []
        for record in records:
            rebuilt.records += 1
            if place(record) in self.without:
                rebuilt.left_out += 1
                continue
            parsed = parse(record, self.topics)
            if parsed is None:
                continue
            if parsed.rejected:
                rebuilt.rejected += 1
                rebuilt.rejections += [parsed.rejected] if rebuilt.rejected <= SHOWN else []
            if parsed.message is not None:
                messages.append((rebuilt.records, place(record), parsed.message))
            if parsed.door is not None:
                doors.append((rebuilt.records, parsed.door))
        rebuilt.staged += len(messages) + len(doors)
        await self.into.stage(messages, doors)

    async def insert(self) -> Rebuilt:
        """Puts all messages into the schema, in one transaction, unless they contradict each other. Raises NotEmpty."""
        rebuilt, filled = self.rebuilt, await self.into.fill(DeadLettered.kind)
        rebuilt.messages, rebuilt.door_messages, rebuilt.streams = filled.messages, filled.door_messages, filled.streams
        gaps = [f"{stream}: {there} of {wanted} are there" for stream, there, wanted in filled.gaps]
        rebuilt.gaps, rebuilt.gapped = gaps[:SHOWN], len(gaps)
        twice = [f"{stream}: {what} is there with other content at {', '.join(at)}" for stream, what, at in filled.contradictions]
        rebuilt.contradictions, rebuilt.contradicted = twice[:SHOWN], len(twice)
        return rebuilt


@asynccontextmanager
async def rebuilding(
    dsn: str, schema: str, topics: Topics, without: frozenset[str] = frozenset(), *, pooler: bool = False
) -> AsyncIterator[Rebuilding]:
    """Opens a rebuild into a migrated schema. Raises NotEmpty for one that holds messages: it must be empty."""
    from shared.eventstore.postgres.rebuild import rebuild

    async with rebuild(dsn, schema, pooler=pooler) as into:
        yield Rebuilding(into, topics, without)


@dataclass(frozen=True)
class Unlike:
    """A stream that is not the same in both stores."""

    stream: Stream
    what: str
    one: str = ""
    other: str = ""


@dataclass
class Compared:
    """Counts of the first of two stores, and of the streams that differ. `unlike` are the first of these."""

    streams: int = 0
    messages: int = 0
    differ: int = 0
    unlike: list[Unlike] = field(default_factory=list)


@dataclass
class _Stream:
    """A stream of both stores, message by message, and the first version at which they differ."""

    stream: Stream
    here: int = 0
    there: int = 0
    first: tuple[StoredMessage | None, StoredMessage | None] | None = None

    def add(self, mine: StoredMessage | None, theirs: StoredMessage | None) -> None:
        self.here += mine is not None
        self.there += theirs is not None
        if self.first is None and not same(mine, theirs):
            self.first = mine, theirs

    def unlike(self) -> Unlike | None:
        if self.first is None:
            return None
        mine, theirs = self.first
        known = mine or theirs
        assert known is not None
        what = f"version {known.version}" + (f" (of {self.here} and {self.there})" if self.here != self.there else "")
        return Unlike(self.stream, what, _summary(mine), _summary(theirs))


async def compare(one: MessageReader, other: MessageReader, passed: Callable[[int], object] = lambda messages: None) -> Compared:
    """Compares every stream of both stores: versions, ids, kinds, causation ids, topics, times and bytes. `passed` is called with
    the number of messages of the first store that were compared since its last call."""
    compared, current = Compared(), _Stream(Stream("", "", ""))

    def close() -> None:
        compared.streams += current.here > 0
        compared.messages += current.here
        passed(current.here)
        if (unlike := current.unlike()) is not None:
            compared.differ += 1
            if len(compared.unlike) < SHOWN:
                compared.unlike.append(unlike)

    async for mine, theirs in side_by_side(_all(one), _all(other)):
        stream = (mine or theirs).stream  # type: ignore[union-attr]
        if stream != current.stream:
            close()
            current = _Stream(stream)
        current.add(mine, theirs)
    close()
    return compared


async def side_by_side(
    one: AsyncIterator[StoredMessage], other: AsyncIterator[StoredMessage]
) -> AsyncIterator[tuple[StoredMessage | None, StoredMessage | None]]:
    """Yields each message of either store with the other's at the same stream and version. Both must come in that order."""
    mine, theirs = await anext(one, None), await anext(other, None)
    while mine is not None or theirs is not None:
        if theirs is None or (mine is not None and _place(mine) < _place(theirs)):
            yield mine, None
            mine = await anext(one, None)
        elif mine is None or _place(theirs) < _place(mine):
            yield None, theirs
            theirs = await anext(other, None)
        else:
            yield mine, theirs
            mine, theirs = await anext(one, None), await anext(other, None)


def _place(stored: StoredMessage) -> tuple[Stream, int]:
    return stored.stream, stored.version


def same(mine: StoredMessage | None, theirs: StoredMessage | None) -> bool:
    """Whether both exist and are the same message, byte for byte."""
    return mine is not None and theirs is not None and _content(mine) == _content(theirs)


def _content(stored: StoredMessage) -> tuple[object, ...]:
    return stored.id, stored.kind, stored.causation_id, stored.topic, stored.at, stored.hash, stored.data


def _summary(stored: StoredMessage | None) -> str:
    if stored is None:
        return "is not there"
    actual = hashlib.sha256(stored.data).hexdigest()
    at = stored.at.astimezone(UTC).isoformat() if stored.at else ""
    return f"{stored.kind} {stored.id} because {stored.causation_id} on {stored.topic} at {at}: {stored.hash.hex()} {actual}"


async def _all(store: MessageReader) -> AsyncIterator[StoredMessage]:
    async for batch in store.read_streams():
        for stored in batch:
            yield stored
