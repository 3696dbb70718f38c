"""The store rebuilt from Kafka's topics alone, and two stores compared, stream by stream, hash for hash.

What Kafka does not carry cannot come back: hearings that said nothing, and those parts of a hearing that no message
tells (versions of code and policy, and what stood behind them). Everything that was said comes back, byte for byte.
"""

import hashlib
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from contracts.dead_letters import DeadLettered
from contracts.envelope import Envelope, Unreadable, read
from contracts.topics import Topics
from shared.kafka.record import Record
from shared.store.columns import of_headers
from shared.store.record import NAMESPACE, Door, Hearing, Said, Store, Stream, uuid5

REBUILT = "rebuilt"  # stands for a version of code and policy that Kafka does not tell


@dataclass
class Gathered:
    """What Kafka's topics tell. Repeats are left out; what is no word of ours is counted."""

    topics: Topics
    said: dict[Stream, dict[int, Said]] = field(default_factory=dict)
    doors: dict[UUID, Door] = field(default_factory=dict)
    heard: dict[UUID, tuple[str, datetime, bytes]] = field(default_factory=dict)  # by cause: kind, time, hash
    records: int = 0
    repeats: int = 0
    strangers: list[str] = field(default_factory=list)

    def add(self, record: Record) -> None:
        """One record of a topic."""
        self.records += 1
        topic = self.topics.by_name[record.topic]
        if not topic.recorded:
            return
        try:
            envelope = read(record.value, record.headers)
        except Unreadable:
            self._nameless(record)
            return
        if topic.door:
            self._door(record, envelope)
        else:
            self._word(record, envelope)

    def _nameless(self, record: Record) -> None:
        place = f"{record.topic}.{record.partition}.{record.offset}"
        cause = uuid5(NAMESPACE, place)
        self._keep(record, Envelope(id=str(cause), source="", type="", data=record.value or b"", correlationid=place), cause)

    def _door(self, record: Record, envelope: Envelope) -> None:
        cause = uuid5(NAMESPACE, f"{envelope.tenant}/{record.topic}/{envelope.source}/{envelope.id}")
        known = self.heard.get(cause)
        digest = hashlib.sha256(envelope.data).digest()
        if known is not None and known[2] != digest:
            cause = uuid5(cause, digest.hex())
        self._keep(record, envelope, cause)

    def _keep(self, record: Record, envelope: Envelope, cause: UUID) -> None:
        if cause in self.doors:
            self.repeats += 1
            return
        at = record.at
        headers = tuple(
            (name if isinstance(name, str) else name.decode("utf-8", "backslashreplace"), value or b"")
            for name, value in record.headers
        )
        place = (record.topic, record.partition, record.offset)
        self.doors[cause] = Door(envelope.tenant, envelope.correlationid, cause, *place, at, record.key, headers, record.value)
        self.heard[cause] = (envelope.type, at, hashlib.sha256(envelope.data).digest())

    def _word(self, record: Record, envelope: Envelope) -> None:
        service = envelope.source.removeprefix("/hansard/")
        stream = Stream(envelope.tenant, envelope.correlationid, envelope.subject)
        place = f"{record.topic}/{record.partition}/{record.offset}"
        digest = hashlib.sha256(envelope.data).digest()
        try:
            id_, cause = UUID(envelope.id), UUID(envelope.causationid)
        except ValueError:
            self.strangers.append(f"{place}: its ids are not ours")
            return
        if stream.service != service or not envelope.sequence or envelope.time is None or envelope.replayed:
            self.strangers.append(f"{place}: it does not say which stream it stands in")
            return
        if envelope.datahash != digest.hex():
            self.strangers.append(f"{place}: its bytes are not those of its hash")
            return
        mine = self.said.setdefault(stream, {})
        if envelope.sequence in mine:
            self.repeats += 1
            return
        mine[envelope.sequence] = Said(
            stream, envelope.sequence, id_, envelope.type, record.topic, cause, envelope.data, digest,
            envelope.traceparent, envelope.time,
        )  # fmt: skip
        self.heard[id_] = (envelope.type, envelope.time, digest)

    def streams(self) -> Iterator[tuple[Stream, list[Said]]]:
        """Every stream with what it said, in order of version."""
        for stream, mine in sorted(self.said.items()):
            yield stream, [mine[version] for version in sorted(mine)]

    def hearings(self, said: list[Said]) -> list[Hearing]:
        """Those hearings of a stream that spoke."""
        found: list[Hearing] = []
        runs: list[list[Said]] = []
        for one in said:
            same = runs and runs[-1][-1].cause == one.cause and runs[-1][-1].kind != DeadLettered.kind
            if same and one.kind != DeadLettered.kind:
                runs[-1].append(one)
            else:
                runs.append([one])
        for run in runs:
            first = run[0]
            kind, at, digest = self.heard.get(first.cause, (REBUILT, first.at, b"\0" * 32))
            found.append(
                Hearing(
                    cause=first.cause,
                    sequence=len(found) + 1,
                    before=first.version - 1,
                    kind=kind,
                    heard_at=at or datetime.fromtimestamp(0, UTC),
                    hash=digest,
                    code=REBUILT,
                    policy=REBUILT,
                    dead=first.kind == DeadLettered.kind,
                    attempt=1 + sum(one.cause == first.cause for one in found),
                    at=first.at,
                )
            )
        return found

    def gaps(self) -> list[str]:
        """Streams of which Kafka does not have every word."""
        return [
            f"{stream}: {len(said)} of {said[-1].version} are there"
            for stream, said in self.streams()
            if said[-1].version != len(said)
        ]


