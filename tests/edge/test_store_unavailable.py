"""Postgres is unavailable, restarts, or has no schema or an incomplete one."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from infra.migrations import migrate
from infra.servers import Servers
from shared.eventstore.model import History, StoreUnavailable, Stream
from shared.eventstore.ports import EventStore
from shared.eventstore.postgres import PostgresEventStore
from tests.conftest import _drop
from tests.edge.postgres_store_kit import waits
from tests.edge.store_kit import a_stream, an_append, until

pytestmark = pytest.mark.usefixtures("patient")


async def test_after_connections_are_cut_the_store_is_unavailable_and_then_recovers(
    store: PostgresEventStore, raw: asyncpg.Connection
) -> None:
    stream = a_stream()
    await store.append([an_append(stream, b"1")])
    async with raw.transaction():
        await raw.execute("select from streams for update")
        appending = asyncio.ensure_future(store.append([an_append(History(stream, 1, 1), b"2")]))
        await until(lambda: waits(raw))
        await raw.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where application_name = 'hansard' and pid <> pg_backend_pid() and query like '%' || current_schema() || '%'"
        )
        with pytest.raises(StoreUnavailable):
            await appending
    history = await goes_on(store, stream)
    assert (await store.append([an_append(history, b"2")])).accepted == {stream}


async def goes_on(store: EventStore, stream: Stream) -> History:
    async def ask() -> History | None:
        try:
            return (await store.load([stream]))[stream]
        except StoreUnavailable:
            return None

    history = await until(ask, seconds=60)
    assert history is not None
    return history


@pytest.fixture
def home() -> Iterator[Path]:
    """The home of a test's own servers, in a folder that an unprivileged Postgres can enter."""
    home = Path(tempfile.mkdtemp(prefix="hansard-tests-"))
    home.chmod(0o711)
    yield home
    Servers(home).erase()


@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
async def test_after_a_restart_of_postgres_nothing_confirmed_is_lost_or_doubled(
    kill: bool, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was confirmed is there afterwards; what was not can be tried again; nothing is there twice."""
    for name in ("HANSARD_POSTGRES", "HANSARD_POSTGRES_OWNER"):
        monkeypatch.delenv(name, raising=False)
    streams = [a_stream() for _ in range(10)]
    confirmed: dict[Stream, int] = dict.fromkeys(streams, 0)
    unavailable = 0
    with Servers(home) as servers:
        addresses = await asyncio.to_thread(servers.up, kafka=False, model=False)
        await migrate(addresses.owner, service=addresses.postgres)
        store = await PostgresEventStore.open(addresses.postgres)
        restarting: asyncio.Future[None] | None = None
        while restarting is None or not restarting.done() or min(confirmed.values()) < 40:
            try:
                loaded = await store.load(streams)
                appended = await store.append([an_append(loaded[s], b"1") for s in streams])
                for s in appended.accepted:
                    confirmed[s] = loaded[s].version + 1
            except StoreUnavailable:
                unavailable += 1
            if restarting is None and min(confirmed.values()) > 5:
                restarting = asyncio.ensure_future(asyncio.to_thread(servers.restart_postgres, kill=kill))
        await restarting
        loaded = await store.load(streams)
        await store.close()
    assert unavailable > 0
    for stream, history in loaded.items():
        assert history.version >= confirmed[stream]
        assert [s.version for s in history.messages] == list(range(1, history.version + 1))
        assert history.processed == len(history.entries) == history.version


async def test_a_missing_schema_is_reported(postgres_dsn: str) -> None:
    with pytest.raises(StoreUnavailable, match="hansard migrate"):
        await PostgresEventStore.open(postgres_dsn, schema="never_made")
    with pytest.raises(ValueError, match="schema"):
        await PostgresEventStore.open(postgres_dsn, schema='x"; drop table streams; --')


async def test_a_schema_of_an_earlier_version_is_reported_as_incomplete(postgres_dsn: str) -> None:
    name = f"test_{uuid4().hex[:12]}"
    await migrate(postgres_dsn, name, to="0001_record")
    try:
        with pytest.raises(StoreUnavailable, match="hansard migrate"):
            await PostgresEventStore.open(postgres_dsn, schema=name)
        await migrate(postgres_dsn, name)
        await (await PostgresEventStore.open(postgres_dsn, schema=name)).close()
    finally:
        await _drop(postgres_dsn, name)


async def test_a_server_that_does_not_answer_is_unavailable() -> None:
    with pytest.raises(StoreUnavailable):
        await PostgresEventStore.open("postgresql://nobody@127.0.0.1:1/nothing")
