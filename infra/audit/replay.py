"""Says recorded events again, somewhere else, marked as said again. Pure, but for the publishing."""

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase

from contracts.envelope import Envelope, rfc3339
from contracts.topics import Topics
from infra.audit.words import short
from shared.store.record import Said, Store


class Forbidden(ValueError):
    """A replay into a topic of the table would be heard as if it were new."""


@dataclass(frozen=True)
class Choice:
    """Which events: all that apply. `kinds` are CloudEvents types, in short (`model-replied`) or with wildcards."""

    since: datetime | None = None
    until: datetime | None = None
    kinds: tuple[str, ...] = ()
    workflow: str = ""

    def takes(self, said: Said) -> bool:
        if self.workflow and said.stream.workflow != self.workflow:
            return False
        if said.at is not None and ((self.since and said.at < self.since) or (self.until and said.at >= self.until)):
            return False
        return not self.kinds or any(fnmatchcase(name, kind) for kind in self.kinds for name in (said.kind, short(said.kind)))


def allowed(topic: str, topics: Topics, prefix: str) -> str:
    """The topic's name at the broker, as it is given. Raises Forbidden for one of the table, with its prefix or without."""
    if topic in topics.by_name or topic.removeprefix(prefix) in topics.by_name:
        raise Forbidden(f"{topic} is a topic of the table: what is replayed there would be heard as new")
    return topic


def envelope(said: Said, now: datetime) -> Envelope:
    """The event as it was published, marked as replayed."""
    return Envelope(
        id=str(said.id),
        source=f"/hansard/{said.stream.service}",
        type=said.kind,
        data=said.data,
        correlationid=said.stream.workflow,
        tenant=said.stream.tenant,
        subject=said.stream.name,
        time=said.at,
        causationid=str(said.cause),
        traceparent=said.traceparent,
        sequence=said.version,
        datahash=said.hash.hex(),
        replayed=rfc3339(now),
    )


async def events(store: Store, choice: Choice, passed: Callable[[int], object] = lambda events: None) -> AsyncIterator[Said]:
    """What is chosen, in the order of the record. `passed` is told of events, chosen or not, as they are done with."""
    async for batch in store.everything():
        for said in _taken(batch, choice):
            yield said
        passed(len(batch))


def _taken(batch: list[Said], choice: Choice) -> Iterator[Said]:
    return (said for said in batch if choice.takes(said))
