"""The loop of one service: decide a batch, append it, publish its stored messages."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

from hansard.decider import WakeUp
from hansard.envelope import shown
from hansard.message import Command, Outcome
from shared.backoff import Backoff
from shared.eventstore.model import Appended, DueWakeUp, StoredMessage, StoreRefused, StoreUnavailable, Stream
from shared.eventstore.ports import StreamStore
from shared.runtime.crash_guard import CrashGuard
from shared.runtime.inbound import DeadCause, Inbound, as_dead, wake_up, watched, without_content
from shared.runtime.performer import AttemptRunner
from shared.runtime.processor import PendingAppend, Processor, StreamState
from shared.telemetry import metrics
from shared.telemetry.logs import log, shown_error


class Publisher(Protocol):
    """Publishes stored messages (shared.runtime.outbox). It drops those that it cannot take now: the store still has them."""

    async def publish(self, messages: Sequence[StoredMessage]) -> None: ...
    def acknowledged_version(self, stream: Stream) -> int: ...
    def marked_published(self, stream: Stream, version: int) -> None: ...


FAR_FUTURE = datetime.max.replace(tzinfo=UTC)


@dataclass(slots=True)
class _Queued:
    """The messages of one caller of `process`, who waits until they are stored."""

    inbounds: Sequence[Inbound]
    is_stored: bool = False


@dataclass
class Loop:
    """Processes messages, one batch at a time. Messages that arrive meanwhile are the next batch."""

    processor: Processor[Any]
    store: StreamStore
    outbox: Publisher
    attempt_runner: AttemptRunner | None = None
    crash_guard: CrashGuard | None = None  # after an unclean end
    process_id: str = ""  # the operating system process that runs the attempts, as the store knows it
    cache_streams: int = 20_000
    trouble: str = ""  # the reason why it waits; empty if it works
    backoff: Backoff = field(default_factory=lambda: Backoff(most=2.0))  # while the store is unavailable
    next_claim_at: datetime = FAR_FUTURE  # when wake-ups are claimed next
    claim_now: asyncio.Event = field(default_factory=asyncio.Event)  # set if a wake-up before that time was stored
    set_aside: dict[Stream, DeadCause] = field(default_factory=dict)  # streams whose history this code cannot fold
    _cache: OrderedDict[Stream, StreamState[Any]] = field(default_factory=OrderedDict)
    _queue: "list[_Queued]" = field(default_factory=list)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def healthy(self) -> bool:
        return not self.trouble

    def drop_cache(self) -> None:
        """Forgets all streams: after a rebalance, a conflict, or a commit of unknown outcome."""
        self._cache.clear()

    def cached(self, stream: Stream) -> StreamState[Any] | None:
        """The stream as this process knows it: never ahead of the store, perhaps behind it."""
        return self._cache.get(stream)

    async def process(self, inbounds: Sequence[Inbound]) -> None:
        """Returns when all of these are stored, as processed or as dead. Waits while the store is unavailable."""
        mine = _Queued(inbounds)
        self._queue.append(mine)
        async with self._lock:
            if mine.is_stored:
                return
            batch, self._queue = self._queue, []
            try:
                await self._process([inbound for queued in batch for inbound in queued.inbounds])
            except BaseException:  # a cancelled caller too: the others of its batch try again
                self._queue = [queued for queued in batch if queued is not mine] + self._queue
                raise
            for queued in batch:
                queued.is_stored = True

    async def process_wake_ups(self, claimed: Sequence[DueWakeUp]) -> None:
        """Processes the wake-ups that this process has claimed.

        If another process appended to the stream meanwhile, the wake-up is stale and a new one is made. No other process makes
        it: the lease of the claim keeps them away.
        """
        tried: dict[Stream, tuple[UUID, int]] = {}
        while claimed:
            async with self._lock:
                for claim in claimed:
                    if claim.stream in self._cache and self._cache[claim.stream].processed < claim.processed:
                        del self._cache[claim.stream]  # another process appended to it
                await self._load_missing(claim.stream for claim in claimed)
                claimed = [
                    claim for claim in claimed if claim.stream not in tried or self._is_still_due(claim, *tried[claim.stream])
                ]
                inbounds = [wake_up(claim.stream, self._cache[claim.stream].processed) for claim in claimed]
                tried = {inbound.stream: (inbound.causation_id, self._cache[inbound.stream].version) for inbound in inbounds}
            await self.process(inbounds)

    def _is_still_due(self, claim: DueWakeUp, wake_up_id: UUID, version: int) -> bool:
        """Whether another process changed the stream first and it is still due."""
        stream_state = self._cache[claim.stream]
        if wake_up_id in stream_state.entries or wake_up(claim.stream, stream_state.processed).causation_id == wake_up_id:
            return False  # it was processed; or the store took nothing, and is not asked again before the lease ends
        at = self.processor.next_wake_up(stream_state.state)
        return stream_state.version == version or (at is not None and at <= self.store.now())

    async def _process(self, inbounds: Sequence[Inbound]) -> None:
        left, rounds = list(inbounds), 0
        while left:
            try:
                left = await (self._append(left, assume_new=rounds == 0) if rounds < 2 else self._append_by_stream(left))
                rounds += 1
            except StoreRefused:
                rounds = 2
            except StoreUnavailable as unavailable:
                self.drop_cache()
                self._report_trouble(f"the event store is unavailable: {unavailable}")
                await self.backoff.wait()
            else:
                self.backoff.reset()
                self._report_recovery()

    async def _append(self, inbounds: Sequence[Inbound], assume_new: bool = False) -> list[Inbound]:
        """Makes one append for the whole batch. Returns the refused messages: their streams must be loaded and decided again."""
        by_stream = _by_stream(inbounds)
        loaded = await self._load(by_stream, inbounds, assume_new)
        async with watched(self.crash_guard, (inbound.record for inbound in inbounds if inbound.record)):
            batch = self._decide(by_stream, loaded)
        appends = [pending for pending in batch.values() if pending.entries]
        if not appends:
            return []
        for pending in appends:
            pending.published = self.outbox.acknowledged_version(pending.stream)
        try:
            with metrics.append_seconds.time():
                appended = await self.store.append(appends)
        except BaseException:  # a cancelled append too: nobody knows whether it was committed
            self.drop_cache()
            raise
        return await self._confirm(appends, appended)

    async def _append_by_stream(self, inbounds: Sequence[Inbound]) -> list[Inbound]:
        """Appends stream by stream, then message by message: only messages that the store can never hold become dead letters."""
        for left in _by_stream(inbounds).values():
            try:
                while left:
                    left = await self._append(left)
            except StoreRefused:
                for inbound in left:
                    await self._append_one(inbound)
        return []

    async def _append_one(self, inbound: Inbound) -> None:
        refused_too = DeadCause("refused-by-store", "the store refused the dead letter too: read it at its origin")
        left, last = [inbound], without_content(inbound, refused_too)
        while left:
            try:
                left = await self._append(left)
            except StoreRefused as refused:
                if left == [last]:
                    self._report_lost(inbound, refused)
                    return
                left = [last if left[0].dead else as_dead(inbound, DeadCause("refused-by-store", str(refused)))]

    async def _load(
        self, by_stream: Mapping[Stream, Sequence[Inbound]], inbounds: Sequence[Inbound], assume_new: bool
    ) -> dict[Stream, StreamState[Any]]:
        """The streams that are needed to decide the batch: those that receive something, and the default streams of redriven
        messages. `assume_new`: a stream that is not cached and receives a command is taken for new. If it is not new, the store
        refuses the append.
        """
        if assume_new:
            for stream, mine in by_stream.items():
                if stream not in self._cache and isinstance(mine[0].message, Command) and not mine[0].redrive:
                    self._cache[stream] = self.processor.new_stream()
        needed = [*by_stream, *(_default_stream(inbound.stream) for inbound in inbounds if inbound.redrive)]
        await self._load_missing(needed)
        return {stream: self._cache[stream] for stream in needed}

    def _decide(
        self, by_stream: Mapping[Stream, Sequence[Inbound]], loaded: Mapping[Stream, StreamState[Any]]
    ) -> dict[Stream, PendingAppend[Any]]:
        """Decides the batch, stream by stream."""
        batch: dict[Stream, PendingAppend[Any]] = {}
        slots, now = self.attempt_runner.free_slots if self.attempt_runner else 0, self.store.now()
        for stream, mine in by_stream.items():
            before, default = loaded[stream], loaded.get(_default_stream(stream))
            not_before = max([before.at, *(inbound.at for inbound in mine if inbound.at)])
            pending = batch[stream] = self.processor.begin(stream, before, max(now, not_before), not_before)
            for inbound in mine:
                # outcomes and wake-ups always have a slot: an outcome frees one; a wake-up is claimed only when one is free
                may_perform = slots > len(pending.intents) or isinstance(inbound.message, Outcome | WakeUp)
                self.processor.process(pending, inbound, default, may_perform)
            slots -= len(pending.intents)
            self.processor.set_wake_up(pending, self.process_id)
        return batch

    async def _load_missing(self, streams: Iterable[Stream]) -> None:
        streams = list(dict.fromkeys(streams))
        while missing := [stream for stream in streams if stream not in self._cache]:  # a rebalance may drop the cache
            histories = await self.store.load(missing)
            await self.outbox.publish([stored for stream in missing for stored in histories[stream].unpublished])
            for stream in missing:
                stream_state = self._cache[stream] = self.processor.fold_or_set_aside(histories[stream])
                self._note_set_aside(stream, stream_state.dead)
        for stream in streams:
            self._cache.move_to_end(stream)

    async def _confirm(self, appends: Sequence[PendingAppend[Any]], appended: Appended) -> list[Inbound]:
        """Caches the accepted streams, publishes their messages and starts their attempts. Returns the refused messages."""
        left: list[Inbound] = []
        messages: list[StoredMessage] = list(appended.unpublished)
        accepted: list[PendingAppend[Any]] = []
        for pending in appends:
            if pending.stream not in appended.accepted:
                self._cache.pop(pending.stream, None)
                left.extend(pending.inbounds)
                continue
            accepted.append(pending)
            self.outbox.marked_published(pending.stream, pending.published)
            self._cache[pending.stream] = pending.confirm()
            messages.extend(pending.messages)
            self._report_failures(pending)
            if pending.wake_at is not None and pending.wake_at < self.next_claim_at:
                self.claim_now.set()
        await self.outbox.publish(messages)
        service = self.processor.service
        metrics.count_appended(service.name, accepted)
        if service.observe is not None:
            service.observe([message for pending in accepted for message in pending.decided])
        if self.attempt_runner is not None:
            for pending in accepted:
                for intent in pending.intents:
                    self.attempt_runner.start(pending.stream, pending.state, intent, pending.traceparent)
        while len(self._cache) > self.cache_streams:
            self._cache.popitem(last=False)
        return left

    def _report_failures(self, pending: PendingAppend[Any]) -> None:
        for kind, dead in pending.failures:
            log.warning(
                "a decision failed",
                service=pending.stream.service,
                stream=str(pending.stream),
                kind=shown(kind, 200),
                error=dead.error,
                place=dead.place,
            )

    def _note_set_aside(self, stream: Stream, dead: DeadCause | None) -> None:
        if dead is None:
            self.set_aside.pop(stream, None)
            return
        self.set_aside[stream] = dead
        log.error(
            "a stream's history cannot be folded: what it receives becomes dead letters, until this code can",
            service=stream.service,
            stream=str(stream),
            error=dead.error,
            place=dead.place,
        )

    def _report_lost(self, inbound: Inbound, refused: StoreRefused) -> None:
        """Nothing about this message can be stored: only the log tells of it, and the offset moves on."""
        record = inbound.record
        log.error(
            "a message is skipped: the event store refuses it, and every dead letter about it",
            service=self.processor.service.name,
            stream=shown(str(inbound.stream), 200),
            causation_id=str(inbound.causation_id),
            place=f"{record.topic}[{record.partition}]@{record.offset}" if record else "",
            error=shown_error(refused),
        )

    def _report_trouble(self, trouble: str) -> None:
        if self.healthy:
            log.warning("waiting for the event store", service=self.processor.service.name, trouble=trouble)
        self.trouble = trouble

    def _report_recovery(self) -> None:
        if not self.healthy:
            log.info("the event store is available again", service=self.processor.service.name)
        self.trouble = ""


def _default_stream(stream: Stream) -> Stream:
    """The stream in which a service records messages that it cannot parse."""
    return stream._replace(name=stream.service)


def _by_stream(inbounds: Iterable[Inbound]) -> dict[Stream, list[Inbound]]:
    by_stream: dict[Stream, list[Inbound]] = {}
    for inbound in inbounds:
        by_stream.setdefault(inbound.stream, []).append(inbound)
    return by_stream
