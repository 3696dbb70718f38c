"""The audit on a real Postgres and a real Kafka."""

import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest
from pydantic import SecretStr

from contracts.envelope import headers
from infra.audit import rebuild, replay
from infra.audit.verify import verify, workflows
from infra.cli.bus import Bus, Heard, make_topic, one
from infra.migrations import migrate
from infra.topics import apply
from shared.settings import Settings
from shared.store.postgres import PostgresStore
from shared.store.record import Said
from tests.conftest import _drop
from tests.unit.test_audit import record
from tests.unit.toy import NOON, request, service, topics

REQUESTS = [request(text, id=text, workflow=f"w{n % 3}", offset=n) for n, text in enumerate("abcdefg")]


async def said_in(store: PostgresStore) -> list[Said]:
    return [said async for batch in store.everything() for said in batch]


@pytest.fixture
async def empty(postgres_dsn: str) -> AsyncIterator[str]:
    """Another migrated schema."""
    name = f"test_{secrets.token_hex(6)}"
    await migrate(postgres_dsn, name)
    yield name
    await _drop(postgres_dsn, name)


async def test_what_postgres_holds_is_decided_again_and_holds(store: PostgresStore) -> None:
    await record(store, *REQUESTS, request("poison", id="p", workflow="w0", offset=9))
    reports = [await verify(store, {"router": service}, topics, *pair) for pair in await workflows(store)]
    assert len(reports) == 3 and not [one for report in reports for one in (*report.differences, *report.strangers)]
    assert (sum(report.decided for report in reports), sum(report.trusted for report in reports)) == (7, 1)


async def test_a_word_changed_behind_the_triggers_back_is_found(store: PostgresStore, postgres_dsn: str, schema: str) -> None:
    import asyncpg

    await record(store, *REQUESTS)
    connection = await asyncpg.connect(postgres_dsn)
    await connection.execute(f'alter table "{schema}".events disable trigger append_only')
    await connection.execute(f"""update "{schema}".events set data = replace(data::text, 'a 0', 'z 0')::json""")
    await connection.close()
    (difference,) = (await verify(store, {"router": service}, topics, "default", "w0")).differences
    assert "hash" in difference.what


@pytest.fixture
async def settings(kafka: str, postgres_dsn: str, schema: str) -> Settings:
    """A Kafka with our topics, under a prefix of this test's own."""
    prefix = f"t{secrets.token_hex(4)}."
    made = Settings(kafka=kafka, topic_prefix=prefix, postgres=SecretStr(postgres_dsn), postgres_schema=schema, partitions=2)
    assert not [change for change in await apply(made) if change.error]
    return made


async def publish(settings: Settings, said: Sequence[Said]) -> None:
    """As the runtime does, and all of it twice: a repeat is nothing new."""
    async with Bus(settings) as bus:
        for asked in REQUESTS:
            raw = [(str(name), value or b"") for name, value in asked.headers]
            await bus.put("requests", asked.key, asked.value, raw)
        for event in (*said, *said):
            envelope = replace(replay.envelope(event, NOON), replayed="")
            await bus.put(event.topic, envelope.correlationid.encode(), envelope.data, headers(envelope))


async def test_a_store_rebuilt_from_kafka_alone_is_the_same_hash_for_hash(
    store: PostgresStore, settings: Settings, postgres_dsn: str, empty: str
) -> None:
    await record(store, *REQUESTS)
    await publish(settings, await said_in(store))
    gathered = rebuild.Gathered(settings.topics)
    async with Bus(settings) as bus, bus.listen(settings.topics.by_name, "beginning") as listener:
        async for heard in listener.to_the_end():
            gathered.add(heard.record)
    assert await rebuild.insert(gathered, postgres_dsn, empty) == 7
    rebuilt = await PostgresStore.open(postgres_dsn, schema=empty)
    compared = await rebuild.compare(store, rebuilt)
    doors = [await one_.doors("default", "w0") for one_ in (store, rebuilt)]
    await rebuilt.close()
    assert (compared.unlike, compared.streams, compared.events) == ([], 3, 7)
    assert doors[0].keys() == doors[1].keys()
    with pytest.raises(ValueError, match="empty"):
        await rebuild.insert(gathered, postgres_dsn, empty)


async def test_a_listener_hears_what_is_published_once_it_listens_and_not_what_was_before(settings: Settings) -> None:
    async with Bus(settings) as bus:
        await bus.put("requests", b"k", b"before", [])
        async with bus.listen(["requests"]) as listener:
            await bus.put("requests", b"k", b"after", [])
            heard: list[Heard] = []
            while not heard:
                heard = await listener.batch()
    assert [one_.record.value for one_ in heard] == [b"after"]


async def test_a_record_is_read_at_its_place_and_nowhere_else(settings: Settings) -> None:
    async with Bus(settings) as bus, bus.listen(["requests"]) as listener:
        await bus.put("requests", b"k", b"here", [("a", b"\xff")])
        heard: list[Heard] = []
        while not heard:
            heard = await listener.batch()
        place = heard[0].record
    found = await one(settings, "requests", place.partition, place.offset)
    assert found is not None and (found.value, found.headers) == (b"here", (("a", b"\xff"),))
    assert await one(settings, "requests", place.partition, place.offset + 1) is None


async def test_a_topic_of_ones_own_is_made_once(settings: Settings) -> None:
    name = f"own-{secrets.token_hex(4)}"
    assert (await make_topic(settings, name), await make_topic(settings, name)) == (True, False)
