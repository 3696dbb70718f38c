"""From the tables of release 0.2.0 to those of today: with what is on them, and while its processes store more."""

import asyncio
import secrets
from collections.abc import AsyncIterator

import asyncpg
import pytest

from infra.migrations import migrate, pending
from infra.servers.passwords import service_login
from shared.eventstore.postgres import PostgresEventStore, statements
from shared.eventstore.postgres import columns as store_columns
from shared.eventstore.postgres.session import connection_options, json_as_bytes
from tests.conftest import _drop
from tests.edge.store_kit import a_stream, an_append, messages_in

RELEASE = "0001_record"


@pytest.fixture
async def old(postgres_dsn: str, service_dsn: str) -> AsyncIterator[str]:
    """A schema as release 0.2.0 makes it."""
    name = f"test_{secrets.token_hex(6)}"
    await migrate(postgres_dsn, name, to=RELEASE, service=service_dsn)
    yield name
    await _drop(postgres_dsn, name)


async def an_old_process(dsn: str, schema: str, stopping: asyncio.Event) -> int:
    """Appends as the release does, with the statement that was prepared before, by the login for all; how many it stored."""
    connection = await asyncpg.connect(**connection_options(dsn, False))
    await json_as_bytes(connection)
    append = await connection.prepare(statements.statements(schema)["append"])
    stored = 0
    while not stopping.is_set():
        arguments = store_columns.appends([an_append(a_stream("planner"), b"1"), an_append(a_stream("router"), b"2")])
        try:
            rows = await append.fetch(*arguments)
        except asyncpg.DeadlockDetectedError:
            continue  # it tries again, as for every deadlock
        assert len(rows[0][1]) == 2
        stored += 2
    await connection.close()
    return stored


async def test_old_processes_go_on_while_and_after_the_tables_change(old: str, postgres_dsn: str, service_dsn: str) -> None:
    stopping = asyncio.Event()
    processes = [asyncio.create_task(an_old_process(service_dsn, old, stopping)) for _ in range(3)]
    owner = await asyncpg.connect(postgres_dsn)

    async def some_more() -> None:
        known = await owner.fetchval(f"select count(*) from {old}.messages")
        while await owner.fetchval(f"select count(*) from {old}.messages") < known + 20:
            assert not any(process.done() for process in processes)
            await asyncio.sleep(0.02)

    await some_more()
    own = {"router": service_login(service_dsn, "router")}
    assert await migrate(postgres_dsn, old, service=service_dsn, logins=own, renew=True) == [
        name for name in await pending(postgres_dsn, f"{old}_none") if name != RELEASE
    ]
    await some_more()
    router = await PostgresEventStore.open(own["router"], schema=old)
    stream = a_stream("router")
    assert (await router.append([an_append(stream, b"3")])).accepted == {stream}
    await some_more()
    stopping.set()
    stored = sum(await asyncio.gather(*processes))
    assert len(await messages_in(router)) == stored + 1 == await owner.fetchval(f"select count(*) from {old}.messages")
    await router.close()
    await owner.close()


async def test_rights_that_the_release_granted_are_still_there(old: str, postgres_dsn: str, service_dsn: str) -> None:
    owner = await asyncpg.connect(postgres_dsn)
    granted = (
        "select table_name, privilege_type, column_name from information_schema.column_privileges"
        f" where table_schema = '{old}' and grantee = '{old}_writer'"
    )
    before = {tuple(row) for row in await owner.fetch(granted)}
    await migrate(postgres_dsn, old, service=service_dsn)
    assert before and before <= {tuple(row) for row in await owner.fetch(granted)}
    await owner.close()


async def test_a_role_for_all_that_comes_later_writes_too(postgres_dsn: str, service_dsn: str) -> None:
    """An administrator made it after the migration, whose owner might not."""
    name = f"test_{secrets.token_hex(6)}"
    owner = await asyncpg.connect(postgres_dsn)
    try:
        await migrate(postgres_dsn, name, to=RELEASE)
        await owner.execute(f"drop owned by {name}_writer; drop role {name}_writer")
        await migrate(postgres_dsn, name)
        await owner.execute(f"create role {name}_writer; grant usage on schema {name} to {name}_writer")
        await owner.execute(f"grant select, insert, update on all tables in schema {name} to {name}_writer")
        await owner.execute(f"grant delete on {name}.wake_ups, {name}.instances to {name}_writer")
        await migrate(postgres_dsn, name, service=service_dsn)
        store = await PostgresEventStore.open(service_dsn, schema=name)
        stream = a_stream("planner")
        assert (await store.append([an_append(stream, b"1")])).accepted == {stream}
        await store.close()
    finally:
        await _drop(postgres_dsn, name)
        await owner.close()


async def test_whoever_may_read_a_table_still_reads_all_of_it(old: str, postgres_dsn: str, service_dsn: str) -> None:
    """Such as a reporting login of a user's own, which is a member of no role of ours."""
    reader, owner = f"{old}_reporting", await asyncpg.connect(postgres_dsn)
    await owner.execute(f"create role {reader}; grant usage on schema {old} to {reader}")
    await owner.execute(f"grant select on all tables in schema {old} to {reader}")
    try:
        await migrate(postgres_dsn, old, service=service_dsn)
        store = await PostgresEventStore.open(service_dsn, schema=old)
        await store.append([an_append(a_stream("planner"), b"1")])
        await store.close()
        await owner.execute(f"set role {reader}")
        for table in ("streams", "inbox", "messages"):
            assert await owner.fetchval(f"select count(*) from {old}.{table}") == 1
    finally:
        await owner.execute(f"reset role; drop owned by {reader}; drop role {reader}")
        await owner.close()
