"""Postgres for operators: connections for migrations and repairs, and the facts that `doctor` shows. Never used by a service."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import asyncpg

from shared.eventstore.postgres.session import FAILURES

Connection = asyncpg.Connection  # for those who may not import asyncpg

APPEND_ONLY = ("messages", "inbox", "door_messages")  # tables that a trigger guards
RIGHTS = {  # the rights that a service needs
    "messages": ("select", "insert"),
    "inbox": ("select", "insert"),
    "door_messages": ("select", "insert"),
    "streams": ("select", "insert", "update"),
    "wake_ups": ("select", "insert", "update", "delete"),
    "attempts": ("select", "insert", "update"),
    "instances": ("select", "insert", "update", "delete"),
    "content": ("select", "insert"),
}
DURABILITY = ("fsync", "synchronous_commit", "full_page_writes")


class Unreachable(Exception):
    """No connection could be made; the message says why."""


class PasswordRefused(Exception):
    """The server answers and refuses the password."""


@asynccontextmanager
async def connected(dsn: str, *, timeout: float = 30) -> AsyncIterator[asyncpg.Connection]:
    """A connection that is closed afterwards. Raises OSError or asyncpg.PostgresError if there is none."""
    connection = await asyncpg.connect(dsn, statement_cache_size=0, timeout=timeout)
    try:
        yield connection
    finally:
        # A close that hangs must not hide what went wrong before.
        try:
            await connection.close(timeout=5)
        except FAILURES:
            connection.terminate()


async def database_ready(dsn: str, name: str) -> bool:
    """Whether the server answers a query; makes the database `name` the first time. Raises PasswordRefused."""
    try:
        connection = await asyncpg.connect(dsn, database="postgres", timeout=5)
    except asyncpg.InvalidAuthorizationSpecificationError as refused:
        raise PasswordRefused(str(refused)) from None
    except (OSError, asyncpg.PostgresError):
        return False
    try:
        if not await connection.fetchval("select 1 from pg_database where datname = $1", name):
            await connection.execute(f"create database {name}")
    finally:
        await connection.close()
    return True


@dataclass(frozen=True)
class SchemaInspection:
    """`guarded` counts the tables of APPEND_ONLY whose trigger is enabled; `lacking` are rights that a service needs and this
    user does not have: "insert on messages"."""

    guarded: int
    lacking: list[str]


@dataclass(frozen=True)
class Inspection:
    """The findings of `inspect`. The server's `clock` was read between `asked` and `answered` on this machine's clock."""

    connected_in: float  # seconds
    version: int  # as in server_version_num: 180003
    not_durable: list[str]  # settings of DURABILITY that are off
    asked: datetime
    clock: datetime
    answered: datetime
    schema: SchemaInspection | None  # None: the schema does not exist


async def inspect(dsn: str, schema: str) -> Inspection:
    """Looks at a server and a schema, and changes nothing. Raises Unreachable."""
    began = time.monotonic()
    try:
        connection = await asyncpg.connect(dsn, timeout=5, statement_cache_size=0)
    except (*FAILURES, ValueError) as error:  # ValueError: the DSN cannot be read
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise Unreachable(f"{type(error).__name__}: {reason}") from error
    took = time.monotonic() - began
    try:
        version = await connection.fetchval("select current_setting('server_version_num')::int")
        off = [name for name in DURABILITY if await connection.fetchval("select current_setting($1)", name) == "off"]
        asked = datetime.now(UTC)
        clock = await connection.fetchval("select clock_timestamp()")
        answered = datetime.now(UTC)
        found = None
        if await connection.fetchval("select to_regclass($1) is not null", f'"{schema}".messages'):
            found = SchemaInspection(await _guarded(connection, schema), await _lacking(connection, schema))
        return Inspection(took, version, off, asked, clock, answered, found)
    finally:
        await connection.close()


async def _guarded(connection: asyncpg.Connection, schema: str) -> int:
    return int(
        await connection.fetchval(
            "select count(*) from pg_trigger t join pg_class c on c.oid = t.tgrelid"
            " where c.relnamespace = $1::regnamespace and c.relname = any($2::text[])"
            " and not t.tgisinternal and t.tgenabled in ('A', 'O')",
            f'"{schema}"',
            list(APPEND_ONLY),
        )
    )


async def _lacking(connection: asyncpg.Connection, schema: str) -> list[str]:
    return [
        f"{right} on {table}"
        for table, rights in RIGHTS.items()
        for right in rights
        if not await connection.fetchval("select has_table_privilege($1, $2)", f'"{schema}"."{table}"', right)
    ]
