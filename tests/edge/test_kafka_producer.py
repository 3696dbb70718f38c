"""A producer publishes everything, in order by stream and topic, whatever happens to the broker."""

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError
from aiokafka.partitioner import DefaultPartitioner

from hansard import envelope
from infra.servers import Servers
from shared.eventstore.model import StoredMessage, Stream
from shared.kafka import producer as room
from shared.kafka.admin import apply
from shared.kafka.connection import connection, topic_name
from shared.kafka.producer import Producer, headers
from shared.kafka.reader import reading
from shared.kafka.record import Record
from shared.settings import Settings
from tests.edge.kafka_kit import make, settings_for, until

A, B = "planner.events", "specialists.commands"


def stored(workflow: str, version: int, topic: str = A, data: bytes = b"{}") -> StoredMessage:
    return StoredMessage(
        stream=Stream("acme", workflow, "planner"),
        version=version,
        id=uuid.uuid4(),
        kind="hansard.planner.step-passed.v1",
        topic=topic,
        causation_id=uuid.uuid4(),
        data=data,
        hash=hashlib.sha256(data).digest(),
        traceparent=f"00-{'a' * 32}-{'b' * 16}-01",
        at=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
    )


def as_envelope(one: StoredMessage) -> envelope.Envelope:
    return envelope.Envelope(
        id=str(one.id),
        source=f"/hansard/{one.stream.service}",
        type=one.kind,
        data=one.data,
        correlation_id=one.stream.workflow,
        tenant=one.stream.tenant,
        subject=one.stream.name,
        time=one.at,
        causation_id=str(one.causation_id),
        traceparent=one.traceparent,
        sequence=one.version,
        datahash=one.hash.hex(),
    )


@dataclass
class Outbox:
    """Like the runtime's: what is not acknowledged is published again after a failure, in order by stream."""

    settings: Settings
    left: dict[tuple[Stream, int], StoredMessage] = field(default_factory=dict)
    failures: int = 0

    def __post_init__(self) -> None:
        self.producer = Producer(self.settings, failed=self._failed)
        self.behind = asyncio.Event()

    def _failed(self) -> None:
        self.failures += 1
        self.behind.set()

    async def append(self, *events: StoredMessage) -> None:
        """Stores these, and publishes them after the unacknowledged messages of the same streams."""
        self.left.update({(one.stream, one.version): one for one in events})
        streams = {one.stream for one in events}
        await self.producer.publish([one for one in self.left.values() if one.stream in streams])

    async def keep_up(self) -> None:
        while True:
            for key in self.producer.take_acknowledged():
                self.left.pop(key, None)
            if self.behind.is_set() and self.producer.healthy:
                self.behind.clear()
                await self.producer.publish(list(self.left.values()))
            await asyncio.sleep(0.005)


@asynccontextmanager
async def outbox_of(settings: Settings) -> AsyncIterator[Outbox]:
    outbox = Outbox(settings)
    await outbox.producer.start()
    keeping = asyncio.create_task(outbox.keep_up())
    try:
        await until(lambda: outbox.producer.healthy)
        yield outbox
    finally:
        keeping.cancel()
        await outbox.producer.stop(5)


async def published(settings: Settings, *topics: str) -> list[Record]:
    """Everything in these topics, by partition in order."""
    async with reading(settings, topics, "beginning") as reader:
        return [record async for record in reader.to_the_end()]


def identity(record: Record) -> tuple[str, int]:
    """Workflow and stream version."""
    headers: dict[str | bytes, bytes | None] = dict(record.headers)
    assert record.key is not None
    return record.key.decode(), int(headers["ce_sequence"] or b"")


def first_versions(records: list[Record]) -> dict[tuple[str, str], list[int]]:
    """By workflow and topic, the versions in the order in which each was first published."""
    found: dict[tuple[str, str], list[int]] = {}
    for record in records:
        workflow, version = identity(record)
        versions = found.setdefault((workflow, record.topic), [])
        if version not in versions:
            versions.append(version)
    return found


def test_its_headers_are_those_of_the_envelope() -> None:
    one = stored("wf-1", 7)
    assert headers(one) == envelope.headers(as_envelope(one))
    bare = StoredMessage(Stream("t", "w", "a/b"), 1, one.id, "k", A, one.causation_id, b"", b"")
    assert headers(bare) == envelope.headers(as_envelope(bare))


