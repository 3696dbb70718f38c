"""The producer of services: it keeps the order of every stream on every topic, also when sends fail.

One batch of each partition is in flight at a time. The next is sent when the one before is acknowledged, so after a failed
send no later message of that stream goes out before it. On a failure all unacknowledged messages are dropped, aiokafka's
producer is replaced (its sequence numbers are of no more use) and `failed` is called, to publish again from the event store.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from hansard.envelope import attribute_headers
from hansard.identity import source_of
from hansard.refusals import not_allowed
from shared.backoff import Backoff
from shared.eventstore.model import StoredMessage, Stream
from shared.kafka.connection import client_name, connection, topic_name
from shared.kafka.internals import abandon_producer
from shared.kafka.queues import Key, PartitionQueue, Queues
from shared.settings import Settings
from shared.task_tokens import NO_TOKENS, TaskTokens
from shared.tasks import end, within

log = logging.getLogger(__name__)

IN_FLIGHT = 20_000  # messages not yet acknowledged, before `publish` waits
IN_FLIGHT_BYTES = 64 << 20
BATCH_BYTES = 256 << 10  # of one partition; a larger message goes alone
STALLED = 5.0  # seconds without an acknowledgement after which Kafka counts as unavailable
DRAIN = 1.0  # seconds that the other batches get to be acknowledged when one has failed
REFUSED = 30.0  # seconds that a stream waits when the brokers find its next message too large
CHECK_EVERY = 0.5  # seconds between two looks at whether the brokers acknowledge
CHECK_PARTITIONS_EVERY = 10.0  # seconds between two looks at how many partitions topics have


class Producer:
    """Publishes stored messages. `publish` may be called again with a message that is in flight already: it is left out.

    `failed` is called, from the event loop, whenever a message that was handed over may never go out: read the outbox and
    publish it again. While not `healthy`, `publish` accepts nothing.
    """

    def __init__(
        self, settings: Settings, *, failed: Callable[[], None], instance: str = "", tokens: TaskTokens = NO_TOKENS
    ) -> None:
        self.healthy = False
        self._tokens = tokens
        self._settings, self._failed = settings, failed
        self._options = {
            **connection(settings),
            "client_id": client_name(settings, "producer", instance),
            "acks": "all",
            "enable_idempotence": True,
            "linger_ms": 0,
        }
        self._batch_bytes = BATCH_BYTES
        self._refused: dict[Stream, float] = {}  # until when, monotonic
        self._client: AIOKafkaProducer | None = None  # None while none is open
        self._epoch = 0  # counts the failures: sends that began before one are ignored after it
        self._queues = Queues()
        self._lock = asyncio.Lock()  # held by the one `publish` that queues, so that order is kept
        self._changed, self._sendable, self._broken = (asyncio.Event() for _ in range(3))
        self._tasks: set[asyncio.Task[None]] = set()

    # What the runtime calls

    async def start(self) -> None:
        """Returns at once, and waits in the background for brokers that do not answer."""
        self._create_task(self._run())
        self._create_task(self._send_forever())

    async def stop(self, timeout: float = 10.0) -> None:
        """Waits `timeout` seconds for the messages in flight, then closes."""
        with suppress(TimeoutError):
            await within(timeout, self._drained())
        await end(self._tasks)
        self._forget_all()
        client, self._client = self._client, None
        if client is not None:
            await abandon_producer(client)

    async def publish(self, stored: Sequence[StoredMessage]) -> None:
        """Queues these messages in order. Waits for no acknowledgement, only for room in the queue."""
        epoch = self._epoch
        async with self._lock:
            while self.healthy and epoch == self._epoch and self._is_full():
                self._changed.clear()
                await self._changed.wait()
            if not self.healthy or epoch != self._epoch:
                # A send failed meanwhile, or Kafka is silent. Earlier messages may be lost, so these must wait for the outbox
                return
            for message in stored:
                if not self._queues.knows(message) and message.stream not in self._refused and self._queues.add(message):
                    self._create_task(self._look_up_partitions(message.topic, epoch))
            await self._send_ready()

    def take_acknowledged(self) -> list[Key]:
        """The messages that the brokers acknowledged since the last call."""
        return self._queues.take_acknowledged()

    @property
    def in_flight(self) -> int:
        """The number of messages handed over and not yet acknowledged."""
        return len(self._queues.unacknowledged)

    def _is_full(self) -> bool:
        return self.in_flight >= IN_FLIGHT or self._queues.bytes >= IN_FLIGHT_BYTES

    # Sending

    async def _look_up_partitions(self, topic: str, epoch: int) -> None:
        try:
            assert self._client is not None
            found = await self._client.partitions_for(topic_name(self._settings, topic))
        except Exception as unknown:  # KafkaError, AssertionError of a client that is gone: both are a failure
            self._fail(unknown, f"topic {topic} cannot be found", epoch)
            return
        if epoch == self._epoch:
            self._queues.found_partitions(topic, len(found))
            self._sendable.set()

    async def _send_forever(self) -> None:
        while True:
            await self._sendable.wait()
            self._sendable.clear()
            await self._send_ready()

    async def _send_ready(self) -> None:
        while self._queues.ready and not self._broken.is_set():
            await self._send(self._queues.ready.popleft())

    async def _send(self, queue: PartitionQueue) -> None:
        client, waiting, in_flight, epoch = self._client, queue.waiting, queue.in_flight, self._epoch
        assert client is not None
        batch = client.create_batch()
        while waiting:
            message = waiting[0]
            key = message.stream.workflow.encode()
            if not batch.append(timestamp=None, key=key, value=message.data, headers=headers(message, self._tokens)):
                break
            in_flight.append(waiting.popleft())
        queue.sent_at = time.monotonic()
        try:
            name = topic_name(self._settings, queue.topic)
            acknowledgement = await client.send_batch(batch, name, partition=queue.partition)
        except Exception as failed:  # KafkaError, any error of aiokafka's tasks: all are a failure
            self._fail(failed, _describe(in_flight), epoch)
        else:
            acknowledgement.add_done_callback(partial(self._acknowledged, queue, epoch))

    def _acknowledged(self, queue: PartitionQueue, epoch: int, acknowledgement: "asyncio.Future[Any]") -> None:
        if acknowledgement.cancelled():
            return
        error = acknowledgement.exception()
        if epoch != self._epoch:
            return
        if error is not None:
            if isinstance(error, MessageSizeTooLargeError):
                self._too_large(queue.in_flight)
            self._fail(error, _describe(queue.in_flight), epoch)
            queue.in_flight = []
        else:
            self._queues.acknowledge(queue)
            if queue.waiting:
                self._sendable.set()
        self._changed.set()

    # Failures

    def _fail(self, error: BaseException, what: str, epoch: int) -> None:
        if epoch == self._epoch and not self._broken.is_set():
            why = not_allowed(error, self._settings.kafka_username) or repr(error)
            log.warning("a send failed, unacknowledged messages are published again: %s (%s)", why, what)
            self.healthy = False
            self._broken.set()
            self._changed.set()

    def _too_large(self, in_flight: Sequence[StoredMessage]) -> None:
        """The topic's limit is lower: makes batches smaller until the one large message is found; then its stream waits."""
        if len(in_flight) > 1:
            self._batch_bytes = max(1, self._batch_bytes // 8)
        else:
            self._refused[in_flight[0].stream] = time.monotonic() + REFUSED
            log.error("too large for topic %s, its stream waits: %s", in_flight[0].topic, _describe(in_flight))

    def _forget_all(self) -> None:
        self._epoch += 1
        self._queues.clear()
        self._changed.set()

    async def _run(self) -> None:
        """Waits for Kafka, and opens a new client after each failure."""
        backoff = Backoff()
        while True:
            began = time.monotonic()
            client = AIOKafkaProducer(**self._options, max_batch_size=self._batch_bytes)
            try:
                await within(30, client.start())
            except (KafkaError, OSError, TimeoutError) as failed:
                log.warning("cannot produce to Kafka: %r", failed)
                await abandon_producer(client)
            else:
                await self._use(client)
                if time.monotonic() - began > 60:
                    backoff.reset()
            await backoff.wait()

    async def _use(self, client: AIOKafkaProducer) -> None:
        """Uses this client until a send fails."""
        self._client = client
        self.healthy = True
        log.info("produces to Kafka")
        if not self._epoch:
            self._failed()  # `publish` accepted nothing before there was a client
        await self._watch()
        with suppress(TimeoutError):
            await within(DRAIN, self._drained())
        self._client = None
        self._forget_all()
        self._failed()
        await abandon_producer(client)
        self._broken.clear()

    async def _watch(self) -> None:
        """Watches it until a send fails. A broker that only is silent is no failure: aiokafka tries again, in order."""
        checked = time.monotonic()
        while not self._broken.is_set():
            with suppress(TimeoutError):
                await within(CHECK_EVERY, self._broken.wait())
            if time.monotonic() - checked > CHECK_PARTITIONS_EVERY:
                checked = time.monotonic()
                await self._check_partitions()
            self._retry_refused()
            stalled = self._queues.are_late(time.monotonic() - STALLED)
            if self._broken.is_set() or stalled is not self.healthy:
                continue
            self.healthy = not stalled
            log.warning("Kafka does not answer" if stalled else "Kafka answers again")
            self._changed.set()
            if not stalled:
                # Nothing was lost, but `publish` accepted nothing while Kafka was silent: publish the outbox again
                self._failed()

    def _retry_refused(self) -> None:
        if over := [stream for stream, until in self._refused.items() if until < time.monotonic()]:
            for stream in over:
                del self._refused[stream]
            self._failed()

    async def _check_partitions(self) -> None:
        """Fails if a topic has got more partitions: so no message overtakes those that were sent to its old ones."""
        assert self._client is not None
        for topic, known in list(self._queues.partitions.items()):
            with suppress(KafkaError):
                found = await self._client.partitions_for(topic_name(self._settings, topic))
                if len(found) != known:
                    self._fail(KafkaError(f"it has {len(found)} partitions, and had {known}"), f"topic {topic}", self._epoch)
                    return

    async def _drained(self) -> None:
        """Waits until nothing is in flight that could still be acknowledged."""
        while self._queues.are_in_flight or (self.in_flight and self.healthy):
            self._changed.clear()
            await self._changed.wait()

    def _create_task(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _describe(messages: Sequence[StoredMessage]) -> str:
    if not messages:
        return "none"
    return f"{len(messages)} from {messages[0].stream} {messages[0].version} {messages[0].kind}"


def headers(stored: StoredMessage, tokens: TaskTokens = NO_TOKENS) -> list[tuple[str, bytes]]:
    stream = stored.stream
    return attribute_headers(
        id=str(stored.id),
        source=source_of(stream.service),
        type=stored.kind,
        correlation_id=stream.workflow,
        tenant=stream.tenant,
        subject=stream.name,
        time=stored.at,
        causation_id=str(stored.causation_id),
        traceparent=stored.traceparent,
        sequence=stored.version,
        datahash=stored.hash.hex(),
        tasktoken=tokens.for_message(stored) if tokens.workers else "",
    )
