"""Which partitions a consumer has, and how far each is read, done and committed."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from shared.tasks import within

log = logging.getLogger(__name__)

COMMIT_EVERY = 0.5  # seconds between two commits


class Offsets:
    """The offsets of the partitions that the group has assigned to this process; each assignment clears them.

    An offset is always the next one to read: all messages before it are read, done or committed.
    """

    def __init__(self) -> None:
        self.assigned: frozenset[TopicPartition] = frozenset()
        self.assignments = 0  # counts them: records fetched under an earlier one are not processed
        self.changed = asyncio.Event()  # set if an offset is done and not yet committed
        self._positions: dict[TopicPartition, int] = {}  # as aiokafka counts them: past the markers of transactions too
        self._read: dict[TopicPartition, int] = {}
        self._done: dict[TopicPartition, int] = {}
        self._committed: dict[TopicPartition, int] = {}

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        self.assignments += 1
        self.assigned = frozenset(partitions)
        self._positions, self._read, self._done, self._committed = {}, {}, {}, {}

    def revoke(self) -> None:
        self.assigned = frozenset()

    def read(self, records: Iterable[ConsumerRecord]) -> dict[TopicPartition, int]:
        """Notes that these records are handed over. Returns the first offset of each partition."""
        first: dict[TopicPartition, int] = {}
        for record in records:
            partition = TopicPartition(record.topic, record.partition)
            first.setdefault(partition, record.offset)
            self._read[partition] = record.offset + 1
        return first

    def rewind(self, first: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """The offsets at which to read on, so that all records from `first` on that are not done are read again. Leaves out
        revoked partitions."""
        again = {
            partition: max(offset, self._done.get(partition, offset))
            for partition, offset in first.items()
            if partition in self.assigned
        }
        self._read.update(again)
        return again

    def done(self, partition: TopicPartition, offset: int) -> None:
        """Notes a done offset. Ignores one that goes backwards, or that was not read here under this assignment."""
        if self._done.get(partition, -1) < offset <= self._read.get(partition, -1):
            self._done[partition] = offset
            self.changed.set()

    def is_idle(self, partition: TopicPartition) -> bool:
        """Whether all records read from it are done."""
        return self._read.get(partition) == self._done.get(partition)

    def advance(self, partition: TopicPartition, position: int) -> None:
        """Notes that everything before this position is done, markers of transactions too."""
        self._positions[partition] = position

    def to_commit(self) -> dict[TopicPartition, int]:
        return {
            partition: offset
            for partition, offset in self._done.items()
            if partition in self.assigned and self._committed.get(partition) != offset
        }

    def committed(self, offsets: Mapping[TopicPartition, int]) -> None:
        self._committed.update(offsets)

    def lag(self, high_water_mark: Callable[[TopicPartition], int | None]) -> dict[TopicPartition, int]:
        """The number of messages that are not done, by partition. Leaves out a partition whose number is not known yet."""
        found: dict[TopicPartition, int] = {}
        for partition in self.assigned:
            end = high_water_mark(partition)
            done = max(self._positions.get(partition, -1), self._done.get(partition, -1))
            if end is not None and done >= 0:
                found[partition] = max(0, end - done)
        return found


class Committer:
    """Commits done offsets. A failed commit is logged and harmless: the messages come again and change nothing."""

    def __init__(self, service: str, offsets: Offsets, client: Callable[[], AIOKafkaConsumer | None]) -> None:
        self._service, self._offsets, self._client = service, offsets, client
        self._lock = asyncio.Lock()

    async def commit(self) -> None:
        client = self._client()
        async with self._lock:
            offsets = self._offsets.to_commit()
            if not offsets or client is None:
                return
            try:
                await client.commit(offsets)
            except KafkaError as failed:
                log.warning("%s could not commit offsets, which is harmless: %s", self._service, failed)
            else:
                self._offsets.committed(offsets)

    async def commit_within(self, seconds: float) -> None:
        try:
            await within(seconds, self.commit())
        except TimeoutError:
            log.warning("%s could not commit offsets in time, which is harmless", self._service)

    async def run(self) -> None:
        """Commits new offsets, every half second at most."""
        while True:
            await self._offsets.changed.wait()
            self._offsets.changed.clear()
            await asyncio.shield(self.commit())
            await asyncio.sleep(COMMIT_EVERY)
