"""Appends to Postgres by several connections that race, their plans, and that nothing stored is ever changed."""

import asyncio
import random
import re
from dataclasses import replace
from uuid import uuid4

import asyncpg
import pytest

from shared.eventstore.model import StreamAppend
from shared.eventstore.postgres import PostgresEventStore, session
from tests.edge.postgres_store_kit import count_retries, several, waits
from tests.edge.store_kit import EARLIER, a_stream, an_append, current, door, messages_in, until

pytestmark = pytest.mark.usefixtures("patient")


async def test_many_writers_of_one_stream_leave_neither_gap_nor_double(postgres_dsn: str, schema: str) -> None:
    stream = a_stream()

    async def write(store: PostgresEventStore) -> int:
        taken = 0
        while taken < 15:
            known = await current(store, stream)
            data = [b"1"] * random.randint(0, 2)
            taken += len((await store.append([an_append(known, *data)])).accepted)
        return taken

    async with several(postgres_dsn, schema, 5) as stores:
        taken = sum(await asyncio.gather(*map(write, stores)))
        history = await current(stores[0], stream)
        entries = await stores[0].inbox_entries(stream)
    assert history.processed == len(entries) == taken
    assert [entry.sequence for entry in entries] == list(range(1, taken + 1))
    assert [s.version for s in history.messages] == list(range(1, history.version + 1))
    assert [entry.version_before for entry in entries] == sorted(entry.version_before for entry in entries)


async def test_two_appends_to_the_same_version_race_and_one_is_accepted(
    postgres_dsn: str, schema: str, raw: asyncpg.Connection
) -> None:
    """Both check the version before either commits: the second waits for the first, and is refused."""
    stream = a_stream()
    async with several(postgres_dsn, schema, 2) as stores:
        await stores[0].append([an_append(stream)])
        known = await current(stores[0], stream)
        async with raw.transaction():
            await raw.execute("select from streams for update")
            both = [asyncio.ensure_future(store.append([an_append(known)])) for store in stores]
            await until(lambda: waits(raw, 2))
        accepted = [len((await one).accepted) for one in both]
    assert sorted(accepted) == [0, 1]


