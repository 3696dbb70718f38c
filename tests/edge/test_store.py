"""The event store, in memory and in Postgres; and what only Postgres can get wrong, with several connections that race."""

import asyncio
import random
import re
import secrets
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import asyncpg
import pytest

pytest.register_assert_rewrite("tests.edge.store_suite")

from infra.migrations import begin_epoch, migrate  # noqa: E402
from infra.servers import Servers  # noqa: E402
from shared.eventstore.memory import InMemoryEventStore  # noqa: E402
from shared.eventstore.model import (  # noqa: E402
    Cursor,
    EpochChanged,
    History,
    StoredMessage,
    StoreRefused,
    StoreUnavailable,
    Stream,
    StreamAppend,
)
from shared.eventstore.ports import EventStore  # noqa: E402
from shared.eventstore.postgres import (  # noqa: E402
    PostgresEventStore,
    session,
    statements,
)
from tests.conftest import _drop  # noqa: E402
from tests.edge.store_suite import (  # noqa: E402
    EARLIER,
    FAR,
    StoreSuite,
    a_stream,
    an_append,
    current,
    door,
    messages_in,
    until,
)


class TestMemory(StoreSuite):
    @pytest.fixture
    def store(self) -> InMemoryEventStore:
        return InMemoryEventStore()


class TestPostgres(StoreSuite):
    """`store` is the one of conftest."""


class TestPostgresAsAServiceBehindAPooler(StoreSuite):
    """With the grants of a service and no more, and with nothing kept in a session."""

    @pytest.fixture
    async def store(self, postgres_dsn: str, schema: str) -> AsyncIterator[PostgresEventStore]:
        async with a_service(postgres_dsn, schema) as dsn:
            store = await PostgresEventStore.open(dsn, schema=schema, pooler=True)
            yield store
            await store.close()


