"""The login of a service: what it needs works, what would reach further is refused, and processes of several have the union."""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from hashlib import sha256
from uuid import uuid4

import asyncpg
import pytest

from contracts.catalog import Topics
from infra.migrations import migrate
from shared.eventstore.model import StoreUnavailable
from shared.eventstore.postgres import PostgresEventStore
from shared.eventstore.postgres.admin import inspect
from shared.eventstore.postgres.rights import doors_of, role_of, with_roles
from shared.eventstore.postgres.session import SETTINGS
from shared.eventstore.postgres.statements import statements
from shared.task_tokens import gives_tasks_outside
from tests.edge.roles_kit import FUSED, Roles, roles
from tests.edge.store_kit import EARLIER, FAR, a_stream, an_append, current, door, until


@pytest.fixture
async def made(postgres_dsn: str, service_dsn: str) -> AsyncIterator[Roles]:
    async with roles(postgres_dsn, service_dsn) as made:
        yield made


async def works(made: Roles, login: str, service: str) -> None:
    """Every operation of a service on the store, by this login."""
    store = await PostgresEventStore.open(made.dsn[login], schema=made.schema)
    try:
        process, id_ = secrets.token_hex(4), uuid4()
        await store.process_started(service, "1", process, True)
        stream = a_stream(f"{service}/x")
        from_outside = doors_of(service, made.topics)
        doors = [door(stream, id_, topic=name) for name in from_outside[:1]]
        first = an_append(stream, b"1", b"2", causation_id=id_, doors=doors, wake_at=store.now(), holder="")
        assert (await store.append([first])).accepted == {stream}
        history = await current(store, stream)
        claiming = an_append(history, b"3", wake_at=store.now() + FAR, holder=process)
        claiming = replace(claiming, claims=[history.messages[0].claim])
        assert (await store.append([claiming])).accepted == {stream}
        await store.claim_wake_ups(service, 10, 5.0)
        await store.heartbeat(service, process, {})
        assert len(await store.unpublished(service, 0.0)) == 3
        await store.mark_published({stream: 3})
        assert await store.unpublished(service, 0.0) == [] and await store.outbox_age(service) == 0
        for counter in (service, f"{service}/alone"):  # together, and one by one after a second unclean end
            assert [await store.count_attempts(counter, [("t", 0, 1)]) for _ in range(2)] == [[1], [2]]
        await store.store_policy(service, process, b"{}")
        data = secrets.token_bytes(8)
        await store.contents.put("default", sha256(data).hexdigest(), data, "text/plain")
        await store.append([an_append(await current(store, stream), b"4")])
        await store.epoch()
        assert [message async for page in store.read_published_back() for message in page]
        assert [message async for page in store.read_all() for message in page]
        assert await store.reader_lag() >= 0
        if gives_tasks_outside(service):
            assert len(await store.task_key()) == 32
        if service == "edge":
            assert await store.api_keys.find("none") is None
            await store.api_keys.used("none")
        await store.process_ended(service, process)
    finally:
        await store.close()


async def test_each_service_does_its_work_by_its_own_login(made: Roles) -> None:
    for service in with_roles(made.topics):
        await works(made, service, service)
        seen = (await inspect(made.dsn[service], made.schema, topics=made.topics, services=[service])).schema
        assert seen and (seen.lacking, seen.surplus, seen.writes_as) == ([], [], (service,))


async def test_a_process_of_two_services_has_the_rights_of_both_and_no_more(made: Roles) -> None:
    for service in FUSED.split("+"):
        await works(made, FUSED, service)
    for service, table in (("verifier", "messages"), ("counter", "streams"), ("gateway", "wake_ups")):
        assert await made.try_(FUSED, table, "insert", service) == "refused"
    seen = (await inspect(made.dsn[FUSED], made.schema, topics=made.topics)).schema
    assert seen and (seen.writes_as, seen.lacking) == (("router", "planner"), [])
    asked = (await inspect(made.dsn[FUSED], made.schema, topics=made.topics, services=["router", "gateway"])).schema
    assert asked and "write what is gateway's" in asked.lacking and "write what is router's" not in asked.lacking


async def test_the_login_for_all_writes_as_each(made: Roles) -> None:
    for service in with_roles(made.topics):
        await works(made, "", service)


