"""One service, at work: what is heard goes on the record, then it is spoken, then the offsets move on."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

from hansard.decider import WakeUp
from hansard.message import Command, Intent, Outcome
from shared.backoff import Backoff
from shared.eventstore.model import Appended, DueWakeUp, StoredMessage, StoreRefused, StoreUnavailable, Stream
from shared.eventstore.ports import StreamStore
from shared.runtime.inbound import DeadCause, Inbound, wake_up
from shared.runtime.processor import PendingAppend, Processor, StreamState, as_dead, without_content
from shared.telemetry import metrics
from shared.telemetry.logs import log


class Publisher(Protocol):
    """What publishes. Drops what it cannot take now: the outbox still has it."""

    async def publish(self, stored: Sequence[StoredMessage]) -> None: ...
    def mark(self, stream: Stream) -> int: ...
    def noted(self, stream: Stream, mark: int) -> None: ...


class RunsAttempts(Protocol):
    """What performs intents. `free` slots; `start` is told of each intent once it is on the record."""

    @property
    def free(self) -> int: ...
    def start(self, stream: Stream, state: Any, intent: Intent, trace: str) -> None: ...


FAR = datetime.max.replace(tzinfo=UTC)


@dataclass(slots=True)
class _Brought:
    inbounds: Sequence[Inbound]
    done: bool = False


@dataclass
class Loop:
    """Hears batches. One batch at a time: whoever brings one waits for the one before, which is what makes batches."""

    processor: Processor[Any]
    store: StreamStore
    publisher: Publisher
    attempts: RunsAttempts | None = None
    holder: str = ""  # whose attempts are out, where one is
    keep: int = 20_000
    healthy: bool = True
    trouble: str = ""
    next_due: asyncio.Event = field(default_factory=asyncio.Event)
    backoff: Backoff = field(default_factory=lambda: Backoff(most=2.0))  # while the store is away
    soonest: datetime = FAR  # when the waker looks again by itself
    _lives: OrderedDict[Stream, StreamState[Any]] = field(default_factory=OrderedDict)
    _waiting: "list[_Brought]" = field(default_factory=list)
    _one: asyncio.Lock = field(default_factory=asyncio.Lock)

    def forget(self) -> None:
        """Drops what is cached: after a rebalance, a conflict, or a commit of unknown outcome."""
        self._lives.clear()

    async def process(self, inbounds: Sequence[Inbound]) -> None:
        """Returns when all of it is on the record, dead or alive. Waits for as long as a server is away.

        Whatever is brought while a batch is under way is the next batch, whoever brings it.
        """
        brought = _Brought(inbounds)
        self._waiting.append(brought)
        async with self._one:
            if brought.done:
                return
            batch, self._waiting = self._waiting, []
            try:
                await self._process([inbound for each in batch for inbound in each.inbounds])
            except BaseException:
                self._waiting = [each for each in batch if each is not brought] + self._waiting
                raise
            for each in batch:
                each.done = True

    async def wake(self, due_wake_ups: Sequence[DueWakeUp]) -> None:
        """These are due, and leased to us. Whom another process overtook is woken anew while it waits: the lease keeps
        everyone else away."""
        tried: dict[Stream, tuple[UUID, int]] = {}
        while due_wake_ups:
            async with self._one:
                for due_ in due_wake_ups:
                    if due_.stream in self._lives and self._lives[due_.stream].processed < due_.processed:
                        del self._lives[due_.stream]  # another process went on with it
                await self._recall(due_.stream for due_ in due_wake_ups)
                due_wake_ups = [
                    due_ for due_ in due_wake_ups if due_.stream not in tried or self._waits(due_, *tried[due_.stream])
                ]
                inbounds = [wake_up(due_.stream, self._lives[due_.stream].processed) for due_ in due_wake_ups]
                tried = {inbound.stream: (inbound.causation_id, self._lives[inbound.stream].version) for inbound in inbounds}
            await self.process(inbounds)

    def _waits(self, due_: DueWakeUp, wake_up_id: UUID, version: int) -> bool:
        """Whether it was not woken, and whoever was faster left it waiting."""
        known = self._lives[due_.stream]
        if wake_up_id in known.entries:
            return False
        at = self.processor.service.decider.wake_at(known.state)
        return known.version == version or (at is not None and at <= self.store.now())

    def known(self, stream: Stream) -> StreamState[Any] | None:
        """The stream as this process knows it: never ahead of the record, perhaps behind."""
        return self._lives.get(stream)

    async def _process(self, inbounds: Sequence[Inbound]) -> None:
        left, rounds = list(inbounds), 0
        while left:
            try:
                left = await (self._together(left, guess=rounds == 0) if rounds < 2 else self._each(left))
                rounds += 1
            except StoreRefused:
                rounds = 2
            except StoreUnavailable as away:
                self.forget()
                self._ail(f"the event store is away: {away}")
                await self.backoff.wait()
            else:
                self.backoff.reset()
                self._recover()

    async def _together(self, inbounds: Sequence[Inbound], guess: bool = False) -> list[Inbound]:
        """One append for the whole batch. Returns what was refused: to be loaded and decided again."""
        pendings = await self._decide(inbounds, guess)
        appends = [pending.stream_append for pending in pendings.values() if pending.stream_append.entries]
        if not appends:
            return []
        for append in appends:
            append.published = self.publisher.mark(append.stream)
        try:
            with metrics.append_seconds.time():
                appended = await self.store.append(appends)
        except BaseException:
            self.forget()
            raise
        return await self._settle(pendings, appended)

    async def _each(self, inbounds: Sequence[Inbound]) -> list[Inbound]:
        """Stream by stream, then hearing by hearing: what the store can never hold is found, and only that is dead."""
        for left in _by_stream(inbounds).values():
            try:
                while left:
                    left = await self._together(left)
            except StoreRefused:
                for inbound in left:
                    await self._alone(inbound)
        return []

    async def _alone(self, inbound: Inbound) -> None:
        left, last = (
            [inbound],
            without_content(
                inbound, DeadCause("refused-by-store", "the store refused the dead letter too: read it at its origin")
            ),
        )
        while left:
            try:
                left = await self._together(left)
            except StoreRefused as refused:
                if left == [last]:
                    raise
                left = [last if left[0].dead else as_dead(inbound, DeadCause("refused-by-store", str(refused)))]

    async def _decide(self, inbounds: Sequence[Inbound], guess: bool) -> dict[Stream, PendingAppend[Any]]:
        """`guess`: a command opens the stream that this process does not know. Where that is wrong, the append refuses it."""
        by_stream = _by_stream(inbounds)
        if guess:
            for stream, mine in by_stream.items():
                if stream not in self._lives and isinstance(mine[0].message, Command) and not mine[0].redrive:
                    self._lives[stream] = self.processor.unheard()
        arrivals = {inbound.stream: _arrival(inbound.stream) for inbound in inbounds if inbound.redrive}
        await self._recall([*by_stream, *arrivals.values()])
        pendings: dict[Stream, PendingAppend[Any]] = {}
        slots, now = self.attempts.free if self.attempts else 0, self.store.now()
        for stream, mine in by_stream.items():
            known = self._lives[stream]
            not_before = max([known.at, *(inbound.at for inbound in mine if inbound.at)])
            pending = pendings[stream] = self.processor.begin(stream, known, max(now, not_before), not_before)
            arrival = self._lives[arrivals[stream]] if stream in arrivals else None
            for inbound in mine:
                # an outcome leaves its slot, and who is woken was promised one
                may_perform = slots > len(pending.intents) or isinstance(inbound.message, Outcome | WakeUp)
                self.processor.process(pending, inbound, arrival, may_perform)
            slots -= len(pending.intents)
            self.processor.wait(pending, self.holder)
        return pendings

    async def _recall(self, streams: Iterable[Stream]) -> None:
        streams = list(dict.fromkeys(streams))
        while missing := [stream for stream in streams if stream not in self._lives]:  # a rebalance may forget meanwhile
            histories = await self.store.load(missing)
            await self.publisher.publish([stored for stream in missing for stored in histories[stream].unpublished])
            for stream in missing:
                self._lives[stream] = self.processor.recall(histories[stream])
        for stream in streams:
            self._lives.move_to_end(stream)

    async def _settle(self, pendings: Mapping[Stream, PendingAppend[Any]], appended: Appended) -> list[Inbound]:
        left: list[Inbound] = []
        stored: list[StoredMessage] = list(appended.unpublished)
        for stream, pending in pendings.items():
            if not pending.stream_append.entries:
                continue
            if stream not in appended.accepted:
                self._lives.pop(stream, None)
                left.extend(pending.inbounds)
                continue
            self.publisher.noted(stream, pending.stream_append.published)
            self._lives[stream] = pending.confirm()
            stored.extend(pending.stream_append.messages)
            if pending.stream_append.wake_at is not None and pending.stream_append.wake_at < self.soonest:
                self.next_due.set()
        await self.publisher.publish(stored)
        metrics.count_processed(self.processor.service.name, [pendings[stream] for stream in appended.accepted])
        if self.attempts is not None:
            for stream, pending in pendings.items():
                if stream in appended.accepted:
                    for intent in pending.intents:
                        self.attempts.start(stream, pending.state, intent, pending.trace)
        while len(self._lives) > self.keep:
            self._lives.popitem(last=False)
        return left

    def _ail(self, trouble: str) -> None:
        if self.healthy:
            log.warning("waiting", service=self.processor.service.name, trouble=trouble)
        self.healthy, self.trouble = False, trouble

    def _recover(self) -> None:
        if not self.healthy:
            log.info("going on", service=self.processor.service.name)
        self.healthy, self.trouble = True, ""


def _arrival(stream: Stream) -> Stream:
    """Where a service hears what it does not understand."""
    return stream._replace(name=stream.service)


def _by_stream(inbounds: Iterable[Inbound]) -> dict[Stream, list[Inbound]]:
    by_stream: dict[Stream, list[Inbound]] = {}
    for inbound in inbounds:
        by_stream.setdefault(inbound.stream, []).append(inbound)
    return by_stream
