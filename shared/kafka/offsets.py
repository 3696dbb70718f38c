"""Which partitions a consumer has, and how far each is read, done and committed."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

log = logging.getLogger(__name__)

COMMIT_EVERY = 0.5  # seconds between two commits


class Offsets:
    """The offsets of the partitions that the group has assigned to this process; each assignment clears them.

    An offset is always the next one to read: all before it is read, done or committed.
    """

    def __init__(self) -> None:
        self.assigned: frozenset[TopicPartition] = frozenset()
        self.assignments = 0  # counts them: what was fetched under an earlier one is not processed
        self.changed = asyncio.Event()  # something is done and not yet committed
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
        """Notes that these are handed over; the first offset of each partition."""
        first: dict[TopicPartition, int] = {}
        for record in records:
            partition = TopicPartition(record.topic, record.partition)
            first.setdefault(partition, record.offset)
            self._read[partition] = record.offset + 1
        return first

    def rewind(self, first: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Where to read on so that what began at these offsets and is not done is read again; revoked ones are left out."""
        again = {
            partition: max(offset, self._done.get(partition, offset))
            for partition, offset in first.items()
            if partition in self.assigned
        }
        self._read.update(again)
        return again

    def done(self, partition: TopicPartition, offset: int) -> None:
        """Ignores what goes backwards, and what was not read here under this assignment."""
        if self._done.get(partition, -1) < offset <= self._read.get(partition, -1):
            self._done[partition] = offset
            self.changed.set()

    def is_idle(self, partition: TopicPartition) -> bool:
        """Whether all that was read of it is done."""
        return self._read.get(partition) == self._done.get(partition)

    def advance(self, partition: TopicPartition, position: int) -> None:
        """All before this position is done, markers of transactions too."""
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
        """Messages that are not done, by partition; a partition of which that is not known yet is left out."""
        found: dict[TopicPartition, int] = {}
        for partition in self.assigned:
            end = high_water_mark(partition)
            done = max(self._positions.get(partition, -1), self._done.get(partition, -1))
            if end is not None and done >= 0:
                found[partition] = max(0, end - done)
        return found


class Committer:
    """Commits what is done. A commit that fails is logged and harmless: the messages come again and change nothing."""

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
            await asyncio.wait_for(self.commit(), seconds)
        except TimeoutError:
            log.warning("%s could not commit offsets in time, which is harmless", self._service)

    async def run(self) -> None:
        """Commits whatever is new, every half second at most."""
        while True:
            await self._offsets.changed.wait()
            self._offsets.changed.clear()
            await asyncio.shield(self.commit())
            await asyncio.sleep(COMMIT_EVERY)
