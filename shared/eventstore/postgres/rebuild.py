"""Fills an empty schema from messages as Kafka has them: repeated, and in no order but that of their partitions."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

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
    """The numbers of stored rows. `gaps`: streams that lack messages, each with the number that exists and the expected one."""

    messages: int
    door_messages: int
    streams: int
    gaps: list[tuple[Stream, int, int]]


@dataclass
class Rebuild:
    """Stages messages in temporary tables of its connection, and fills the schema from there: in order, each once."""

    connection: asyncpg.Connection
    schema: str
    sql: Mapping[str, str]

    async def stage(self, messages: Sequence[tuple[int, StoredMessage]], doors: Sequence[tuple[int, DoorCopy]]) -> None:
        """Stages messages, each with its number in the order in which it was read."""
        if messages:
            stored = [message for _, message in messages]
            rows = [
                [n for n, _ in messages],
                *STREAM.arrays([message.stream for message in stored]),
                [message.at for message in stored],
                *MESSAGE.arrays(stored),
            ]
            await self._copy("staged_messages", ["n", *STREAM.sent_names, "at", *MESSAGE.sent_names], rows)
        if doors:
            copies = [copy for _, copy in doors]
            rows = [
                [n for n, _ in doors],
                [copy.reused_id for copy in copies],
                [copy.hash for copy in copies],
                [copy.kind for copy in copies],
                *DOOR.arrays([copy.message for copy in copies]),
            ]
            await self._copy("staged_door_messages", ["n", "reused_id", "hash", "kind", *DOOR.sent_names], rows)

    async def _copy(self, table: str, columns: list[str], arrays: list[list[Any]]) -> None:
        await self.connection.copy_records_to_table(table, columns=columns, records=zip(*arrays, strict=True))

    async def fill(self, dead_letter: str) -> Filled:
        """Puts all of it into the schema, in one transaction. `dead_letter`: the kind of a dead letter. Raises NotEmpty."""
        await self.refuse_unless_empty()
        ask, sql = self.connection, self.sql
        async with ask.transaction():
            for part in ("settings", "messages", "received", "door_messages"):
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
