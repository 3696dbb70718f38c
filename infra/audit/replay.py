"""Says recorded events again, somewhere else, marked as said again. Pure, but for the publishing."""

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase

from contracts.catalog import Topics
from hansard.envelope import Envelope, rfc3339
from hansard.identity import source_of
from infra.audit.words import short
from shared.eventstore.model import StoredMessage
from shared.eventstore.ports import MessageReader


class Forbidden(ValueError):
    """A replay into a topic of the table would be heard as if it were new."""


@dataclass(frozen=True)
class Choice:
    """Which events: all that apply. `kinds` are CloudEvents types, in short (`model-replied`) or with wildcards."""

    since: datetime | None = None
    until: datetime | None = None
    kinds: tuple[str, ...] = ()
    workflow: str = ""

    def takes(self, stored: StoredMessage) -> bool:
        if self.workflow and stored.stream.workflow != self.workflow:
            return False
        if stored.at is not None and ((self.since and stored.at < self.since) or (self.until and stored.at >= self.until)):
            return False
        return not self.kinds or any(fnmatchcase(name, kind) for kind in self.kinds for name in (stored.kind, short(stored.kind)))


def allowed(topic: str, topics: Topics, prefix: str) -> str:
    """The topic's name at the broker, as it is given. Raises Forbidden for one of the table, with its prefix or without."""
    if topic in topics.by_name or topic.removeprefix(prefix) in topics.by_name:
        raise Forbidden(f"{topic} is a topic of the table: what is replayed there would be heard as new")
    return topic


def envelope(stored: StoredMessage, now: datetime) -> Envelope:
    """The event as it was published, marked as replayed."""
    return Envelope(
        id=str(stored.id),
        source=source_of(stored.stream.service),
        type=stored.kind,
        data=stored.data,
        correlation_id=stored.stream.workflow,
        tenant=stored.stream.tenant,
        subject=stored.stream.name,
        time=stored.at,
        causation_id=str(stored.causation_id),
        traceparent=stored.traceparent,
        sequence=stored.version,
        datahash=stored.hash.hex(),
        replayed=rfc3339(now),
    )


async def events(
    store: MessageReader, choice: Choice, passed: Callable[[int], object] = lambda events: None
) -> AsyncIterator[StoredMessage]:
    """What is chosen, in the order of the record. `passed` is told of events, chosen or not, as they are done with."""
    async for batch in store.read_all():
        for stored in _taken(batch, choice):
            yield stored
        passed(len(batch))


def _taken(batch: list[StoredMessage], choice: Choice) -> Iterator[StoredMessage]:
    return (stored for stored in batch if choice.takes(stored))
