"""What is on the record and not yet published: said in order, said again after a failure, cleared by acknowledgement."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from shared.backoff import Backoff
from shared.store.record import Said, Store, Stream, Unavailable

PAGE = 1000
LOOK = 0.1  # seconds between looks at whether the speaker is well
Key = tuple[Stream, int]


class Speaks(Protocol):
    """What the outbox needs of a speaker (shared.kafka.speaker)."""

    @property
    def healthy(self) -> bool: ...
    @property
    def in_flight(self) -> int: ...
    async def say(self, said: Sequence[Said]) -> None: ...
    def take_acknowledged(self) -> list[Key]: ...


@dataclass
class Outbox:
    """Between the record and the speaker. While it catches up it drops what is new: the catching up will find it."""

    store: Store
    service: str
    speaker: Speaks
    _out: set[Key] = field(default_factory=set)  # spoken, or acknowledged and not yet cleared
    _settled: set[Key] = field(default_factory=set)  # acknowledged and not yet cleared
    _waiting: list[Key] = field(default_factory=list)  # acknowledged, and nobody is clearing it
    _behind: asyncio.Event = field(default_factory=asyncio.Event)

    async def say(self, said: Sequence[Said]) -> None:
        if self._behind.is_set() or not self.speaker.healthy:
            return
        fresh = [event for event in said if (event.stream, event.version) not in self._out]
        if fresh:
            self._out.update((event.stream, event.version) for event in fresh)
            await self.speaker.say(fresh)

    def acknowledged(self) -> list[Key]:
        """What the broker acknowledged and the store still lists: to be `cleared`, or to be given `back`."""
        acknowledged = self.speaker.take_acknowledged()
        self._settled.update(acknowledged)
        taken, self._waiting = self._waiting + acknowledged, []
        return taken

    def cleared(self, acknowledged: Sequence[Key]) -> None:
        self._out.difference_update(acknowledged)
        self._settled.difference_update(acknowledged)

    def back(self, acknowledged: Sequence[Key]) -> None:
        self._waiting.extend(acknowledged)

    def failed(self) -> None:
        """The speaker lost what it had not seen acknowledged: all of that is said again, in order, from the store."""
        self._behind.set()
        self._out = set(self._settled)

    async def keep_clearing(self, every: float) -> None:
        """Clears what no append came along to clear."""
        while True:
            await asyncio.sleep(every)
            await self.clear()

    async def clear(self) -> None:
        acknowledged = self.acknowledged()
        if acknowledged:
            try:
                await self.store.published(acknowledged)
            except Unavailable:
                self.back(acknowledged)
            else:
                self.cleared(acknowledged)

    async def keep_up(self, every: float, age: float) -> None:
        """Says what was left: at once after a failure, and whatever has lain for `age` seconds, whoever recorded it."""
        backoff = Backoff(most=2.0)
        while True:
            try:
                if self._behind.is_set():
                    await self._catch_up()
                await self._sweep(age)
                backoff.reset()
                await _until(self._behind, every)
            except Unavailable:
                await backoff.wait()

    async def _catch_up(self) -> None:
        while not self.speaker.healthy:
            await asyncio.sleep(LOOK)
        self._behind.clear()
        await self._sweep(0)

    async def _sweep(self, age: float) -> None:
        left = await self.store.unpublished(self.service, age, PAGE)
        while left and not self._behind.is_set():
            await self.say(left)
            await self._drained()
            if len(left) < PAGE:
                return
            left = await self.store.unpublished(self.service, age, PAGE)

    async def _drained(self) -> None:
        """Waits until what was said is acknowledged and cleared, so that the next page of the outbox is a new one."""
        while self.speaker.in_flight and not self._behind.is_set():
            await asyncio.sleep(LOOK / 10)
        await self.clear()


async def _until(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return
