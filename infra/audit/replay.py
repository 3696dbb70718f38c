"""Prepares stored messages to be published again, on another topic, marked as replayed. Pure, but for reading them."""

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase

from contracts.catalog import Topics
from hansard.envelope import Envelope, rfc3339
from hansard.identity import source_of
from infra.audit.text import short
from shared.eventstore.model import StoredMessage
from shared.eventstore.ports import MessageReader


class Forbidden(ValueError):
    """The topic is in the catalogue: services would process the replayed messages as new ones."""


@dataclass(frozen=True)
class Choice:
    """Conditions that a message must all meet. `kinds`: CloudEvents types, short names (`model-replied`) or wildcards."""

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
    """The topic's name at the broker, unchanged. Raises Forbidden for one of the catalogue, with its prefix or without."""
    if topic in topics.by_name or topic.removeprefix(prefix) in topics.by_name:
        raise Forbidden(f"{topic} is a topic of the catalogue: services would process the replayed messages as new")
    return topic


def envelope(stored: StoredMessage, now: datetime) -> Envelope:
    """The envelope as it was published, marked as replayed."""
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


async def messages(
    store: MessageReader, choice: Choice, passed: Callable[[int], object] = lambda count: None
) -> AsyncIterator[StoredMessage]:
    """The chosen messages, in the order of the record. `passed` is called with the number read, chosen or not."""
    async for batch in store.read_all():
        for stored in _taken(batch, choice):
            yield stored
        passed(len(batch))


def _taken(batch: list[StoredMessage], choice: Choice) -> Iterator[StoredMessage]:
    return (stored for stored in batch if choice.takes(stored))