async def insert(gathered: Gathered, dsn: str, schema: str) -> int:
    """Puts it all into an empty, migrated schema, in one transaction; the number of events.

    Raises ValueError for a schema that holds events.
    """
    import asyncpg

    connection = await asyncpg.connect(dsn)
    try:
        await connection.set_type_codec("json", schema="pg_catalog", encoder=bytes, decoder=bytes, format="binary")
        if await connection.fetchval(f'select exists (select from "{schema}".events)'):
            raise ValueError(f"the schema {schema} holds events already: a store is rebuilt into an empty one")
        streams = list(gathered.streams())
        hearings = {stream: gathered.hearings(said) for stream, said in streams}
        async with connection.transaction():
            await _copy(connection, schema, "heads", _heads(streams, hearings))
            await _copy(connection, schema, "events", (_event(one) for _, said in streams for one in said))
            await _copy(connection, schema, "hearings", (_hearing(s, h) for s, mine in hearings.items() for h in mine))
            await _copy(connection, schema, "doors", (_door(door) for door in gathered.doors.values()))
        return sum(len(said) for _, said in streams)
    finally:
        await connection.close()


async def _copy(connection: Any, schema: str, table: str, rows: Iterable[dict[str, Any]]) -> None:
    listed = list(rows)
    if listed:
        columns = list(listed[0])
        records = [tuple(row.values()) for row in listed]
        await connection.copy_records_to_table(table, schema_name=schema, columns=columns, records=records)


def _named(stream: Stream) -> dict[str, Any]:
    return {"tenant": stream.tenant, "workflow": stream.workflow, "stream": stream.name}


def _heads(streams: Iterable[tuple[Stream, list[Said]]], hearings: Mapping[Stream, list[Hearing]]) -> Iterator[dict[str, Any]]:
    for stream, said in streams:
        heard, version = len(hearings[stream]), said[-1].version
        yield _named(stream) | {"heard": heard, "version": version, "heard_before": 0, "version_before": 0}


def _event(one: Said) -> dict[str, Any]:
    names = ("version", "id", "kind", "topic", "cause", "data", "hash", "traceparent", "at")
    return _named(one.stream) | {name: getattr(one, name) for name in names}


def _hearing(stream: Stream, one: Hearing) -> dict[str, Any]:
    names = ("cause", "sequence", "before", "kind", "heard_at", "hash", "code", "policy", "dead", "attempt", "at")
    return _named(stream) | {name: getattr(one, name) for name in names}


def _door(door: Door) -> dict[str, Any]:
    names = ("tenant", "workflow", "cause", "topic", "partition", "offset", "key", "body")
    return {name: getattr(door, name) for name in names} | {
        "headers": of_headers(door.headers),
        "broker_at": door.at,
        "at": door.at,
    }


@dataclass(frozen=True)
class Unlike:
    """A stream that is not the same in both stores."""

    stream: Stream
    what: str
    one: str = ""
    other: str = ""


@dataclass
class Compared:
    """Two stores, side by side."""

    streams: int = 0
    events: int = 0
    unlike: list[Unlike] = field(default_factory=list)


async def compare(one: Store, other: Store) -> Compared:
    """Every stream of both: the same versions, ids, kinds, causes, times and bytes."""
    here, there = await _summaries(one), await _summaries(other)
    compared = Compared(len(here), sum(len(mine) for mine in here.values()))
    for stream in sorted(here.keys() | there.keys()):
        mine, theirs = here.get(stream, {}), there.get(stream, {})
        if mine == theirs:
            continue
        version = min(v for v in mine.keys() | theirs.keys() if mine.get(v) != theirs.get(v))
        what = f"version {version}" + (f" (of {len(mine)} and {len(theirs)})" if len(mine) != len(theirs) else "")
        compared.unlike.append(Unlike(stream, what, mine.get(version, "is not there"), theirs.get(version, "is not there")))
    return compared


async def _summaries(store: Store) -> dict[Stream, dict[int, str]]:
    found: dict[Stream, dict[int, str]] = {}
    async for said in _all(store):
        actual = hashlib.sha256(said.data).hexdigest()
        at = said.at.astimezone(UTC).isoformat() if said.at else ""
        told = f"{said.kind} {said.id} because {said.cause} on {said.topic} at {at}: {said.hash.hex()} {actual}"
        found.setdefault(said.stream, {})[said.version] = told
    return found


async def _all(store: Store) -> AsyncIterator[Said]:
    async for batch in store.everything():
        for said in batch:
            yield said
