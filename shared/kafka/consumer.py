"""What one service hears: a consumer that loses nothing, waits out a broker that is away, and is blocked by no record.

- Offsets: only what `done` was told, each partition's own. There is no commit without offsets anywhere.
- Eager rebalances: the running `hear` ends (or 20 s pass), what is done is committed, then the partitions are given up.
- read_committed: what an outside transaction took back was never said. The price: an open transaction holds back what
  follows it in its partition until it ends, at the latest after the brokers' `transaction.max.timeout.ms`.
- Static membership where the process has a name: a restart within the session (10 s) moves no partition.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import (
    CorruptRecordException,
    IllegalStateError,
    KafkaError,
    UnsupportedCodecError,
    for_code,
)

from shared.backoff import Backoff
from shared.kafka.connection import client_name, connection, group_name, topic_name
from shared.kafka.record import Record
from shared.kafka.record_batches import survive_any_record
from shared.settings import Settings

log = logging.getLogger(__name__)

SESSION = 10.0  # seconds of silence after which the group goes on without this process
REBALANCE = 45.0  # seconds that the group waits for its members to come to a rebalance
PATIENCE = 20.0  # of these, seconds that a running `hear` gets to end
COMMIT_EVERY = 0.5  # seconds between two commits beside the path
PULSE = 1.0  # seconds between two looks at the broker
SHARE_ANEW = 20.0  # seconds between two requests to share out anew: a leader may take a while to learn of new partitions

Partition = tuple[str, int]


async def _nothing(_: set[Partition]) -> None:
    pass


class Consumer:
    """The consumer of one service in one process. `hear` is called with one batch at a time, in order by partition.

    Where `hear` raises, its batch is read again after a while.
    """

    def __init__(
        self,
        settings: Settings,
        service: str,
        topics: Sequence[str],
        *,
        process: Callable[[list[Record]], Awaitable[None]],
        instance: str = "",
        on_assigned: Callable[[set[Partition]], Awaitable[None]] = _nothing,
        on_revoked: Callable[[set[Partition]], Awaitable[None]] = _nothing,
    ) -> None:
        survive_any_record()
        self.healthy = False
        self.service, self.instance = service, instance
        self._names = {topic_name(settings, topic): topic for topic in topics}
        self._real = {topic: name for name, topic in self._names.items()}
        self._process, self._on_assigned, self._on_revoked = process, on_assigned, on_revoked
        self._batch = settings.batch
        self.assignment = 0  # counts what the group gave to this process
        self._owned: frozenset[TopicPartition] = frozenset()
        self._begun: dict[TopicPartition, int] = {}  # all before it is done, marks of transactions too
        self._read: dict[TopicPartition, int] = {}  # next after what `hear` was given
        self._done: dict[TopicPartition, int] = {}
        self._committed: dict[TopicPartition, int] = {}
        self._idle, self._open, self._dirty, self._assigned = (asyncio.Event() for _ in range(4))
        self._idle.set()
        self._open.set()
        self._committing = asyncio.Lock()
        self._trouble = ""
        self._backoff = Backoff()
        self._group = group_name(settings, service)
        self._connection = connection(settings)
        self._sizes: dict[str, int] = {}  # partitions by topic when the group was last looked at
        self._joins: deque[float] = deque(maxlen=8)
        self._shared_anew = float("-inf")
        self.consumer: AIOKafkaConsumer | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._leave = self._stopping = self._anew = False
        self._arguments = {
            **self._connection,
            "client_id": client_name(settings, service, instance),
            "group_id": self._group,
            "enable_auto_commit": False,
            "group_instance_id": f"{service}-{instance}" if instance else None,
            "partition_assignment_strategy": (RangePartitionAssignor,),
            "auto_offset_reset": "earliest",
            "isolation_level": "read_committed",
            "session_timeout_ms": int(SESSION * 1000),
            "heartbeat_interval_ms": 2_000,
            "rebalance_timeout_ms": int(REBALANCE * 1000),
            "max_poll_interval_ms": 3_600_000,
            "fetch_max_wait_ms": 250,
            "max_partition_fetch_bytes": max(1 << 20, settings.max_message_bytes + (1 << 17)),
            "consumer_timeout_ms": 200,
        }

    # What the runtime does

    async def start(self) -> None:
        """Returns at once; a broker that is away is waited for beside the path."""
        self._tasks = [asyncio.create_task(pending()) for pending in (self._keep_open, self.commit_forever, self.look_forever)]

    async def stop(self, *, leave: bool = False) -> None:
        """No new batch; waits for the running `hear`, commits. `leave`: for good, so that others take over at once."""
        self._leave, self._stopping = leave, True
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), PATIENCE)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.commit_within(5)
        await self._close()

    async def assigned(self) -> None:
        """Waits until the group has given this process its partitions."""
        await self._assigned.wait()

    def done(self, offsets: Mapping[Partition, int]) -> None:
        """Up to here everything is on the record: the next offset to read, by (topic, partition).

        Committed beside the path. What is not this process's any more is ignored: its next owner hears it again.
        """
        for (topic, number), offset in offsets.items():
            partition = TopicPartition(self._real[topic], number)
            if self._done.get(partition, -1) < offset <= self._read.get(partition, -1):
                self._done[partition] = offset
                self._dirty.set()

    def pause(self) -> None:
        """No new batch until `resume`. The process stays in its group."""
        self._open.clear()

    def resume(self) -> None:
        self._open.set()

    @property
    def paused(self) -> bool:
        return not self._open.is_set()

    @property
    def owned(self) -> set[Partition]:
        """(topic, partition) that the group has given to this process."""
        return {self._ours(partition) for partition in self._owned}

    def lag(self) -> dict[Partition, int]:
        """Messages in each partition that are not done, as of the last fetch; one that is not known yet is left out."""
        consumer = self.consumer
        found: dict[Partition, int] = {}
        if consumer is None:
            return found
        for partition in self._owned:
            end, begun = consumer.highwater(partition), self._begun.get(partition, -1)
            position = max(begun, self._done.get(partition, -1))
            if end is not None and position >= 0:
                found[self._ours(partition)] = max(0, end - position)
        return found

    async def ends(self) -> dict[Partition, int]:
        """The end of every partition of this process, asked of the brokers. Raises KafkaError or TimeoutError."""
        consumer = self.consumer
        if not consumer or not self._owned:
            return {}
        found = await asyncio.wait_for(consumer.end_offsets(list(self._owned)), 5)
        return {self._ours(partition): offset for partition, offset in found.items()}

    # The path

    async def batch(self, records: Sequence[ConsumerRecord]) -> None:
        """Hear these; where that fails, have them read again."""
        given = [self._record(record) for record in records]
        first: dict[TopicPartition, int] = {}
        for record in records:
            partition = TopicPartition(record.topic, record.partition)
            first.setdefault(partition, record.offset)
            self._read[partition] = record.offset + 1
        self._idle.clear()
        try:
            await self._process(given)
        except Exception:
            log.exception("%s could not hear a batch of %d; it is read again", self.service, len(records))
            self._again(first)
            self._idle.set()
            await self._backoff.wait()
        else:
            self._backoff.reset()
        finally:
            self._idle.set()

    def _again(self, first: Mapping[TopicPartition, int]) -> None:
        consumer = self.consumer
        for partition, offset in first.items():
            if consumer and partition in self._owned:
                self._read[partition] = max(offset, self._done.get(partition, offset))
                consumer.seek(partition, self._read[partition])

    def _record(self, record: ConsumerRecord) -> Record:
        return Record(
            self._names[record.topic],
            record.partition,
            record.offset,
            record.timestamp,
            record.key,
            record.value,
            record.headers,
            record.checksum if isinstance(record.checksum, str) else "",
        )

    def _ours(self, partition: TopicPartition) -> Partition:
        return self._names[partition.topic], partition.partition

    async def commit(self) -> None:
        """Commit what is done and not yet committed. A failure is logged: the worst of it is a repeat."""
        consumer = self.consumer
        async with self._committing:
            offsets = {
                partition: offset
                for partition, offset in self._done.items()
                if partition in self._owned and self._committed.get(partition) != offset
            }
            if not offsets or consumer is None:
                return
            try:
                await consumer.commit(offsets)
            except KafkaError as failed:
                log.warning("%s could not commit offsets, which is harmless: %s", self.service, failed)
            else:
                self._committed.update(offsets)

    async def commit_within(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self.commit(), seconds)
        except TimeoutError:
            log.warning("%s could not commit offsets in time, which is harmless", self.service)

    async def commit_forever(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            await asyncio.shield(self.commit())
            await asyncio.sleep(COMMIT_EVERY)

    async def gained(self, partitions: set[TopicPartition]) -> None:
        self.assignment += 1
        self._sizes = {}
        self._joins.append(time.monotonic())
        if self.instance and len(self._joins) == self._joins.maxlen and self._joins[-1] - self._joins[0] < 20:
            self._joins.clear()
            log.error("%s: another process is named %r too; this one goes on without a name", self.service, self.instance)
            self._arguments["group_instance_id"], self._anew = None, True
        self._owned = frozenset(partitions)
        self._begun, self._read, self._done, self._committed = {}, {}, {}, {}
        await self._on_assigned({self._ours(partition) for partition in partitions})
        self._assigned.set()

    async def losing(self, partitions: set[TopicPartition]) -> None:
        try:
            await asyncio.wait_for(self._idle.wait(), PATIENCE)
        except TimeoutError:
            log.warning("%s still hears a batch while its partitions are taken away", self.service)
        await self.commit_within(5)
        self._assigned.clear()
        self._owned = frozenset()
        if partitions:
            await self._on_revoked({self._ours(partition) for partition in partitions})

    async def lost(self) -> None:
        """The consumer is gone: nothing is this process's until the next one has joined."""
        if self._owned:
            await self.losing(set(self._owned))

    def troubled(self, error: BaseException) -> None:
        self.healthy = False
        if (trouble := f"{type(error).__name__}: {error}") != self._trouble:
            log.warning("%s cannot hear from Kafka: %s", self.service, trouble)
            self._trouble = trouble

    def fine(self) -> None:
        if not self.healthy:
            log.info("%s hears from Kafka", self.service)
        self.healthy, self._trouble = True, ""

    async def look_forever(self) -> None:
        """Whether the brokers answer, every second; where fetches come in, that is answer enough."""
        without = 0.0
        while True:
            await asyncio.sleep(PULSE)
            without = 0.0 if self._assigned.is_set() else without + PULSE
            try:
                if self._assigned.is_set() and self.consumer is not None:
                    await self._look(self.consumer)
                    self.fine()
                elif without > SESSION and self.healthy:
                    raise TimeoutError("the group gives no partitions")
            except IllegalStateError:
                continue  # a rebalance came between
            except (KafkaError, TimeoutError) as away:
                self.troubled(away)

    async def _look(self, consumer: AIOKafkaConsumer) -> None:
        owned = self._owned
        for partition in owned:
            if self._read.get(partition) == self._done.get(partition):  # nothing is under way
                self._begun[partition] = await asyncio.wait_for(consumer.position(partition), 3)
        polled = max((consumer.last_poll_timestamp(partition) or 0 for partition in owned), default=0)
        if time.time() * 1000 - polled > 3_000:
            await asyncio.wait_for(consumer.end_offsets([*owned][:1]) if owned else consumer.topics(), 3)
        sizes = {topic: len(consumer.partitions_for_topic(topic) or ()) for topic in self._names}
        if sizes != self._sizes and await self._settled(sizes):
            self._sizes = sizes

    async def _settled(self, sizes: Mapping[str, int]) -> bool:
        """Whether the group is at rest; where a partition has no reader then, the group shares out anew.

        Danger: to a static member that leads its group and comes back, an older client like aiokafka appears to follow,
        and then nobody watches for partitions that are added (KIP-814).
        """
        try:
            state, read = await asyncio.wait_for(group_of(self._connection, self._group), 5)
        except (KafkaError, TimeoutError):
            return False
        if state != "Stable":
            return False
        alone = {TopicPartition(topic, n) for topic, size in sizes.items() for n in range(size)} - read
        consumer = self.consumer
        if alone and consumer is not None:
            if time.monotonic() - self._shared_anew < SHARE_ANEW:
                return False
            self._shared_anew = time.monotonic()
            log.warning("%s: nobody reads %s, the group shares out anew", self.service, sorted(alone))
            consumer._coordinator.request_rejoin()
        return True

    async def _keep_open(self) -> None:
        """Kafka is waited for, and the consumer is opened again where it fails."""
        backoff = Backoff()
        while not self._stopping:
            began = time.monotonic()
            try:
                self.consumer = AIOKafkaConsumer(**self._arguments)
                self.consumer.subscribe(sorted(self._names), listener=_Listener(self))
                await self.consumer.start()
                await self._read_on(self.consumer)
            except Exception as away:
                self.troubled(away)
            await self.lost()
            await self._close()
            if time.monotonic() - began > 60:
                backoff.reset()
            await backoff.wait()

    async def _read_on(self, consumer: AIOKafkaConsumer) -> None:
        """Batch after batch, until this consumer is of no more use."""
        self._anew = False
        while not self._stopping and not self._anew:
            await self._open.wait()
            try:
                found = await consumer.getmany(timeout_ms=1_000, max_records=self._batch)
            except Exception as error:
                self.troubled(error)
                if type(error) is KafkaError or not isinstance(error, KafkaError) or isinstance(error, _TORN):
                    return
                await asyncio.sleep(0.2)  # of one topic or of the moment: the others go on
                continue
            assignment = self.assignment
            await self._open.wait()
            # what waited at the gate while its partitions were given anew is read again
            if found and assignment == self.assignment and not self._stopping:
                await self.batch(list(chain.from_iterable(found.values())))

    async def _close(self) -> None:
        consumer, self.consumer = self.consumer, None
        if consumer is None:
            return
        if self._leave and consumer._coordinator is not None:
            consumer._coordinator._group_instance_id = None  # aiokafka lets no static member leave
        try:  # gathered, for aiokafka may let out the cancellation of a fetch of its own
            [failed] = await asyncio.wait_for(asyncio.gather(consumer.stop(), return_exceptions=True), 10)
        except TimeoutError as late:
            failed = late
        if failed is not None:  # a broker that is away; the session ends by itself
            log.warning("%s closed its consumer without a farewell: %r", self.service, failed)
            await consumer._client.close()


async def group_of(connection: Mapping[str, Any], group: str) -> tuple[str, set[TopicPartition]]:
    """The group's state ("Stable", "Empty", …) and which partitions its members have. Raises KafkaError."""
    admin = AIOKafkaAdminClient(**connection)
    try:
        await admin.start()
        (answer,) = await admin.describe_consumer_groups([group])
    finally:
        await admin.close()
    ((code, _, state, _, _, members, *_),) = answer.groups
    if code:
        raise for_code(code)(group)
    assignments = [ConsumerProtocolMemberAssignment.decode(member[-1]) for member in members if member[-1]]
    return state, {partition for assignment in assignments for partition in assignment.partitions()}


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, feed: Consumer) -> None:
        self._feed = feed

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        await self._feed.losing(revoked)

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        await self._feed.gained(assigned)


# After these aiokafka has moved past records that it did not return: only a new consumer reads them again. A bare
# KafkaError says that one of its tasks has died.
_TORN = (CorruptRecordException, UnsupportedCodecError)
