"""The store rebuilt from Kafka's topics alone, and two stores compared, stream by stream, hash for hash.

What Kafka does not carry cannot come back: hearings that said nothing, and those parts of a hearing that no message
tells (versions of code and policy, and what stood behind them). Everything that was said comes back, byte for byte.
Neither holds more than a batch: what is rebuilt is put in order by Postgres, what is compared comes in one order.
"""

import hashlib
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC
from pathlib import Path
from typing import Any
from uuid import UUID

from contracts.catalog import Topics
from contracts.dead_letters import DeadLettered
from hansard.envelope import Envelope, Unreadable, read
from shared.eventstore.model import NAMESPACE, StoredMessage, Stream, uuid5
from shared.eventstore.ports import MessageReader
from shared.eventstore.postgres.columns import to_headers
from shared.kafka.record import Record

REBUILT = "rebuilt"  # stands for a version of code and policy that Kafka does not tell
KEPT = 20  # findings of each sort that are kept to be shown; the rest is counted

Row = Mapping[str, Any]


class NotEmpty(ValueError):
    """The schema holds events already."""


@dataclass(frozen=True)
class Told:
    """What one record tells: a row of `said` or of `brought` in rebuild.sql, or that it is no word of ours, and why."""

    messages: Row | None = None
    brought: Row | None = None
    stranger: str = ""


def told(record: Record, topics: Topics) -> Told | None:
    """None for a record of a topic that is not on the record."""
    topic = topics.by_name[record.topic]
    if not topic.recorded:
        return None
    try:
        envelope = read(record.value, record.headers)
    except Unreadable:
        place = f"{record.topic}.{record.partition}.{record.offset}"
        causation_id = uuid5(NAMESPACE, place)
        nameless = Envelope(id=str(causation_id), source="", type="", data=record.value or b"", correlation_id=place)
        return Told(brought=_brought(record, nameless, causation_id))
    if topic.door:
        causation_id = uuid5(NAMESPACE, f"{envelope.tenant}/{record.topic}/{envelope.source}/{envelope.id}")
        return Told(brought=_brought(record, envelope, causation_id))
    return _word(record, envelope)


def _brought(record: Record, envelope: Envelope, causation_id: UUID) -> Row:
    digest = hashlib.sha256(envelope.data).digest()
    headers = (
        (name if isinstance(name, str) else name.decode("utf-8", "backslashreplace"), value or b"")
        for name, value in record.headers
    )
    return {
        "causation_id": causation_id,
        "another": uuid5(causation_id, digest.hex()),
        "hash": digest,
        "kind": envelope.type,
        "broker_at": record.at,
        "offset": record.offset,
        "partition": record.partition,
        "tenant": envelope.tenant,
        "workflow": envelope.correlation_id,
        "topic": record.topic,
        "key": record.key,
        "headers": to_headers(headers),
        "body": record.value,
    }


def _word(record: Record, envelope: Envelope) -> Told:
    place = f"{record.topic}/{record.partition}/{record.offset}"
    stream = Stream(envelope.tenant, envelope.correlation_id, envelope.subject)
    digest = hashlib.sha256(envelope.data)
    try:
        id_, causation_id = UUID(envelope.id), UUID(envelope.causation_id)
    except ValueError:
        return Told(stranger=f"{place}: its ids are not ours")
    ours = envelope.source == f"/hansard/{stream.service}" and envelope.sequence and envelope.time and not envelope.replayed
    if not ours:
        return Told(stranger=f"{place}: it does not say which stream it stands in")
    if envelope.datahash != digest.hexdigest():
        return Told(stranger=f"{place}: its bytes are not those of its hash")
    return Told(
        messages={
            "version": envelope.sequence,
            "id": id_,
            "causation_id": causation_id,
            "hash": digest.digest(),
            "at": envelope.time,
            "tenant": stream.tenant,
            "workflow": stream.workflow,
            "stream": stream.name,
            "kind": envelope.type,
            "topic": record.topic,
            "traceparent": envelope.traceparent,
            "data": envelope.data,
        }
    )


@dataclass
class Rebuilt:
    """What a rebuilding read and made. Of strangers and gaps the first are kept to be shown; gaps are streams that lack words."""

    records: int = 0
    staged: int = 0
    events: int = 0
    doors: int = 0
    streams: int = 0
    strange: int = 0
    strangers: list[str] = field(default_factory=list)
    gapped: int = 0
    gaps: list[str] = field(default_factory=list)

    @property
    def repeats(self) -> int:
        return self.staged - self.events - self.doors


