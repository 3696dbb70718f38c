"""A consumer loses nothing, commits only what is done, and is blocked by no record and no broker that is down."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka.errors import MessageSizeTooLargeError

from infra.servers import Servers
from shared.kafka.connection import topic_name
from shared.kafka.record import Record
from tests.edge.kafka_kit import RecordingConsumer, committed, make, put, put_raw, sender, settings_for, until

T = "planner.events"
FIVE = [b"0", b"1", b"2", b"3", b"4"]


async def test_only_what_is_done_is_committed_each_partition_its_own(kafka: str) -> None:
    settings = settings_for(kafka)
    await make(settings, T)
    await put(settings, T, FIVE, 0)
    await put(settings, T, FIVE, 1)
    async with RecordingConsumer(settings, [T], mark_done=False) as member:
        await until(lambda: len(member.processed) == 10)
        member.consumer.done({(T, 0): 3})
    assert await committed(settings, "router", T) == {0: 3, 1: None}

    async with RecordingConsumer(settings, [T]) as again:
        await until(lambda: len(again.processed) == 7)
    assert [record.value for record in again.processed if record.partition == 0] == [b"3", b"4"]
    assert [record.value for record in again.processed if record.partition == 1] == FIVE
    assert await committed(settings, "router", T) == {0: 5, 1: 5}


async def test_offsets_are_committed_in_the_background(kafka: str) -> None:
    settings = settings_for(kafka, partitions=1)
    await make(settings, T)
    await put(settings, T, FIVE)
    async with RecordingConsumer(settings, [T]) as member:
        await until(lambda: len(member.processed) == 5)

        found: dict[int, int | None] = {}

        async def watch() -> None:
            while found != {0: 5}:
                found.update(await committed(settings, "router", T))

        await asyncio.wait_for(watch(), 30)


async def test_an_offset_that_was_not_read_here_is_not_committed(kafka: str) -> None:
    settings = settings_for(kafka, partitions=1)
    await make(settings, T)
    await put(settings, T, FIVE)
    async with RecordingConsumer(settings, [T], mark_done=False) as member:
        await until(lambda: len(member.processed) == 5)
        member.consumer.done({(T, 0): 6})
        member.consumer.done({(T, 1): 1})
        member.consumer.done({(T, 0): 2})
        member.consumer.done({(T, 0): 1})  # never backwards
    assert await committed(settings, "router", T) == {0: 2}


async def test_a_batch_that_could_not_be_processed_is_read_again(kafka: str) -> None:
    settings = settings_for(kafka, partitions=1)
    await make(settings, T)
    await put(settings, T, FIVE)
    fails = iter([True, True, False])

    async def fail(_: list[Record]) -> None:
        if next(fails, False):
            raise RuntimeError("no")

    member = RecordingConsumer(settings, [T])
    member.before = fail
    async with member:
        await until(lambda: len(member.processed) >= 5)
        assert member.values == FIVE
    assert await committed(settings, "router", T) == {0: 5}


async def test_a_batch_is_not_larger_than_the_setting(kafka: str) -> None:
    settings = settings_for(kafka, partitions=1, batch=2)
    await make(settings, T)
    await put(settings, T, FIVE)
    async with RecordingConsumer(settings, [T]) as member:
        await until(lambda: len(member.processed) == 5)
    assert member.values == FIVE
    assert max(member.batches) <= 2


async def test_a_header_that_is_not_utf8_blocks_nobody(kafka: str) -> None:
    settings = settings_for(kafka)
    await make(settings, "requests", T)
    await put(settings, "requests", [b"before"])
    await put_raw(settings, "requests", b"\xff\xfe\x00bad", b"odd")
    await put(settings, "requests", [b"after"])
    await put(settings, T, FIVE, 1)
    async with RecordingConsumer(settings, ["requests", T]) as member:
        await until(lambda: len(member.processed) == 8)
        assert [record.value for record in member.processed if record.topic == "requests"] == [b"before", b"odd", b"after"]
        odd = next(record for record in member.processed if record.value == b"odd")
        assert odd.headers == ((b"\xff\xfe\x00bad", b"x"),)
        assert odd.key == b"wf"
        assert not odd.fault
    assert (await committed(settings, "router", "requests"))[0] == 3


async def test_tombstones_and_records_without_a_key_are_received(kafka: str) -> None:
    settings = settings_for(kafka, partitions=1)
    await make(settings, "requests")
    async with sender(settings) as producer:
        name = topic_name(settings, "requests")
        await producer.send_and_wait(name, None, key=b"k")
        await producer.send_and_wait(name, b"v")
        await producer.send_and_wait(name, b"h", headers=[("empty", b""), ("none", None)])
    async with RecordingConsumer(settings, ["requests"]) as member:
        await until(lambda: len(member.processed) == 3)
        assert [(record.key, record.value) for record in member.processed] == [(b"k", None), (None, b"v"), (None, b"h")]
        assert member.processed[2].headers == (("empty", b""), ("none", None))


async def test_what_senders_compress_is_received(kafka: str) -> None:
    settings = settings_for(kafka, partitions=1)
    await make(settings, "requests")
    async with sender(settings, compression_type="gzip") as producer:
        for value in FIVE:
            await producer.send(topic_name(settings, "requests"), value * 1000)
    async with RecordingConsumer(settings, ["requests"]) as member:
        await until(lambda: len(member.processed) == 5)
        assert member.values == [value * 1000 for value in FIVE]


async def test_a_door_refuses_what_would_inflate_in_our_memory(kafka: str) -> None:
    settings = settings_for(kafka, partitions=1)
    await make(settings, "requests")
    async with sender(settings, compression_type="gzip", max_request_size=64 << 20) as producer:
        with pytest.raises(MessageSizeTooLargeError):
            await producer.send_and_wait(topic_name(settings, "requests"), bytes(20 << 20))


async def test_a_message_of_the_greatest_size_is_received(kafka: str) -> None:
    settings = settings_for(kafka, partitions=1)
    await make(settings, T)
    large = b"x" * settings.max_message_bytes
    async with sender(settings, max_request_size=2 << 20) as producer:
        for _ in range(3):
            await producer.send_and_wait(topic_name(settings, T), large)
    async with RecordingConsumer(settings, [T]) as member:
        await until(lambda: len(member.processed) == 3)
        assert member.values == [large] * 3


async def test_messages_of_an_aborted_transaction_are_not_received(kafka: str) -> None:
    settings = settings_for(kafka, partitions=1)
    await make(settings, "requests")
    name = topic_name(settings, "requests")
    async with sender(settings, transactional_id=name) as producer:
        async with producer.transaction():
            await producer.send(name, b"kept", partition=0)
        await producer.begin_transaction()
        await producer.send_and_wait(name, b"aborted", partition=0)
        await producer.abort_transaction()
        async with producer.transaction():
            await producer.send(name, b"kept too", partition=0)
    async with RecordingConsumer(settings, ["requests"]) as member:
        await until(lambda: len(member.processed) == 2)
        assert member.values == [b"kept", b"kept too"]
        await until(lambda: member.consumer.lag() == {("requests", 0): 0})  # the markers of transactions are no messages


async def test_lag_counts_what_is_not_done(kafka: str) -> None:
    settings = settings_for(kafka, partitions=1)
    await make(settings, T)
    await put(settings, T, FIVE)
    async with RecordingConsumer(settings, [T], mark_done=False) as member:
        await until(lambda: len(member.processed) == 5)
        member.consumer.done({(T, 0): 2})
        assert member.consumer.lag() == {(T, 0): 3}
        assert await member.consumer.ends() == {(T, 0): 5}
        member.consumer.done({(T, 0): 5})
        assert member.consumer.lag() == {(T, 0): 0}


async def test_a_paused_consumer_receives_nothing_and_stays_in_its_group(kafka: str) -> None:
    settings = settings_for(kafka, partitions=1)
    await make(settings, T)
    async with RecordingConsumer(settings, [T]) as member:
        member.consumer.pause()
        await put(settings, T, FIVE)
        async with RecordingConsumer(
            settings, [T], instance="2"
        ) as other:  # joins: the paused member takes part in the rebalance
            await until(lambda: len(member.assigned) == 2)
            owner, while_paused = (member if member.consumer.owned else other), len(member.processed)
            member.consumer.resume()
            await until(lambda: owner.values == FIVE)
        assert while_paused == 0


async def test_two_members_share_the_partitions_with_the_same_numbers_of_every_topic(kafka: str) -> None:
    settings = settings_for(kafka, partitions=3)
    await make(settings, T, "control")
    both = {T, "control"}
    async with RecordingConsumer(settings, sorted(both)) as one, RecordingConsumer(settings, sorted(both), instance="2") as two:
        await until(lambda: len(one.consumer.owned | two.consumer.owned) == 6 and not one.consumer.owned & two.consumer.owned)
        for each in (one, two):
            numbers = {n for _, n in each.consumer.owned}
            assert each.consumer.owned == {(topic, n) for topic in both for n in numbers}
        for n in range(3):
            await put(settings, T, FIVE, n)
        await until(lambda: len(one.processed) + len(two.processed) >= 15)
        assert sorted(one.values + two.values) == sorted(FIVE * 3)  # type: ignore[type-var]


async def test_a_running_batch_is_done_and_committed_before_its_partition_is_assigned_to_another_member(kafka: str) -> None:
    settings = settings_for(kafka, partitions=2)
    await make(settings, T)
    await put(settings, T, FIVE, 0)
    await put(settings, T, FIVE, 1)
    running, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(_: list[Record]) -> None:
        running.set()
        await go_on.wait()

    one, two = RecordingConsumer(settings, [T], before=slowly), RecordingConsumer(settings, [T], instance="2")
    async with one:
        await running.wait()
        await two.consumer.start()
        client = one.consumer.client
        assert client is not None
        await until(lambda: client._subscription.reassignment_in_progress)
        assert one.revoked == []
        go_on.set()
        await asyncio.wait_for(two.consumer.wait_until_assigned(), 60)
        await until(lambda: len(one.processed) + len(two.processed) >= 10)
        await put(settings, T, [b"last"], 0)
        await put(settings, T, [b"last"], 1)
        await until(lambda: (one.values + two.values).count(b"last") == 2)
        await two.consumer.stop()
    assert sorted(one.values + two.values) == sorted([*FIVE * 2, b"last", b"last"])  # type: ignore[type-var]


async def test_a_restart_within_the_session_moves_no_partition(kafka: str) -> None:
    settings = settings_for(kafka, partitions=4)
    await make(settings, T)
    async with RecordingConsumer(settings, [T]) as one:
        async with RecordingConsumer(settings, [T], instance="2") as two:
            await until(lambda: len(one.consumer.owned) == 2 and len(two.consumer.owned) == 2)
            had, moves = two.consumer.owned, len(one.revoked)
        async with RecordingConsumer(settings, [T], instance="2") as again:
            assert again.consumer.owned == had
            for n in range(4):
                await put(settings, T, [b"x"], n)
            await until(lambda: len(one.processed) + len(again.processed) == 4)
        assert len(one.revoked) == moves


async def test_two_static_members_of_one_name_do_not_evict_each_other_for_ever(kafka: str) -> None:
    settings = settings_for(kafka)
    await make(settings, T)
    async with RecordingConsumer(settings, [T]) as one, RecordingConsumer(settings, [T]) as two:
        await until(
            lambda: len(one.consumer.owned) == 1 and len(two.consumer.owned) == 1 and one.consumer.owned != two.consumer.owned
        )
        await put(settings, T, [b"x"], 0)
        await put(settings, T, [b"x"], 1)
        await until(lambda: one.values == two.values == [b"x"])


async def test_partitions_that_are_added_get_a_reader_after_a_restart_too(kafka: str) -> None:
    settings = settings_for(kafka, partitions=1)
    await make(settings, T)
    async with RecordingConsumer(settings, [T]) as member:
        await until(lambda: member.consumer.healthy)
    async with RecordingConsumer(settings, [T]) as again:  # static, within its session: it leads its group without knowing it
        await until(lambda: again.consumer.healthy)
        more = settings.model_copy(update={"partitions": 2})
        await make(more, T)
        await put(more, T, FIVE, 1)
        client = again.consumer.client
        assert client is not None
        await client._client.force_metadata_update()  # else within a minute
        await until(lambda: again.values == FIVE)


async def test_a_member_that_leaves_for_good_is_replaced_at_once(kafka: str) -> None:
    settings = settings_for(kafka, partitions=2)
    await make(settings, T)
    async with RecordingConsumer(settings, [T]) as one:
        two = RecordingConsumer(settings, [T], instance="2")
        await two.consumer.start()
        await until(lambda: len(one.consumer.owned) == 1)
        await asyncio.wait_for(two.consumer.wait_until_assigned(), 30)
        await two.consumer.stop(leave=True)
        await until(lambda: len(one.consumer.owned) == 2, 8)  # less than a session


@pytest.fixture(scope="module")
def breakable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Servers, str]]:
    """A broker that a test may stop, also where the environment gives a Kafka for the other tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("HANSARD_KAFKA", raising=False)
        home: Path = tmp_path_factory.mktemp("kafka")
        with Servers(home) as servers:
            yield servers, servers.up(postgres=False, model=False).kafka


