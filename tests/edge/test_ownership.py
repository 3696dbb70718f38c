"""Services connect by a login that owns nothing, in every form of deployment: it cannot change what was recorded."""

import json
import os
import secrets
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from pydantic import SecretStr

from contracts.catalog import OURS
from infra.cli import base, logins
from infra.cli.problem import Problem
from infra.cli.running import supervisor_of
from infra.migrations import MigrationError, begin_epoch, migrate, pending
from infra.servers import Addresses, Servers
from shared.eventstore.postgres import PostgresEventStore
from shared.eventstore.postgres.admin import Unreachable, inspect
from shared.eventstore.postgres.logins import Login
from shared.settings import Settings
from tests.conftest import _drop
from tests.edge.store_kit import a_stream, an_append, current
from tests.processes import given_environment

RECORD = ("messages", "inbox", "door_messages", "policies")
FORBIDDEN = [
    *(statement.format(table) for table in RECORD for statement in (
        "update {} set at = at", "delete from {}", "truncate {}", "drop table {}", "alter table {} add column x int",
        "alter table {} disable trigger append_only", "alter table {} owner to current_user", "drop trigger append_only on {}",
        "create trigger mine before insert on {} for each row execute function append_only()",
        "create rule mine as on insert to {} do instead nothing",
    )),
    *(f"drop table {table}" for table in ("streams", "wake_ups", "attempts", "instances", "epochs", "answers", "migrations")),
    "delete from streams", "truncate streams", "delete from attempts", "delete from epochs", "delete from migrations",
    "delete from epochs", "insert into migrations (name, hash) values ('x', 'y')",
    "create table mine (x int)", "create function mine() returns int language sql as 'select 1'",
    "create or replace function append_only() returns trigger language plpgsql as 'begin return new; end'",
    "drop function append_only() cascade", "drop schema current_schema cascade", "set session_replication_role = replica",
    "create role mine login superuser", "alter role current_user superuser", "create extension vector",
    "copy messages to program 'cat'", "select pg_read_file('PG_VERSION')",
]  # fmt: skip


