"""One service, at work: what is heard goes on the record, then it is spoken, then the offsets move on."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

from contracts.message import Command, Intent, Outcome
from shared.backoff import Backoff
from shared.decider import Woken
from shared.runtime.hearing import Dead, Heard, woken
from shared.runtime.turns import Floor, Live, Work, bare, marked
from shared.store.record import Appended, Due, Refused, Said, Store, Stream, Unavailable
from shared.telemetry import metrics
from shared.telemetry.logs import log


class Voice(Protocol):
    """What publishes. Drops what it cannot take now: the outbox still has it."""

    async def say(self, said: Sequence[Said]) -> None: ...
    def mark(self, stream: Stream) -> int: ...
    def noted(self, stream: Stream, mark: int) -> None: ...


class Hands(Protocol):
    """What performs intents. `free` slots; `start` is told of each intent once it is on the record."""

    @property
    def free(self) -> int: ...
    def start(self, stream: Stream, state: Any, intent: Intent, trace: str) -> None: ...


FAR = datetime.max.replace(tzinfo=UTC)


@dataclass(slots=True)
class _Brought:
    heards: Sequence[Heard]
    done: bool = False


@dataclass
class Loop:
    """Hears batches. One batch at a time: whoever brings one waits for the one before, which is what makes batches."""

    floor: Floor[Any]
    store: Store
    voice: Voice
    hands: Hands | None = None
    process: str = ""  # whose attempts are out, where one is
    keep: int = 20_000
    healthy: bool = True
    trouble: str = ""
    next_due: asyncio.Event = field(default_factory=asyncio.Event)
    backoff: Backoff = field(default_factory=lambda: Backoff(most=2.0))  # while the store is away
    soonest: datetime = FAR  # when the waker looks again by itself
    _lives: OrderedDict[Stream, Live[Any]] = field(default_factory=OrderedDict)
    _waiting: "list[_Brought]" = field(default_factory=list)
    _one: asyncio.Lock = field(default_factory=asyncio.Lock)

    def forget(self) -> None:
        """Drops what is cached: after a rebalance, a conflict, or a commit of unknown outcome."""
        self._lives.clear()

    async def hear(self, heards: Sequence[Heard]) -> None:
        """Returns when all of it is on the record, dead or alive. Waits for as long as a server is away.

        Whatever is brought while a batch is under way is the next batch, whoever brings it.
        """
        brought = _Brought(heards)
        self._waiting.append(brought)
        async with self._one:
            if brought.done:
                return
            batch, self._waiting = self._waiting, []
            try:
                await self._hear([heard for each in batch for heard in each.heards])
            except BaseException:
                self._waiting = [each for each in batch if each is not brought] + self._waiting
                raise
            for each in batch:
                each.done = True

    async def wake(self, dues: Sequence[Due]) -> None:
        """These are due, and leased to us. Whom another process overtook is woken anew while it waits: the lease keeps
        everyone else away."""
        tried: dict[Stream, tuple[UUID, int]] = {}
        while dues:
            async with self._one:
                for due in dues:
                    if due.stream in self._lives and self._lives[due.stream].heard < due.heard:
                        del self._lives[due.stream]  # another process went on with it
                await self._recall(due.stream for due in dues)
                dues = [due for due in dues if due.stream not in tried or self._waits(due, *tried[due.stream])]
                heards = [woken(due.stream, self._lives[due.stream].heard) for due in dues]
                tried = {heard.stream: (heard.cause, self._lives[heard.stream].version) for heard in heards}
            await self.hear(heards)

    def _waits(self, due: Due, waking: UUID, version: int) -> bool:
        """Whether it was not woken, and whoever was faster left it waiting."""
        live = self._lives[due.stream]
        if waking in live.causes:
            return False
        at = self.floor.service.decider.wake_at(live.state)
        return live.version == version or (at is not None and at <= self.store.now())

    def known(self, stream: Stream) -> Live[Any] | None:
        """The stream as this process knows it: never ahead of the record, perhaps behind."""
        return self._lives.get(stream)

    async def _hear(self, heards: Sequence[Heard]) -> None:
        left, rounds = list(heards), 0
        while left:
            try:
                left = await (self._together(left, guess=rounds == 0) if rounds < 2 else self._each(left))
                rounds += 1
            except Refused:
                rounds = 2
            except Unavailable as away:
                self.forget()
                self._ail(f"the event store is away: {away}")
                await self.backoff.wait()
            else:
                self.backoff.reset()
                self._recover()

    async def _together(self, heards: Sequence[Heard], guess: bool = False) -> list[Heard]:
        """One append for the whole batch. Returns what was refused: to be loaded and decided again."""
        works = await self._decide(heards, guess)
        turns = [work.turn for work in works.values() if work.turn.hearings]
        if not turns:
            return []
        for turn in turns:
            turn.published = self.voice.mark(turn.stream)
        try:
            with metrics.append_seconds.time():
                appended = await self.store.append(turns)
        except BaseException:
            self.forget()
            raise
        return await self._settle(works, appended)

    async def _each(self, heards: Sequence[Heard]) -> list[Heard]:
        """Stream by stream, then hearing by hearing: what the store can never hold is found, and only that is dead."""
        for left in _by_stream(heards).values():
            try:
                while left:
                    left = await self._together(left)
            except Refused:
                for heard in left:
                    await self._alone(heard)
        return []

    async def _alone(self, heard: Heard) -> None:
        left, last = (
            [heard],
            bare(heard, Dead("refused-by-store", "the store refused the dead letter too: read it at its origin")),
        )
        while left:
            try:
                left = await self._together(left)
            except Refused as refused:
                if left == [last]:
                    raise
                left = [last if left[0].dead else marked(heard, Dead("refused-by-store", str(refused)))]

    async def _decide(self, heards: Sequence[Heard], guess: bool) -> dict[Stream, Work[Any]]:
        """`guess`: a command opens the stream that this process does not know. Where that is wrong, the append refuses it."""
        by_stream = _by_stream(heards)
        if guess:
            for stream, mine in by_stream.items():
                if stream not in self._lives and isinstance(mine[0].message, Command) and not mine[0].redrive:
                    self._lives[stream] = self.floor.unheard()
        arrivals = {heard.stream: _arrival(heard.stream) for heard in heards if heard.redrive}
        await self._recall([*by_stream, *arrivals.values()])
        works: dict[Stream, Work[Any]] = {}
        slots, now = self.hands.free if self.hands else 0, self.store.now()
        for stream, mine in by_stream.items():
            live = self._lives[stream]
            floor = max([live.at, *(heard.at for heard in mine if heard.at)])
            work = works[stream] = self.floor.begin(stream, live, max(now, floor), floor)
            arrival = self._lives[arrivals[stream]] if stream in arrivals else None
            for heard in mine:
                # an outcome leaves its slot, and who is woken was promised one
                may_perform = slots > len(work.intents) or isinstance(heard.message, Outcome | Woken)
                self.floor.hear(work, heard, arrival, may_perform)
            slots -= len(work.intents)
            self.floor.wait(work, self.process)
        return works

    async def _recall(self, streams: Iterable[Stream]) -> None:
        streams = list(dict.fromkeys(streams))
        while missing := [stream for stream in streams if stream not in self._lives]:  # a rebalance may forget meanwhile
            histories = await self.store.load(missing)
            await self.voice.say([said for stream in missing for said in histories[stream].unpublished])
            for stream in missing:
                self._lives[stream] = self.floor.recall(histories[stream])
        for stream in streams:
            self._lives.move_to_end(stream)

    async def _settle(self, works: Mapping[Stream, Work[Any]], appended: Appended) -> list[Heard]:
        left: list[Heard] = []
        said: list[Said] = list(appended.earlier)
        for stream, work in works.items():
            if not work.turn.hearings:
                continue
            if stream not in appended.accepted:
                self._lives.pop(stream, None)
                left.extend(work.heards)
                continue
            self.voice.noted(stream, work.turn.published)
            self._lives[stream] = work.confirm()
            said.extend(work.turn.said)
            if work.turn.due is not None and work.turn.due < self.soonest:
                self.next_due.set()
        await self.voice.say(said)
        metrics.heard(self.floor.service.name, [works[stream] for stream in appended.accepted])
        if self.hands is not None:
            for stream, work in works.items():
                if stream in appended.accepted:
                    for intent in work.intents:
                        self.hands.start(stream, work.state, intent, work.trace)
        while len(self._lives) > self.keep:
            self._lives.popitem(last=False)
        return left

    def _ail(self, trouble: str) -> None:
        if self.healthy:
            log.warning("waiting", service=self.floor.service.name, trouble=trouble)
        self.healthy, self.trouble = False, trouble

    def _recover(self) -> None:
        if not self.healthy:
            log.info("going on", service=self.floor.service.name)
        self.healthy, self.trouble = True, ""


def _arrival(stream: Stream) -> Stream:
    """Where a service hears what it does not understand."""
    return stream._replace(name=stream.service)


def _by_stream(heards: Iterable[Heard]) -> dict[Stream, list[Heard]]:
    by_stream: dict[Stream, list[Heard]] = {}
    for heard in heards:
        by_stream.setdefault(heard.stream, []).append(heard)
    return by_stream
