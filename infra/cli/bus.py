"""Kafka as the console needs it: publish at a door, read any topic from any place. Never as a member of a group."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Literal
from uuid import UUID

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError, KafkaError, UnknownTopicOrPartitionError
from aiokafka.protocol.admin import ApiVersionRequest

from hansard.envelope import TENANT, Envelope, Unreadable, headers, read
from infra.cli.base import Problem
from shared.eventstore.model import NAMESPACE, uuid5
from shared.kafka.connection import connection as _connection
from shared.kafka.connection import group_name, topic_name
from shared.kafka.record import Record
from shared.kafka.record_batches import survive_any_record
from shared.settings import Settings

Start = Literal["beginning", "end"]
SOURCE = "/hansard/console"


def connection(settings: Settings) -> dict[str, Any]:
    """How to reach this Kafka, as aiokafka wants it."""
    survive_any_record()
    return _connection(settings)


@dataclass(frozen=True)
class ReceivedMessage:
    """One record of a topic (its name without the prefix), with what could be understood of it."""

    record: Record
    door: bool

    @cached_property
    def envelope(self) -> Envelope | None:
        try:
            return read(self.record.value, self.record.headers)
        except Unreadable:
            return None

    @cached_property
    def data(self) -> Any:
        """The body as JSON; None where it is none."""
        try:
            return json.loads(self.envelope.data) if self.envelope else None
        except (ValueError, RecursionError):
            return None

    @property
    def causation_id(self) -> str:
        """The id by which others name this as their cause."""
        if self.envelope is None:
            return ""
        return self.envelope.id if not self.door else str(door_cause(self.record.topic, self.envelope))

    @property
    def order(self) -> tuple[datetime, str, int, int]:
        """In time, and what was said at the same moment as its stream said it."""
        known = self.envelope
        return self.at, known.subject if known else "", known.sequence if known else 0, self.record.offset

    @property
    def at(self) -> datetime:
        told = self.envelope.time if self.envelope and not self.door else None
        return told or self.record.at


def door_cause(topic: str, envelope: Envelope) -> UUID:
    """The cause id of what came in at a door."""
    return uuid5(NAMESPACE, f"{envelope.tenant}/{topic}/{envelope.source}/{envelope.id}")


@dataclass
class Bus:
    """A connection of the console's. `async with Bus(settings) as bus`."""

    settings: Settings
    _producer: AIOKafkaProducer | None = field(default=None, init=False)
    _starting: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def __aenter__(self) -> "Bus":
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._producer is not None:
            await self._producer.stop()

    async def publish(self, topic: str, envelope: Envelope) -> None:
        """Publishes one message, in binary mode, keyed by its workflow; returns when every broker in sync has it."""
        await self.put(topic, envelope.correlation_id.encode(), envelope.data, headers(envelope))

    async def put(self, topic: str, key: bytes | None, value: bytes | None, raw: Sequence[tuple[str, bytes]]) -> None:
        """Publishes these bytes as they are."""
        acknowledged = await self.hand_over(topic, key, value, raw)
        with reached(self.settings):
            await acknowledged

    async def hand_over(
        self, topic: str, key: bytes | None, value: bytes | None, raw: Sequence[tuple[str, bytes]]
    ) -> "asyncio.Future[Any]":
        """The same, in order of the calls, without waiting: what comes back is done when the brokers have it."""
        with reached(self.settings):
            if self._producer is None:
                async with self._starting:
                    self._producer = self._producer or await self._start()
            sent: asyncio.Future[Any] = await self._producer.send(self.full(topic), value, key=key, headers=list(raw))
            return sent

    async def _start(self) -> AIOKafkaProducer:
        options = {
            "acks": "all",
            "enable_idempotence": True,
            "linger_ms": 2,
            "max_request_size": 8 << 20,
            "max_batch_size": 1 << 18,
        }
        producer = AIOKafkaProducer(**connection(self.settings), **options)
        await producer.start()
        return producer

    def full(self, topic: str) -> str:
        """The topic's name at the broker."""
        return topic_name(self.settings, topic)

    @contextlib.asynccontextmanager
    async def listen(
        self, topics: Iterable[str], start: Start = "end", beginning: Iterable[str] = ()
    ) -> AsyncIterator["Listener"]:
        """Reads these topics; when entered, its place is settled: what is published from then on is heard.

        `beginning` names topics that are read from their first record all the same.
        """
        names = [self.full(topic) for topic in topics]
        options = {
            "enable_auto_commit": False,
            "auto_offset_reset": "earliest",
            "fetch_max_wait_ms": 100,
            "max_partition_fetch_bytes": 1 << 18,
        }
        consumer = AIOKafkaConsumer(*names, **connection(self.settings), **options)
        try:
            await _started(consumer, self.settings)
            first = {self.full(topic) for topic in beginning}
            late = [tp for tp in consumer.assignment() if start == "end" and tp.topic not in first]
            await asyncio.gather(*(consumer.position(tp) for tp in late))  # a place that is not settled yet would win
            for tp, end in (await consumer.end_offsets(late)).items() if late else ():
                consumer.seek(tp, end)
            yield Listener(consumer, self.settings)
        finally:
            await consumer.stop()


