"""Assembles one service: consumer, loop, performer, wake-ups, outbox and producer; starts and stops them."""

import asyncio
import socket
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from hansard.policy import canonical_json
from hansard.service import Service
from shared.backoff import until_available
from shared.content import open_contents
from shared.eventstore.model import StoreUnavailable
from shared.eventstore.ports import EventStore, PolicyStore
from shared.kafka.consumer import Consumer
from shared.kafka.ephemeral import EphemeralProducer
from shared.kafka.producer import Producer
from shared.runtime.crash_guard import CrashGuard
from shared.runtime.heartbeat import keep_heartbeat
from shared.runtime.inbound import InboundParser, Intake
from shared.runtime.loop import Loop
from shared.runtime.outbox import Outbox
from shared.runtime.performer import AttemptRunner
from shared.runtime.performer_context import RuntimePerformerContext
from shared.runtime.processor import Processor
from shared.runtime.republishing import publish_again
from shared.runtime.tail_watch import TailWatch
from shared.runtime.wake_ups import WakeUps
from shared.settings import UNPROVEN, Settings
from shared.task_tokens import NO_TOKENS, TaskTokens, gives_tasks_outside
from shared.tasks import end
from shared.telemetry import metrics
from shared.telemetry.logs import log
from shared.telemetry.traces import record_span

MARK_EVERY = 2.0  # seconds; how often streams without a new append are marked as published
PUBLISH_EVERY, PUBLISH_AGE = 1.0, 5.0  # seconds; a message this old that no broker has acknowledged is published again
MEASURE_EVERY = 5.0
MAX_READER_LAG = 60.0  # seconds since the oldest transaction began; a longer one is a warning
MAX_CLOCK_OFFSET = 2.0  # seconds between this machine's clock and the store's; a larger offset is a warning


