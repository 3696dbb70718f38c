"""An old transaction is open in Postgres: audits see all that is committed, and say what they cannot see."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest
import typer
from pydantic import SecretStr

from infra.audit.settled import settle
from infra.audit.verify import verify_all
from infra.cli import audit, rebuilding, verifying
from infra.cli.problem import Problem
from infra.cli.verifying import _Found
from shared.eventstore.postgres import PostgresEventStore
from shared.settings import Settings
from tests.unit.recorded import record
from tests.unit.toy import request, service, topics

Told = list[str]


@pytest.fixture
async def old(raw: asyncpg.Connection, store: PostgresEventStore) -> AsyncIterator[asyncpg.Connection]:
    """A transaction that is older than half of the record, and still open."""
    await record(store, request("a", id="a", workflow="w0"))
    async with raw.transaction():
        await raw.fetchval("select pg_current_xact_id()")
        await record(store, *(request("a", id=f"a{n}", workflow=f"w{n}") for n in range(1, 5)))
        yield raw


async def test_every_workflow_is_verified_though_an_older_transaction_is_open(
    store: PostgresEventStore, old: asyncpg.Connection
) -> None:
    reports = [one async for one in verify_all(store, {"router": service}, topics)]
    assert [(one.workflow, one.decided) for one in reports] == [(f"w{n}", 1) for n in range(5)]
    assert len([one async for batch in store.read_all() for one in batch]) == 1, "a reader of everything stops before it"


async def test_who_waits_is_told_once_and_goes_on_when_it_ends(
    store: PostgresEventStore, raw: asyncpg.Connection, postgres_dsn: str
) -> None:
    told: list[object] = []
    assert await settle(store, 30, told.append) is None and told == []
    transaction = raw.transaction()
    await transaction.start()
    await raw.fetchval("select pg_current_xact_id()")
    began = await raw.fetchval("select now()")
    waiting = asyncio.ensure_future(settle(store, 30, told.append))
    while not told:
        await asyncio.sleep(0.01)
    assert not waiting.done()
    await transaction.commit()
    assert await waiting is None and told == [began]
    async with raw.transaction():
        await raw.fetchval("select pg_current_xact_id()")
        assert await settle(store, 0, told.append) is not None


def settings(store: PostgresEventStore, dsn: str) -> Settings:
    return Settings(postgres=SecretStr(dsn), postgres_schema=store.session.schema)


async def verified(given: Settings) -> str:
    found = await verifying._verify(given, None, None, _Found(json=True), 0, False)
    assert (found.workflows, found.decided) == (5, 5), "by other code than wrote it, and all of it"
    return found.unsettled


async def compared(given: Settings) -> str:
    _, unsettled = await rebuilding._compare(given, given.postgres.get_secret_value(), given.postgres_schema, 0)
    return unsettled


@pytest.mark.parametrize("ask", [verified, compared])
async def test_an_audit_says_since_when_it_may_not_see_all(
    store: PostgresEventStore, old: asyncpg.Connection, postgres_dsn: str, ask: Callable[[Settings], Awaitable[str]]
) -> None:
    began = await old.fetchval("select now()")
    assert await ask(settings(store, postgres_dsn)) == f"{began:%Y-%m-%d %H:%M:%S} UTC"


def test_what_an_audit_may_not_see_is_no_success(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("infra.cli.base.running", lambda **_: Settings())
    found = _Found(json=False, unsettled="2026-01-01 12:00:00 UTC")
    monkeypatch.setattr("infra.cli.base.run", lambda coroutine: (coroutine.close(), found)[1])
    with pytest.raises(typer.Exit) as ended:
        verifying.verify()
    printed = capsys.readouterr()
    assert ended.value.exit_code == 1 and "A transaction of 2026-01-01 12:00:00 UTC still runs" in printed.out
    assert printed.err.rstrip().endswith("the headers that nothing rests on).") and "Only signatures can show" in printed.err
    monkeypatch.setattr("infra.cli.base.run", lambda coroutine: (coroutine.close(), (0, found.unsettled))[1])
    with pytest.raises(Problem, match="still runs in Postgres"):
        audit.replay(to="own-topic")