async def test_what_another_service_stores_in_one_append_is_refused_with_what_to_do(made: Roles) -> None:
    store = await PostgresEventStore.open(made.dsn["router"], schema=made.schema)
    try:
        with pytest.raises(StoreUnavailable, match="`hansard migrate` gives them"):
            await store.append([an_append(a_stream("planner"), b"1")])
        with pytest.raises(StoreUnavailable, match="row-level security"):
            await store.process_started("planner", "1", "p", True)
    finally:
        await store.close()
    assert await made.owner.fetchval("select count(*) from streams") == 0


async def test_another_streams_outbox_cannot_be_marked_nor_its_wake_up_claimed(made: Roles) -> None:
    planner = await PostgresEventStore.open(made.dsn["planner"], schema=made.schema)
    router = await PostgresEventStore.open(made.dsn["router"], schema=made.schema)
    try:
        stream = a_stream("planner")
        await planner.append([an_append(stream, b"1", wake_at=planner.now())])
        await router.mark_published({stream: 1})
        assert await router.claim_wake_ups("planner", 10, 5.0) == ([], 0.1)
        assert len(await planner.unpublished("planner", 0.0)) == 1
        assert len((await planner.claim_wake_ups("planner", 10, 5.0))[0]) == 1
    finally:
        await planner.close()
        await router.close()


NOT_LOCKED = [
    "streams", "inbox", "messages", "door_messages", "door_identities", "attempts", "policies", "content", "epochs", "migrations",
]  # fmt: skip
REACHING = [
    # other roles
    "set role {planner}", "set session authorization {planner}", "select set_config('role', '{schema}-planner', false)",
    "grant {planner} to current_user", "create role more login", "alter role {planner} superuser", "set role {schema}_writer",
    "select set_config('session_replication_role', 'replica', false)", "set row_security = off; select * from streams",
    # policies and tables
    "alter table streams disable row level security", "drop policy reading on streams", "alter policy reading on inbox to public",
    "create policy mine on streams using (true)", "create table mine (x int)", "create view mine as select 1",
    "create function mine() returns int language sql as 'select 1'", "alter table streams owner to current_user",
    "create trigger mine before insert on streams for each row execute function append_only()", "create schema mine",
    "create or replace function oldest_transaction() returns timestamptz language sql as 'select now()'",
    # columns that are the record's own
    "insert into messages (xact) values ('1')", "update streams set stream = 'planner'", "update wake_ups set service = 'x'",
    "insert into inbox (xact) values ('1')", "update epochs set epoch = 'x'", "update content set data = ''",
    # locks that stop the others
    *(f"lock table {table} in {mode} mode" for mode in ("access exclusive", "exclusive", "share") for table in NOT_LOCKED),
    # the server and its secrets
    "select rolpassword from pg_authid", "select passwd from pg_shadow", "copy messages to program 'cat'",
    "select pg_read_file('PG_VERSION')", "select pg_ls_dir('.')", "create extension vector",
    "select pg_terminate_backend({backend})", "select pg_cancel_backend({backend})", "select key from task_key", "table answers",
    # keys of programs: only the HTTP door looks at them, and nobody but the owner makes or changes one
    "table api_keys", "update api_keys set hash = ''", "insert into api_keys (id) values ('x')", "delete from api_keys",
]  # fmt: skip


async def test_a_stolen_login_reaches_nothing_of_others(made: Roles) -> None:
    router, planner = made.by["router"], made.by["planner"]
    names = {"schema": made.schema, "planner": f'"{role_of(made.schema, "planner")}"', "backend": planner.get_server_pid()}
    refused = (asyncpg.InsufficientPrivilegeError, asyncpg.FeatureNotSupportedError, asyncpg.GeneratedAlwaysError)
    for statement in REACHING:
        transaction = router.transaction()
        await transaction.start()
        try:
            await router.execute(statement.format(**names))
            pytest.fail(f"not refused: {statement}")
        except refused:
            pass
        finally:
            await transaction.rollback()
    assert await planner.fetchval("select 1") == 1


async def test_another_services_statements_and_rows_are_not_to_be_seen_or_locked(made: Roles) -> None:
    router, planner = made.by["router"], made.by["planner"]
    pid = planner.get_server_pid()
    seen = await router.fetchrow("select query, xact_start from pg_stat_activity where pid = $1", pid)
    assert seen and seen["query"] == "<insufficient privilege>" and seen["xact_start"] is None
    assert not await router.fetchval("select pg_has_role('pg_read_all_stats', 'usage')")
    store = await PostgresEventStore.open(made.dsn["planner"], schema=made.schema)
    try:
        await store.append([an_append(a_stream("planner"), b"1")])
    finally:
        await store.close()
    for lock in ("update", "no key update", "share", "key share"):
        assert await router.fetch(f"select * from streams for {lock}") == []


