"""Numbered SQL migrations. Each is applied once, in a transaction of its own, and recorded with its hash."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from shared.eventstore.postgres.admin import Connection, NotAllowed, UnknownRole, connected
from shared.eventstore.postgres.logins import Login, make_login
from shared.eventstore.postgres.session import SCHEMA


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


async def migrate(dsn: str, schema: str = "hansard", *, to: str | None = None, service: str = "") -> list[str]:
    """Applies what is pending, up to and including `to`; returns the names of what it applied. Many may run at once.

    `dsn` is the owner's; it needs the right to create the schema, unless it exists. `service` is the DSN by which services
    connect: its login becomes a member of their role, and is made where there is none. Raises as `pending` does.
    """
    applied: list[str] = []
    async with _connected(dsn, schema) as connection:
        while True:
            # The lock ends with the transaction, so that this works through a transaction pooler too.
            async with connection.transaction():
                await connection.execute("select pg_advisory_xact_lock(hashtextextended($1, 0))", f"hansard {schema}")
                if not (waiting := await _pending(connection, schema, to)):
                    await _let_in(connection, schema, service)
                    return applied
                await _prepare(connection, schema)
                await connection.execute(waiting[0].sql)
                await connection.execute("insert into migrations (name, hash) values ($1, $2)", waiting[0].name, waiting[0].hash)
            applied.append(waiting[0].name)


async def _let_in(connection: Connection, schema: str, service: str) -> None:
    login, writer = Login.of(service), writer_of(schema)
    if login is None or login.name == await connection.fetchval("select current_user"):
        return
    try:
        async with connection.transaction():
            await make_login(connection, login)
            if not await connection.fetchval("select pg_has_role($1, $2, 'usage')", login.name, writer):
                await connection.execute(f'grant "{writer}" to {login.quoted}')
    except (NotAllowed, UnknownRole) as refused:
        raise MigrationError(
            f"the owner may not let services in ({refused}): have an administrator run `create role {writer};"
            f" create role {login.quoted} login password '…' in role {writer};`, grant on the schema what the end of"
            " infra/migrations/0001_record.sql lists, and run this again"
        ) from refused


def writer_of(schema: str) -> str:
    """The role of services in this schema, as the first migration makes it."""
    return f"{schema[:56]}_writer"


async def begin_epoch(dsn: str, schema: str = "hansard") -> str:
    """Begins a new epoch after a restore, so that cursors from before it are refused; returns it. Needs the rights of the
    tables' owner.

    Messages that were copied from another server bear its transactions, which mean nothing here: they get a new one.
    """
    async with _connected(dsn, schema) as connection, connection.transaction():
        await connection.execute(f'set local search_path to "{schema}"')
        await connection.execute("lock table messages in access exclusive mode")
        if await connection.fetchval("select max(xact) >= pg_snapshot_xmax(pg_current_snapshot()) from messages"):
            await connection.execute("alter table messages disable trigger append_only")
            await connection.execute("update messages set xact = pg_current_xact_id()")
            await connection.execute("alter table messages enable always trigger append_only")
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