async def test_a_broker_that_goes_down_and_comes_back_is_waited_for(breakable: tuple[Servers, str]) -> None:
    servers, address = breakable
    settings = settings_for(address, partitions=1)
    await make(settings, T)
    async with RecordingConsumer(settings, [T]) as member:
        await put(settings, T, [b"before"])
        await until(lambda: member.values == [b"before"] and member.consumer.healthy)
        await asyncio.to_thread(servers.stop_broker, 1)
        await until(lambda: not member.consumer.healthy, 30)
        await asyncio.to_thread(servers.start_broker, 1)
        await put(settings, T, [b"after"])
        await until(lambda: b"after" in member.values and member.consumer.healthy, 30)
    assert await committed(settings, "router", T) == {0: 2}


async def test_a_broker_that_is_down_at_the_start_is_waited_for(breakable: tuple[Servers, str]) -> None:
    servers, address = breakable
    settings = settings_for(address, partitions=1)
    await make(settings, T)
    await put(settings, T, FIVE)
    await asyncio.to_thread(servers.stop_broker, 1)
    member = RecordingConsumer(settings, [T])
    try:
        await asyncio.wait_for(member.consumer.start(), 1)
        assert not member.consumer.healthy
    finally:
        await asyncio.to_thread(servers.start_broker, 1)
    await until(lambda: member.values == FIVE and member.consumer.healthy, 30)
    await member.consumer.stop()


async def test_a_consumer_stops_although_the_broker_does_not_answer(breakable: tuple[Servers, str]) -> None:
    servers, address = breakable
    settings = settings_for(address, partitions=1)
    await make(settings, T)
    member = RecordingConsumer(settings, [T])
    await member.consumer.start()
    await asyncio.wait_for(member.consumer.wait_until_assigned(), 60)
    await asyncio.to_thread(servers.stop_broker, 1)
    try:
        await asyncio.wait_for(member.consumer.stop(), 30)
    finally:
        await asyncio.to_thread(servers.start_broker, 1)
