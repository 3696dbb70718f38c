"""Kafka as the console uses it: publish at a door, read any topic from any position. Never as a member of a group."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, TypeVar

from hansard.envelope import TENANT, Envelope, Unreadable, headers, read
from hansard.identity import door_causation_id, source_of
from hansard.refusals import not_allowed, why_away
from infra.audit.forged import forged
from infra.audit.rebuild import place
from infra.cli import screen
from infra.cli.problem import Problem
from shared.eventstore.model import StoreUnavailable
from shared.eventstore.ports import MessageReader
from shared.kafka.admin import create_topic
from shared.kafka.connection import connection
from shared.kafka.direct import DirectProducer
from shared.kafka.errors import KafkaConnectionError, KafkaError, UnknownTopicOrPartitionError
from shared.kafka.reader import Reader, Start, read_record, reading
from shared.kafka.record import Record
from shared.settings import Settings

SOURCE = source_of("console")
NAMED = 10  # messages that are not on the record, of a listener, that are named one by one
T = TypeVar("T")


@dataclass(frozen=True)
class ReceivedMessage:
    """A record, with what could be parsed of it. `door`: whether its topic is open to the outside."""

    record: Record
    door: bool

    @cached_property
    def envelope(self) -> Envelope | None:
        try:
            return read(self.record.value, self.record.headers)
        except Unreadable:
            return None

    @cached_property
    def data(self) -> Any:
        """The body as JSON; None where it is not JSON."""
        try:
            return json.loads(self.envelope.data) if self.envelope else None
        except (ValueError, RecursionError):
            return None

    @property
    def causation_id(self) -> str:
        """The causation id of the messages that answer this one."""
        if self.envelope is None:
            return ""
        envelope = self.envelope
        if not self.door:
            return envelope.id
        return str(door_causation_id(envelope.tenant, self.record.topic, envelope.source, envelope.id))

    @property
    def order(self) -> tuple[datetime, str, int, int]:
        """By time; messages of the same time in the order of their stream."""
        known = self.envelope
        return self.at, known.subject if known else "", known.sequence if known else 0, self.record.offset

    @property
    def at(self) -> datetime:
        """When it was stored; at a door, when the broker received it."""
        stored = self.envelope.time if self.envelope and not self.door else None
        return stored or self.record.at


class Bus:
    """The console's connection to Kafka: `async with Bus(settings) as bus`. Raises Problem where Kafka refuses."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._producer = DirectProducer(settings)

    async def __aenter__(self) -> "Bus":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._producer.close()

    async def publish(self, topic: str, envelope: Envelope) -> None:
        """Publishes one message, in binary mode, keyed by its workflow; returns when every broker in sync has it."""
        await self.put(topic, envelope.correlation_id.encode(), envelope.data, headers(envelope))

    async def put(self, topic: str, key: bytes | None, value: bytes | None, raw: Sequence[tuple[str, bytes]]) -> None:
        """Publishes these bytes as they are."""
        acknowledged = await self.send(topic, key, value, raw)
        with reached(self.settings):
            await acknowledged

    async def send(
        self, topic: str, key: bytes | None, value: bytes | None, raw: Sequence[tuple[str, bytes]]
    ) -> "asyncio.Future[Any]":
        """The same, in the order of the calls, without waiting: what it returns is done when the brokers have it."""
        with reached(self.settings):
            return await self._producer.send(topic, key, value, raw)

    @contextlib.asynccontextmanager
    async def listen(
        self, topics: Iterable[str], start: Start = "end", beginning: Iterable[str] = (), record: MessageReader | None = None
    ) -> AsyncIterator["Listener"]:
        """Reads these topics. When entered, its position is fixed: what is published from then on is received.

        `beginning` names topics that are read from their first record all the same. With a `record`, a message on an internal
        topic that is not on it is left out, and named on standard error.
        """
        async with contextlib.AsyncExitStack() as opened:
            with reached(self.settings):
                reader = await opened.enter_async_context(reading(self.settings, topics, start, from_beginning=beginning))
            yield Listener(reader, self.settings, record)


