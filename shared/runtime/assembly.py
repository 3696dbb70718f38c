"""One service in this process: its feed, its loop, its hands, its waker, its outbox."""

import asyncio
import socket
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from shared.backoff import Backoff
from shared.eventstore.model import StoreUnavailable
from shared.eventstore.ports import EventStore
from shared.kafka.consumer import Consumer
from shared.kafka.ephemeral import EphemeralProducer
from shared.kafka.producer import Producer
from shared.kafka.record import Record
from shared.policy import canonical
from shared.runtime.crash_guard import CrashGuard
from shared.runtime.inbound import DeadCause, Inbound, InboundParser
from shared.runtime.loop import Loop
from shared.runtime.outbox import Outbox
from shared.runtime.performer import AttemptRunner, keep_heartbeat
from shared.runtime.performer_context import PerformerContext
from shared.runtime.processor import Processor, as_dead
from shared.runtime.wake_ups import WakeUps
from shared.service import Service
from shared.settings import Settings
from shared.telemetry import metrics
from shared.telemetry.logs import log
from shared.telemetry.traces import hop

CLEAR_EVERY = 2.0  # seconds; an append notes the marks of its streams, this is for the rest
SWEEP_EVERY, SWEEP_AGE = 1.0, 5.0
MEASURE_EVERY = 5.0
CLOCK_OFF = 2.0  # seconds by which a clock may be off before that is said


@dataclass
class ServiceRunner:
    """Runs one service until it is stopped. `health` says what it waits for, part by part."""

    service: Service[Any]
    settings: Settings
    store: EventStore
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def start(self) -> None:
        name, settings, store = self.service.name, self.settings, self.store
        if (informed := self.service.informed) is not None:
            self.service = await patiently(lambda: informed(store), "the event store")
        await patiently(lambda: keep_policy(store, self.service), "the event store")
        alone = bool(settings.member)
        unclean = await patiently(
            lambda: store.process_started(name, self._instance, self.settings.process, alone), "the event store"
        )
        self.crash_guard = (
            CrashGuard(store, name, settings.batch, settings.crash_attempts) if unclean else CrashGuard.none(store, name)
        )
        self.parser = InboundParser(self.service, settings.topics, settings.max_request_bytes)
        self.producer = Producer(settings, failed=lambda: self.outbox.failed())
        self.outbox = Outbox(store, name, self.producer)
        processor = Processor(self.service, settings.topics, settings.max_message_bytes, hop)
        self.loop = Loop(processor, store, self.outbox, holder=self.settings.process, keep=settings.cache_streams)
        self.attempts = await self._hands()
        self.loop.attempts = self.attempts
        topics = [topic.name for topic in settings.topics.consumed_by(name)]
        self.consumer = Consumer(
            settings,
            name,
            topics,
            process=self._process,
            instance=self.settings.member,
            on_assigned=self._rebalanced,
            on_revoked=self._rebalanced,
        )
        await self.producer.start()
        await self.consumer.start()
        self._begin(self.outbox.keep_clearing(CLEAR_EVERY))
        self._begin(self.outbox.keep_up(SWEEP_EVERY, SWEEP_AGE))
        if processor.wakes:
            self._begin(WakeUps(name, store, self.loop, settings.lease_seconds, self.attempts).run())
        if self.attempts is not None:
            self._begin(keep_heartbeat(store, name, self.settings.process, settings.lease_seconds))
        self._begin(self._measure())
        log.info("serving", service=name, instance=self._instance, receives=topics, unclean=unclean)

    async def stop(self, seconds: float) -> None:
        """Drains and leaves: no new batch, what runs is waited for, what was said is published, the end is noted."""
        await self.consumer.stop()
        if self.attempts is not None:
            await self.attempts.drain(seconds)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.producer.stop(seconds)
        await self.outbox.clear()
        await self._stack.aclose()
        try:
            await self.store.process_ended(self.service.name, self.settings.process)
        except StoreUnavailable:
            log.warning("the clean end could not be noted: the event store is away", service=self.service.name)
        log.info("left", service=self.service.name)

    @property
    def name(self) -> str:
        return self.service.name

    @property
    def alive(self) -> bool:
        """Whether nothing of it has ended that should not."""
        return all(not task.done() for task in self._tasks)

    @property
    def health(self) -> dict[str, str]:
        """What each part waits for; empty where it works."""
        if not self._tasks:
            return {"start": "not yet begun"}
        return {
            "store": self.loop.trouble,
            "consumer": "" if self.consumer.healthy else "Kafka is away",
            "producer": "" if self.producer.healthy else "Kafka is away",
        }

    @property
    def notes(self) -> dict[str, str]:
        """What is not as it should be, and keeps nothing from working."""
        ahead = self.store.ahead
        off = f"this machine's clock is {abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} the event store's"
        return {"clock": f"{off}; only the store's counts"} if abs(ahead) > CLOCK_OFF else {}

    @property
    def _instance(self) -> str:
        """The name under which a clean end is noted: stable over a restart, if anything is."""
        return self.settings.member or socket.gethostname()

    async def _hands(self) -> AttemptRunner | None:
        performer = self.service.performer
        if performer is None:
            return None
        ephemeral = await self._stack.enter_async_context(EphemeralProducer(self.settings))
        context = PerformerContext(self.loop, self.store, self.settings.topics, ephemeral)
        perform = await self._stack.enter_async_context(performer.open(context))
        return AttemptRunner(perform, performer.limit, self.loop.process)

    async def _process(self, records: list[Record]) -> None:
        for group in await patiently(lambda: self.crash_guard.sort(records), "the event store"):
            before = await patiently(lambda group=group: self.crash_guard.before(group), "the event store")
            inbounds = [inbound for inbound in map(self.parser.parse, group) if inbound is not None]
            await self.loop.process([self._tried(inbound, before) for inbound in inbounds])
            self.consumer.done({(record.topic, record.partition): record.offset + 1 for record in group})

    def _tried(self, inbound: Inbound, before: int) -> Inbound:
        if before < self.settings.crash_attempts:
            return inbound
        return as_dead(inbound, DeadCause("crashed", f"the process ended {before} times while hearing this", before))

    async def _rebalanced(self, partitions: set[tuple[str, int]]) -> None:
        self.loop.forget()

    async def _measure(self) -> None:
        while True:
            lags: dict[str, int] = {}
            for (topic, _), behind in self.consumer.lag().items():
                lags[topic] = lags.get(topic, 0) + behind
            for topic, behind in lags.items():
                metrics.lag.labels(self.name, topic).set(behind)
            try:
                metrics.clock_ahead.set(self.store.ahead)
                metrics.outbox_age.labels(self.name).set(await self.store.outbox_age(self.name))
                metrics.reader_age.set(await self.store.reader_lag())
            except StoreUnavailable as away:
                log.debug("not measured", trouble=str(away))
            await asyncio.sleep(MEASURE_EVERY)

    def _begin(self, pending: Any) -> None:
        task = asyncio.create_task(pending)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and task.exception() is not None:
            log.error("a part of the service ended", service=self.service.name, exc_info=task.exception())


async def keep_policy(store: EventStore, service: Service[Any]) -> None:
    """Before a hearing names a policy, what stands behind it is on the record."""
    if service.basis is not None:
        await store.store_policy(service.name, service.decider.policy, canonical(service.basis.data))


async def patiently(pending: Any, what: str) -> Any:
    """Tries until the store answers."""
    backoff = Backoff(most=2.0)
    while True:
        try:
            return await pending()
        except StoreUnavailable as away:
            log.warning("waiting", trouble=f"{what} is away: {away}")
            await backoff.wait()
