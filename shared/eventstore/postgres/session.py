"""The connections of one event store: how they are opened, and how every statement is asked and tried again."""

import asyncio
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, TypeVar

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from shared.eventstore.clock import Clock
from shared.eventstore.model import StoreRefused, StoreUnavailable
from shared.eventstore.postgres.statements import statements
from shared.masking import masked
from shared.postgres_address import BadAddress, address, refusal, tls_refusal
from shared.tasks import within

T = TypeVar("T")

SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")
FAILURES = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)

_TRIES = 30  # of a statement that runs into deadlocks or races
_PATIENCE = 60.0  # seconds for one statement
_AGAIN = ("40001", "40P01")  # serialization failure, deadlock
_CANNOT_HOLD = ("22", "23", "54")  # classes of errors: data, constraints, limits of the program

# Statements are short and are asked again and again: their plans are made once and not compiled. A plan that was made while
# the tables were empty must not read them from end to end later.
SETTINGS = {
    "application_name": "hansard",
    "default_transaction_isolation": "read committed",
    "enable_seqscan": "off",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "plan_cache_mode": "force_generic_plan",
}

_ORIGIN, _MICROSECOND = datetime(2000, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


class _Connection(asyncpg.Connection):
    def get_reset_query(self) -> str:
        return ""  # no statement here leaves anything behind, and a reset is a round trip at every release


def _to_microseconds(at: datetime) -> tuple[int]:
    return ((at - _ORIGIN) // _MICROSECOND,)


@lru_cache(4096)  # messages that are recorded together have one time
def _from_microseconds(since: tuple[int]) -> datetime:
    return _ORIGIN + timedelta(microseconds=since[0])


async def _set_codecs(connection: asyncpg.Connection | PoolConnectionProxy) -> None:
    # asyncpg's own codec for times takes four times as long; json is wanted as bytes
    await connection.set_type_codec(
        "timestamptz", schema="pg_catalog", encoder=_to_microseconds, decoder=_from_microseconds, format="tuple"
    )
    await json_as_bytes(connection)


async def json_as_bytes(connection: asyncpg.Connection | PoolConnectionProxy) -> None:
    """Makes the connection send and read JSON as bytes, unparsed."""
    await connection.set_type_codec("json", schema="pg_catalog", encoder=bytes, decoder=bytes, format="binary")


def connection_options(dsn: str, pooler: bool) -> dict[str, Any]:
    """How a service connects, as asyncpg's arguments. Behind a pooler no session keeps a statement or a setting. Raises
    BadAddress."""
    place = address(dsn, pooler=pooler)
    return {
        "dsn": place.dsn,
        "timeout": place.timeout,
        "statement_cache_size": 0 if place.pooler else 100,
        "server_settings": {} if place.pooler else SETTINGS,
    }


def refused_parameter(error: Exception) -> str:
    """What to set where a parameter of the connection, or its encryption, was refused; "" for any other error."""
    return refusal(error, SETTINGS.__contains__) or tls_refusal(error)


class Session:
    """One connection for appends and a pool for the rest, for one schema. Made by `open`; for one event loop."""

    def __init__(self, schema: str, pool: asyncpg.Pool, options: Mapping[str, Any]) -> None:
        self.schema = schema
        self.sql = statements(schema)
        self.clock = Clock()
        self.pool = pool
        self.appender: asyncpg.Connection | None = None
        self._options = options

    @classmethod
    async def open(cls, dsn: str, schema: str, pool: int, pooler: bool) -> "Session":
        """Raises ValueError for a schema that cannot be one; StoreUnavailable if the server cannot be reached, is too old
        or is not in UTF-8, or if the schema is not migrated."""
        if not SCHEMA.fullmatch(schema):
            raise ValueError(f"{schema!r} cannot be the name of a schema: a-z, 0-9 and _ only, at most 63")
        try:
            options = connection_options(dsn, pooler) | {
                "connection_class": _Connection,
                "max_cached_statement_lifetime": 0,
                "max_cacheable_statement_size": 0,
                "command_timeout": _PATIENCE,
            }
            opened = await asyncpg.create_pool(min_size=1, max_size=pool, init=_set_codecs, **options)
        except (*FAILURES, BadAddress) as error:
            raise StoreUnavailable(refused_parameter(error) or one_line(error)) from error
        session = cls(schema, opened, options)
        try:
            await session._check()
        except BaseException:  # StoreUnavailable, StoreRefused, a cancelled caller: its connections are closed
            await session.close()
            raise
        return session

    async def _check(self) -> None:
        [(version, encoding, migrated, now)] = await self.fetch(
            "select current_setting('server_version_num')::int, current_setting('server_encoding'),"
            " to_regprocedure($1) is not null, clock_timestamp()",
            f'"{self.schema}".oldest_transaction()',  # what the migrations make last
        )
        self.clock.answered(now, time.monotonic())
        if version < 150000:
            raise StoreUnavailable(f"PostgreSQL 15 or later is needed; this is {version // 10000}")
        if encoding != "UTF8":
            raise StoreUnavailable(f"the database keeps texts in {encoding}: use one with ENCODING 'UTF8'")
        if not migrated:
            raise StoreUnavailable(f"the schema {self.schema} does not exist or is incomplete: run `hansard migrate`")

    async def close(self) -> None:
        appender, self.appender = self.appender, None
        if appender is not None and not appender.is_closed():
            try:
                await appender.close(timeout=5)
            except FAILURES:
                appender.terminate()
        try:
            await within(10, self.pool.close())
        except FAILURES:
            self.pool.terminate()

    async def ask(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        """The rows of a statement, by the name of its file. Raises StoreUnavailable, StoreRefused."""
        return await self.fetch(self.sql[statement], *arguments)

    async def fetch(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        async def ask() -> list[asyncpg.Record]:
            async with self.pool.acquire() as connection:
                return list(await connection.fetch(sql, *arguments))

        return await self.again(ask)

    async def with_appender(self, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        """Runs `work` with the connection for appends, once. Raises the errors of `work`."""
        if self.appender is None or self.appender.is_closed():
            connection = await asyncpg.connect(**self._options)
            await _set_codecs(connection)
            self.appender = connection
        try:
            return await work(self.appender)
        except (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError):
            self.appender.terminate()
            raise

    async def again(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Asks until it succeeds or cannot succeed. Raises StoreRefused, StoreUnavailable."""
        for n in range(_TRIES):
            try:
                return await ask()
            except FAILURES as error:
                if cannot_hold(error):
                    raise StoreRefused(one_line(error)) from error
                if not may_succeed_next_time(error):
                    raise StoreUnavailable(one_line(error) + what_to_do(error)) from error
                reason = error
            await asyncio.sleep(random.uniform(0, 0.002 * 2 ** min(n, 6)))
        raise StoreUnavailable(f"given up after {_TRIES} times: {one_line(reason)}")


def may_succeed_next_time(error: Exception) -> bool:
    """Whether it was a deadlock, or two processes stored the same door message at once: the next try sees the other's."""
    return isinstance(error, asyncpg.PostgresError) and (
        error.sqlstate in _AGAIN or getattr(error, "constraint_name", None) == "door_identities_pkey"
    )


def cannot_hold(error: Exception) -> bool:
    """Whether the store refuses this for good."""
    return (
        isinstance(error, asyncpg.PostgresError)
        and (error.sqlstate or "")[:2] in _CANNOT_HOLD
        and not may_succeed_next_time(error)
    )


def what_to_do(error: Exception) -> str:
    """About a right that this login does not have; "" for any other error."""
    if not isinstance(error, asyncpg.InsufficientPrivilegeError):
        return ""
    return ": this login has not the rights of the service; `hansard migrate` gives them, and `hansard doctor` looks closer"


def one_line(error: Exception) -> str:
    """What is wrong, without the values: Postgres tells them as the detail, asyncpg after the number of the argument."""
    text = str(error.args[0]) if isinstance(error, asyncpg.PostgresError) and error.args else str(error)
    text = re.sub(r"(invalid input for query argument \$\d+).*", r"\1", text, flags=re.S)
    return masked(" ".join(text.split())) or type(error).__name__
