"""A reader reads from the position that it was given, in any topic, and leaves no trace in any group."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from shared.kafka.admin import create_topic
from shared.kafka.brokers import describe_brokers
from shared.kafka.errors import UnknownTopicOrPartitionError
from shared.kafka.groups import lag
from shared.kafka.reader import Reader, read_record, reading
from tests.edge.kafka_kit import RecordingConsumer, make, put, put_raw, settings_for

T = "planner.events"


async def values(reader: Reader) -> list[bytes | None]:
    return [record.value async for record in reader.to_the_end()]


async def test_it_reads_from_the_beginning_to_the_end_and_then_what_is_published_later(kafka: str) -> None:
    settings = settings_for(kafka)
    await make(settings, T)
    await put(settings, T, [b"0", b"1"], 0)
    await put(settings, T, [b"2"], 1)
    async with reading(settings, [T], "beginning") as reader:
        assert await reader.count() == 3
        assert sorted(await values(reader), key=str) == [b"0", b"1", b"2"]
        await put(settings, T, [b"later"], 1)
        async with asyncio.timeout(30):
            while not (polled := await reader.poll(1)):
                pass
    [record] = polled
    assert (record.topic, record.partition, record.offset, record.value) == (T, 1, 1, b"later")


async def test_it_reads_the_last_record_of_each_partition(kafka: str) -> None:
    settings = settings_for(kafka, partitions=3)
    await make(settings, T, "requests")
    await put(settings, T, [b"old", b"last of 0"], 0)
    await put(settings, T, [b"last of 2"], 2)
    async with reading(settings, [T, "requests"], "last") as reader:
        assert sorted(await values(reader), key=str) == [b"last of 0", b"last of 2"]


async def test_some_topics_may_be_read_whole_where_the_others_are_read_from_their_end(kafka: str) -> None:
    settings = settings_for(kafka)
    await make(settings, T, "control")
    await put(settings, T, [b"before"])
    await put(settings, "control", [b"before"])
    async with reading(settings, [T, "control"], "end", from_beginning=["control"]) as reader:
        await put(settings, T, [b"after"])
        await put(settings, "control", [b"after"])
        found = [(record.topic, record.value) async for record in reader.to_the_end()]
    assert sorted(found) == [("control", b"after"), ("control", b"before"), (T, b"after")]


async def test_a_record_that_no_client_can_decode_is_read_all_the_same(kafka: str) -> None:
    settings = settings_for(kafka, partitions=1)
    await make(settings, "requests")
    await put_raw(settings, "requests", b"\xff\xfe", b"odd")
    found = await read_record(settings, "requests", 0, 0)
    assert found is not None and (found.value, found.headers) == (b"odd", ((b"\xff\xfe", b"x"),))
    assert found.at - datetime.now(UTC) < timedelta(minutes=1)
    assert await read_record(settings, "requests", 0, 1) is None


async def test_reading_a_topic_that_does_not_exist_fails(kafka: str) -> None:
    with pytest.raises(UnknownTopicOrPartitionError):
        async with reading(settings_for(kafka), [T], "beginning"):
            pass


async def test_a_groups_lag_counts_what_it_has_not_committed(kafka: str) -> None:
    settings = settings_for(kafka, partitions=1)
    await make(settings, T)
    await put(settings, T, [b"0", b"1", b"2"])
    async with RecordingConsumer(settings, [T], mark_done=False) as one:
        while not one.processed:
            await asyncio.sleep(0.01)
        one.consumer.done({(T, 0): 1})
    assert await lag(settings, "router") == 2
    assert await lag(settings, "planner") == 0  # it has no group


async def test_a_topic_outside_the_catalogue_is_created_once_under_exactly_its_name(kafka: str) -> None:
    settings = settings_for(kafka)
    name = f"{settings.topic_prefix}mine"
    assert [await create_topic(settings, name, 1) for _ in range(2)] == [True, False]


async def test_the_brokers_count_and_versions_are_known(kafka: str) -> None:
    count, versions = await describe_brokers(settings_for(kafka))
    assert count == 1 and versions[1][1] >= 17
