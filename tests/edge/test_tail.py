"""Kafka's tail and the record, compared on real servers: rule 12 of the record."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import asyncpg
import pytest

from hansard.envelope import headers
from infra.audit.replay import envelope
from infra.cli.bus import Bus
from shared.eventstore.model import LONG_AGO, StoredMessage
from shared.eventstore.postgres import PostgresEventStore
from shared.runtime import tail, tail_watch
from shared.runtime.republishing import _times, publish_again
from shared.runtime.tail_watch import TailWatch
from shared.settings import Settings
from tests.unit.recorded import record
from tests.unit.toy import NOON, request

REQUESTS = [request(text, id=text, workflow=f"w{n % 3}", offset=n) for n, text in enumerate("abcdefghi")]


@pytest.fixture(autouse=True)
def nothing_is_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "IN_FLIGHT", timedelta())


async def stored_and_acknowledged(store: PostgresEventStore) -> list[StoredMessage]:
    await record(store, *REQUESTS)
    messages = [message async for page in store.read_all() for message in page]
    await store.mark_published({message.stream: message.version for message in messages})
    return messages


async def put(settings: Settings, messages: Sequence[StoredMessage]) -> None:
    async with Bus(settings) as bus:
        for message in messages:
            one = replace(envelope(message, NOON), replayed="")
            await bus.put(message.topic, one.correlation_id.encode(), one.data, headers(one))


async def test_what_kafka_has_lost_of_its_tail_is_found_and_published_again(
    settings: Settings, store: PostgresEventStore
) -> None:
    messages = await stored_and_acknowledged(store)
    await put(settings, messages[:5])
    lost = await tail.lost(settings, store, "router")
    assert {message.id for message in lost} == {message.id for message in messages[5:]}
    assert await tail.lost(settings, store, "planner") == [], "each service publishes its own"

    await publish_again(settings, lost)
    assert await tail.lost(settings, store, "router") == []
    assert await tail.lost_since(settings, store, LONG_AGO) == []


async def test_another_message_under_the_same_id_does_not_hide_that_one_is_lost(
    settings: Settings, store: PostgresEventStore
) -> None:
    messages = await stored_and_acknowledged(store)
    await put(settings, messages[:5])
    await put(settings, [replace(message, data=b'{"junk": 1}', hash=b"") for message in messages[5:]])
    assert {message.id for message in await tail.lost(settings, store, "router")} == {message.id for message in messages[5:]}


async def test_where_the_last_message_of_each_partition_is_there_nothing_more_is_read(
    settings: Settings, store: PostgresEventStore
) -> None:
    messages = await stored_and_acknowledged(store)
    await put(settings, messages[1:])
    assert await tail.lost(settings, store, "router") == []
    assert [message.id for message in await tail.lost_since(settings, store, LONG_AGO)] == [messages[0].id], "on demand it is"


async def test_what_no_broker_has_acknowledged_is_left_to_the_outbox(settings: Settings, store: PostgresEventStore) -> None:
    await record(store, *REQUESTS)
    assert await tail.lost_since(settings, store, LONG_AGO) == []


async def test_a_whole_topic_that_is_lost_is_published_again(settings: Settings, store: PostgresEventStore) -> None:
    messages = await stored_and_acknowledged(store)
    assert len(await tail.lost(settings, store, "router")) == len(messages)


async def test_a_restored_store_waits_until_someone_decides_about_what_it_lacks(
    settings: Settings, store: PostgresEventStore, postgres_dsn: str, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail_watch, "COMPARE_AGAIN", 0.05)
    messages = await stored_and_acknowledged(store)
    await put(settings, messages)
    watch = TailWatch(settings, store, "router", put_nothing)
    first = await store.epoch()
    assert first.compared
    await watch.wait_until_compared()

    later = replace(messages[-1], id=messages[-1].causation_id)  # Kafka has it, the store does not
    await put(settings, [later])
    await asyncio.sleep(0)
    connection = await asyncpg.connect(postgres_dsn)
    await connection.execute(f"""update "{schema}".epochs set identity = 'the server before'""")
    await connection.close()

    waiting = asyncio.create_task(watch.wait_until_compared())
    async with asyncio.timeout(60):
        while "Kafka has 1 that" not in watch.trouble:
            await asyncio.sleep(0.02)
    second = await store.epoch()
    assert (second.epoch != first.epoch, second.compared) == (True, False)
    assert not waiting.done()

    await store.epoch_compared(second.epoch)
    async with asyncio.timeout(60):
        await waiting
    assert watch.trouble == ""


async def test_a_restored_store_that_has_all_that_kafka_has_goes_on_by_itself(
    settings: Settings, store: PostgresEventStore, postgres_dsn: str, schema: str
) -> None:
    await put(settings, await stored_and_acknowledged(store))
    await store.epoch()
    connection = await asyncpg.connect(postgres_dsn)
    await connection.execute(f"""update "{schema}".epochs set identity = 'the server before'""")
    await connection.close()
    async with asyncio.timeout(60):
        await TailWatch(settings, store, "router", put_nothing).wait_until_compared()
    assert (await store.epoch()).compared


@pytest.mark.parametrize(
    ("messages", "end", "committed", "times"),
    [(5, 10, 10, 1), (5, 10, 3, 1), (5, 10, 11, 2), (5, 10, 15, 2), (5, 10, 16, 3), (1, 0, 7, 8)],
)
def test_a_copy_lies_behind_what_the_consumers_have_committed(messages: int, end: int, committed: int, times: int) -> None:
    """Else they would pass over it: they go on from there."""
    assert _times(messages, end, committed) == times
    assert end + (times - 1) * messages >= committed


async def put_nothing(_: Sequence[StoredMessage]) -> None: ...
