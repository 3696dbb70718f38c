"""The record in PostgreSQL 15 or later. The only place that speaks to it; what it promises is in `record.Store`."""

import asyncio
import random
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache, reduce
from math import inf
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import asyncpg

from shared.eventstore import columns
from shared.eventstore.clock import Clock
from shared.eventstore.model import (
    STALE,
    Appended,
    Cursor,
    DoorMessage,
    DueWakeUp,
    EpochChanged,
    History,
    InboxEntry,
    ListedWorkflow,
    StoredMessage,
    StoreRefused,
    StoreUnavailable,
    Stream,
    StreamAppend,
    WorkflowHistory,
)

T = TypeVar("T")

_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_TRIES = 30  # of what ran into a deadlock or a race
_PATIENCE = 60.0  # seconds for one statement
_AGAIN = ("40001", "40P01")  # serialization failure, deadlock
_CANNOT_HOLD = ("22", "23", "54")  # classes of errors: data, constraints, limits of the program

# Statements are short and come again and again: their plans are made once and not compiled. A plan that was made while
# the tables were empty must not read them from end to end later.
_SESSION = {
    "application_name": "hansard",
    "default_transaction_isolation": "read committed",
    "enable_seqscan": "off",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "plan_cache_mode": "force_generic_plan",
}

_FAILURES = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)

_MESSAGE = (
    "e.tenant, e.workflow, e.stream, e.version, e.id, e.kind, e.topic, e.causation_id, e.data, e.hash, e.traceparent,"
    " e.at, e.position, e.xact"
)
_ENTRY = "h.causation_id, h.sequence, h.version_before, h.kind, h.at, h.hash, h.code, h.policy, h.dead, h.attempt"
_DOOR = 'd.tenant, d.workflow, d.causation_id, d.topic, d.partition, d."offset", d.broker_at, d.key, d.headers, d.body'
_WHOLE = ("whole_heads", "whole_events", "whole_hearings", "whole_doors")


class _Connection(asyncpg.Connection):
    def get_reset_query(self) -> str:
        return ""  # no statement here leaves anything behind, and asking is a round trip at every release