@pytest.fixture
async def service(service_dsn: str, schema: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(service_dsn, server_settings={"search_path": schema})
    yield connection
    await connection.close()


@pytest.mark.parametrize("statement", FORBIDDEN)
async def test_services_cannot_change_the_record(service: asyncpg.Connection, schema: str, statement: str) -> None:
    refused = (asyncpg.InsufficientPrivilegeError, asyncpg.FeatureNotSupportedError)
    with pytest.raises(refused):
        await service.execute(statement.replace("current_schema", schema))


async def test_services_have_what_they_need(service_dsn: str, schema: str, store: PostgresEventStore) -> None:
    """The whole suite of the event store runs by this login; here: that nothing is missing, and nothing too much."""
    stream = a_stream()
    assert (await store.append([an_append(await current(store, stream), b"1")])).accepted == {stream}
    seen = (await inspect(service_dsn, schema)).schema
    assert seen and (seen.lacking, seen.surplus) == ([], [])
    assert await pending(service_dsn, schema) == [] == await migrate(service_dsn, schema)


async def test_services_see_how_old_a_transaction_of_others_is(postgres_dsn: str, schema: str, store: PostgresEventStore) -> None:
    other = await asyncpg.connect(postgres_dsn)
    try:
        async with other.transaction():
            began = await other.fetchval("select now() from pg_current_xact_id()")
            while not await store.reader_lag():
                assert await other.fetchval("select clock_timestamp() - $1 < interval '30 s'", began)
    finally:
        await other.close()


# Logins


@pytest.fixture
async def fresh(postgres_dsn: str) -> AsyncIterator[tuple[str, str]]:
    """A schema that is not there, and the address of a login that is not there."""
    name = f"test_{secrets.token_hex(6)}"
    host = urlsplit(postgres_dsn).netloc.rpartition("@")[2]
    login = Login(f'{name}-"x', "pä'ss w/rd@%:")
    netloc = f"{name}-%22x:p%C3%A4'ss%20w%2Frd%40%25%3A@{host}"
    yield name, urlsplit(postgres_dsn)._replace(netloc=netloc).geturl()
    await _drop(postgres_dsn, name)
    owner = await asyncpg.connect(postgres_dsn)
    await owner.execute(f"drop role if exists {login.quoted}")
    await owner.close()


async def test_migrate_makes_the_login_that_the_address_names_and_keeps_one_that_exists(
    postgres_dsn: str, fresh: tuple[str, str]
) -> None:
    name, address = fresh
    await migrate(postgres_dsn, name, service=address)
    store = await PostgresEventStore.open(address, schema=name)
    await store.close()
    other = urlsplit(address)._replace(netloc=urlsplit(address).netloc.replace("w%2Frd", "other")).geturl()
    await migrate(postgres_dsn, name, service=other)
    await (await PostgresEventStore.open(address, schema=name)).close()


async def test_an_owner_who_may_make_no_roles_says_what_an_administrator_is_to_do(
    postgres_dsn: str, fresh: tuple[str, str]
) -> None:
    name, address = fresh
    admin = await asyncpg.connect(postgres_dsn)
    owner, password = f"{name}_o", secrets.token_hex(8)
    database = urlsplit(postgres_dsn).path[1:]
    await admin.execute(f"create role {owner} login password '{password}'; grant create on database {database} to {owner}")
    try:
        host = urlsplit(postgres_dsn).netloc.rpartition("@")[2]
        dsn = urlsplit(postgres_dsn)._replace(netloc=f"{owner}:{password}@{host}").geturl()
        with pytest.raises(MigrationError, match=rf"create role {name}_writer"):
            await migrate(dsn, name, service=address)
        await admin.execute(f"drop schema {name} cascade; create role {name}_writer")
        login = Login.of(address)
        assert login
        await admin.execute(f"create role {login.quoted} login password '{login.verifier()}' in role {name}_writer")
        await migrate(dsn, name, service=address)
        await (await PostgresEventStore.open(address, schema=name)).close()
        seen = (await inspect(address, name)).schema
        assert seen and (seen.lacking, seen.surplus) == ([], [])
    finally:
        await admin.execute(f"reassign owned by {owner} to current_user; drop owned by {owner}; drop role {owner}")
        await admin.close()


async def test_what_needs_the_owner_says_so(service_dsn: str, schema: str) -> None:
    with pytest.raises(Problem, match="HANSARD_POSTGRES_OWNER"), base.as_owner():
        await begin_epoch(service_dsn, schema)
    with pytest.raises(Problem, match="HANSARD_POSTGRES_OWNER"), base.as_owner():
        await migrate(service_dsn, f"{schema}_other")


# Where the addresses come from


@pytest.fixture(scope="module")
def own() -> Iterator[Servers]:
    """Servers of a bare machine, whatever addresses were given."""
    home = Path(tempfile.mkdtemp(prefix="hansard-test-"))
    home.chmod(0o711)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HANSARD_KAFKA", "HANSARD_POSTGRES", "HANSARD_POSTGRES_OWNER", "HANSARD_MODEL_URL"):
            patch.delenv(name, raising=False)
        servers = Servers(home)
        try:
            servers.up(kafka=False, model=False)
            yield servers
        finally:
            servers.erase()


def test_on_a_bare_machine_processes_get_the_address_for_services_alone(own: Servers) -> None:
    found = own.found()
    assert found and found.owner == found.postgres_owner != found.postgres
    login = Login.of(found.postgres)
    assert login and login.name == "hansard_service" and login.password not in found.owner
    settings = base.with_addresses(Settings(), found)
    assert settings.owner == found.owner
    for given in (found.environment(), base.environment(settings), base.for_children(settings)):
        assert given["HANSARD_POSTGRES"] == found.postgres and found.owner not in given.values()


async def test_on_a_bare_machine_each_service_gets_a_login_of_its_own_and_no_others(own: Servers) -> None:
    found = own.found()
    assert found
    settings = base.with_addresses(Settings(home=own.home), found)
    assert await logins.migrated(settings) != []
    given = {name: base.for_service(settings, name)["HANSARD_POSTGRES"] for name in OURS}
    assert given == logins.every(settings) and len({*given.values(), found.postgres}) == len(OURS) + 1
    for name, dsn in given.items():
        seen = (await inspect(dsn, "hansard")).schema
        assert seen and seen.writes_as == (name,)
        served = await logins.admit(Settings(home=own.home, postgres=SecretStr(dsn)), name)
        assert served.postgres_of(name) == dsn, "what a supervised process was given stays as it is"


async def test_on_a_bare_machine_a_process_of_several_gets_a_login_with_the_rights_of_those(own: Servers) -> None:
    found = own.found()
    assert found
    settings = base.with_addresses(Settings(home=own.home), found)
    served = await logins.admit(settings, "verifier", "gateway")
    seen = (await inspect(served.postgres_of("verifier", "gateway"), "hansard")).schema
    assert seen and seen.writes_as == ("verifier", "gateway")
    assert not served.postgres_owner.get_secret_value() and not served.logins


async def test_a_login_that_lost_its_password_is_renewed_by_the_next_start(own: Servers) -> None:
    found = own.found()
    assert found
    settings = base.with_addresses(Settings(home=own.home), found)
    await logins.migrated(settings)
    owner = await asyncpg.connect(found.owner)
    await owner.execute("alter role \"service-router\" password 'another'")
    await owner.close()
    with pytest.raises(Unreachable):
        await inspect(logins.of(settings, "router"), "hansard")
    await logins.migrated(settings)
    assert (await inspect(logins.of(settings, "router"), "hansard")).schema


def test_logins_of_ones_own_win_and_are_for_the_services_that_they_name(own: Servers) -> None:
    found = own.found()
    assert found
    mine = {"router": SecretStr("postgresql://r@h/d"), "planner+verifier": SecretStr("postgresql://pv@h/d")}
    settings = base.with_addresses(Settings(home=own.home), found).model_copy(update={"postgres_logins": mine})
    assert logins.of(settings, "router") == "postgresql://r@h/d"
    assert logins.of(settings, "verifier", "planner") == "postgresql://pv@h/d"
    assert logins.of(settings, "planner") == found.postgres
    assert logins.every(settings) == {name: dsn.get_secret_value() for name, dsn in mine.items()}


async def test_a_bare_machine_renews_the_login_of_services_at_its_start(own: Servers) -> None:
    before = own.found()
    assert before
    own.down()
    (own.home / "postgres-service.password").unlink()
    after = own.up(kafka=False, model=False)
    assert after.postgres != before.postgres
    connection = await asyncpg.connect(after.postgres)
    assert not await connection.fetchval("select rolsuper or rolcreaterole or rolcreatedb from pg_roles where rolname = user")
    await connection.close()


@pytest.mark.parametrize("value", ["router=postgresql://r:secret-word@h/d", '["secret-word"]', "{"])
def test_logins_that_cannot_be_read_are_refused_without_showing_them(value: str) -> None:
    with (
        given_environment({"HANSARD_POSTGRES": "postgresql://s@h/d", "HANSARD_POSTGRES_LOGINS": value}),
        pytest.raises(Problem, match="HANSARD_POSTGRES_LOGINS is not valid") as refused,
    ):
        base.local()
    assert "secret-word" not in str(refused.value)


def test_a_supervised_service_is_told_its_own_login_and_no_others() -> None:
    own = {name: f"postgresql://{name}:secret-of-{name}@127.0.0.1:1/d" for name in ("router", "planner")}
    given = {"HANSARD_POSTGRES": "postgresql://all:secret-of-all@127.0.0.1:1/d", "HANSARD_POSTGRES_LOGINS": json.dumps(own)}
    with given_environment(given | {"HANSARD_POSTGRES_OWNER": "postgresql://o:secret-of-o@127.0.0.1:1/d"}):
        supervisor = supervisor_of(base.local(), print)
        router = os.environ | supervisor.environment("router")
        assert router["HANSARD_POSTGRES"] == own["router"]
        assert [name for name, value in router.items() if "secret-of-" in value] == ["HANSARD_POSTGRES"]
        assert supervisor.environment("gateway")["HANSARD_POSTGRES"] == given["HANSARD_POSTGRES"]


def test_the_owner_of_another_server_is_none_here(own: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANSARD_POSTGRES", "postgresql://me@elsewhere/db")
    found = own.found()
    assert found and found.owner == found.postgres == "postgresql://me@elsewhere/db"
    assert Addresses(postgres="a") | Addresses(postgres="b", postgres_owner="c") == Addresses(postgres="a")
    assert base.with_addresses(Settings(), Addresses(postgres="b", postgres_owner="c")).owner == "postgresql://me@elsewhere/db"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HANSARD_POSTGRES_OWNER", "postgresql://o:secret-word@h/d"),
        ("HANSARD_POSTGRES_LOGINS", '{"router": "postgresql://r:secret-word@h/d"}'),
    ],
)
def test_what_needs_an_address_for_services_is_refused_without_one(name: str, value: str) -> None:
    with (
        given_environment({name: value}),
        pytest.raises(Problem, match=f"{name} is given and HANSARD_POSTGRES") as refused,
    ):
        base.local()
    assert "secret-word" not in str(refused.value)
