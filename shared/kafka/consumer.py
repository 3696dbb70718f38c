"""The consumer of a service: it loses nothing, waits for brokers to come back, and no record blocks it.

- Offsets: only those given to `done` are committed, each partition on its own. No commit is made without offsets.
- Eager rebalances: the running `process` ends (or 20 s pass), done offsets are committed, then the partitions are given up.
- read_committed: messages of an aborted transaction are not received. The price: an open transaction holds back the
  messages after it in its partition until it ends, at the latest after the brokers' `transaction.max.timeout.ms`.
- Static membership if the process has a name: a restart within the session (10 s) moves no partition.
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
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import CorruptRecordException, KafkaError, UnsupportedCodecError

from shared.backoff import Backoff
from shared.kafka.connection import client_name, connection, group_name, topic_name
from shared.kafka.groups import UnreadPartitions
from shared.kafka.health import HealthCheck
from shared.kafka.internals import leave_group_on_stop, stop_consumer, survive_any_record
from shared.kafka.offsets import Committer, Offsets
from shared.kafka.record import Record, record_from
from shared.settings import Settings

log = logging.getLogger(__name__)

SESSION = 10.0  # seconds without a heartbeat after which the group reassigns this process's partitions
REBALANCE = 45.0  # seconds that the group waits for its members to join a rebalance
PATIENCE = 20.0  # seconds of REBALANCE that a running `process` gets to end
EVICTIONS, WITHIN = 8, 20.0  # rebalances, seconds: with this many in this time, another process has the same name

Partition = tuple[str, int]


async def _nothing(_: set[Partition]) -> None:
    pass


class Consumer:
    """The consumer of one service in one process. `process` is called with one batch at a time, in order by partition.

    If `process` raises, its batch is read again after a while.
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
        self.service, self.instance = service, instance
        self.client: AIOKafkaConsumer | None = None  # None while none is open
        self._topics = {topic_name(settings, topic): topic for topic in topics}  # by their names at the broker
        self._full_names = {topic: name for name, topic in self._topics.items()}
        self._process, self._on_assigned, self._on_revoked = process, on_assigned, on_revoked
        self._max_records = settings.batch
        self._offsets = Offsets()
        self._committer = Committer(service, self._offsets, lambda: self.client)
        self._unread = UnreadPartitions(connection(settings), group_name(settings, service), service)
        self._idle, self._resumed, self._assigned = (asyncio.Event() for _ in range(3))
        self._idle.set()
        self._resumed.set()
        self._health = HealthCheck(
            service,
            list(self._topics),
            self._offsets,
            self._unread,
            self._assigned,
            lambda: self.client,
            settings.kafka_username,
        )
        self._backoff = Backoff()
        self._rebalances: deque[float] = deque(maxlen=EVICTIONS)  # monotonic seconds
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = self._leaving = self._reopen = False
        self._options = _options(settings, service, instance)

    # What the runtime calls

    async def start(self) -> None:
        """Returns at once, and waits in the background for brokers that do not answer."""
        self._tasks = [asyncio.create_task(task()) for task in (self._run, self._committer.run, self._health.run)]

    async def stop(self, *, leave: bool = False) -> None:
        """Waits for the running `process` and commits. `leave`: leaves for good, so that other members take over at once."""
        self._leaving, self._stopping = leave, True
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), PATIENCE)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._committer.commit_within(5)
        await self._close()

    async def wait_until_assigned(self) -> None:
        """Waits until the group has assigned this process its partitions."""
        await self._assigned.wait()

    def done(self, offsets: Mapping[Partition, int]) -> None:
        """Takes the next offset to read, by (topic, partition): all messages before it are stored.

        Commits it in the background. Ignores a revoked partition: its next owner processes the messages again.
        """
        for (topic, number), offset in offsets.items():
            self._offsets.done(TopicPartition(self._full_names[topic], number), offset)

    def pause(self) -> None:
        """Starts no new batch until `resume`. The process stays in its group."""
        self._resumed.clear()

    def resume(self) -> None:
        self._resumed.set()

    @property
    def healthy(self) -> bool:
        """Whether the brokers answer."""
        return self._health.healthy

    @property
    def trouble(self) -> str:
        """What access rules refuse, or how the brokers failed last; "" if nothing did."""
        return self._health.trouble

    @property
    def owned(self) -> set[Partition]:
        """The partitions that the group has assigned to this process, as (topic, partition)."""
        return self._without_prefix(self._offsets.assigned)

    def lag(self) -> dict[Partition, int]:
        """The number of messages in each partition that are not done, as of the last fetch. Leaves out unknown numbers."""
        if self.client is None:
            return {}
        lag = self._offsets.lag(self.client.highwater)
        return {(self._topics[name], number): messages for (name, number), messages in lag.items()}

    async def ends(self) -> dict[Partition, int]:
        """The end offset of every partition of this process, asked of the brokers. Raises KafkaError or TimeoutError."""
        if not self.client or not self._offsets.assigned:
            return {}
        ends = await asyncio.wait_for(self.client.end_offsets(list(self._offsets.assigned)), 5)
        return {(self._topics[name], number): offset for (name, number), offset in ends.items()}

    def _without_prefix(self, partitions: frozenset[TopicPartition] | set[TopicPartition]) -> set[Partition]:
        return {(self._topics[name], number) for name, number in partitions}

    # Polling

    async def _run(self) -> None:
        """Waits for Kafka, and opens a new client whenever one fails."""
        backoff = Backoff()
        while not self._stopping:
            began = time.monotonic()
            try:
                self.client = AIOKafkaConsumer(**self._options)
                self.client.subscribe(sorted(self._topics), listener=_RebalanceListener(self))
                await self.client.start()
                await self._poll(self.client)
            except Exception as failed:  # KafkaError, OSError, ssl.SSLError, any error of aiokafka's tasks
                self._health.failed(failed)
            if self._offsets.assigned:
                await self.on_partitions_revoked(set(self._offsets.assigned))
            await self._close()
            if time.monotonic() - began > 60:
                backoff.reset()
            await backoff.wait()

    async def _poll(self, client: AIOKafkaConsumer) -> None:
        """Reads batch after batch until this client has to be replaced."""
        self._reopen = False
        while not self._stopping and not self._reopen:
            await self._resumed.wait()
            try:
                polled = await client.getmany(timeout_ms=1_000, max_records=self._max_records)
            except Exception as error:  # KafkaError, any error of aiokafka's tasks
                self._health.failed(error)
                if _is_fatal(error):
                    return
                await asyncio.sleep(0.2)  # it concerns one topic, or this moment: the other topics go on
                continue
            assignments = self._offsets.assignments
            await self._resumed.wait()
            # A batch that was paused while its partitions were reassigned is read again by their owner
            if polled and assignments == self._offsets.assignments and not self._stopping:
                await self._process_batch(list(chain.from_iterable(polled.values())))

    async def _process_batch(self, records: Sequence[ConsumerRecord]) -> None:
        first = self._offsets.read(records)
        self._idle.clear()
        try:
            await self._process([record_from(record, self._topics[record.topic]) for record in records])
        except Exception:  # whatever a service's code raises
            log.exception("%s could not process a batch of %d messages; it is read again", self.service, len(records))
            self._seek_back(first)
            self._idle.set()
            await self._backoff.wait()
        else:
            self._backoff.reset()
        finally:
            self._idle.set()

    def _seek_back(self, first: Mapping[TopicPartition, int]) -> None:
        if self.client is not None:
            for partition, offset in self._offsets.rewind(first).items():
                self.client.seek(partition, offset)

    async def _close(self) -> None:
        client, self.client = self.client, None
        if client is None:
            return
        if self._leaving:
            leave_group_on_stop(client)
        failed = await stop_consumer(client, 10)
        if failed is not None:  # the brokers do not answer; the session ends by itself
            log.warning("%s closed its consumer without leaving the group: %r", self.service, failed)

    # Rebalances

    async def on_partitions_assigned(self, partitions: set[TopicPartition]) -> None:
        self._offsets.assign(partitions)
        self._unread.reset()
        self._give_up_a_name_in_use()
        await self._on_assigned(self._without_prefix(partitions))
        self._assigned.set()

    async def on_partitions_revoked(self, partitions: set[TopicPartition]) -> None:
        try:
            await asyncio.wait_for(self._idle.wait(), PATIENCE)
        except TimeoutError:
            log.warning("%s still processes a batch while its partitions are revoked", self.service)
        await self._committer.commit_within(5)
        self._assigned.clear()
        self._offsets.revoke()
        if partitions:
            await self._on_revoked(self._without_prefix(partitions))

    def _give_up_a_name_in_use(self) -> None:
        """Danger: two processes with one `group.instance.id` evict each other for ever. The one that notices drops its name."""
        self._rebalances.append(time.monotonic())
        if not self.instance or len(self._rebalances) < EVICTIONS or self._rebalances[-1] - self._rebalances[0] >= WITHIN:
            return
        self._rebalances.clear()
        log.error("%s: another process is named %r too; this one goes on without a name", self.service, self.instance)
        self._options["group_instance_id"], self._reopen = None, True


class _RebalanceListener(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        await self._consumer.on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        await self._consumer.on_partitions_assigned(assigned)


def _is_fatal(error: Exception) -> bool:
    """Whether the client must be replaced. After a corrupt record or unknown codec, aiokafka has skipped records."""
    return (
        not isinstance(error, KafkaError)
        or type(error) is KafkaError  # says that one of aiokafka's tasks has ended
        or isinstance(error, (CorruptRecordException, UnsupportedCodecError))
    )


def _options(settings: Settings, service: str, instance: str) -> dict[str, Any]:
    return {
        **connection(settings),
        "client_id": client_name(settings, service, instance),
        "group_id": group_name(settings, service),
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