_ORIGIN, _MICROSECOND = datetime(2000, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


def _to_microseconds(at: datetime) -> tuple[int]:
    return ((at - _ORIGIN) // _MICROSECOND,)


@lru_cache(4096)  # what is recorded together has one time
def _from_microseconds(since: tuple[int]) -> datetime:
    return _ORIGIN + timedelta(microseconds=since[0])


async def _init(connection: Any) -> None:
    # asyncpg's own for times takes four times as long; json as bytes is what we want
    await connection.set_type_codec(
        "timestamptz", schema="pg_catalog", encoder=_to_microseconds, decoder=_from_microseconds, format="tuple"
    )
    await connection.set_type_codec("json", schema="pg_catalog", encoder=bytes, decoder=bytes, format="binary")


class PostgresEventStore:
    """`Store` in PostgreSQL. Made by `open`; safe for many tasks of one event loop."""

    def __init__(self, dsn: str, schema: str, pool: Any, options: Mapping[str, Any]) -> None:
        self._dsn = dsn
        self._schema = schema
        self._sql = _statements(schema)
        self._pool = pool
        self._options = options
        self._clock = Clock()
        self._one_append = asyncio.Lock()
        self._appender: Any = None

    @classmethod
    async def open(cls, dsn: str, *, schema: str = "hansard", pool: int = 4, pooler: bool = False) -> "PostgresEventStore":
        """One connection for appends, up to `pool` for the rest.

        `pooler`: a transaction pooler stands between, so nothing is kept in a session. Raises ValueError for a schema
        that cannot be one, Unavailable where the server is away, too old or not in UTF-8, or the schema is not migrated.
        """
        if not _SCHEMA.fullmatch(schema):
            raise ValueError(f"{schema!r} cannot be the name of a schema: a-z, 0-9 and _ only, at most 63")
        options: dict[str, Any] = {
            "connection_class": _Connection,
            "statement_cache_size": 0 if pooler else 100,
            "max_cached_statement_lifetime": 0,
            "max_cacheable_statement_size": 0,
            "command_timeout": _PATIENCE,
            "timeout": 30,
            "server_settings": {} if pooler else _SESSION,
        }
        try:
            opened = await asyncpg.create_pool(dsn, min_size=1, max_size=pool, init=_init, **options)
        except _FAILURES as error:
            raise StoreUnavailable(_words(error)) from error
        store = cls(dsn, schema, opened, options)
        try:
            await store._check()
        except BaseException:
            await store.close()
            raise
        return store

    async def _check(self) -> None:
        [(version, encoding, migrated, now)] = await self._fetch(
            "select current_setting('server_version_num')::int, current_setting('server_encoding'),"
            " to_regclass($1) is not null, clock_timestamp()",
            f'"{self._schema}".policies',  # what the last migration makes
        )
        self._clock.answered(now, time.monotonic())
        if version < 150000:
            raise StoreUnavailable(f"PostgreSQL 15 or later is needed; this is {version // 10000}")
        if encoding != "UTF8":
            raise StoreUnavailable(f"the database keeps texts in {encoding}: it must be one with ENCODING 'UTF8'")
        if not migrated:
            raise StoreUnavailable(f"the schema {self._schema} is not there or not whole: run `hansard migrate`")

    # the clock

    def now(self) -> datetime:
        return self._clock.now()

    @property
    def ahead(self) -> float:
        """Seconds by which this machine's clock is ahead of the store's."""
        return self._clock.ahead

    # the append

    async def append(self, appends: Sequence[StreamAppend]) -> Appended:
        ordered = sorted(appends, key=lambda append: append.stream)
        if len({append.stream for append in ordered}) != len(ordered):
            raise ValueError("two turns of one stream in one append")
        alone = len(ordered) == 1
        ordered = columns.without_contradictions(ordered)
        if alone and not ordered:
            raise StoreRefused("two bodies under one id")

        async def work(connection: Any) -> Appended:
            try:
                return await self._say(connection, ordered, alone)
            except asyncpg.PostgresError as error:
                if not _cannot_hold(error):
                    raise
                if alone:
                    raise StoreRefused(_words(error)) from error
            # One transaction: heads are still taken in the order of their names.
            async with connection.transaction():
                parts = await self._halve(connection, ordered)
            return Appended(
                frozenset[Stream]().union(*(part.accepted for part in parts)),
                tuple(stored for part in parts for stored in part.unpublished),
            )

        async with self._one_append:
            return await self._again(lambda: self._with_appender(work))

    async def _halve(self, connection: Any, appends: Sequence[StreamAppend]) -> list[Appended]:
        half = len(appends) // 2
        parts: list[Appended] = []
        for part in filter(None, (appends[:half], appends[half:])):
            try:
                async with connection.transaction():
                    parts.append(await self._say(connection, part, alone=False))
            except asyncpg.PostgresError as error:
                if not _cannot_hold(error):
                    raise
                if len(part) > 1:
                    parts += await self._halve(connection, part)
        return parts

    async def _say(self, connection: Any, appends: Sequence[StreamAppend], alone: bool) -> Appended:
        """Raises asyncpg.PostgresError; Refused where the only turn brings another body under the id of a door."""
        arguments = columns.of_turns(appends)
        doors = [(n, door) for n, append in enumerate(appends, 1) for door in append.door_messages]
        asked = time.monotonic()
        rows = await connection.fetch(
            self._sql["append with doors" if doors else "append"],
            *arguments,
            *(columns.of_doors(doors) if doors else ()),
        )
        now, accepted, foul = rows[0][:3]
        self._clock.answered(now, asked)
        if foul and alone:
            raise StoreRefused("something else came from outside under this id before")
        earlier = () if rows[0][3] is None else tuple(_said(row[3:]) for row in rows)
        return Appended(frozenset(appends[n - 1].stream for n in accepted or ()), earlier)

    async def _with_appender(self, work: Callable[[Any], Awaitable[T]]) -> T:
        if self._appender is None or self._appender.is_closed():
            connection = await asyncpg.connect(self._dsn, **self._options)
            await _init(connection)
            self._appender = connection
        try:
            return await work(self._appender)
        except (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError):
            self._appender.terminate()
            raise

    # the rest of writing

    async def mark_published(self, marks: Mapping[Stream, int]) -> None:
        if marks:
            await self._fetch(self._sql["published"], *columns.of_versions(marks))

    async def claim_wake_ups(self, service: str, limit: int, lease: float) -> tuple[list[DueWakeUp], float]:
        asked = time.monotonic()
        rows = await self._fetch(self._sql["claim"], service, limit, lease)
        now, following, overdue = rows[0][:3]
        self._clock.answered(now, asked)
        due = [DueWakeUp(Stream(*row[3:6]), row[6], row[7]) for row in rows if row[3] is not None]
        if len(due) >= limit:
            return due, 0.0
        if overdue > len(due):
            return due, 0.1  # another has just claimed it and has not said so yet
        seconds = inf if following is None else max(0.0, following)
        return due, min(seconds, lease) if due else seconds

    async def heartbeat(self, service: str, process: str, silent: Mapping[str, datetime]) -> dict[str, datetime]:
        asked = time.monotonic()
        rows = await self._fetch(self._sql["alive"], service, process, list(silent), list(silent.values()))
        self._clock.answered(rows[0][0], asked)
        return {other: seen for _, other, seen in rows if other is not None}

    async def count_attempts(self, service: str, records: Sequence[tuple[str, int, int]]) -> list[int]:
        if not records:
            return []
        topics, partitions, offsets = (list(column) for column in zip(*dict.fromkeys(records), strict=True))
        rows = await self._fetch(self._sql["attempts"], service, topics, partitions, offsets)
        counts = {(topic, partition, offset): count for topic, partition, offset, count in rows}
        return [counts[record] for record in records]

    async def process_started(self, service: str, instance: str, process: str, alone: bool) -> bool:
        return bool((await self._fetch(self._sql["began"], service, instance, process, alone))[0][0])

    async def process_ended(self, service: str, process: str) -> None:
        await self._fetch(self._sql["ended"], service, process)

    # reading

    async def load(self, streams: Sequence[Stream]) -> dict[Stream, History]:
        histories = {stream: History(stream) for stream in streams}
        known = list(histories)
        try:
            rows = await self._fetch(self._sql["load"], *columns.of_streams(known))
        except StoreRefused:  # what cannot be kept is not there
            known = [stream for stream in known if all(map(_can_be_kept, stream))]
            rows = await self._fetch(self._sql["load"], *columns.of_streams(known))
        _fill([histories[stream] for stream in known], rows)
        return histories

    async def load_workflow(self, tenant: str, workflow: str) -> Mapping[Stream, History]:
        rows = await self._fetch(self._sql["workflow"], tenant, workflow)
        found = sorted((row["n"], Stream(*row[2:5])) for row in rows if row["part"] == 0)
        histories = [History(stream) for _, stream in found]
        _fill(histories, rows)
        return {history.stream: history for history in histories}

    async def unpublished(self, service: str, older_than: float, limit: int = 1000) -> list[StoredMessage]:
        rows = await self._fetch(self._sql["unpublished"], service, older_than, limit)
        return sorted(map(_said, rows), key=lambda stored: (stored.stream, stored.version))

    async def inbox_entries(self, stream: Stream) -> list[InboxEntry]:
        return [InboxEntry(*row) for row in await self._fetch(self._sql["hearings"], *stream)]

    async def door_messages(self, tenant: str, workflow: str, entries: Sequence[UUID] = ()) -> dict[UUID, DoorMessage]:
        rows = await self._fetch(self._sql["doors"], tenant, workflow, list(entries))
        return {row[2]: _door(row) for row in rows}

    async def find_messages(self, ids: Sequence[UUID]) -> dict[UUID, StoredMessage]:
        return {stored.id: stored for stored in map(_said, await self._fetch(self._sql["events"], list(ids)))}

    async def read_last(self, kinds: Sequence[str], events: int) -> list[StoredMessage]:
        return [_said(row) for row in await self._fetch(self._sql["last"], list(kinds), events)]

    async def store_policy(self, service: str, version: str, data: bytes) -> None:
        await self._fetch(self._sql["keep_policy"], service, version, data)
        if await self.load_policies([(service, version)]) != {(service, version): data}:
            raise StoreRefused(f"other data stand behind the policy {version} of {service}")

    async def load_policies(self, wanted: Sequence[tuple[str, str]]) -> dict[tuple[str, str], bytes]:
        services, versions = [service for service, _ in wanted], [version for _, version in wanted]
        return {(row[0], row[1]): row[2] for row in await self._fetch(self._sql["policies"], services, versions)}

    async def index_answers(self, answers: Sequence[tuple[bytes, Stream]], keep: float) -> None:
        last = {(stream.tenant, key): stream for key, stream in answers}
        if last:
            rows = ((tenant, key, stream.workflow, stream.name) for (tenant, key), stream in last.items())
            await self._fetch(self._sql["remember"], *(list(column) for column in zip(*rows, strict=True)), keep)

    async def find_answer(self, tenant: str, key: bytes, kind: str, unless: str = "") -> StoredMessage | None:
        rows = await self._fetch(self._sql["remembered"], tenant, key, kind, unless)
        return _said(rows[0]) if rows else None

    async def cursor(self) -> Cursor:
        epoch, _ = await self._settled()
        return Cursor(epoch)

    async def read_all(self, since: Cursor | None = None, *, batch: int = 1000) -> AsyncIterator[list[StoredMessage]]:
        """Raises EpochChanged where `since` was read before a restore."""
        epoch, bound = await self._settled()
        if since is not None and since.epoch != epoch:
            raise EpochChanged(f"the cursor is of epoch {since.epoch}, the store of {epoch}: it was restored; read it all again")
        transaction, position = (since.transaction, since.position) if since else (0, 0)
        while rows := await self._fetch(self._sql["everything"], transaction, position, bound, batch):
            yield [_said(row) for row in rows]
            transaction, position = rows[-1]["xact"], rows[-1]["position"]

    async def read_streams(self, *, batch: int = 1000) -> AsyncIterator[list[StoredMessage]]:
        _, bound = await self._settled()
        last: Sequence[Any] = ("", "", "", 0)
        while rows := await self._fetch(self._sql["by_stream"], *last, bound, batch):
            yield [_said(row) for row in rows]
            last = rows[-1][:4]

    async def estimate_size(self) -> int:
        return int((await self._fetch(self._sql["size"], f'"{self._schema}".messages'))[0][0])

    async def list_workflows(self, since: datetime | None = None, *, batch: int = 1000) -> AsyncIterator[list[ListedWorkflow]]:
        _, bound = await self._settled()
        last: Sequence[Any] = ("", "")
        while rows := await self._fetch(self._sql["workflows"], *last, bound, since, batch):
            yield [ListedWorkflow(*row) for row in rows]
            last = rows[-1][:2]

    async def load_workflows(self, workflows: Sequence[tuple[str, str]]) -> list[WorkflowHistory]:
        names = [tenant for tenant, _ in workflows], [workflow for _, workflow in workflows]

        async def ask() -> list[Sequence[Any]]:
            async with (
                self._pool.acquire() as connection,
                connection.transaction(isolation="repeatable_read", readonly=True),
            ):
                return [await connection.fetch(self._sql[part], *names) for part in _WHOLE]

        return _wholes(workflows, *await self._again(ask))

    async def _settled(self) -> tuple[str, int]:
        [(epoch, bound, foreign)] = await self._fetch(self._sql["settled"])
        if foreign:
            raise EpochChanged("the events were restored from another server and bear its transactions: begin a new epoch")
        return epoch, bound

    async def reader_lag(self) -> float:
        """Seconds since the beginning of the oldest transaction that keeps `everything` waiting; 0 where there is none.

        A transaction of another user is seen by what it holds back, unless this one may read all statistics.
        """
        return float((await self._fetch(self._sql["reader_lag"]))[0][0])

    async def outbox_age(self, service: str) -> float:
        """Seconds since the oldest of what this service said and no broker has acknowledged; 0 where there is none."""
        return float((await self._fetch(self._sql["outbox_age"], service))[0][0])

    async def ping(self) -> None:
        await self._fetch("select 1")

    async def close(self) -> None:
        appender, self._appender = self._appender, None
        if appender is not None and not appender.is_closed():
            try:
                await appender.close(timeout=5)
            except _FAILURES:
                appender.terminate()
        try:
            await asyncio.wait_for(self._pool.close(), timeout=10)
        except _FAILURES:
            self._pool.terminate()

    # how everything is asked

    async def _fetch(self, sql: str, *arguments: Any) -> list[Any]:
        async def ask() -> list[Any]:
            async with self._pool.acquire() as connection:
                return list(await connection.fetch(sql, *arguments))

        return await self._again(ask)

    async def _again(self, ask: Callable[[], Awaitable[T]]) -> T:
        for n in range(_TRIES):
            try:
                return await ask()
            except _FAILURES as error:
                if _cannot_hold(error):
                    raise StoreRefused(_words(error)) from error
                if not _may_go_well_next_time(error):
                    raise StoreUnavailable(_words(error)) from error
                reason = error
            await asyncio.sleep(random.uniform(0, 0.002 * 2 ** min(n, 6)))
        raise StoreUnavailable(f"given up after {_TRIES} times: {_words(reason)}")


def _may_go_well_next_time(error: Exception) -> bool:
    """A deadlock; or two who brought the same door at once: the next time the other's is seen."""
    return isinstance(error, asyncpg.PostgresError) and (
        error.sqlstate in _AGAIN or getattr(error, "constraint_name", None) == "door_messages_pkey"
    )


def _cannot_hold(error: Exception) -> bool:
    return (
        isinstance(error, asyncpg.PostgresError)
        and (error.sqlstate or "")[:2] in _CANNOT_HOLD
        and not _may_go_well_next_time(error)
    )


def _words(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _can_be_kept(text: str) -> bool:
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def _said(row: Sequence[Any]) -> StoredMessage:
    return StoredMessage(Stream(*row[:3]), *row[3:])


def _door(row: Sequence[Any]) -> DoorMessage:
    return DoorMessage(*[*row[:8], columns.to_headers(row[8]), row[9]])


def _wholes(
    workflows: Sequence[tuple[str, str]],
    streams: Sequence[Any],
    events: Sequence[Any],
    entries: Sequence[Any],
    doors: Sequence[Any],
) -> list[WorkflowHistory]:
    """Rows that begin with the names of their stream, or of their workflow, put together. A stream may lack its head."""
    found = {names: WorkflowHistory(*names) for names in workflows}

    def history(tenant: str, workflow: str, name: str) -> History:
        mine, stream = found[tenant, workflow], Stream(tenant, workflow, name)
        if stream not in mine.histories:
            mine.histories[stream], mine.entries[stream] = History(stream), []
        return mine.histories[stream]

    for row in streams:
        known = history(*row[:3])
        known.processed, known.version = row[3:]
    for row in events:
        known = history(*row[:3])
        known.messages.append(StoredMessage(known.stream, *row[3:]))
    for row in entries:
        known, entry = history(*row[:3]), InboxEntry(*row[3:])
        known.entries[entry.causation_id] = entry
        found[row[0], row[1]].entries[known.stream].append(entry)
    for row in doors:
        found[row[0], row[1]].door_messages[row[2]] = _door(row)
    return [found[names] for names in workflows]


def _fill(histories: Sequence[History], rows: Sequence[Any]) -> None:
    """`rows` of load.sql; `n` counts the histories from 1."""
    for row in rows:
        history = histories[row[1] - 1]
        match row[0]:
            case 0:
                history.processed, history.version, history.published = row[5], row[6], row[18]
            case 1:
                history.messages.append(StoredMessage(history.stream, *row[6:17]))
            case 2:
                sequence, before, causation_id, kind, code, _, _, hash, policy, at, _, _, dead, attempt = row[5:]
                history.entries[causation_id] = InboxEntry(
                    causation_id, sequence, before, kind, at, hash, code, policy, dead, attempt
                )


def _statements(schema: str) -> dict[str, str]:
    """Every statement by its name, for this schema."""
    here = Path(__file__).parent
    named = re.split(r"^-- name: (\w+)\n", (here / "statements.sql").read_text("utf-8"), flags=re.MULTILINE)[1:]
    append, load = ((here / name).read_text("utf-8") for name in ("append.sql", "load.sql"))
    statements = {
        **dict(zip(named[::2], named[1::2], strict=True)),
        "append with doors": append.replace(":foul", "(select array_agg(n) from foul)"),
        "append": re.sub(r" *--doors\n.*?--/doors\n", "", append, flags=re.DOTALL).replace(":foul", "null::bigint[]"),
        "load": load.replace(":wanted", "unnest($1::text[], $2::text[], $3::text[]) with ordinality"),
        "workflow": load.replace(
            ":wanted",
            "(select tenant, workflow, stream, row_number() over (order by stream)"
            " from :schema.streams where tenant = $1 and workflow = $2)",
        ),
    }
    put = {":schema": f'"{schema}"', ":message": _MESSAGE, ":entry": _ENTRY, ":door": _DOOR, ":stale": f"{STALE}"}
    bare = {name: re.sub(r" *-- .*\n", "\n", sql) for name, sql in statements.items()}
    return {name: reduce(lambda sql, one: sql.replace(*one), put.items(), sql) for name, sql in bare.items()}
