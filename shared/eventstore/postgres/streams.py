"""Appends to streams, and loads them."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from operator import itemgetter

import asyncpg

from shared.eventstore import appends as checks
from shared.eventstore.model import (
    Appended,
    Claim,
    DoorIdentity,
    History,
    InboxEntry,
    StoredMessage,
    StoreRefused,
    Stream,
    StreamAppend,
)
from shared.eventstore.postgres import columns
from shared.eventstore.postgres.session import Session, cannot_hold, one_line
from shared.eventstore.postgres.statements import LOADED, append_name

_FIRST = 2  # a row of load.sql begins with its part and with the number of the stream asked for
_MESSAGE = slice(_FIRST, _FIRST + len(LOADED.places[0]))
_ENTRY = itemgetter(*(_FIRST + place for place in LOADED.places[1]))
_STATE = itemgetter(*(_FIRST + place for place in LOADED.places[2]))


class PostgresStreams:
    """`StreamStore` in Postgres."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._one_append = asyncio.Lock()

    def now(self) -> datetime:
        return self.session.clock.now()

    @property
    def ahead(self) -> float:
        return self.session.clock.ahead

    async def append(self, appends: Sequence[StreamAppend]) -> Appended:
        alone = len(appends) == 1
        ordered = checks.checked(appends)

        async def work(connection: asyncpg.Connection) -> Appended:
            try:
                return await self.append_once(connection, ordered)
            except asyncpg.PostgresError as error:
                if not cannot_hold(error):
                    raise
                if alone:
                    raise StoreRefused(one_line(error)) from error
            # One transaction: streams are still taken in the order of their names.
            async with connection.transaction():
                parts = await self._append_halves(connection, ordered)
            return Appended(
                frozenset[Stream]().union(*(part.accepted for part in parts)),
                tuple(message for part in parts for message in part.unpublished),
                {id_: identity for part in parts for id_, identity in part.taken.items()},
                frozenset[Claim]().union(*(part.forged for part in parts)),
            )

        async with self._one_append:
            return await self.session.again(lambda: self.session.with_appender(work))

    async def _append_halves(self, connection: asyncpg.Connection, appends: Sequence[StreamAppend]) -> list[Appended]:
        """Appends both halves. Leaves out the appends that the store cannot hold."""
        half = len(appends) // 2
        parts: list[Appended] = []
        for part in filter(None, (appends[:half], appends[half:])):
            try:
                async with connection.transaction():
                    parts.append(await self.append_once(connection, part))
            except asyncpg.PostgresError as error:
                if not cannot_hold(error):
                    raise
                if len(part) > 1:
                    parts += await self._append_halves(connection, part)
        return parts

    async def append_once(self, connection: asyncpg.Connection, appends: Sequence[StreamAppend]) -> Appended:
        """Runs the append statement once. Raises asyncpg.PostgresError."""
        statement = self.session.sql[append_name(columns.append_parts(appends))]
        arguments = columns.appends(appends)
        asked = time.monotonic()
        rows = await connection.fetch(statement, *arguments)
        now, accepted, taken, workflows, hashes, forged = rows[0][:6]
        self.session.clock.answered(now, asked)
        claims = [claim for append in appends for claim in append.claims] if forged else []
        return Appended(
            frozenset(appends[n - 1].stream for n in accepted or ()),
            () if rows[0][6] is None else tuple(columns.message(row[6:]) for row in rows),
            dict(zip(taken or (), map(DoorIdentity, workflows or (), hashes or ()), strict=True)),
            frozenset(claims[n - 1] for n in forged or ()),
        )

    async def load(self, streams: Sequence[Stream]) -> dict[Stream, History]:
        histories = {stream: History(stream) for stream in streams}
        known = list(histories)
        try:
            rows = await self.session.ask("load", *columns.streams(known))
        except StoreRefused:  # a name with NUL or a lone surrogate was never stored: leave it out
            known = [stream for stream in known if all(map(_can_be_held, stream))]
            rows = await self.session.ask("load", *columns.streams(known))
        _fill([histories[stream] for stream in known], rows)
        return histories

    async def load_workflow(self, tenant: str, workflow: str) -> Mapping[Stream, History]:
        rows = await self.session.ask("load_workflow", tenant, workflow)
        found = sorted((row["n"], Stream(*_STATE(row)[:3])) for row in rows if row["part"] == 0)
        histories = [History(stream) for _, stream in found]
        _fill(histories, rows)
        return {history.stream: history for history in histories}


def _fill(histories: Sequence[History], rows: Sequence[asyncpg.Record]) -> None:
    """Fills the histories from `rows` of load.sql, which number them from 1."""
    for row in rows:
        history = histories[row[1] - 1]
        match row[0]:
            case 0:
                *_, history.processed, history.version, history.published = _STATE(row)
            case 1:
                history.messages.append(StoredMessage(history.stream, *row[_MESSAGE]))
            case 2:
                entry = InboxEntry(*_ENTRY(row))
                history.entries[entry.causation_id] = entry


def _can_be_held(text: str) -> bool:
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False