async def test_what_is_stored_is_published_verbatim_with_its_workflow_as_the_key(kafka: str) -> None:
    settings = settings_for(kafka, partitions=3)
    await make(settings, A, B)
    events = [stored("wf-1", 1), stored("wf-1", 2, B, b'{"a":1}'), stored("wf-2", 1)]
    async with outbox_of(settings) as outbox:
        await outbox.append(*events)
        await until(lambda: not outbox.left)
        assert outbox.producer.in_flight == 0
    found = await published(settings, A, B)
    records = {identity(record): record for record in found}
    for one in events:
        record = records[one.stream.workflow, one.version]
        assert record.topic == one.topic
        assert record.value == one.data
        assert list(record.headers) == envelope.headers(as_envelope(one))
        assert record.partition == DefaultPartitioner()(one.stream.workflow.encode(), [0, 1, 2], [0, 1, 2])


async def test_what_is_in_flight_is_not_published_twice(kafka: str) -> None:
    settings = settings_for(kafka, partitions=1)
    await make(settings, A)
    events = [stored("wf", n) for n in range(1, 50)]
    async with outbox_of(settings) as outbox:
        for _ in range(3):
            await outbox.producer.publish(events)
        await until(lambda: outbox.producer.in_flight == 0)
    assert len(await published(settings, A)) == len(events)


async def test_after_a_failed_send_nothing_later_of_its_stream_goes_out_first(
    kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "REFUSED", 2.0)
    settings = settings_for(kafka, partitions=2)
    await make(settings, A, B)
    await limit(settings, A, 50_000)
    stuck = "wf-0", A
    async with outbox_of(settings) as outbox:
        for version in range(1, 30):
            events = [stored(f"wf-{n}", version, (A, B)[n % 2]) for n in range(6)]
            if version == 2:
                events[0] = stored("wf-0", 2, A, b"x" * 100_000)
            await outbox.append(*events)
        left = {("wf-0", version) for version in range(2, 30)}  # no other stream suffers
        await until(lambda: {(one.stream.workflow, one.version) for one in outbox.left.values()} == left)
        so_far = first_versions(await published(settings, A, B))
        assert so_far.pop(stuck) == [1]
        assert set(map(tuple, so_far.values())) == {tuple(range(1, 30))}
        await limit(settings, A, 1 << 20)
        await until(lambda: not outbox.left)
    assert first_versions(await published(settings, A))[stuck] == list(range(1, 30))


async def test_a_producer_that_lost_its_sequence_is_replaced(kafka: str) -> None:
    settings = settings_for(kafka, partitions=1)
    await make(settings, A)
    async with outbox_of(settings) as outbox:
        await outbox.append(*[stored("wf", n) for n in range(1, 4)])
        await until(lambda: not outbox.left)
        failures, client = outbox.failures, outbox.producer._client
        assert client is not None
        client._txn_manager.increment_sequence_number(TopicPartition(topic_name(settings, A), 0), 5)
        for version in range(4, 30):
            await outbox.append(stored("wf", version))
        await until(lambda: not outbox.left)
        assert outbox.failures > failures
        assert outbox.producer._client is not client
    assert first_versions(await published(settings, A)) == {("wf", A): list(range(1, 30))}


async def test_what_waited_during_a_failure_does_not_go_out_before_what_was_lost_in_it(kafka: str) -> None:
    settings = settings_for(kafka, partitions=1)
    await make(settings, A)
    async with outbox_of(settings) as outbox:
        producer = outbox.producer
        failures = outbox.failures
        async with producer._lock:  # as one that waits for room
            late = asyncio.create_task(producer.publish([stored("wf", 2)]))
            await asyncio.sleep(0)
            producer._fail(KafkaError("as if"), "a test", producer._epoch)
            await until(lambda: outbox.failures > failures and producer.healthy)
        await late
        await outbox.append(stored("wf", 1))
        await until(lambda: not outbox.left)
    assert first_versions(await published(settings, A)) == {("wf", A): [1]}


async def test_it_waits_when_too_much_is_in_flight(kafka: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "IN_FLIGHT", 10)
    settings = settings_for(kafka, partitions=1)
    await make(settings, A)
    async with outbox_of(settings) as outbox:
        most = 0
        for n in range(100):
            await outbox.producer.publish([stored("wf", 3 * n + m) for m in (1, 2, 3)])
            most = max(most, outbox.producer.in_flight)
        await until(lambda: outbox.producer.in_flight == 0)
    assert most <= 12
    assert first_versions(await published(settings, A)) == {("wf", A): list(range(1, 301))}


async def test_a_topic_that_is_missing_is_a_failure_until_it_is_there(kafka: str) -> None:
    settings = settings_for(kafka, partitions=1)
    await make(settings, A)
    async with outbox_of(settings) as outbox:
        outbox.producer._options["request_timeout_ms"] = 1_000
        await outbox.append(stored("wf", 1, B), stored("wf", 2))
        await make(settings, B)
        await until(lambda: not outbox.left)
    assert len(await published(settings, B)) == 1


