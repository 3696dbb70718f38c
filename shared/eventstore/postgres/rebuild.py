"""Fills an empty schema from messages as Kafka has them: repeated, and in no order but that of their partitions."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import asyncpg

from shared.eventstore.model import DoorCopy, NotEmpty, StoredMessage, Stream
from shared.eventstore.postgres.admin import connected
from shared.eventstore.postgres.columns import DOOR, MESSAGE, STREAM
from shared.eventstore.postgres.session import json_as_bytes
from shared.eventstore.postgres.statements import statements
from shared.postgres_address import address

UNKNOWN = "rebuilt"  # stands for the versions of code and policy, which Kafka does not carry


@dataclass(frozen=True)
class Filled:
    """The numbers of stored rows. `gaps`: streams that lack messages, each with the number that exists and the expected one.
    `contradictions`: what Kafka has twice and not the same, with the places; where there are some, nothing was stored."""

    messages: int = 0
    door_messages: int = 0
    streams: int = 0
    gaps: list[tuple[Stream, int, int]] = field(default_factory=list)
    contradictions: list[tuple[Stream, str, list[str]]] = field(default_factory=list)


@dataclass
class Rebuild:
    """Stages messages in temporary tables of its connection, and fills the schema from there: in order, each once."""

    connection: asyncpg.Connection
    schema: str
    sql: Mapping[str, str]

    async def stage(self, messages: Sequence[tuple[int, str, StoredMessage]], doors: Sequence[tuple[int, DoorCopy]]) -> None:
        """Stages messages, each with its number in the order in which it was read, and its place in Kafka."""
        if messages:
            stored = [message for _, _, message in messages]
            rows: list[list[Any]] = [
                [n for n, _, _ in messages],
                [place for _, place, _ in messages],
                *STREAM.arrays([message.stream for message in stored]),
                [message.at for message in stored],
                *MESSAGE.arrays(stored),
            ]
            await self._copy("staged_messages", ["n", "place", *STREAM.sent_names, "at", *MESSAGE.sent_names], rows)
        if doors:
            copies = [copy for _, copy in doors]
            rows = [
                [n for n, _ in doors],
                [copy.reused_id for copy in copies],
                [copy.elsewhere_id for copy in copies],
                [copy.elsewhere_reused_id for copy in copies],
                [copy.hash for copy in copies],
                [copy.kind for copy in copies],
                *DOOR.arrays([copy.message for copy in copies]),
            ]
            ids = ["reused_id", "elsewhere_id", "elsewhere_reused_id"]
            await self._copy("staged_door_messages", ["n", *ids, "hash", "kind", *DOOR.sent_names], rows)

    async def _copy(self, table: str, columns: list[str], arrays: list[list[Any]]) -> None:
        await self.connection.copy_records_to_table(table, columns=columns, records=zip(*arrays, strict=True))

    async def fill(self, dead_letter: str) -> Filled:
        """Puts all of it into the schema, in one transaction, unless it contradicts itself. `dead_letter`: the kind of a dead
        letter. Raises NotEmpty."""
        await self.refuse_unless_empty()
        ask, sql = self.connection, self.sql
        async with ask.transaction():
            await ask.execute(sql["rebuild/settings"])
            if found := await ask.fetch(sql["rebuild/contradictions"]):
                return Filled(contradictions=[(Stream(*row[:3]), row[3], row[4]) for row in found])
            for part in ("messages", "received", "door_messages", "door_identities"):
                await ask.execute(sql[f"rebuild/{part}"])
            await ask.execute(sql["rebuild/inbox"], dead_letter, UNKNOWN)
            await ask.execute(sql["rebuild/streams"])
        [(messages, doors, streams)] = await ask.fetch(sql["rebuild/counts"])
        gaps = [(Stream(*row[:3]), row[3], row[4]) for row in await ask.fetch(sql["rebuild/gaps"])]
        return Filled(messages, doors, streams, gaps)

    async def refuse_unless_empty(self) -> None:
        """Raises NotEmpty if the schema holds messages."""
        if await self.connection.fetchval(self.sql["rebuild/is_filled"]):
            raise NotEmpty(f"the schema {self.schema} holds messages already: a store is rebuilt into an empty one")


class Unlike(NamedTuple):
    """Where the record and Kafka's copy of it differ: at a version of a stream, or at a message from outside ("", 0)."""

    tenant: str
    workflow: str
    stream: str
    version: int
    place: str
    what: str
    here: str
    there: str


@dataclass
class Comparison(Rebuild):
    """Stages Kafka's messages beside a schema that holds them too, and changes nothing there."""

    async def unlike(self, kept: Sequence[tuple[str, int, int, datetime]], limit: int) -> list[Unlike]:
        """Where both differ, `limit` of each sort at most. `kept`: topic, partition, offset and time of the first record of each
        partition that lost some to retention."""
        ask, sql = self.connection, self.sql
        await ask.copy_records_to_table("kept", records=kept)
        async with ask.transaction():
            await ask.execute(sql["rebuild/settings"])
            return [Unlike(*row) for row in await ask.fetch(sql["rebuild/against_kafka"], limit)]


@asynccontextmanager
async def comparison(dsn: str, schema: str) -> AsyncIterator[Comparison]:
    """Opens a comparison with a migrated schema: what brokers have acknowledged by now must be in Kafka."""
    async with connected(dsn) as connection:
        await json_as_bytes(connection)
        beside = Comparison(connection, schema, statements(schema))
        for part in ("stage_published", "stage_bound", "stage_kept", "stage_messages", "stage_door_messages"):
            await connection.execute(beside.sql[f"rebuild/{part}"])
        yield beside


@asynccontextmanager
async def rebuild(dsn: str, schema: str, *, pooler: bool = False) -> AsyncIterator[Rebuild]:
    """Opens a rebuild into a migrated schema. Raises NotEmpty for one that holds messages; Unreachable.

    `pooler`: all of it is one transaction, since a pooler gives the next one to another connection, without the temporary
    tables. Until it ends, readers of everything in this server wait.
    """
    pooler = address(dsn, pooler=pooler).pooler
    async with connected(dsn) as connection, connection.transaction() if pooler else nullcontext():
        await json_as_bytes(connection)
        into = Rebuild(connection, schema, statements(schema))
        await into.refuse_unless_empty()
        await connection.execute(into.sql["rebuild/stage_messages"])
        await connection.execute(into.sql["rebuild/stage_door_messages"])
        yield into
