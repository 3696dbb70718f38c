"""What the tests of shared/kafka have in common: topics of their own, outside clients, and a consumer that remembers."""

import asyncio
import secrets
import struct
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.record.util import calc_crc32c

from shared.kafka.admin import apply, plan
from shared.kafka.connection import group_name, topic_name
from shared.kafka.consumer import Consumer
from shared.kafka.record import Record
from shared.settings import Settings

LONG = 60.0


def settings_for(kafka: str, **others: Any) -> Settings:
    """Settings with topics and groups that no other test has."""
    return Settings(kafka=kafka, topic_prefix=f"t{secrets.token_hex(4)}.", **{"partitions": 2, **others})


async def make(settings: Settings, *names: str) -> None:
    """Creates these topics of the catalogue."""
    wanted = {topic_name(settings, name) for name in names}
    changes = await apply(settings, [change for change in await plan(settings) if change.topic in wanted])
    assert not [change for change in changes if change.error]


async def until(there: Callable[[], object], seconds: float = LONG) -> None:
    end = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.01)


@asynccontextmanager
async def sender(settings: Settings, **arguments: Any) -> AsyncIterator[AIOKafkaProducer]:
    """An outside client."""
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka, acks="all", **arguments)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def put(settings: Settings, topic: str, values: Sequence[bytes], partition: int = 0) -> None:
    async with sender(settings) as producer:
        for value in values:
            await producer.send_and_wait(topic_name(settings, topic), value, key=b"wf", partition=partition)


async def put_raw(settings: Settings, topic: str, header: bytes, value: bytes, partition: int = 0) -> None:
    """One record whose header's name is any bytes, as a client in another language may send it."""
    stand_in = b"?" * len(header)
    async with sender(settings) as producer:
        batch = producer.create_batch()
        batch.append(timestamp=None, key=b"wf", value=value, headers=[(stand_in.decode(), b"x")])
        build = batch._build

        def raw() -> bytes:
            buffer = bytearray(build()).replace(stand_in, header)
            buffer[17:21] = struct.pack(">I", calc_crc32c(bytes(buffer[21:])))
            return bytes(buffer)

        batch._build = raw
        await (await producer.send_batch(batch, topic_name(settings, topic), partition=partition))


async def committed(settings: Settings, service: str, topic: str) -> dict[int, int | None]:
    """What the group of this service has committed, by partition."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka, group_id=group_name(settings, service), enable_auto_commit=False
    )
    await consumer.start()
    try:
        name = topic_name(settings, topic)
        return {n: await consumer.committed(TopicPartition(name, n)) for n in range(settings.partitions)}
    finally:
        await consumer.stop()


@dataclass
class RecordingConsumer:
    """Remembers what it processed, in order. Marks each batch done, unless `mark_done` is false."""

    settings: Settings
    topics: Sequence[str]
    instance: str = "1"
    service: str = "router"
    mark_done: bool = True
    processed: list[Record] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    assigned: list[set[tuple[str, int]]] = field(default_factory=list)
    revoked: list[set[tuple[str, int]]] = field(default_factory=list)
    before: Callable[[list[Record]], Any] | None = None  # may wait, may raise

    def __post_init__(self) -> None:
        self.consumer = Consumer(
            self.settings,
            self.service,
            self.topics,
            process=self._process,
            instance=self.instance,
            on_assigned=self._on_assigned,
            on_revoked=self._on_revoked,
        )

    @property
    def values(self) -> list[bytes | None]:
        return [record.value for record in self.processed]

    async def _process(self, records: list[Record]) -> None:
        if self.before is not None:
            await self.before(records)
        self.processed += records
        self.batches.append(len(records))
        if self.mark_done:
            self.done(records)

    def done(self, records: Sequence[Record]) -> None:
        self.consumer.done({(record.topic, record.partition): record.offset + 1 for record in records})

    async def _on_assigned(self, partitions: set[tuple[str, int]]) -> None:
        self.assigned.append(partitions)

    async def _on_revoked(self, partitions: set[tuple[str, int]]) -> None:
        self.revoked.append(partitions)

    async def __aenter__(self) -> "RecordingConsumer":
        await self.consumer.start()
        await asyncio.wait_for(self.consumer.wait_until_assigned(), LONG)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.consumer.stop()
