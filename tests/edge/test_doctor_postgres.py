"""`hansard doctor` on a real Postgres: a migrated schema passes, and each failure is found with its fix."""

import secrets
from collections.abc import AsyncIterator
from dataclasses import astuple
from urllib.parse import urlsplit

import asyncpg
import pytest
from pydantic import SecretStr

from contracts.catalog import OURS
from infra.cli import doctor
from infra.cli.doctor import postgres
from infra.cli.login_checks import encryption
from infra.migrations import migrate
from infra.servers.passwords import service_login
from shared.eventstore.postgres import PostgresEventStore
from shared.settings import Settings
from tests.conftest import _drop


def settings(dsn: str, schema: str) -> Settings:
    return Settings(postgres=SecretStr(dsn), postgres_schema=schema)


async def found(dsn: str, schema: str) -> dict[str, tuple[str, str]]:
    """By the name of the check: what was found, and what to do about it; '' where all is well."""
    return {name: (text, fix) for name, text, fix in map(astuple, await postgres(settings(dsn, schema)))}


@pytest.fixture
async def owner(postgres_dsn: str, schema: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(postgres_dsn, server_settings={"search_path": schema})
    yield connection
    await connection.close()


async def test_a_migrated_schema_passes_every_check(service_dsn: str, schema: str) -> None:
    findings = await found(service_dsn, schema)
    assert list(findings) == [
        "Postgres",
        "durability",
        "schema",
        "append-only",
        "readers",
        "grants",
        "ownership",
        "shared login",
        "clock of Postgres",
    ]
    assert [name for name, (_, fix) in findings.items() if fix] == []


@pytest.mark.parametrize("right", ["superuser", "owner", "delete on messages", "trigger on inbox", "create in the schema"])
async def test_who_could_change_the_record_is_told_to_be_less(
    service_dsn: str, schema: str, owner: asyncpg.Connection, right: str
) -> None:
    name, password = f"{schema}_x", secrets.token_hex(8)
    more = {
        "superuser": f"alter role {name} superuser",
        "owner": f"alter table messages owner to {name}",
        "create in the schema": f"grant create on schema {schema} to {name}",
    }
    await owner.execute(f"create role {name} login password '{password}' in role {schema}_writer")
    await owner.execute(more.get(right, f"grant {right} to {name}"))
    try:
        parts = urlsplit(service_dsn)
        dsn = parts._replace(netloc=f"{name}:{password}@{parts.netloc.rpartition('@')[2]}").geturl()
        findings = await found(dsn, schema)
    finally:
        await owner.execute(f"reassign owned by {name} to current_user; drop owned by {name}; drop role {name}")
    assert [check for check, (_, fix) in findings.items() if fix] == ["ownership"]
    what, fix = findings["ownership"]
    assert right.replace("owner", "owns the tables") in what
    assert "HANSARD_POSTGRES_OWNER" in fix and f"{schema}_writer" in fix


async def test_a_schema_that_does_not_exist_needs_to_be_migrated(postgres_dsn: str) -> None:
    findings = await found(postgres_dsn, "never_made")
    assert list(findings) == ["Postgres", "durability", "schema"]
    assert findings["schema"][1] == "hansard migrate"


@pytest.mark.parametrize("table", ["messages", "inbox", "door_messages", "door_identities", "policies"])
async def test_a_table_without_its_trigger_is_found(service_dsn: str, schema: str, owner: asyncpg.Connection, table: str) -> None:
    await owner.execute(f"alter table {table} disable trigger append_only")
    findings = await found(service_dsn, schema)
    assert [name for name, (_, fix) in findings.items() if fix] == ["append-only"]


async def test_an_old_transaction_is_found_that_holds_readers_back(
    service_dsn: str, schema: str, owner: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "MAX_READER_LAG", 0.0)
    async with owner.transaction():
        await owner.fetchval("select pg_current_xact_id()")
        text, fix = (await found(service_dsn, schema))["readers"]
    assert "a transaction has run for" in text and "pg_stat_activity" in fix


async def test_a_login_that_was_not_let_in_is_found(service_dsn: str, postgres_dsn: str) -> None:
    name = f"test_{secrets.token_hex(6)}"
    await migrate(postgres_dsn, name)
    try:
        findings = await found(service_dsn, name)
    finally:
        await _drop(postgres_dsn, name)
    assert [check for check, (_, fix) in findings.items() if fix] == ["grants"]
    assert "`hansard migrate` does" in findings["grants"][1]


async def test_a_right_that_a_service_lacks_is_named(postgres_dsn: str, schema: str, owner: asyncpg.Connection) -> None:
    reader = f"{schema}_reader"
    await owner.execute(
        f"create role {reader} login password 'kept-by-nobody'; grant usage on schema {schema} to {reader};"
        f" grant select on all tables in schema {schema} to {reader}"
    )
    try:
        host = postgres_dsn.rpartition("@")[2]
        findings = await found(f"postgresql://{reader}:kept-by-nobody@{host}", schema)
    finally:
        await owner.execute(f"drop owned by {reader}; drop role {reader}")
    lacking, fix = findings["grants"]
    assert "insert on messages" in lacking and "select on messages" not in lacking
    assert f"{schema}_writer" in fix


@pytest.mark.parametrize("dsn", ["postgresql://nobody@127.0.0.1:1/nothing", "nonsense"])
async def test_a_server_that_cannot_be_reached_does_not_answer(dsn: str) -> None:
    (finding,) = await postgres(settings(dsn, "hansard"))
    assert finding.found == "does not answer" and "HANSARD_POSTGRES" in finding.fix


async def test_services_that_share_a_login_are_told_so(service_dsn: str, schema: str) -> None:
    text, fix = (await found(service_dsn, schema))["shared login"]
    assert "one login for router, planner" in text and "hansard migrate --help" in text and not fix


async def test_the_login_of_one_service_lacks_nothing_that_this_one_needs(
    postgres_dsn: str, service_dsn: str, schema: str
) -> None:
    own = service_login(service_dsn, "router")
    await migrate(postgres_dsn, schema, logins={"router": own}, renew=True)
    findings = await found(own, schema)
    assert [name for name, (_, fix) in findings.items() if fix] == []
    assert findings["logins"][0] == "this one writes rows of router alone"


async def test_services_with_a_login_each_are_told_apart_and_a_surplus_is_found(
    postgres_dsn: str, service_dsn: str, schema: str, owner: asyncpg.Connection
) -> None:
    logins = {name: service_login(service_dsn, name) for name in OURS}
    await migrate(postgres_dsn, schema, logins=logins, renew=True)
    given = settings(service_dsn, schema).model_copy(
        update={"postgres_logins": {name: SecretStr(dsn) for name, dsn in logins.items()}}
    )
    first = {name: (text, fix) for name, text, fix in map(astuple, await postgres(given))}
    assert [name for name, (_, fix) in first.items() if fix] == [] and "shared login" not in first
    assert first["logins"][0].endswith(", ".join(OURS))
    await owner.execute(f'grant {schema}_writer to "service-router"')
    await owner.execute(f'revoke "{schema}-planner" from "service-planner"')
    second = {name: (text, fix) for name, text, fix in map(astuple, await postgres(given))}
    assert "may write as" in second["login of router"][0] and "planner" in second["login of router"][0]
    assert second["login of planner"] == ("may not write as planner", "hansard migrate")


async def test_services_that_run_in_one_process_are_named_with_what_that_means(
    service_dsn: str, schema: str, store: PostgresEventStore
) -> None:
    for name in ("router", "planner"):
        await store.process_started(name, "1", "one", True)
    await store.process_started("gateway", "1", "other", True)
    text, fix = (await found(service_dsn, schema))["fused"]
    assert text == "planner, router run in one process: in Postgres it may do what each of them may" and not fix


@pytest.mark.parametrize(
    ("dsn", "told"),
    [
        ("postgresql://u:p@127.0.0.1/d", False),
        ("postgresql://u:p@[::1]:5432/d", False),
        ("postgresql://u:p@localhost/d", False),
        ("postgresql:///d?host=/run/postgresql", False),
        ("postgresql://u:p@db.example.org/d?sslmode=verify-full&sslrootcert=ca.pem", False),
        ("postgresql://u:p@db.example.org/d?sslrootcert=system", False),
        ("postgresql://u:p@db.example.org/d", True),
        ("postgresql://u:p@127.0.0.1,db.example.org/d", True),
        ("postgresql://u:p@db.example.org/d?sslmode=require", True),
        ("postgresql://u:p@db.example.org/d?sslmode=verify-ca&sslrootcert=ca.pem", True),
        ("postgresql://u:p@10.0.0.1:5432/d?sslmode=disable", True),
    ],
)
def test_a_server_elsewhere_whose_certificate_is_not_verified_is_found(dsn: str, told: bool) -> None:
    findings = encryption("HANSARD_POSTGRES", dsn)
    assert [("verify-full" in one.fix, "p@" in one.found) for one in findings] == ([(True, False)] if told else [])
