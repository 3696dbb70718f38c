"""Numbered SQL migrations. Each is applied once, in a transaction of its own, and recorded with its hash."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from contracts.catalog import Topics
from infra.migrations import roles
from shared.eventstore.postgres.admin import OURS, Connection, InTheWay, NotAllowed, UnknownRole, connected
from shared.eventstore.postgres.logins import Login
from shared.eventstore.postgres.rights import quoted, role_of, writer_of
from shared.eventstore.postgres.session import SCHEMA
from shared.settings import FUSED

NOBODY: Mapping[str, str] = {}
LOCK_PATIENCE = "'3s'"
PAUSES = (0.1, 0.2, 0.5, 1.0, 1.0, 2.0, 2.0, 5.0, 5.0, 5.0)  # seconds


class MigrationError(Exception):
    """The schema cannot be migrated; the message says what to do."""


@dataclass(frozen=True)
class Migration:
    """One file: `0001_record.sql`."""

    name: str
    sql: str

    @property
    def hash(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations() -> list[Migration]:
    """Every migration that this code knows, in order."""
    files = sorted(Path(__file__).parent.glob("[0-9][0-9][0-9][0-9]_*.sql"))
    return [Migration(file.stem, file.read_text("utf-8")) for file in files]


async def pending(dsn: str, schema: str = "hansard", *, to: str | None = None) -> list[str]:
    """Names of the migrations that `migrate` would apply. Changes nothing.

    Raises MigrationError where an applied one was changed since, Unreachable; OSError or asyncpg.PostgresError from Postgres.
    """
    async with _connected(dsn, schema) as connection:
        return [migration.name for migration in await _pending(connection, schema, to)]


async def migrate(
    dsn: str,
    schema: str = "hansard",
    *,
    to: str | None = None,
    service: str = "",
    topics: Topics = OURS,
    logins: Mapping[str, str] = NOBODY,
    renew: bool = False,
) -> list[str]:
    """Applies what is pending, up to and including `to`; returns the names of what it applied. Many may run at once.

    `dsn` is the owner's; it needs the right to create the schema, unless it exists. Each service of the catalogue gets a role, as
    far as the owner may make roles. `service` is the DSN by which services connect that share one: its login becomes a member of
    the role with the rights of all. `logins` are the DSNs of services that have one of their own, by name; of a process that runs
    several, by `router+planner`. A login is made where there is none; `renew`: one that exists gets the password of its DSN.

    Raises as `pending` does; and MigrationError where the owner may not let a login in, or others hold the tables.
    """
    applied: list[str] = []
    async with _connected(dsn, schema) as connection:

        async def step() -> str | None:
            # The lock ends with the transaction, so that this works through a transaction pooler too.
            async with connection.transaction():
                await connection.execute("select pg_advisory_xact_lock(hashtextextended($1, 0))", f"hansard {schema}")
                await connection.execute(f"set local lock_timeout = {LOCK_PATIENCE}")
                if not (waiting := await _pending(connection, schema, to)):
                    await roles.provide(connection, schema, topics)
                    await _let_in(connection, schema, {"": service} if service else {})
                    await _let_in(connection, schema, logins, renew=renew)
                    return None
                await _prepare(connection, schema)
                await connection.execute(waiting[0].sql)
                await connection.execute("insert into migrations (name, hash) values ($1, $2)", waiting[0].name, waiting[0].hash)
                return waiting[0].name

        while name := await _patiently(step):
            applied.append(name)
        return applied


async def _patiently(step: Callable[[], Awaitable[str | None]]) -> str | None:
    """Changes a table between the appends that use it: those wait while this does, so it gives way and tries again."""
    for pause in PAUSES:
        try:
            return await step()
        except InTheWay as held:
            reason = held
        await asyncio.sleep(pause)
    raise MigrationError(
        f"others hold the tables ({reason}): end long transactions (`hansard doctor` shows them), and run it again"
    )


async def _let_in(connection: Connection, schema: str, logins: Mapping[str, str], *, renew: bool = False) -> None:
    """Makes each login a member of the roles of its services; of the role with the rights of all, under ""."""
    owner = await connection.fetchval("select current_user")
    for services, dsn in logins.items():
        login = Login.of(dsn)
        if login is None or login.name == owner:
            continue
        names = [role_of(schema, service) for service in services.split(FUSED)] if services else [writer_of(schema)]
        if login.name in names:
            raise MigrationError(f"{login.name} is the name of a role that logins are members of: choose another for the login")
        try:
            await roles.let_in(connection, login, names, renew=renew)
        except (NotAllowed, UnknownRole) as refused:
            written = [name if SCHEMA.fullmatch(name) else quoted(name) for name in names]
            made = " ".join(f"create role {name};" for name in written)
            member = f"create role {login.quoted} login password '…' in role {', '.join(written)};"
            raise MigrationError(
                f"the owner may not let services in ({refused}): have an administrator run `{made} {member}`,"
                + (" grant on the schema what the end of infra/migrations/0001_record.sql lists," if not services else "")
                + " and run this again"
            ) from refused


async def begin_epoch(dsn: str, schema: str = "hansard") -> str:
    """Begins a new epoch after a restore, so that cursors from before it are refused; returns it. Needs the rights of the
    tables' owner.

    Rows that were copied from another server bear its transactions, which mean nothing here: they get a new one.
    """
    async with _connected(dsn, schema) as connection, connection.transaction():
        await connection.execute(f'set local search_path to "{schema}"')
        for table in ("messages", "inbox", "door_messages"):
            await connection.execute(f"lock table {table} in access exclusive mode")
            if await connection.fetchval(f"select max(xact) >= pg_snapshot_xmax(pg_current_snapshot()) from {table}"):
                await connection.execute(f"alter table {table} disable trigger append_only")
                await connection.execute(f"update {table} set xact = pg_current_xact_id()")
                await connection.execute(f"alter table {table} enable always trigger append_only")
        return str(await connection.fetchval("insert into epochs (epoch) values (gen_random_uuid()::text) returning epoch"))


async def _prepare(connection: Connection, schema: str) -> None:
    # `create schema if not exists` needs a right even where there is nothing to create.
    if await connection.fetchval("select to_regnamespace($1) is null", schema):
        await connection.execute(f'create schema "{schema}"')
    await connection.execute(f'set local search_path to "{schema}"')
    if await connection.fetchval("select to_regclass('migrations') is null"):
        await connection.execute(
            "create table migrations (name text primary key, hash text not null, at timestamptz not null default now())"
        )


async def _pending(connection: Connection, schema: str, to: str | None) -> list[Migration]:
    if (encoding := await connection.fetchval("select current_setting('server_encoding')")) != "UTF8":
        raise MigrationError(f"the database keeps texts in {encoding}: make one with `create database … encoding 'UTF8'`")
    known = migrations()
    if to is not None:
        names = [migration.name for migration in known]
        if to not in names:
            raise MigrationError(f"there is no migration {to}; there are {', '.join(names)}")
        known = known[: names.index(to) + 1]
    applied: dict[str, str] = {}
    if await connection.fetchval("select to_regclass($1) is not null", f'"{schema}".migrations'):
        rows = await connection.fetch(f'select name, hash from "{schema}".migrations')
        applied = {row["name"]: row["hash"] for row in rows}
    for migration in known:
        if applied.get(migration.name, migration.hash) != migration.hash:
            raise MigrationError(
                f"migration {migration.name} was changed after it was applied to {schema}: "
                "restore the file and put the change in a new one; a schema of a version before 0.2.0 must be made anew "
                "(`make clean`, or another HANSARD_POSTGRES_SCHEMA)"
            )
    return [migration for migration in known if migration.name not in applied]


@asynccontextmanager
async def _connected(dsn: str, schema: str) -> AsyncIterator[Connection]:
    if not SCHEMA.fullmatch(schema):
        raise MigrationError(f"{schema!r} cannot be the name of a schema: a-z, 0-9 and _ only, at most 63")
    async with connected(dsn) as connection:
        yield connection