@dataclass
class Listener:
    """What is heard, in batches, each in order of time."""

    consumer: AIOKafkaConsumer
    settings: Settings

    async def batch(self, timeout: float = 0.2) -> list[ReceivedMessage]:
        """What has come by now; empty when nothing came within `timeout` seconds."""
        with reached(self.settings):
            polled = await self.consumer.getmany(timeout_ms=int(timeout * 1000), max_records=2000)
        entry = [self._heard(record) for records in polled.values() for record in records]
        return sorted(entry, key=lambda one: one.order)

    async def extent(self) -> int:
        """How many records there are now, about."""
        assigned = list(self.consumer.assignment())
        ends, begins = await asyncio.gather(self.consumer.end_offsets(assigned), self.consumer.beginning_offsets(assigned))
        return sum(int(end) - int(begins[tp]) for tp, end in ends.items())

    async def to_the_end(self) -> AsyncIterator[ReceivedMessage]:
        """All there is now, partition by partition; then ends."""
        ends = await self.consumer.end_offsets(list(self.consumer.assignment()))
        begins = await self.consumer.beginning_offsets(list(ends))
        left = {tp for tp, end in ends.items() if end > begins[tp]}
        while left:
            polled = await self.consumer.getmany(*left, timeout_ms=1000, max_records=2000)
            for records in polled.values():
                for record in records:
                    yield self._heard(record)
            left = {tp for tp in left if await self.consumer.position(tp) < ends[tp]}

    def _heard(self, record: Any) -> ReceivedMessage:
        name = record.topic.removeprefix(self.settings.topic_prefix)
        topic = self.settings.topics.by_name.get(name)
        raw = Record(name, record.partition, record.offset, record.timestamp, record.key, record.value, tuple(record.headers))
        return ReceivedMessage(raw, topic is not None and topic.door)


async def _started(consumer: AIOKafkaConsumer, settings: Settings) -> None:
    """Without a group every partition of its topics is its own. Raises Problem where one is not there."""
    with reached(settings):
        try:
            await consumer.start()
        except UnknownTopicOrPartitionError as missing:
            raise Problem("The topics are not there: `hansard topics` makes them.") from missing


@contextlib.contextmanager
def reached(settings: Settings) -> Iterator[None]:
    """Turns what Kafka refuses into a Problem."""
    try:
        yield
    except KafkaConnectionError as away:
        raise Problem(f"Kafka at {settings.kafka} does not answer. `hansard doctor` looks closer.") from away
    except (KafkaError, OSError) as away:
        raise Problem(f"Kafka at {settings.kafka} does not do that ({away!r}). `hansard doctor` looks closer.") from away


