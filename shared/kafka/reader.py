"""Reads topics from a position, without a consumer group: it commits nothing and takes no partition from anybody."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Literal

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from shared.kafka.connection import connection, topic_name
from shared.kafka.internals import survive_any_record
from shared.kafka.record import Record, record_from
from shared.settings import Settings

Start = Literal["beginning", "last", "end"]  # "last": the last record of each partition


class Reader:
    """All partitions of its topics. Opened by `reading`. Every method may raise KafkaError."""

    def __init__(self, client: AIOKafkaConsumer, settings: Settings) -> None:
        self._client, self._prefix = client, settings.topic_prefix

    async def poll(self, timeout: float) -> list[Record]:
        """The records that have come by now, in order by partition; empty if none comes within `timeout` seconds."""
        polled = await self._client.getmany(timeout_ms=int(timeout * 1000), max_records=2000)
        return [self._record(consumed) for records in polled.values() for consumed in records]

    async def count(self) -> int:
        """A rough number of the records there are now: markers of transactions count too."""
        partitions = list(self._client.assignment())
        ends, begins = await asyncio.gather(self._client.end_offsets(partitions), self._client.beginning_offsets(partitions))
        return sum(int(end) - int(begins[partition]) for partition, end in ends.items())

    async def beginnings(self) -> dict[tuple[str, int], int]:
        """The first offset that each partition still has."""
        begins = await self._client.beginning_offsets(list(self._client.assignment()))
        return {(partition.topic.removeprefix(self._prefix), partition.partition): int(at) for partition, at in begins.items()}

    async def to_the_end(self) -> AsyncIterator[Record]:
        """Reads from its position to the present end of the topics, in order by partition."""
        ends = await self._client.end_offsets(list(self._client.assignment()))
        begins = await self._client.beginning_offsets(list(ends))
        left = {partition for partition, end in ends.items() if end > begins[partition]}
        while left:
            polled = await self._client.getmany(*left, timeout_ms=1000, max_records=2000)
            for records in polled.values():
                for consumed in records:
                    yield self._record(consumed)
            left = {partition for partition in left if await self._client.position(partition) < ends[partition]}

    def _record(self, consumed: ConsumerRecord) -> Record:
        return record_from(consumed, consumed.topic.removeprefix(self._prefix))


@asynccontextmanager
async def reading(
    settings: Settings, topics: Iterable[str], start: Start, *, from_beginning: Iterable[str] = ()
) -> AsyncIterator[Reader]:
    """Reads these topics (names without the prefix). When entered, the position is fixed: messages published later are read.

    `from_beginning` names the topics that are read from their first record in any case. Raises
    UnknownTopicOrPartitionError if one does not exist, and any other KafkaError or OSError.
    """
    survive_any_record()
    names = [topic_name(settings, topic) for topic in topics]
    options = {
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",
        "fetch_max_wait_ms": 100,
        "max_partition_fetch_bytes": 1 << 18,
    }
    client = AIOKafkaConsumer(*names, **connection(settings), **options)
    try:
        await client.start()
        whole = {topic_name(settings, topic) for topic in from_beginning}
        late = [partition for partition in client.assignment() if start != "beginning" and partition.topic not in whole]
        await asyncio.gather(*(client.position(partition) for partition in late))  # else its reset may undo the seek
        for partition, end in (await client.end_offsets(late)).items() if late else ():
            client.seek(partition, max(end - 1, 0) if start == "last" else end)
        yield Reader(client, settings)
    finally:
        await client.stop()


async def read_record(settings: Settings, topic: str, partition: int, offset: int, *, seconds: float = 10) -> Record | None:
    """The record at this offset; None if it is no longer there. Raises KafkaError or OSError."""
    survive_any_record()
    place = TopicPartition(topic_name(settings, topic), partition)
    client = AIOKafkaConsumer(**connection(settings), enable_auto_commit=False, max_partition_fetch_bytes=16 << 20)
    try:
        await client.start()
        client.assign([place])
        first, end = (await client.beginning_offsets([place]))[place], (await client.end_offsets([place]))[place]
        if not first <= offset < end:
            return None
        client.seek(place, offset)
        polled = await client.getmany(place, timeout_ms=int(seconds * 1000), max_records=1)
        found = [consumed for consumed in polled.get(place, ()) if consumed.offset == offset]
        return record_from(found[0], topic) if found else None
    finally:
        await client.stop()
