"""Behind a pooler that keeps no session every command works as without it, if it is told of it; and if not, says so."""

import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import asyncpg
import pytest
from typer.testing import CliRunner

from contracts.catalog import Topics
from infra.audit import rebuild
from infra.cli import app
from infra.cli.problem import Problem
from infra.migrations import migrate
from shared.eventstore.postgres import PostgresEventStore
from tests.edge.pooler import pooler

COMMANDS = {
    "audit verify": (0, "No differences"),
    "stats": (0, "workflows"),
    "effects": (0, "Every effect has its outcome"),
    "dead-letters list": (0, "There are no dead letters"),
    "audit compare --with SCHEMA": (0, "both stores are the same"),
    "migrate --dry-run": (0, "has every migration"),
    "migrate": (0, "has every migration"),
    "audit show nothing": (1, "Nothing is on the record"),
    "dead-letters show nothing": (1, "no dead letter"),
}


@pytest.fixture
def pooled(postgres_dsn: str) -> Iterator[str]:
    there = urlsplit(postgres_dsn)
    assert there.port
    with pooler(there.port) as port:
        netloc = f"{there.netloc.rpartition('@')[0]}@127.0.0.1:{port}"
        yield there._replace(netloc=netloc).geturl()


@pytest.fixture
def known(pooled: str, schema: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANSARD_POSTGRES", pooled)
    monkeypatch.setenv("HANSARD_POSTGRES_SCHEMA", schema)


def run(line: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, line.split())
    if isinstance(done.exception, Problem):
        return done.exception.code, str(done.exception)
    return done.exit_code, done.output


@pytest.mark.parametrize(("line", "expected"), COMMANDS.items())
@pytest.mark.parametrize("told", ["HANSARD_POSTGRES_POOLER", "pgbouncer=true"])
@pytest.mark.usefixtures("known")
def test_a_command_works_as_without_it(
    line: str, expected: tuple[int, str], told: str, pooled: str, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(told, "true") if told.isupper() else monkeypatch.setenv("HANSARD_POSTGRES", f"{pooled}&{told}")
    code, output = run(line.replace("SCHEMA", schema))
    assert code == expected[0] and expected[1] in output, output


@pytest.mark.usefixtures("known")
def test_whoever_does_not_tell_of_it_is_told_by_a_command_and_by_doctor() -> None:
    code, output = run("audit verify")
    assert code == 1 and "HANSARD_POSTGRES_POOLER=true" in output
    found = [json.loads(line) for line in run("doctor --json")[1].splitlines()]
    (postgres,) = [one for one in found if one["check"] == "Postgres"]
    assert not postgres["ok"] and "HANSARD_POSTGRES_POOLER=true" in postgres["fix"]


@pytest.mark.usefixtures("known")
def test_doctor_is_content_with_it_once_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANSARD_POSTGRES_POOLER", "true")
    found = {one["check"]: one for one in map(json.loads, run("doctor --json")[1].splitlines())}
    assert all(found[check]["ok"] for check in ("Postgres", "schema", "append-only"))


async def test_a_rebuild_keeps_its_temporary_tables(pooled: str, postgres_dsn: str, schema: str) -> None:
    async with rebuild.rebuilding(pooled, schema, Topics(), pooler=True) as into:
        assert (await into.insert()).messages == 0
    with pytest.raises(asyncpg.UndefinedTableError):  # what the pooler does to a session
        async with rebuild.rebuilding(pooled, schema, Topics()) as into:
            await into.insert()


async def test_a_schema_is_made_through_it(pooled: str, postgres_dsn: str, schema: str) -> None:
    other = f"{schema}_2"
    try:
        assert await migrate(pooled, other) and await migrate(pooled, other) == []
        store = await PostgresEventStore.open(pooled, schema=other, pooler=True)
        await store.close()
    finally:
        connection = await asyncpg.connect(postgres_dsn)
        await connection.execute(f"drop schema if exists {other} cascade; drop owned by {other}_writer; drop role {other}_writer")
        await connection.close()