async def test_a_wake_up_of_another_stream_or_for_another_service_is_refused(made: Roles) -> None:
    for service, stream in (("router", "planner/1"), ("planner", "router/1")):
        row = {
            "at": EARLIER,
            "wanted": EARLIER,
            "tenant": "t",
            "workflow": "w",
            "stream": stream,
            "service": service,
            "holder": "",
        }
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            await made.put(made.by["router"], "wake_ups", row)


ONLY_OF_OWNERS = ("content/delete", "rebuild/")


async def test_no_statement_takes_another_index_because_rows_have_an_owner(made: Roles) -> None:
    """Its plan is made once, perhaps while the tables are empty: one that reads all wake-ups of a service is slow for ever."""
    plans: dict[str, list[set[str]]] = {}
    for dsn in (made.dsn[""], made.dsn["gateway"], made.dsn[FUSED]):
        connection = await asyncpg.connect(dsn, server_settings=SETTINGS)
        for name, sql in statements(made.schema).items():
            if name.startswith(ONLY_OF_OWNERS):
                continue
            arguments = (await connection.prepare(sql)).get_parameters()
            await connection.execute(f"prepare asked as {sql}")
            nulls = f"({', '.join(['null'] * len(arguments))})" if arguments else ""
            try:
                plan = await connection.fetch(f"explain execute asked{nulls}")
            except asyncpg.InsufficientPrivilegeError:  # it is not for this service
                plan = []
            await connection.execute("deallocate asked")
            if plan:
                used = {found for [line] in plan for found in re.findall(r"using (\w+)|Bitmap Index Scan on (\w+)", line)}
                plans.setdefault(name, []).append({index or bitmap for index, bitmap in used})
        await connection.close()
    assert len(plans) > 25 and {"append", "claim_wake_ups", "mark_published", "heartbeat"} <= plans.keys()
    assert {name: found for name, found in plans.items() if any(one != found[0] for one in found)} == {}


async def test_what_the_server_cannot_prevent_is_what_the_decision_lists(made: Roles) -> None:
    """Whoever may delete from a table may lock it: Postgres knows no other right for it."""
    async with made.by["router"].transaction():
        for table in ("wake_ups", "instances"):
            await made.by["router"].execute(f"lock table {table} in access exclusive mode")


async def test_services_see_how_old_a_transaction_of_others_is_without_a_right_to_statistics(made: Roles) -> None:
    store = await PostgresEventStore.open(made.dsn["router"], schema=made.schema)
    try:
        async with made.by["gateway"].transaction():
            await made.by["gateway"].fetchval("select pg_current_xact_id()")
            assert await until(store.reader_lag) > 0
    finally:
        await store.close()


async def test_a_service_added_later_gets_its_role_and_nothing_else_changes(made: Roles, postgres_dsn: str) -> None:
    before = await made.owner.fetch("select oid, polname from pg_policy order by oid")
    await migrate(postgres_dsn, made.schema, topics=Topics(workers=("counter", "Ünlike 'a\" service"), outside=("far",)))
    await migrate(postgres_dsn, made.schema)
    after = await made.owner.fetch("select oid, polname from pg_policy order by oid")
    assert after[: len(before)] == before and len(after) > len(before)
    role = role_of(made.schema, "Ünlike 'a\" service")
    assert await made.owner.fetchval("select pg_has_role($1, $1, 'usage')", role)
    assert not await made.owner.fetchval("select exists (select from pg_roles where rolname = $1)", role_of(made.schema, "far"))


async def test_migrating_again_locks_no_table(made: Roles, postgres_dsn: str, service_dsn: str) -> None:
    async with made.by[""].transaction():
        for table in ("streams", "messages", "inbox", "wake_ups"):
            await made.by[""].execute(f"lock table {table} in share row exclusive mode") if table == "streams" else None
            await made.by[""].fetch(f"select * from {table}")
        assert await asyncio.wait_for(migrate(postgres_dsn, made.schema, service=service_dsn, topics=made.topics), 60) == []


async def test_a_login_with_the_name_of_a_role_is_refused(made: Roles, postgres_dsn: str) -> None:
    taken = made.dsn["router"].replace(f"{made.schema}_router", role_of(made.schema, "router"))
    with pytest.raises(Exception, match="choose another for the login"):
        await migrate(postgres_dsn, made.schema, logins={"router": taken})