def request(id_: str, kind: str, data: bytes, *, workflow: str = "", tenant: str = "", at: datetime | None = None) -> Envelope:
    """A message of the console's for a door."""
    return Envelope(
        id=id_,
        source=SOURCE,
        type=kind,
        data=data,
        correlation_id=workflow or id_,
        tenant=tenant or TENANT,
        time=at or datetime.now(UTC),
    )


async def lag(settings: Settings, service: str) -> int:
    """Messages that this service's group has not yet heard."""
    admin = AIOKafkaAdminClient(**_connection(settings) | {"request_timeout_ms": 3000})
    consumer = AIOKafkaConsumer(**_connection(settings) | {"request_timeout_ms": 3000})
    await admin.start()
    try:
        committed = await admin.list_consumer_group_offsets(group_name(settings, service))
        if not committed:  # aiokafka raises CancelledError where a consumer is stopped right after its start
            return 0
        await consumer.start()
        ends = await consumer.end_offsets(list(committed))
        return sum(max(ends[tp] - max(known.offset, 0), 0) for tp, known in committed.items())
    finally:
        await consumer.stop()
        await admin.close()


async def one(settings: Settings, topic: str, partition: int, offset: int, *, seconds: float = 10) -> Record | None:
    """The record at this place; None where it is not there any more."""
    place = TopicPartition(topic_name(settings, topic), partition)
    consumer = AIOKafkaConsumer(**connection(settings), enable_auto_commit=False, max_partition_fetch_bytes=16 << 20)
    with reached(settings):
        await consumer.start()
    try:
        consumer.assign([place])
        first, end = (await consumer.beginning_offsets([place]))[place], (await consumer.end_offsets([place]))[place]
        if not first <= offset < end:
            return None
        consumer.seek(place, offset)
        polled = await consumer.getmany(place, timeout_ms=int(seconds * 1000), max_records=1)
        for record in polled.get(place, ()):
            if record.offset == offset:
                return Record(topic, partition, offset, record.timestamp, record.key, record.value, tuple(record.headers))
        return None
    finally:
        await consumer.stop()


async def make_topic(settings: Settings, topic: str, partitions: int = 1) -> bool:
    """A plain topic of this very name (no prefix), where there is none yet. Whether it was made."""
    admin = AIOKafkaAdminClient(**_connection(settings))
    with reached(settings):
        await admin.start()
    try:
        if topic in await admin.list_topics():
            return False
        copies = settings.replication or min(3, len((await admin.describe_cluster())["brokers"]))
        with reached(settings):
            await admin.create_topics([NewTopic(topic, partitions, copies)])
        return True
    finally:
        await admin.close()


async def broker_time(settings: Settings) -> datetime | None:
    """When the broker stamped the latest message at a door; None where nothing was said at any."""
    doors = [topic_name(settings, topic.name) for topic in settings.topics.all if topic.door]
    consumer = AIOKafkaConsumer(*doors, **connection(settings), enable_auto_commit=False, auto_offset_reset="latest")
    try:
        await _started(consumer, settings)
        ends = {tp: end for tp, end in (await consumer.end_offsets(consumer.assignment())).items() if end}
        for tp, end in ends.items():
            consumer.seek(tp, end - 1)
        stamps = []
        if ends:
            polled = await consumer.getmany(timeout_ms=5000)
            stamps = [record.timestamp for records in polled.values() for record in records]
        return datetime.fromtimestamp(max(stamps) / 1000, UTC) if stamps else None
    finally:
        await consumer.stop()


async def brokers(settings: Settings) -> tuple[int, dict[int, tuple[int, int]]]:
    """How many there are, and which versions of each API one of them speaks."""
    client = AIOKafkaClient(**connection(settings) | {"request_timeout_ms": 5000})
    try:
        await client.bootstrap()
        answer = await client.send(client.get_random_node(), ApiVersionRequest())
        return len(client.cluster.brokers()), {key: (oldest, newest) for key, oldest, newest in answer.api_versions}
    finally:
        await client.close()
