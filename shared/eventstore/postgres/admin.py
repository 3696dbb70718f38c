"""Postgres for operators: connections for migrations and repairs, and the facts that `doctor` shows. Never used by a service."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import asyncpg

from contracts.catalog import Topics
from shared.eventstore.model import StoreUnavailable
from shared.eventstore.postgres.logins import Login, make_login
from shared.eventstore.postgres.rights import rights, role_of, with_roles, writer_of
from shared.eventstore.postgres.session import FAILURES, connection_options, one_line, refused_parameter
from shared.eventstore.postgres.statements import statements
from shared.masking import masked
from shared.postgres_address import BadAddress, address

# For those who may not import asyncpg.
Connection = asyncpg.Connection
NotAllowed = asyncpg.InsufficientPrivilegeError
UnknownRole = asyncpg.UndefinedObjectError
AlreadyThere = (asyncpg.DuplicateObjectError, asyncpg.UniqueViolationError)
InTheWay = (asyncpg.DeadlockDetectedError, asyncpg.LockNotAvailableError)

OURS = Topics()  # the catalogue without services of a user's own
APPEND_ONLY = ("messages", "inbox", "door_messages", "door_identities", "policies")  # tables that a trigger guards
FORBIDDEN = ("update", "delete", "truncate", "trigger")  # on tables of APPEND_ONLY
# Whether this user is a member of a service's role or of that of all, or policies do not bind it.
_WRITES_AS = """
select coalesce((select pg_has_role(oid, 'usage') from pg_roles where rolname = $2), false)
    or coalesce((select pg_has_role(oid, 'usage') from pg_roles where rolname = $3), false)
    or not row_security_active(($1 || '.streams')::regclass)"""
_MAY_MEASURE = "select coalesce(has_function_privilege(to_regprocedure($1), 'execute'), false)"
_HELD = """
select to_regclass(needed.t) is not null and case when needed.c = '*' then has_table_privilege(needed.t, needed.r)
            else has_table_privilege(needed.t, needed.r) or has_column_privilege(needed.t, needed.c, needed.r) end
  from unnest($1::text[], $2::text[], $3::text[]) with ordinality as needed(t, r, c, n) order by n"""
_TOGETHER = """
select array_agg(service order by service) from {schema}.instances where ended is null
 group by process having count(*) > 1"""
DURABILITY = ("fsync", "synchronous_commit", "full_page_writes")


class Unreachable(StoreUnavailable):
    """No connection could be made; the message says why. `remedy`: what to set, where a parameter was refused."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


class PasswordRefused(Exception):
    """The server answers and refuses the password."""


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection that is closed afterwards, and that works through a transaction pooler too. Raises Unreachable."""
    connection = await _connect(dsn, pooler=True)
    try:
        yield connection
    finally:
        # A close that hangs must not hide what went wrong before.
        try:
            await connection.close(timeout=5)
        except FAILURES:
            connection.terminate()


async def _connect(dsn: str, *, pooler: bool, **more: Any) -> asyncpg.Connection:
    try:
        return await asyncpg.connect(**(connection_options(dsn, pooler) | more))
    except BadAddress as bad:
        raise Unreachable(masked(str(bad))) from None
    except (*FAILURES, ValueError) as error:  # ValueError: asyncpg cannot read a part of the DSN
        remedy, why = refused_parameter(error), f"{type(error).__name__}: {one_line(error)[:200]}"
        raise Unreachable(masked(remedy or why), remedy) from error


async def database_ready(dsn: str, name: str, login: Login) -> bool:
    """Whether the server answers a query; makes the database `name` and the services' login first. Raises PasswordRefused."""
    try:
        connection = await asyncpg.connect(address(dsn).dsn, database="postgres", timeout=5)
    except asyncpg.InvalidAuthorizationSpecificationError as refused:
        raise PasswordRefused(str(refused)) from None
    except (OSError, asyncpg.PostgresError):
        return False
    try:
        if not await connection.fetchval("select 1 from pg_database where datname = $1", name):
            await connection.execute(f"create database {name}")
        await make_login(connection, login, renew=True)
    finally:
        await connection.close()
    return True