async def test_streams_are_locked_in_the_order_of_their_names(
    postgres_dsn: str, schema: str, raw: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two appends to the same 50 streams, in opposite order: they meet in the middle, where a lock holds both."""
    deadlocks = count_retries(monkeypatch)
    streams = [a_stream(f"planner/{n:02}", workflow="wf") for n in range(50)]

    async def write(store: PostgresEventStore, appends: list[StreamAppend]) -> int:
        # straight to the statement, without the sorting that comes before it
        appended = await store.session.again(lambda: store.session.with_appender(lambda at: store.append_once(at, appends)))
        return len(appended.accepted)

    async with several(postgres_dsn, schema, 2) as (one, other):
        await one.append([an_append(stream) for stream in streams])
        for _ in range(5):
            loaded = await one.load(streams)
            appends = [an_append(loaded[stream], b"1") for stream in streams]
            async with raw.transaction():
                await raw.execute("select from streams where stream = 'planner/25' for update")
                both = [asyncio.ensure_future(write(*args)) for args in ((one, appends), (other, appends[::-1]))]
                await until(lambda: waits(raw, 2))
            assert sorted([await task for task in both]) == [0, 50]
    assert deadlocks == []


async def test_a_deadlock_is_tried_again(
    raw: asyncpg.Connection, store: PostgresEventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    deadlocks = count_retries(monkeypatch)
    first, second = a_stream("planner/a"), a_stream("planner/b")
    await store.append([an_append(first), an_append(second)])
    loaded = await store.load([first, second])
    async with raw.transaction():
        await raw.execute("select from streams where stream = 'planner/b' for update")
        appending = asyncio.ensure_future(store.append([an_append(loaded[first], b"1"), an_append(loaded[second], b"2")]))
        await until(lambda: waits(raw))
        await raw.execute("select from streams where stream = 'planner/a' for update")  # Postgres ends one of the two
    assert (await appending).accepted == {first, second}
    assert set(deadlocks) == {"40P01"}


async def test_an_append_is_one_round_trip(store: PostgresEventStore, raw: asyncpg.Connection) -> None:
    streams = [a_stream() for _ in range(20)]
    await store.append([an_append(stream, b"1") for stream in streams])
    asked: list[str] = []
    assert store.session.appender is not None
    store.session.appender.add_query_logger(lambda record: asked.append(record.query))
    loaded = await store.load(streams)
    await store.append([replace(an_append(loaded[s], b"2", wake_at=EARLIER), published=1) for s in streams])
    await asyncio.sleep(0)  # the logger is called a step later
    assert len(asked) == 1


async def test_finding_what_the_store_cannot_hold_takes_one_transaction(store: PostgresEventStore) -> None:
    streams = sorted(a_stream() for _ in range(40))
    bad = {streams[0], streams[17], streams[39]}
    appended = await store.append([an_append(s, b"NaN" if s in bad else b"1") for s in streams])
    assert appended.accepted == set(streams) - bad
    found = await messages_in(store)
    assert len(found) == 37 and {s.transaction for s in found} == {found[0].transaction}


async def test_nothing_that_is_not_stored_can_be_published(store: PostgresEventStore, raw: asyncpg.Connection) -> None:
    stream = a_stream()
    await store.append([an_append(stream, b"1")])
    await store.append([an_append(stream, b"2", b"3"), an_append(a_stream(), b"4")])
    unpublished = await raw.fetchval("select sum(version - published) from streams")
    assert unpublished == await raw.fetchval("select count(*) from messages") == 2


async def test_plans_read_no_table_from_end_to_end(store: PostgresEventStore, raw: asyncpg.Connection) -> None:
    """Whatever the tables held when the plans were made."""
    streams = [a_stream() for _ in range(30)]
    asked: list[str] = []
    await store.append([an_append(stream, b"1") for stream in streams])
    assert store.session.appender is not None
    store.session.appender.add_query_logger(lambda record: asked.append(record.query))
    for _ in range(2):
        loaded = await store.load(streams)
        await store.append([an_append(loaded[s], b"2", doors=[door(s, uuid4())]) for s in streams])
        await store.append([an_append(a_stream(), b"2")])
        claims = [loaded[s].messages[0].claim for s in streams]
        done = await store.append([replace(an_append(a_stream(), b"2"), claims=[claim]) for claim in claims])
        assert len(done.accepted) == len(streams)
    assert len(set(asked)) == 3
    for sql in {
        *asked,
        store.session.sql["load"],
        store.session.sql["claim_wake_ups"],
        store.session.sql["read_all"],
        store.session.sql["not_on_record"],
        store.session.sql["unpublished"],
    }:
        kinds = dict(re.findall(r"\$(\d+)::(\w+(?:\[\])?)", sql))
        numbers = sorted({int(n) for n in re.findall(r"\$(\d+)", sql)})
        plain = {"service": "text", "limit": "bigint"}
        types = [kinds.get(str(n)) or plain["service" if f"service = ${n}" in sql else "limit"] for n in numbers]
        async with raw.transaction():
            for setting, value in session.SETTINGS.items():
                await raw.execute(f"set local {setting} = '{value}'")
            await raw.execute(f"prepare asked({', '.join(types)}) as {sql}")
            plan = await raw.fetch(f"explain execute asked({', '.join('null' for _ in types)})")
            await raw.execute("deallocate asked")
        text = "\n".join(line for (line,) in plan)
        assert "Seq Scan" not in text, text
        scans = re.findall(r"Index (?:Only )?Scan (?:using|on) .*\n *(.*)", text)
        assert scans and all(line.startswith("Index Cond") for line in scans), text


async def test_only_marking_messages_as_published_does_not_wait_for_the_disk(postgres_dsn: str, schema: str) -> None:
    store = await PostgresEventStore.open(postgres_dsn, schema=schema, pool=1)
    asked = "select current_setting('synchronous_commit')"
    [(before,)] = await store.session.fetch(asked)
    await store.mark_published({a_stream(): 1})
    [(after,)] = await store.session.fetch(asked)
    await store.close()
    assert before == after != "off"


# Append-only


@pytest.mark.parametrize("table", ["messages", "inbox", "door_messages", "door_identities"])
@pytest.mark.parametrize("change", ["update {} set tenant = 'x'", "delete from {}", "truncate {}"])
async def test_what_is_stored_is_never_changed(
    store: PostgresEventStore, raw: asyncpg.Connection, table: str, change: str
) -> None:
    stream, causation_id = a_stream(), uuid4()
    await store.append([an_append(stream, b"1", causation_id=causation_id, doors=[door(stream, causation_id)])])
    with pytest.raises(asyncpg.PostgresError, match="append-only"):
        await raw.execute(change.format(table))
    schema = await raw.fetchval("select current_schema()")
    async with raw.transaction():
        await raw.execute(f"set local role {schema}_writer")
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
            async with raw.transaction():
                await raw.execute(change.format(table))
    assert (await current(store, stream)).version == 1


@pytest.mark.parametrize("change", ["update policies set data = '{}'", "delete from policies", "truncate policies"])
async def test_the_data_of_a_policy_are_never_changed(store: PostgresEventStore, raw: asyncpg.Connection, change: str) -> None:
    await store.store_policy("router", "1-abc", b"[1]")
    with pytest.raises(asyncpg.PostgresError, match="append-only"):
        await raw.execute(change)
    assert await store.load_policies([("router", "1-abc")]) == {("router", "1-abc"): b"[1]"}