@dataclass
class Listener:
    """Receives messages in batches, each in order of time."""

    reader: Reader
    settings: Settings
    record: MessageReader | None = None
    _left_out: int = 0

    async def batch(self, timeout: float = 0.2) -> list[ReceivedMessage]:
        """What has come by now; empty when nothing comes within `timeout` seconds."""
        with reached(self.settings):
            records = await self.reader.poll(timeout)
        return sorted(map(self._received, await self._on_record(records)), key=lambda message: message.order)

    async def extent(self) -> int:
        """How many records there are now, about."""
        return await self.reader.count()

    async def to_the_end(self) -> AsyncIterator[ReceivedMessage]:
        """All there is now, in order by partition; then ends."""
        async for some in batches(self.reader.to_the_end(), 1000):
            for record in await self._on_record(some):
                yield self._received(record)

    async def _on_record(self, records: Sequence[Record]) -> Sequence[Record]:
        if self.record is None or not records:
            return records
        try:
            bad = set(map(place, await forged(records, self.settings.topics, self.record)))
        except StoreUnavailable as away:
            raise Problem(f"Postgres does not answer ({away}): nothing more can be compared with the record.") from away
        for one in sorted(bad)[: max(NAMED - self._left_out, 0)]:
            screen.note(f"left out: {one} is not on the record. `hansard audit verify --against-kafka` names all such messages.")
        self._left_out += len(bad)
        return [record for record in records if place(record) not in bad] if bad else records

    def _received(self, record: Record) -> ReceivedMessage:
        topic = self.settings.topics.by_name.get(record.topic)
        return ReceivedMessage(record, topic is not None and topic.door)


async def batches(source: AsyncIterator[T], size: int) -> AsyncIterator[list[T]]:
    """The same items, `size` at a time."""
    some: list[T] = []
    async for one in source:
        some.append(one)
        if len(some) == size:
            yield some
            some = []
    if some:
        yield some


@contextlib.contextmanager
def reached(settings: Settings) -> Iterator[None]:
    """Turns Kafka's errors into a Problem."""
    try:
        yield
    except UnknownTopicOrPartitionError as missing:
        raise Problem("The topics are not there: `hansard topics` makes them.") from missing
    except KafkaConnectionError as failed:
        why = f" ({why})" if (why := _why(settings)) else ""
        raise Problem(f"Kafka at {settings.kafka} does not answer{why}. `hansard doctor` looks closer.") from failed
    except (KafkaError, OSError) as failed:
        if lacking := not_allowed(failed, settings.kafka_username):
            raise Problem(f"Kafka refuses: {lacking}.") from failed
        raise Problem(f"Kafka at {settings.kafka} refuses ({failed!r}). `hansard doctor` looks closer.") from failed


def _why(settings: Settings) -> str:
    """Why the brokers do not take us; asked in a loop of its own, since the caller's may run."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(why_away(connection(settings)))).result()


def request(id_: str, kind: str, data: bytes, *, workflow: str = "", tenant: str = "", at: datetime | None = None) -> Envelope:
    """A message of the console's for a door. Raises ValueError for one that the door could not read."""
    made = Envelope(
        id=id_,
        source=SOURCE,
        type=kind,
        data=data,
        correlation_id=workflow or id_,
        tenant=tenant or TENANT,
        time=at or datetime.now(UTC),
    )
    read(made.data, headers(made))
    return made


async def record_at(settings: Settings, topic: str, partition: int, offset: int) -> Record | None:
    """The record at this offset; None where it is no longer there. Raises Problem."""
    with reached(settings):
        return await read_record(settings, topic, partition, offset)


async def make_topic(settings: Settings, topic: str, partitions: int = 1) -> bool:
    """Creates a topic of exactly this name (no prefix), where there is none yet. Whether it was created. Raises Problem."""
    with reached(settings):
        return await create_topic(settings, topic, partitions)
