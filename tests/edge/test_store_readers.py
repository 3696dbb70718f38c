"""Readers of all messages in Postgres, beside transactions that commit late or were restored."""

import asyncio
import random

import asyncpg
import pytest

from infra.migrations import begin_epoch
from shared.eventstore.model import Cursor, EpochChanged, StoredMessage
from shared.eventstore.postgres import PostgresEventStore
from tests.edge.store_kit import a_stream, an_append, messages_in, until

pytestmark = pytest.mark.usefixtures("patient")


async def test_a_late_commit_is_never_skipped_and_a_position_alone_skips(
    postgres_dsn: str, schema: str, store: PostgresEventStore
) -> None:
    """Many writers keep their transactions open after taking a position, while two readers follow the end."""
    writers, rounds = 12, 12
    written: list[int] = []
    finished = asyncio.Event()

    async def write(n: int) -> None:
        connection = await asyncpg.connect(postgres_dsn, server_settings={"search_path": schema})
        try:
            for version in range(1, rounds + 1):
                async with connection.transaction():
                    position = await connection.fetchval(
                        "insert into messages (at, id, causation_id, version, hash, tenant, workflow, stream, kind, topic,"
                        " traceparent, data) values (now(), gen_random_uuid(), gen_random_uuid(), $2, '', 't', 'w', $1,"
                        " 'k', 't', '', '1') returning position",
                        f"planner/{n}",
                        version,
                    )
                    written.append(position)
                    await asyncio.sleep(random.uniform(0, 0.03))  # a slow transaction is what this is about
        finally:
            await connection.close()

    async def follow() -> list[StoredMessage]:
        found: list[StoredMessage] = []
        while True:
            last = finished.is_set()
            since = Cursor((await store.cursor()).epoch, found[-1].transaction, found[-1].position) if found else None
            found += await messages_in(store, since, batch=5)
            if last:
                return found

    async def follow_naively() -> list[int]:
        connection = await asyncpg.connect(postgres_dsn, server_settings={"search_path": schema})
        found: list[int] = []
        try:
            while True:
                last = finished.is_set()
                rows = await connection.fetch(
                    "select position from messages where position > $1 order by position", max(found, default=0)
                )
                found += [row[0] for row in rows]
                if last:
                    return found
                await asyncio.sleep(0)
        finally:
            await connection.close()

    readers = asyncio.gather(follow(), follow_naively())
    await asyncio.gather(*map(write, range(writers)))
    finished.set()
    ours, naive = await readers
    assert sorted(stored.position for stored in ours) == sorted(written), "0 skipped, 0 doubled"
    assert len(naive) < len(written), "this run would not have shown the danger"


async def test_readers_follow_the_transaction_and_then_the_position(store: PostgresEventStore, raw: asyncpg.Connection) -> None:
    """A transaction may be the first to get its id and the last to take a position."""
    early, late = a_stream(), a_stream()
    async with raw.transaction():
        await raw.fetchval("select pg_current_xact_id()")
        await store.append([an_append(early, b"1")])
        await raw.execute(
            "insert into messages (at, id, causation_id, version, hash, tenant, workflow, stream, kind, topic, traceparent, data)"
            " select at, gen_random_uuid(), causation_id, version, hash, $1, $2, $3, kind, topic, '', '2' from messages",
            *late,
        )
    found = await until(lambda: messages_in(store, batch=1))
    assert [s.stream for s in found] == [late, early] and found[0].position > found[1].position


async def test_an_old_transaction_stalls_the_reader_and_the_lag_shows_it(
    store: PostgresEventStore, raw: asyncpg.Connection
) -> None:
    assert await store.reader_lag() < 5
    async with raw.transaction():
        await raw.fetchval("select pg_current_xact_id()")
        await store.append([an_append(a_stream(), b"1")])
        assert await messages_in(store) == []

        async def lags() -> bool:
            return await store.reader_lag() > 0.05

        await until(lags)
    assert len(await until(lambda: messages_in(store))) == 1


async def test_after_a_restore_a_new_epoch_begins(
    postgres_dsn: str, schema: str, store: PostgresEventStore, raw: asyncpg.Connection
) -> None:
    streams = [a_stream() for _ in range(3)]
    await store.append([an_append(s, b"1", b"2") for s in streams])
    before = await store.cursor()
    # as in a dump of another server, whose transactions were far ahead of ours
    await raw.execute("alter table messages disable trigger append_only; update messages set xact = '900000000000000'")
    await raw.execute("alter table messages enable always trigger append_only")
    with pytest.raises(EpochChanged, match="new epoch"):
        await messages_in(store)
    epoch = await begin_epoch(postgres_dsn, schema)
    assert (await store.cursor()).epoch == epoch != before.epoch
    with pytest.raises(EpochChanged, match="restored"):
        await messages_in(store, before)
    await store.append([an_append(a_stream(), b"3")])
    found = await until(lambda: messages_in(store))
    assert [s.position for s in found] == sorted(s.position for s in found) and len(found) == 7
    with pytest.raises(asyncpg.PostgresError, match="append-only"):
        await raw.execute("delete from messages")