@dataclass
class Rebuilding:
    """Records go into tables of this connection's own, and from there, in order and once, into an empty schema."""

    connection: Any
    schema: str
    topics: Topics
    rebuilt: Rebuilt = field(default_factory=Rebuilt)

    async def add(self, records: Iterable[Record]) -> None:
        """Some records, in the order of their partitions."""
        rebuilt = self.rebuilt
        rows: dict[str, list[Row]] = {"said": [], "brought": []}
        for record in records:
            rebuilt.records += 1
            known = told(record, self.topics)
            if known is None:
                continue
            if known.stranger:
                rebuilt.strange += 1
                rebuilt.strangers += [known.stranger] if rebuilt.strange <= KEPT else []
            for table, row in (("said", known.messages), ("brought", known.brought)):
                if row is not None:
                    rows[table].append({"n": rebuilt.records, **row})
        for table, some in rows.items():
            if some:
                rebuilt.staged += len(some)
                values = [tuple(row.values()) for row in some]
                await self.connection.copy_records_to_table(table, columns=list(some[0]), records=values)

    async def insert(self) -> Rebuilt:
        """Puts it all into the schema, in one transaction. Raises NotEmpty."""
        await refuse_what_is_not_empty(self.connection, self.schema)
        sql, ask, rebuilt = _statements(self.schema), self.connection, self.rebuilt
        async with ask.transaction():
            await ask.execute(sql["settle"])
            for part in ("events", "received", "doors"):
                await ask.execute(sql[part])
            await ask.execute(sql["hearings"], DeadLettered.kind, REBUILT)
            await ask.execute(sql["heads"])
        rebuilt.events, rebuilt.doors, rebuilt.streams = await ask.fetchrow(sql["counts"])
        gaps = [f"{Stream(*row[:3])}: {row[3]} of {row[4]} are there" for row in await ask.fetch(sql["gaps"])]
        rebuilt.gaps, rebuilt.gapped = gaps[:KEPT], len(gaps)
        return rebuilt


@asynccontextmanager
async def rebuilding(dsn: str, schema: str, topics: Topics) -> AsyncIterator[Rebuilding]:
    """Into a migrated schema. Raises NotEmpty for one that holds events: a store is rebuilt into an empty one."""
    import asyncpg

    connection = await asyncpg.connect(dsn)
    try:
        await connection.set_type_codec("json", schema="pg_catalog", encoder=bytes, decoder=bytes, format="binary")
        await refuse_what_is_not_empty(connection, schema)
        await connection.execute(_statements(schema)["stage"])
        yield Rebuilding(connection, schema, topics)
    finally:
        await connection.close()


async def refuse_what_is_not_empty(connection: Any, schema: str) -> None:
    if await connection.fetchval(f'select exists (select from "{schema}".messages)'):
        raise NotEmpty(f"the schema {schema} holds events already: a store is rebuilt into an empty one")


def _statements(schema: str) -> dict[str, str]:
    text = Path(__file__).with_name("rebuild.sql").read_text("utf-8").replace(":schema", f'"{schema}"')
    named = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)[1:]
    return dict(zip(named[::2], named[1::2], strict=True))


@dataclass(frozen=True)
class Unlike:
    """A stream that is not the same in both stores."""

    stream: Stream
    what: str
    one: str = ""
    other: str = ""


@dataclass
class Compared:
    """Two stores, side by side: how much there is in the one, and where the other is unlike. The first of these are kept."""

    streams: int = 0
    events: int = 0
    differ: int = 0
    unlike: list[Unlike] = field(default_factory=list)


@dataclass
class _Stream:
    """A stream of both stores, event by event, and the first version at which they part."""

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


async def compare(one: MessageReader, other: MessageReader, passed: Callable[[int], object] = lambda events: None) -> Compared:
    """Every stream of both: the same versions, ids, kinds, causes, times and bytes. `passed` is told of events of the one."""
    compared, current = Compared(), _Stream(Stream("", "", ""))

    def close() -> None:
        compared.streams += current.here > 0
        compared.events += current.here
        passed(current.here)
        if (unlike := current.unlike()) is not None:
            compared.differ += 1
            if len(compared.unlike) < KEPT:
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
    """Of two that come in order of stream and version: each event of either, with that of the same place in the other."""
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
    """Whether both are there and are the same event, byte for byte."""
    return mine is not None and theirs is not None and _told(mine) == _told(theirs)


def _told(stored: StoredMessage) -> tuple[Any, ...]:
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
