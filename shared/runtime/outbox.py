"""What is on the record and not yet published: said in order, said again after a failure, marked by acknowledgement."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from shared.backoff import Backoff
from shared.eventstore.model import StoredMessage, StoreUnavailable, Stream
from shared.eventstore.ports import OutboxStore

PAGE = 1000
LOOK = 0.1  # seconds between looks at whether the speaker is well


class PublishesInOrder(Protocol):
    """What the outbox needs of a speaker (shared.kafka.producer)."""

    @property
    def healthy(self) -> bool: ...
    @property
    def in_flight(self) -> int: ...
    async def publish(self, stored: Sequence[StoredMessage]) -> None: ...
    def take_acknowledged(self) -> list[tuple[Stream, int]]: ...


@dataclass(slots=True)
class _Spoken:
    """A stream of which something was handed over since its mark: all up to `last`; of that, `out` is on its way."""

    last: int
    out: set[int]


@dataclass
class Outbox:
    """Between the record and the speaker. While it catches up it drops what is new: the catching up will find it."""

    store: OutboxStore
    service: str
    producer: PublishesInOrder
    _produced: dict[Stream, _Spoken] = field(default_factory=dict)
    _behind: asyncio.Event = field(default_factory=asyncio.Event)

    async def publish(self, stored: Sequence[StoredMessage]) -> None:
        """A stream's events in order, from its mark on; what is on its way already is left out."""
        if self._behind.is_set() or not self.producer.healthy:
            return
        if fresh := [event for event in stored if self._is_new(event)]:
            await self.producer.publish(fresh)

    def _is_new(self, event: StoredMessage) -> bool:
        spoken = self._produced.get(event.stream)
        if spoken is None:
            self._produced[event.stream] = _Spoken(event.version, {event.version})
            return True
        if event.version <= spoken.last:
            return False
        spoken.last = event.version
        spoken.out.add(event.version)
        return True

    def mark(self, stream: Stream) -> int:
        """Up to which version all of this stream was acknowledged; 0 where that is not known or is noted already."""
        self._take()
        spoken = self._produced.get(stream)
        return 0 if spoken is None or spoken.out else spoken.last

    def noted(self, stream: Stream, mark: int) -> None:
        """The store has this mark."""
        spoken = self._produced.get(stream)
        if spoken is not None and not spoken.out and spoken.last == mark:
            del self._produced[stream]

    def _take(self) -> None:
        for stream, version in self.producer.take_acknowledged():
            if (spoken := self._produced.get(stream)) is not None:
                spoken.out.discard(version)

    def failed(self) -> None:
        """The speaker lost what it had not seen acknowledged: the streams of that are said again, in order, from the store."""
        self._behind.set()
        self._take()
        self._produced = {stream: spoken for stream, spoken in self._produced.items() if not spoken.out}

    async def keep_clearing(self, every: float) -> None:
        """Notes the marks that no append came along to note."""
        while True:
            await asyncio.sleep(every)
            await self.clear()

    async def clear(self) -> None:
        self._take()
        marks = {stream: spoken.last for stream, spoken in self._produced.items() if not spoken.out}
        if marks:
            try:
                await self.store.mark_published(marks)
            except StoreUnavailable:
                return
            for stream, mark in marks.items():
                self.noted(stream, mark)

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
            except StoreUnavailable:
                await backoff.wait()

    async def _catch_up(self) -> None:
        while not self.producer.healthy:
            await asyncio.sleep(LOOK)
        self._behind.clear()
        await self._sweep(0)

    async def _sweep(self, age: float) -> None:
        left = await self.store.unpublished(self.service, age, PAGE)
        while left and not self._behind.is_set():
            await self.publish(left)
            await self._drained()
            if len(left) < PAGE:
                return
            left = await self.store.unpublished(self.service, age, PAGE)

    async def _drained(self) -> None:
        """Waits until what was said is acknowledged and noted, so that the next page of the outbox is a new one."""
        while self.producer.in_flight and not self._behind.is_set():
            await asyncio.sleep(LOOK / 10)
        await self.clear()


async def _until(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return