@pytest.fixture(autouse=True)
def patient(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """An append may wait long for a lock here: on a slow machine too its time must not become stale."""
    if request.cls is None:
        monkeypatch.setattr(statements, "STALE", 600.0)


@pytest.fixture
async def raw(postgres_dsn: str, schema: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the tables' owner."""
    connection = await asyncpg.connect(postgres_dsn, server_settings={"search_path": schema})
    yield connection
    await connection.close()


@asynccontextmanager
async def a_service(dsn: str, schema: str) -> AsyncIterator[str]:
    """DSN of a member of the services' role; skips the test where there is no right to create one."""
    name, password = f"{schema}_service", secrets.token_hex(8)
    owner = await asyncpg.connect(dsn)
    try:
        if not await owner.fetchval("select count(*) from pg_roles where rolname = $1", f"{schema}_writer"):
            pytest.skip("no right to make roles")
        await owner.execute(f"create role {name} login password '{password}' in role {schema}_writer")
        host = urlsplit(dsn).netloc.rpartition("@")[2]
        yield urlsplit(dsn)._replace(netloc=f"{name}:{password}@{host}").geturl()
        await owner.execute(f"drop role {name}")
    finally:
        await owner.close()


@asynccontextmanager
async def several(dsn: str, schema: str, count: int) -> AsyncIterator[list[PostgresEventStore]]:
    """So many stores, as in so many processes: each with its own connections."""
    async with AsyncExitStack() as stack:
        stores = []
        for _ in range(count):
            stores.append(await PostgresEventStore.open(dsn, schema=schema, pool=2))
            stack.push_async_callback(stores[-1].close)
        yield stores


async def waits(raw: asyncpg.Connection, least: int = 1) -> bool:
    """Whether at least so many statements in this schema wait for a lock."""
    schema = await raw.fetchval("select current_schema()")
    await raw.execute("select pg_stat_clear_snapshot()")  # else a transaction goes on seeing what it saw first
    return bool(
        await raw.fetchval(
            "select count(*) >= $2 from pg_stat_activity where wait_event_type = 'Lock' and query like '%' || $1 || '%'",
            schema,
            least,
        )
    )


# Rule 1: the append


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
        appended = await store.session.again(
            lambda: store.session.with_appender(lambda at: store.append_once(at, appends, alone=False))
        )
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
    assert deadlocks == ["40P01"]


def count_retries(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """SQL states of the errors after which the stores of this process tried again."""
    seen: list[str | None] = []
    ask = session.may_succeed_next_time

    def spy(error: Exception) -> bool:
        again = ask(error)
        if again:
            seen.append(getattr(error, "sqlstate", None))
        return again

    monkeypatch.setattr(session, "may_succeed_next_time", spy)
    return seen


async def test_an_append_is_one_round_trip(store: PostgresEventStore, raw: asyncpg.Connection) -> None:
    streams = [a_stream() for _ in range(20)]
    await store.append([an_append(stream, b"1") for stream in streams])
    asked: list[str] = []
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
    store.session.appender.add_query_logger(lambda record: asked.append(record.query))
    for _ in range(2):
        loaded = await store.load(streams)
        await store.append([an_append(loaded[s], b"2", doors=[door(s, uuid4())]) for s in streams])
        await store.append([an_append(a_stream(), b"2")])
    assert len(set(asked)) == 2
    for sql in {
        *asked,
        store.session.sql["load"],
        store.session.sql["claim_wake_ups"],
        store.session.sql["read_all"],
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


# Rule 6: messages from outside


@asynccontextmanager
async def none_sees_the_others(raw: asyncpg.Connection, workflow: str, causation_id: UUID) -> AsyncIterator[None]:
    """All who store this message meanwhile see none and wait; then all go on at once."""
    uncommitted = raw.transaction()
    await uncommitted.start()
    await raw.execute(
        'insert into door_messages (at, broker_at, "offset", causation_id, partition, tenant, workflow, topic, headers)'
        " values (now(), now(), 0, $1, 0, 'default', $2, 'requests', '[]')",
        causation_id,
        workflow,
    )
    yield
    await uncommitted.rollback()


async def test_processes_that_race_store_a_message_from_outside_once(
    postgres_dsn: str, schema: str, raw: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    races = count_retries(monkeypatch)
    workflow, causation_id = f"wf-{uuid4()}", uuid4()
    streams = [a_stream(name, workflow=workflow) for name in ("gateway", "planner", "router", "verifier")]
    outside = door(streams[0], causation_id)
    async with several(postgres_dsn, schema, 4) as stores:
        async with none_sees_the_others(raw, workflow, causation_id):
            appending = [
                asyncio.ensure_future(store.append([an_append(s, causation_id=causation_id, doors=[outside])]))
                for store, s in zip(stores, streams, strict=True)
            ]
            await until(lambda: waits(raw, 4))
        assert [(await one).accepted for one in appending] == [{stream} for stream in streams]
        assert await stores[0].door_messages("default", workflow) == {causation_id: outside}
    assert set(races) == {"23505"}, "they did race"


async def test_of_processes_that_race_with_two_bodies_under_one_id_one_is_accepted(
    postgres_dsn: str, schema: str, raw: asyncpg.Connection
) -> None:
    workflow, causation_id = f"wf-{uuid4()}", uuid4()
    streams = [a_stream(name, workflow=workflow) for name in ("gateway", "planner")]
    async with several(postgres_dsn, schema, 2) as stores:
        async with none_sees_the_others(raw, workflow, causation_id):
            both = [
                asyncio.ensure_future(
                    store.append([an_append(s, causation_id=causation_id, doors=[door(s, causation_id, body)])])
                )
                for store, s, body in zip(stores, streams, (b"1", b"2"), strict=True)
            ]
            await until(lambda: waits(raw, 2))
        outcomes = await asyncio.gather(*both, return_exceptions=True)
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Appended", "StoreRefused"]
        loaded = await stores[0].load(streams)
    assert sorted(history.processed for history in loaded.values()) == [0, 1]


# Append-only


@pytest.mark.parametrize("table", ["messages", "inbox", "door_messages"])
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


# Rule 12: readers of all messages


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


async def test_only_marking_messages_as_published_does_not_wait_for_the_disk(postgres_dsn: str, schema: str) -> None:
    store = await PostgresEventStore.open(postgres_dsn, schema=schema, pool=1)
    asked = "select current_setting('synchronous_commit')"
    [(before,)] = await store.session.fetch(asked)
    await store.mark_published({a_stream(): 1})
    [(after,)] = await store.session.fetch(asked)
    await store.close()
    assert before == after != "off"


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


# Wake-ups


async def test_of_several_processes_that_claim_each_wake_up_goes_to_one(
    postgres_dsn: str, schema: str, store: PostgresEventStore
) -> None:
    streams = {a_stream(f"planner/{n}") for n in range(200)}
    await store.append([an_append(s, wake_at=EARLIER) for s in streams])

    async def claim(one: PostgresEventStore) -> list[Stream]:
        claimed: list[Stream] = []
        while True:
            some, seconds = await one.claim_wake_ups("planner", 7, 600)
            claimed += [wake_up.stream for wake_up in some]
            if not some and seconds > 1:
                return claimed

    async with several(postgres_dsn, schema, 4) as stores:
        claims = await asyncio.gather(*map(claim, stores))
    assert sorted(s for claimed in claims for s in claimed) == sorted(streams)
    assert sum(map(bool, claims)) > 1, "they did share"


async def test_a_claim_does_not_wait_for_another_process(store: PostgresEventStore, raw: asyncpg.Connection) -> None:
    first, second = a_stream("planner/1"), a_stream("planner/2")
    await store.append([an_append(first, wake_at=EARLIER), an_append(second, wake_at=EARLIER)])
    async with raw.transaction():
        await raw.execute("select from wake_ups where stream = 'planner/1' for update")
        claimed, seconds = await asyncio.wait_for(store.claim_wake_ups("planner", 10, 60), 10)
        assert [wake_up.stream for wake_up in claimed] == [second] and seconds < 1, (
            "what another process holds may be free again soon"
        )


async def test_wake_ups_that_are_not_due_cost_a_claim_nothing(store: PostgresEventStore, raw: asyncpg.Connection) -> None:
    await raw.execute(
        "insert into wake_ups (at, wanted, tenant, workflow, stream, service, holder)"
        " select now() + n * interval '1 minute', now(), 't', n::text, 'planner/x', 'planner', ''"
        " from generate_series(1, 200000) n"
    )
    await store.append([an_append(a_stream("planner/now"), wake_at=EARLIER)])
    trial = raw.transaction()
    await trial.start()
    for setting, value in session.SETTINGS.items():
        await raw.execute(f"set local {setting} = '{value}'")
    await raw.execute(f"prepare claim(text, bigint, float8) as {store.session.sql['claim_wake_ups']}")
    explained = "explain (analyze, buffers, costs off, timing off) execute claim('planner', 100, 30)"
    plans = ["\n".join(line for (line,) in await raw.fetch(explained)) for _ in range(2)]
    await trial.rollback()
    for plan in plans:
        assert "Seq Scan" not in plan and "wake_ups_next" in plan, plan
        touched = re.search(r"Buffers: shared hit=(\d+)(?: read=(\d+))?", plan)
        assert touched and sum(int(n or 0) for n in touched.groups()) < 60, plan
    claimed, seconds = await store.claim_wake_ups("planner", 100, 30)
    assert len(claimed) == 1 and seconds <= 30


# Postgres is unavailable


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
    monkeypatch.delenv("HANSARD_POSTGRES", raising=False)
    streams = [a_stream() for _ in range(10)]
    confirmed: dict[Stream, int] = dict.fromkeys(streams, 0)
    unavailable = 0
    with Servers(home) as servers:
        dsn = (await asyncio.to_thread(servers.up, kafka=False, model=False)).postgres
        await migrate(dsn)
        store = await PostgresEventStore.open(dsn)
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
    await migrate(postgres_dsn, name)
    raw = await asyncpg.connect(postgres_dsn)
    try:
        await raw.execute(f'alter table "{name}".policies rename to not_yet')
        with pytest.raises(StoreUnavailable, match="hansard migrate"):
            await PostgresEventStore.open(postgres_dsn, schema=name)
        await raw.execute(f'alter table "{name}".not_yet rename to policies')
        await (await PostgresEventStore.open(postgres_dsn, schema=name)).close()
    finally:
        await raw.close()
        await _drop(postgres_dsn, name)


async def test_a_server_that_does_not_answer_is_unavailable() -> None:
    with pytest.raises(StoreUnavailable):
        await PostgresEventStore.open("postgresql://nobody@127.0.0.1:1/nothing")


async def test_times_in_the_far_future_are_stored(store: PostgresEventStore) -> None:
    stream = a_stream("planner/x")
    far = EARLIER + FAR * 1000
    await store.append([an_append(stream, wake_at=far)])
    [wake_up] = await store.session.fetch(f'select at from "{store.session.schema}".wake_ups')
    assert wake_up["at"] == far
    with pytest.raises(StoreRefused):
        await store.append([an_append(a_stream(), wake_at=EARLIER.replace(tzinfo=None))])
