"""The tail of Kafka's topics: which messages are there, from a time on. Commits nothing and takes no partition from anybody."""

import hashlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from aiokafka import AIOKafkaConsumer, TopicPartition

from shared.kafka.admin import partition_counts
from shared.kafka.connection import connection, partition_of, topic_name
from shared.kafka.errors import NotAllReadable
from shared.kafka.internals import stop_consumer, survive_any_record
from shared.kafka.record import Record, record_from
from shared.settings import Settings

Place = tuple[str, int]  # a topic, without the prefix, and a partition
Copy = tuple[str, ...]  # what tells one published message from another
SHOWN = 3  # topics that an error names
STOP = 10.0  # seconds
MARGIN = timedelta(seconds=60)  # by which a producer's clock may be behind the event store's


class Tail:
    """Opened by `open_tail`. Every method may raise KafkaError."""

    def __init__(self, client: AIOKafkaConsumer, settings: Settings, partitions: Mapping[str, int]) -> None:
        self._client, self._settings, self._partitions = client, settings, partitions

    def place(self, topic: str, workflow: str) -> Place | None:
        """The partition of this workflow's messages; None if the topic does not exist."""
        partitions = self._partitions.get(topic, 0)
        return (topic, partition_of(workflow, partitions)) if partitions else None

    async def without(self, wanted: Mapping[Place, tuple[Copy, datetime]]) -> set[Place]:
        """The partitions that lack the message of which this is the copy, and which was recorded at this time."""
        left = dict(wanted)
        async for record in self._since({place: at for place, (_, at) in wanted.items()}, left):
            place = record.topic, record.partition
            if place in left and copy_of(record) == left[place][0]:
                del left[place]
        return set(left)

    async def ends(self) -> dict[Place, int]:
        """The offset at which each partition of its topics ends."""
        partitions = [self._partition((topic, n)) for topic, count in self._partitions.items() for n in range(count)]
        return {self._name(partition): end for partition, end in (await self._client.end_offsets(partitions)).items()}

    async def records(self, since: datetime) -> AsyncIterator[Record]:
        """The records of all its topics that were published since then."""
        places = [(topic, n) for topic, count in self._partitions.items() for n in range(count)]
        async for record in self._since(dict.fromkeys(places, since)):
            yield record

    async def copies(self, since: datetime) -> set[Copy]:
        """The messages that were published since then."""
        return {copy_of(record) async for record in self.records(since)}

    async def _since(self, times: Mapping[Place, datetime], left: Mapping[Place, object] | None = None) -> AsyncIterator[Record]:
        """The records since these times; of partitions that are no longer in `left`, no more."""
        partitions = [self._partition(place) for place in times]
        if not partitions:
            return
        self._client.assign(partitions)
        first = await self._client.offsets_for_times(
            {self._partition(place): _milliseconds(at - MARGIN) for place, at in times.items()}
        )
        ends = await self._client.end_offsets(partitions)
        begun = [partition for partition, offset in first.items() if offset is not None]
        for partition in begun:
            self._client.seek(partition, first[partition].offset)
        async for record in self._to(begun, ends, left):
            yield record

    async def _to(
        self, partitions: Iterable[TopicPartition], ends: Mapping[TopicPartition, int], left: Mapping[Place, object] | None = None
    ) -> AsyncIterator[Record]:
        reading = set(partitions)
        while reading:
            polled = await self._client.getmany(*reading, timeout_ms=1000, max_records=2000)
            for partition, consumed in polled.items():
                topic = partition.topic.removeprefix(self._settings.topic_prefix)
                for one in consumed:
                    if left is not None and (topic, partition.partition) not in left:
                        break
                    yield record_from(one, topic)
            reading = {
                partition
                for partition in reading
                if (left is None or self._name(partition) in left) and await self._client.position(partition) < ends[partition]
            }

    def _partition(self, place: Place) -> TopicPartition:
        return TopicPartition(topic_name(self._settings, place[0]), place[1])

    def _name(self, partition: TopicPartition) -> Place:
        return partition.topic.removeprefix(self._settings.topic_prefix), partition.partition


@asynccontextmanager
async def open_tail(settings: Settings, topics: Sequence[str], *, all_of_them: bool = False) -> AsyncIterator[Tail]:
    """Those of these topics that are there. `all_of_them`: raises NotAllReadable unless all are. Raises KafkaError or OSError."""
    survive_any_record()
    partitions = await partition_counts(settings, topics)
    if all_of_them and (unseen := [topic for topic in topics if topic not in partitions]):
        raise NotAllReadable(f"{', '.join(unseen[:SHOWN])}{', …' if len(unseen) > SHOWN else ''}")
    client = AIOKafkaConsumer(
        **connection(settings), enable_auto_commit=False, auto_offset_reset="earliest", fetch_max_wait_ms=100
    )
    try:
        await client.start()
        yield Tail(client, settings, partitions)
    finally:
        await stop_consumer(client, STOP)  # aiokafka raises CancelledError where one is stopped right after its start


def copy_of(record: Record) -> Copy:
    """By all of it: whoever knows an id may publish anything under it."""
    headers = {name: (value or b"").decode("utf-8", "replace") for name, value in record.headers if isinstance(name, str)}
    given = [headers.get(f"ce_{name}", "") for name in ("id", "subject", "sequence", "type")]
    key = (record.key or b"").decode("utf-8", "replace")
    return record.topic, key, *given, hashlib.sha256(record.value or b"").hexdigest()


def _milliseconds(at: datetime) -> int:
    return max(0, int(at.astimezone(UTC).timestamp() * 1000))