async def limit(settings: Settings, topic: str, most: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    try:
        resource = ConfigResource(ConfigResourceType.TOPIC, topic_name(settings, topic), configs={"max.message.bytes": str(most)})
        await admin.alter_configs([resource])
    finally:
        await admin.close()


@pytest.fixture(scope="module")
def breakable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Servers, str]]:
    """A broker that a test may stop, also where the environment gives a Kafka for the other tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("HANSARD_KAFKA", raising=False)
        home: Path = tmp_path_factory.mktemp("kafka")
        with Servers(home) as servers:
            yield servers, servers.up(postgres=False, model=False).kafka


@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
async def test_a_broker_that_goes_and_comes_back_costs_neither_order_nor_message(
    breakable: tuple[Servers, str], kill: bool
) -> None:
    servers, address = breakable
    settings = settings_for(address, partitions=3)
    await make(settings, A, B)
    over = asyncio.Event()
    appended = 0

    async def produce(outbox: Outbox) -> None:
        nonlocal appended
        while not over.is_set() or appended < 20:
            appended += 1
            await outbox.append(*[stored(f"wf-{n}", appended, (A, B)[(n + appended) % 2]) for n in range(8)])
            await asyncio.sleep(0.02)

    async with outbox_of(settings) as outbox:
        producing = asyncio.create_task(produce(outbox))
        await until(lambda: appended > 20)
        await asyncio.to_thread(servers.stop, "kafka-1", kill=kill)
        await until(lambda: not outbox.producer.healthy, 30)
        await asyncio.to_thread(servers.start_broker, 1)
        await until(lambda: outbox.producer.healthy, 60)
        over.set()
        await producing
        await until(lambda: not outbox.left)
    orders = first_versions(await published(settings, A, B))
    assert all(versions == sorted(versions) for versions in orders.values())
    for n in range(8):
        both = [version for (workflow, _), versions in orders.items() if workflow == f"wf-{n}" for version in versions]
        assert sorted(both) == list(range(1, appended + 1))


async def test_a_broker_that_is_down_at_the_start_is_waited_for_and_then_the_outbox_is_read(
    breakable: tuple[Servers, str],
) -> None:
    servers, address = breakable
    settings = settings_for(address, partitions=1)
    await make(settings, A)
    await asyncio.to_thread(servers.stop_broker, 1)
    outbox = Outbox(settings)
    await outbox.producer.start()
    await outbox.append(stored("wf", 1), stored("wf", 2))
    assert outbox.producer.in_flight == 0
    keeping = asyncio.create_task(outbox.keep_up())
    await asyncio.to_thread(servers.start_broker, 1)
    await until(lambda: not outbox.left)
    keeping.cancel()
    await outbox.producer.stop(5)
    assert first_versions(await published(settings, A)) == {("wf", A): [1, 2]}


async def test_it_stops_in_time_although_the_broker_does_not_answer(breakable: tuple[Servers, str]) -> None:
    servers, address = breakable
    settings = settings_for(address, partitions=1)
    await make(settings, A)
    outbox = Outbox(settings)
    await outbox.producer.start()
    await until(lambda: outbox.producer.healthy)
    await asyncio.to_thread(servers.stop_broker, 1)
    try:
        await outbox.producer.publish([stored("wf", 1)])
        await asyncio.wait_for(outbox.producer.stop(1), 15)
    finally:
        await asyncio.to_thread(servers.start_broker, 1)


async def test_partitions_that_are_added_are_all_used_and_every_stream_keeps_its_order(
    kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "CHECK_PARTITIONS_EVERY", 0.2)
    monkeypatch.setattr(room, "connection", lambda given: connection(given) | {"metadata_max_age_ms": 500})
    settings = settings_for(kafka, partitions=1)
    await make(settings, A)
    async with outbox_of(settings) as outbox:
        await outbox.append(*[stored(f"wf-{n}", 1) for n in range(20)])
        await apply(settings.model_copy(update={"partitions": 3}))
        version = 1
        while not outbox.failures > 1 or version < 10:
            version += 1
            await outbox.append(*[stored(f"wf-{n}", version) for n in range(20)])
            await asyncio.sleep(0.1)
        await until(lambda: outbox.producer.healthy and not outbox.left)
        await outbox.append(*[stored(f"wf-{n}", version + 1) for n in range(20)])
        await until(lambda: not outbox.left)
    records = sorted(await published(settings, A), key=lambda record: record.timestamp)
    assert {record.partition for record in records} == {0, 1, 2}
    assert {tuple(versions) for versions in first_versions(records).values()} == {tuple(range(1, version + 2))}
