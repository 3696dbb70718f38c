"""Compares the tail of Kafka with the record, at every start, on a timer and on demand: rule 12 of the record.

Kafka may lose what it acknowledged: a broker's disk, an unclean election. The store has it all, so what is missing is
published again. The other way round, a restored store lacks what Kafka has; then a new epoch begins, and consumers wait until
the whole tail was compared, so that no genuine message is taken for a forged one.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from contracts.catalog import Topics
from shared.eventstore.model import LONG_AGO, StoredMessage
from shared.eventstore.ports import TailStore
from shared.kafka.tail import MARGIN, Copy, Place, Tail, copy_of, open_tail
from shared.settings import Settings

LOOKED_AT = 2_000  # of the newest messages on the record: a service's last ones are among them
IN_FLIGHT = timedelta(seconds=10)  # a message as young as this may still be on its way
PAGE = 500
SHOWN = 3


@dataclass(frozen=True)
class Unknown:
    """Messages on internal topics that are not on the record: forged, or stored before the store was restored."""

    count: int = 0
    places: tuple[str, ...] = ()  # the first ones: `planner.commands/0/17`

    def __str__(self) -> str:
        more = ", …" if self.count > len(self.places) else ""
        return f"{self.count} that are not on it ({', '.join(self.places)}{more})"


async def compare(settings: Settings, store: TailStore) -> Unknown:
    """Notes that the present epoch was compared with Kafka, if all that Kafka has is on the record. Raises as `unknown` does."""
    epoch = await store.epoch()
    found = await unknown(settings, store)
    if not found.count:
        await store.epoch_compared(epoch.epoch)
    return found


async def lost(settings: Settings, store: TailStore, service: str) -> list[StoredMessage]:
    """What Kafka has lost of this service's messages, judged by the last one in each partition. Raises KafkaError, OSError.

    It goes back until nothing is missing of the older half of what it looks at. It reads the topics of this service's messages
    alone: a service may read no others.
    """
    own = {topic.name for topic in settings.topics.all if service in topic.producers}
    async with open_tail(settings, [topic for topic in _internal(settings.topics) if topic in own]) as tail:
        newest = await _newest(store, service, tail)
        if not await tail.without({place: (_copy(one), _at(one)) for place, one in newest.items()}):
            return []
        window = PAGE
        while True:
            messages = [message async for message in _published(store, PAGE, window)]
            missing = await _missing(tail, messages, service)
            older = {message.id for message in messages[len(messages) // 2 :]}
            if len(messages) < window or not any(message.id in older for message in missing):
                return missing
            window *= 2


async def lost_since(settings: Settings, store: TailStore, since: datetime) -> list[StoredMessage]:
    """What Kafka has lost of the messages that any service recorded since then. Raises KafkaError, OSError."""
    messages: list[StoredMessage] = []
    async for page in store.read_published_back(batch=PAGE):
        messages += [message for message in page if _at(message) >= since]
        if page and all(_at(message) < since - MARGIN for message in page):
            break
    async with open_tail(settings, list(_internal(settings.topics))) as tail:
        return await _missing(tail, messages)


async def unknown(settings: Settings, store: TailStore) -> Unknown:
    """What Kafka has, from the time of the newest message on the record on, that is not on it.

    Raises NotAllReadable where a topic is not there or may not be read: what is on it would be passed over. Raises KafkaError,
    OSError.
    """
    newest = [one async for one in _published(store, page=1, at_most=1)]
    places: list[str] = []
    topics = list(_internal(settings.topics))
    async with open_tail(settings, topics, all_of_them=True) as tail:
        async for place in _unknown(store, tail, _at(newest[0]) if newest else LONG_AGO):
            places.append(place)
    return Unknown(len(places), tuple(places[:SHOWN]))


def _internal(topics: Topics) -> Iterator[str]:
    return (topic.name for topic in topics.all if topic.recorded and not topic.door)


def _at(message: StoredMessage) -> datetime:
    return message.at or LONG_AGO


async def _published(store: TailStore, page: int, at_most: int) -> AsyncIterator[StoredMessage]:
    """The newest messages of which the store knows that a broker acknowledged them, the newest first."""
    looked_at = 0
    async for messages in store.read_published_back(batch=page):
        for message in messages:
            yield message
        looked_at += page
        if looked_at >= at_most:
            return


async def _newest(store: TailStore, service: str, tail: Tail) -> dict[Place, StoredMessage]:
    """The last message of the service in each partition."""
    found: dict[Place, StoredMessage] = {}
    until = datetime.now(UTC) - IN_FLIGHT
    async for message in _published(store, PAGE, LOOKED_AT):
        if message.stream.service == service and _at(message) <= until:
            place = tail.place(message.topic, message.stream.workflow)
            if place is not None:
                found.setdefault(place, message)
    return found


async def _missing(tail: Tail, messages: Sequence[StoredMessage], service: str = "") -> list[StoredMessage]:
    """Those that are not in Kafka, of one service or of all, in order by stream."""
    there, until = await tail.copies(min(map(_at, messages), default=LONG_AGO)), datetime.now(UTC) - IN_FLIGHT
    found = (
        message
        for message in messages
        if _copy(message) not in there
        and _at(message) <= until
        and service in ("", message.stream.service)
        and tail.place(message.topic, message.stream.workflow) is not None
    )
    return sorted(found, key=lambda message: (message.stream, message.version))


async def _unknown(store: TailStore, tail: Tail, since: datetime) -> AsyncIterator[str]:
    """The places of the records since then that are not on the record."""
    chunk: dict[str, Copy] = {}
    async for record in tail.records(since):
        chunk[f"{record.topic}/{record.partition}/{record.offset}"] = copy_of(record)
        if len(chunk) == PAGE:
            for place in await _not_stored(store, chunk):
                yield place
            chunk = {}
    for place in await _not_stored(store, chunk):
        yield place


async def _not_stored(store: TailStore, copies: dict[str, Copy]) -> list[str]:
    ids = [id for copy in copies.values() if (id := _uuid(copy[2])) is not None]
    stored = {_copy(message) for message in (await store.find_messages(ids)).values()}
    return [place for place, copy in copies.items() if copy not in stored]


def _copy(message: StoredMessage) -> Copy:
    """What `copy_of` gives for the record as which this message is published."""
    stream = message.stream
    given = str(message.id), stream.name, f"{message.version:010}", message.kind
    return message.topic, stream.workflow, *given, message.hash.hex()


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