@dataclass
class ServiceRunner:
    """Runs one service until it is stopped."""

    service: Service[Any]
    settings: Settings
    store: EventStore
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _reader_lag: float = 0.0
    _is_noted: bool = False  # whether the store was told that this process runs

    async def start(self) -> None:
        name, settings, store = self.service.name, self.settings, self.store
        if (prepare := self.service.prepare) is not None:
            self.service = await until_available(lambda: prepare(store))
        await until_available(lambda: store_policy(store, self.service))
        is_only, self._is_noted = bool(settings.instance_id), True
        unclean = await until_available(lambda: store.process_started(name, self._instance, settings.process, is_only))
        tokens = await self._task_tokens()
        self.producer = Producer(settings, failed=lambda: self.outbox.failed(), tokens=tokens)
        self.tail_watch = TailWatch(settings, store, name, lambda lost: publish_again(settings, lost, tokens))
        await self.tail_watch.wait_until_compared()
        self.outbox = Outbox(store, name, self.producer)
        self.contents = open_contents(settings.content, store.contents, settings.content_postgres_bytes)
        processor = Processor(self.service, settings.topics, settings.max_message_bytes, record_span)
        self.loop = Loop(
            processor,
            store,
            self.outbox,
            contents=self.contents,
            process_id=settings.process,
            cache_streams=settings.cache_streams,
        )
        self.attempt_runner = self.loop.attempt_runner = await self._open_performer()
        crash_guard = self.loop.crash_guard = CrashGuard(store, name, settings.batch) if unclean else None
        parser = InboundParser(self.service, settings.topics, settings.max_request_bytes, tokens)
        intake = Intake(
            parser, self.loop.process, lambda offsets: self.consumer.done(offsets), crash_guard, settings.crash_attempts
        )
        topics = [topic.name for topic in settings.topics.consumed_by(name)]
        self.consumer = Consumer(
            settings,
            name,
            topics,
            process=intake.receive,
            instance=settings.instance_id,
            on_assigned=self._rebalanced,
            on_revoked=self._rebalanced,
        )
        await self.producer.start()
        await self.consumer.start()
        self._start_task(self.tail_watch.keep_comparing())
        self._start_task(self.outbox.keep_marking(MARK_EVERY))
        self._start_task(self.outbox.keep_publishing(PUBLISH_EVERY, PUBLISH_AGE))
        if processor.uses_wake_ups:
            self._start_task(WakeUps(name, store, self.loop, settings.lease_seconds, self.attempt_runner).run())
        if self.attempt_runner is not None:
            self._start_task(keep_heartbeat(store, name, settings.process, settings.lease_seconds))
        self._start_task(self._measure())
        tell_unproven(settings, name)
        log.info("service started", service=name, instance=self._instance, topics=topics, after_unclean_end=unclean)

    async def stop(self, seconds: float) -> None:
        """Takes no new batch, waits `seconds` for attempts and again for acknowledgements, then notes the clean end."""
        if self._tasks:  # if there are none, its start was cancelled
            await self._drain(seconds)
        await self._stack.aclose()
        try:
            if self._is_noted:
                await self.store.process_ended(self.service.name, self.settings.process)
        except StoreUnavailable:
            log.warning("the clean end was not noted: the event store is unavailable", service=self.service.name)
        log.info("service stopped", service=self.service.name)

    async def _drain(self, seconds: float) -> None:
        await self.consumer.stop()
        if self.attempt_runner is not None:
            await self.attempt_runner.drain(seconds)
        await end(self._tasks)
        await self.producer.stop(seconds)
        await self.outbox.mark_acknowledged()

    @property
    def name(self) -> str:
        return self.service.name

    @property
    def alive(self) -> bool:
        """Whether all of its tasks still run."""
        return all(not task.done() for task in self._tasks)

    @property
    def health(self) -> dict[str, str]:
        """The reason why a part waits, by part; empty if it works."""
        if not self._tasks:
            watch = getattr(self, "tail_watch", None)
            return {"startup": (watch and watch.trouble) or "not finished"}
        return {
            "event_store": self.loop.trouble,
            "consumer": "" if self.consumer.healthy else f"Kafka is unavailable: {self.consumer.trouble or 'no answer yet'}",
            "producer": "" if self.producer.healthy else "Kafka is unavailable",
        }

    @property
    def warnings(self) -> dict[str, str]:
        """Problems that keep no part from working."""
        if not self._tasks:
            return {}
        found, ahead, lag = (
            {"identities": UNPROVEN} if self.settings.unproven_identities else {},
            self.store.ahead,
            self._reader_lag,
        )
        if abs(ahead) > MAX_CLOCK_OFFSET:
            off = f"this machine's clock is {abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} the event store's"
            found["clock"] = f"{off}; only the event store's counts"
        if lag > MAX_READER_LAG:
            found["readers"] = f"a transaction has run for {lag:.0f} s in Postgres: audits and read models stop before it"
        if set_aside := self.loop.set_aside:
            found["streams"] = f"{len(set_aside)} set aside, whose history this version cannot fold: {next(iter(set_aside))}, …"
        return found

    @property
    def _instance(self) -> str:
        """The name under which a clean end is noted: if possible, the same after a restart."""
        return self.settings.instance_id or socket.gethostname()

    async def _task_tokens(self) -> TaskTokens:
        workers = frozenset(self.settings.outside_workers if gives_tasks_outside(self.name) else ())
        return TaskTokens(await until_available(self.store.task_key), workers) if workers else NO_TOKENS

    async def _open_performer(self) -> AttemptRunner | None:
        performer = self.service.performer
        if performer is None:
            return None
        ephemeral = await self._stack.enter_async_context(EphemeralProducer(self.settings))
        store = self.store
        context = RuntimePerformerContext(
            self.loop,
            store,
            self.settings.topics,
            ephemeral,
            store,
            self.contents,
            recent=store,
            api_keys=store.api_keys,
            decisions=store,
        )
        perform = await self._stack.enter_async_context(performer.open(context))
        return AttemptRunner(perform, performer.limit, self.loop.process, self.contents)

    async def _rebalanced(self, partitions: set[tuple[str, int]]) -> None:
        self.loop.drop_cache()

    async def _measure(self) -> None:
        while True:
            lag_by_topic: dict[str, int] = {}
            for (topic, _), lag in self.consumer.lag().items():
                lag_by_topic[topic] = lag_by_topic.get(topic, 0) + lag
            for topic, lag in lag_by_topic.items():
                metrics.consumer_lag.labels(self.name, topic).set(lag)
            try:
                metrics.clock_ahead.set(self.store.ahead)
                metrics.outbox_age.labels(self.name).set(await self.store.outbox_age(self.name))
                self._reader_lag = await self.store.reader_lag()
                metrics.reader_lag.set(self._reader_lag)
            except StoreUnavailable as unavailable:
                log.debug("nothing was measured: the event store is unavailable", trouble=str(unavailable))
            await asyncio.sleep(MEASURE_EVERY)

    def _start_task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        task.add_done_callback(self._task_ended)
        self._tasks.append(task)

    def _task_ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and task.exception() is not None:
            log.error("a task of the service failed", service=self.service.name, exc_info=task.exception())


def tell_unproven(settings: Settings, service: str) -> None:
    """Warns where nobody proves who they are."""
    if settings.unproven_identities:
        log.warning(UNPROVEN, service=service, environment=settings.environment)


async def store_policy(store: PolicyStore, service: Service[Any]) -> None:
    """Stores the policy's data, before an inbox entry names its version."""
    if service.stored_policy is not None:
        await store.store_policy(service.name, service.decider.policy, canonical_json(service.stored_policy.data))
