"""What services say: a producer that keeps the order of every stream on every topic, through failures too.

One batch of each partition is on its way at a time. The next is handed over when the one before is acknowledged, so after
a failed send nothing later of that stream goes out before it. On a failure all that is unacknowledged is dropped, the
producer is replaced (its sequence numbers are of no more use) and the caller is told to say it again from the record.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from hansard.envelope import attribute_headers
from shared.backoff import Backoff
from shared.eventstore.model import StoredMessage, Stream
from shared.kafka.connection import client_name, connection, partition_of, topic_name
from shared.settings import Settings

log = logging.getLogger(__name__)

IN_FLIGHT = 20_000  # messages not yet acknowledged, before `say` waits
IN_FLIGHT_BYTES = 64 << 20
BATCH_BYTES = 256 << 10  # of one partition; a larger message goes alone
STALL = 5.0  # seconds without an acknowledgement after which Kafka counts as away
SETTLE = 1.0  # seconds that other batches get to be answered when one has failed
REFUSED = 30.0  # seconds that a stream is left alone when the brokers find its next message too large
PULSE = 0.5
RECOUNT = 10.0  # seconds between two looks at how many partitions topics have

Key = tuple[Stream, int]


class _Lane:
    """One partition: what waits, and the one batch that is on its way."""

    __slots__ = ("flight", "partition", "queue", "since", "topic")

    def __init__(self, topic: str, partition: int) -> None:
        self.topic, self.partition = topic, partition
        self.queue: deque[StoredMessage] = deque()
        self.flight: list[StoredMessage] = []
        self.since = 0.0


class Producer:
    """Publishes what is on the record. `say` is safe to call again with what is on its way already: that is left out.

    `failed` is called, from the event loop, whenever something that was said may never go out: read the outbox and say it
    again. While not `healthy`, `say` takes nothing.
    """

    def __init__(self, settings: Settings, *, failed: Callable[[], None], instance: str = "") -> None:
        self.healthy = False
        self._settings, self._failed = settings, failed
        self._arguments = {
            **connection(settings),
            "client_id": client_name(settings, "producer", instance),
            "acks": "all",
            "enable_idempotence": True,
            "linger_ms": 0,
        }
        self._batch_bytes = BATCH_BYTES
        self._refused: dict[Stream, float] = {}  # until when
        self._producer: AIOKafkaProducer | None = None
        self._epoch = 0  # counts the failures: what was begun before one is of no account after it
        self._lanes: dict[tuple[str, int], _Lane] = {}
        self._ready: deque[_Lane] = deque()
        self._partitions: dict[str, int] = {}
        self._unknown: dict[str, list[StoredMessage]] = {}  # by topic, until its partitions are known
        self._held: set[Key] = set()
        self._bytes = 0
        self._acknowledged: dict[Key, None] = {}
        self._turn = asyncio.Lock()
        self._changed, self._wake, self._broken = (asyncio.Event() for _ in range(3))
        self._tasks: set[asyncio.Task[None]] = set()

    # What the runtime does

    async def start(self) -> None:
        """Returns at once; a broker that is away is waited for beside the path."""
        self._begin(self._keep_open())
        self._begin(self._pump())

    async def stop(self, timeout: float = 10.0) -> None:
        """Waits so many seconds for what is on its way, then leaves."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._silence(), timeout)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._drop()
        producer, self._producer = self._producer, None
        if producer is not None:
            await _end(producer)

    async def publish(self, stored: Sequence[StoredMessage]) -> None:
        """Hands these over, in order; waits for no acknowledgement, only for room."""
        epoch = self._epoch
        async with self._turn:
            while self.healthy and epoch == self._epoch and self._full():
                self._changed.clear()
                await self._changed.wait()
            if not self.healthy or epoch != self._epoch:
                return  # said before a failure: its predecessors may be lost, so it must not go first
            for one in stored:
                key = (one.stream, one.version)
                if key not in self._held and key not in self._acknowledged and one.stream not in self._refused:
                    self._held.add(key)
                    self._bytes += len(one.data)
                    self._queue(one)
            await self._send_ready()

    def take_acknowledged(self) -> list[Key]:
        """What the brokers acknowledged since this was last called."""
        taken, self._acknowledged = list(self._acknowledged), {}
        return taken

    @property
    def in_flight(self) -> int:
        """Messages handed over and not yet acknowledged."""
        return len(self._held)

    # The way out

    def _full(self) -> bool:
        return len(self._held) >= IN_FLIGHT or self._bytes >= IN_FLIGHT_BYTES

    def _queue(self, one: StoredMessage) -> None:
        partitions = self._partitions.get(one.topic)
        if partitions is None:
            waiting = self._unknown.setdefault(one.topic, [])
            if not waiting:
                self._begin(self._learn(one.topic, self._epoch))
            waiting.append(one)
            return
        place = one.topic, partition_of(one.stream.workflow, partitions)
        lane = self._lanes.get(place)
        if lane is None:
            lane = self._lanes[place] = _Lane(topic_name(self._settings, one.topic), place[1])
        if not lane.queue and not lane.flight:
            self._ready.append(lane)
        lane.queue.append(one)

    async def _learn(self, topic: str, epoch: int) -> None:
        try:
            assert self._producer is not None
            found = await self._producer.partitions_for(topic_name(self._settings, topic))
        except Exception as unknown:
            self._fail(unknown, f"topic {topic} is not to be found", epoch)
            return
        if epoch == self._epoch:
            self._partitions[topic] = len(found)
            for one in self._unknown.pop(topic, ()):
                self._queue(one)
            self._wake.set()

    async def _pump(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._send_ready()

    async def _send_ready(self) -> None:
        while self._ready and not self._broken.is_set():
            await self._send(self._ready.popleft())

    async def _send(self, lane: _Lane) -> None:
        producer, queue, flight, epoch = self._producer, lane.queue, lane.flight, self._epoch
        assert producer is not None
        batch = producer.create_batch()
        while queue:
            one = queue[0]
            if not batch.append(timestamp=None, key=one.stream.workflow.encode(), value=one.data, headers=headers(one)):
                break
            flight.append(queue.popleft())
        lane.since = time.monotonic()
        try:
            answer = await producer.send_batch(batch, lane.topic, partition=lane.partition)
        except Exception as failed:
            self._fail(failed, _which(flight), epoch)
        else:
            answer.add_done_callback(partial(self._answered, lane, epoch))

    def _answered(self, lane: _Lane, epoch: int, answer: "asyncio.Future[Any]") -> None:
        if answer.cancelled():
            return
        error = answer.exception()
        if epoch != self._epoch:
            return
        if error is not None:
            if isinstance(error, MessageSizeTooLargeError):
                self._too_large(lane.flight)
            self._fail(error, _which(lane.flight), epoch)
            lane.flight = []
            self._changed.set()
            return
        for one in lane.flight:
            key = (one.stream, one.version)
            self._held.discard(key)
            self._acknowledged[key] = None
            self._bytes -= len(one.data)
        lane.flight = []
        self._changed.set()
        if lane.queue:
            self._ready.append(lane)
            self._wake.set()

    # Failures

    def _fail(self, error: BaseException, what: str, epoch: int) -> None:
        if epoch == self._epoch and not self._broken.is_set():
            log.warning("a send failed, what is unacknowledged is said again: %s (%s)", repr(error), what)
            self.healthy = False
            self._broken.set()
            self._changed.set()

    def _too_large(self, flight: Sequence[StoredMessage]) -> None:
        """The topic takes less than it should: smaller batches, and at last the one message is found and stands aside."""
        if len(flight) > 1:
            self._batch_bytes = max(1, self._batch_bytes // 8)
        else:
            self._refused[flight[0].stream] = time.monotonic() + REFUSED
            log.error("too large for topic %s, its stream waits: %s", flight[0].topic, _which(flight))

    def _drop(self) -> None:
        self._epoch += 1
        self._lanes, self._unknown, self._held, self._bytes = {}, {}, set(), 0
        self._partitions = {}
        self._ready.clear()
        self._changed.set()

    async def _keep_open(self) -> None:
        backoff = Backoff()
        while True:
            began = time.monotonic()
            producer = AIOKafkaProducer(**self._arguments, max_batch_size=self._batch_bytes)
            try:
                await asyncio.wait_for(producer.start(), 30)
            except (KafkaError, OSError, TimeoutError) as away:
                log.warning("cannot speak to Kafka: %r", away)
                await _end(producer)
            else:
                self._producer = producer
                self.healthy = True
                log.info("speaks to Kafka")
                if not self._epoch:
                    self._failed()  # what was said before there was a producer was not taken
                await self._watch()
                await self._settle()
                self._producer = None
                self._drop()
                self._failed()
                await _end(producer)
                self._broken.clear()
                if time.monotonic() - began > 60:
                    backoff.reset()
            await backoff.wait()

    async def _watch(self) -> None:
        """Until a send fails. A broker that is only silent is no failure: aiokafka tries again, in order."""
        counted = time.monotonic()
        while not self._broken.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._broken.wait(), PULSE)
            if time.monotonic() - counted > RECOUNT:
                counted = time.monotonic()
                await self._recount()
            late = time.monotonic() - STALL
            if over := [stream for stream, until in self._refused.items() if until < late + STALL]:
                for stream in over:
                    del self._refused[stream]
                self._failed()
            stalled = any(lane.flight and lane.since < late for lane in self._lanes.values())
            if self._broken.is_set() or stalled is not self.healthy:
                continue
            self.healthy = not stalled
            log.warning("Kafka does not answer" if stalled else "Kafka answers again")
            self._changed.set()
            if not stalled:
                self._failed()  # nothing was lost, but meanwhile nothing was taken

    async def _recount(self) -> None:
        """Where a topic has more partitions than it had, all begins anew: so nothing overtakes what lies on the old ones."""
        assert self._producer is not None
        for topic, known in list(self._partitions.items()):
            with suppress(KafkaError):
                found = await self._producer.partitions_for(topic_name(self._settings, topic))
                if len(found) != known:
                    self._fail(KafkaError(f"it has {len(found)} partitions, and had {known}"), f"topic {topic}", self._epoch)
                    return

    async def _settle(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._silence(), SETTLE)

    async def _silence(self) -> None:
        """Until nothing is on its way that could still be answered."""
        while any(lane.flight for lane in self._lanes.values()) or (self._held and self.healthy):
            self._changed.clear()
            await self._changed.wait()

    def _begin(self, pending: Any) -> None:
        task = asyncio.create_task(pending)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _which(flight: Sequence[StoredMessage]) -> str:
    return f"{len(flight)} from {flight[0].stream} {flight[0].version} {flight[0].kind}" if flight else "none"


async def _end(producer: AIOKafkaProducer) -> None:
    """Ends a producer whatever state it is in. aiokafka's `stop` waits for ever for what it cannot deliver."""
    producer._message_accumulator.fail_all(KafkaError("the producer was replaced"))
    with suppress(Exception):
        await asyncio.wait_for(producer._sender.close(), 5)
    with suppress(Exception):
        await asyncio.wait_for(producer.stop(), 5)
    await producer.client.close()


def headers(stored: StoredMessage) -> list[tuple[str, bytes]]:
    stream = stored.stream
    return attribute_headers(
        id=str(stored.id),
        source=f"/hansard/{stream.service}",
        type=stored.kind,
        correlation_id=stream.workflow,
        tenant=stream.tenant,
        subject=stream.name,
        time=stored.at,
        causation_id=str(stored.causation_id),
        traceparent=stored.traceparent,
        sequence=stored.version,
        datahash=stored.hash.hex(),
    )
