"""The outbox publishes stored messages in order, and those that no broker has acknowledged again after a failure."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from shared.backoff import Backoff
from shared.eventstore.model import StoredMessage, StoreUnavailable, Stream
from shared.eventstore.ports import OutboxStore
from shared.tasks import within

PAGE = 1000
POLL = 0.1  # seconds between looks at whether the producer is healthy


class OrderedProducer(Protocol):
    """The part of a producer that the outbox needs (shared.kafka.producer)."""

    @property
    def healthy(self) -> bool: ...
    @property
    def in_flight(self) -> int: ...
    async def publish(self, messages: Sequence[StoredMessage]) -> None: ...
    def take_acknowledged(self) -> list[tuple[Stream, int]]: ...


@dataclass(slots=True)
class _Sent:
    """A stream whose messages were handed to the producer and are not yet marked as published in the store."""

    version: int  # all messages up to this one were handed over
    in_flight: set[int]  # versions not yet acknowledged


@dataclass
class Outbox:
    """Stands between the event store and the producer. After a failure it reads messages from the store; meanwhile it drops
    new ones, because it will read them too."""

    store: OutboxStore
    service: str
    producer: OrderedProducer
    _sent: dict[Stream, _Sent] = field(default_factory=dict)
    _is_behind: asyncio.Event = field(default_factory=asyncio.Event)

    async def publish(self, messages: Sequence[StoredMessage]) -> None:
        """Hands these to the producer, each stream's in order. Leaves out those that were handed over before."""
        if self._is_behind.is_set() or not self.producer.healthy:
            return
        if fresh := [stored for stored in messages if self._is_new(stored)]:
            await self.producer.publish(fresh)

    def _is_new(self, stored: StoredMessage) -> bool:
        sent = self._sent.get(stored.stream)
        if sent is None:
            self._sent[stored.stream] = _Sent(stored.version, {stored.version})
            return True
        if stored.version <= sent.version:
            return False
        sent.version = stored.version
        sent.in_flight.add(stored.version)
        return True

    def acknowledged_version(self, stream: Stream) -> int:
        """The version up to which all of the stream is acknowledged; 0 if that is unknown, or if the store knows it already."""
        self._take_acknowledged()
        sent = self._sent.get(stream)
        return 0 if sent is None or sent.in_flight else sent.version

    def marked_published(self, stream: Stream, version: int) -> None:
        """Notes that the store knows this stream as published up to this version."""
        sent = self._sent.get(stream)
        if sent is not None and not sent.in_flight and sent.version == version:
            del self._sent[stream]

    def _take_acknowledged(self) -> None:
        for stream, version in self.producer.take_acknowledged():
            if (sent := self._sent.get(stream)) is not None:
                sent.in_flight.discard(version)

    def failed(self) -> None:
        """The producer lost the messages in flight: their streams are read from the store and published again, in order."""
        self._is_behind.set()
        self._take_acknowledged()
        self._sent = {stream: sent for stream, sent in self._sent.items() if not sent.in_flight}

    async def keep_marking(self, every: float) -> None:
        """Marks published messages that no append has marked."""
        while True:
            await asyncio.sleep(every)
            await self.mark_acknowledged()

    async def mark_acknowledged(self) -> None:
        self._take_acknowledged()
        versions = {stream: sent.version for stream, sent in self._sent.items() if not sent.in_flight}
        if versions:
            try:
                await self.store.mark_published(versions)
            except StoreUnavailable:
                return
            for stream, version in versions.items():
                self.marked_published(stream, version)

    async def keep_publishing(self, every: float, age: float) -> None:
        """Publishes unacknowledged messages: at once after a failure, and those stored `age` seconds ago by any process."""
        backoff = Backoff(most=2.0)
        while True:
            try:
                if self._is_behind.is_set():
                    await self._catch_up()
                await self._publish_older_than(age)
                backoff.reset()
                with suppress(TimeoutError):
                    await within(every, self._is_behind.wait())
            except StoreUnavailable:
                await backoff.wait()

    async def _catch_up(self) -> None:
        while not self.producer.healthy:
            await asyncio.sleep(POLL)
        self._is_behind.clear()
        await self._publish_older_than(0)

    async def _publish_older_than(self, age: float) -> None:
        left = await self.store.unpublished(self.service, age, PAGE)
        while left and not self._is_behind.is_set():
            await self.publish(left)
            await self._drain()
            if len(left) < PAGE:
                return
            left = await self.store.unpublished(self.service, age, PAGE)

    async def _drain(self) -> None:
        """Waits until all of it is acknowledged and marked, so that the store's next page is a new one."""
        while self.producer.in_flight and not self._is_behind.is_set():
            await asyncio.sleep(POLL / 10)
        await self.mark_acknowledged()