@dataclass(frozen=True)
class SchemaInspection:
    """`guarded` counts the tables of APPEND_ONLY whose trigger is enabled; `lacking` are rights that the services need and this
    user does not have: "insert on messages"; `surplus` are those that it has and no service may have. `reader_lag`: seconds; None
    where this user may not read the messages. `writes_as`: the services whose rows it may write. `together`: the services of each
    process that runs several."""

    guarded: int
    lacking: list[str]
    surplus: list[str]
    reader_lag: float | None
    writes_as: tuple[str, ...] = ()
    together: tuple[tuple[str, ...], ...] = ()


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


async def inspect(
    dsn: str, schema: str, *, pooler: bool = False, topics: Topics = OURS, services: Sequence[str] = ()
) -> Inspection:
    """Looks at a server and a schema, and changes nothing. Connects as these services do; where none is named, as those of the
    catalogue whose rows this login may write. Raises Unreachable."""
    began = time.monotonic()
    connection = await _connect(dsn, pooler=pooler, timeout=5)
    took = time.monotonic() - began
    try:
        version = await connection.fetchval("select current_setting('server_version_num')::int")
        off = [name for name in DURABILITY if await connection.fetchval("select current_setting($1)", name) == "off"]
        asked = datetime.now(UTC)
        clock = await connection.fetchval("select clock_timestamp()")
        answered = datetime.now(UTC)
        found = None
        may_use = await connection.fetchval(
            "select has_schema_privilege(oid, 'usage') from pg_namespace where nspname = $1", schema
        )
        if may_use is False:  # only a user who may use it is told whether a table is there
            found = SchemaInspection(len(APPEND_ONLY), [f"use the schema {schema}"], [], None)
        elif may_use and await connection.fetchval("select to_regclass($1) is not null", f'"{schema}".messages'):
            found = await _inspect_schema(connection, schema, topics, services)
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


async def _inspect_schema(
    connection: asyncpg.Connection, schema: str, topics: Topics, services: Sequence[str]
) -> SchemaInspection:
    place, all_of_them = f'"{schema}"', writer_of(schema)
    every = with_roles(topics)
    allowed = [name for name in every if await connection.fetchval(_WRITES_AS, place, role_of(schema, name), all_of_them)]
    needed = services or allowed or every
    lacking = await _lacking(connection, place, needed, topics)
    lacking += [f"write what is {name}'s" for name in needed if name not in allowed]
    blind = "select on messages" in lacking or not await connection.fetchval(_MAY_MEASURE, f"{place}.oldest_transaction()")
    lag = None if blind else await connection.fetchval(statements(schema)["reader_lag"])
    together = [] if "select on instances" in lacking else await connection.fetch(_TOGETHER.format(schema=place))
    return SchemaInspection(
        await _guarded(connection, schema),
        lacking,
        await _surplus(connection, schema),
        lag,
        tuple(allowed),
        tuple(tuple(row[0]) for row in together),
    )


async def _lacking(connection: asyncpg.Connection, place: str, services: Sequence[str], topics: Topics) -> list[str]:
    """The rights to tables that these services need and this user does not have."""
    needed = [
        (table, right, column)
        for service in services
        for table, given in rights(service, topics).items()
        for right, column in given.granted()
    ]
    tables, wanted, columns = (list(part) for part in zip(*needed, strict=True))
    held = await connection.fetch(_HELD, [f"{place}.{table}" for table in tables], wanted, columns)
    missing = (f"{right} on {table}" for (table, right, _), [there] in zip(needed, held, strict=True) if not there)
    return list(dict.fromkeys(missing))


async def _surplus(connection: asyncpg.Connection, schema: str) -> list[str]:
    """What would let a service change the record: it is the superuser, owns the tables, or has a right that only owners need."""
    if await connection.fetchval("select rolsuper from pg_roles where rolname = current_user"):
        return ["it is a superuser"]
    [(owner, creates)] = await connection.fetch(
        "select pg_has_role(relowner, 'usage'), has_schema_privilege(relnamespace, 'create')"
        " from pg_class where oid = to_regclass($1)",
        f'"{schema}".messages',
    )
    if owner:
        return ["it owns the tables"]
    found = [
        f"{right} on {table}"
        for table in APPEND_ONLY
        for right in FORBIDDEN
        if await connection.fetchval("select has_table_privilege($1, $2)", f'"{schema}"."{table}"', right)
    ]
    return [*found, *(["create in the schema"] if creates else [])]
