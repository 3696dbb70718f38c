"""Numbered migrations: each is applied once, in order, and recorded with its hash."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import asyncpg
import pytest

import infra.migrations
from infra.migrations import Migration, MigrationError, migrate, migrations, pending
from tests.conftest import _drop


@pytest.fixture
async def name(postgres_dsn: str) -> AsyncIterator[str]:
    name = f"test_{secrets.token_hex(6)}"
    yield name
    connection = await asyncpg.connect(postgres_dsn)
    await connection.execute(f"drop schema if exists {name} cascade")
    await connection.execute(f"create schema {name}")  # which `_drop` drops with the roles
    await connection.close()
    await _drop(postgres_dsn, name)


ALL = [migration.name for migration in migrations()]


async def test_migrations_are_applied_once_and_in_order(postgres_dsn: str, name: str) -> None:
    assert await pending(postgres_dsn, name) == ALL == sorted(ALL)
    assert await migrate(postgres_dsn, name, to=ALL[0]) == ALL[:1]
    assert await pending(postgres_dsn, name) == ALL[1:]
    assert await migrate(postgres_dsn, name) == ALL[1:]
    assert await migrate(postgres_dsn, name) == await pending(postgres_dsn, name) == []


async def test_of_many_migrators_at_once_one_applies_each_migration(postgres_dsn: str, name: str) -> None:
    applied = await asyncio.gather(*(migrate(postgres_dsn, name) for _ in range(5)))
    assert sorted(one for names in applied for one in names) == ALL


async def test_a_migration_that_fails_leaves_nothing(postgres_dsn: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = [*migrations(), Migration("9999_broken", "create table half (x int); select 1 / 0")]
    monkeypatch.setattr(infra.migrations, "migrations", lambda: broken)
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(postgres_dsn, name)
    assert await pending(postgres_dsn, name) == ["9999_broken"]
    connection = await asyncpg.connect(postgres_dsn)
    assert await connection.fetchval("select to_regclass($1)", f"{name}.half") is None
    await connection.close()


async def test_a_migration_that_was_changed_after_it_was_applied_is_found(
    postgres_dsn: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate(postgres_dsn, name)
    changed = [Migration(m.name, m.sql + "\n-- better") for m in migrations()]
    monkeypatch.setattr(infra.migrations, "migrations", lambda: changed)
    for ask in (migrate, pending):
        with pytest.raises(MigrationError, match="changed after"):
            await ask(postgres_dsn, name)


async def test_a_database_without_utf8_is_refused_before_anything_is_made(postgres_dsn: str, name: str) -> None:
    owner = await asyncpg.connect(postgres_dsn)
    try:
        await owner.execute(f"create database {name} template template0 encoding 'SQL_ASCII' locale 'C'")
    except asyncpg.InsufficientPrivilegeError:
        pytest.skip("no right to create a database")
    try:
        address = urlsplit(postgres_dsn)._replace(path=f"/{name}").geturl()
        with pytest.raises(MigrationError, match=r"SQL_ASCII.*UTF8"):
            await migrate(address, name)
    finally:
        await owner.execute(f"drop database {name} with (force)")
        await owner.close()


async def test_impossible_names_are_refused(postgres_dsn: str, name: str) -> None:
    with pytest.raises(MigrationError, match="there is no migration"):
        await migrate(postgres_dsn, name, to="0000_nothing")
    with pytest.raises(MigrationError, match="schema"):
        await migrate(postgres_dsn, 'x"; drop schema public; --')
