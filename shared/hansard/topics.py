"""A topic as data. The catalogue consists of the project's topics and those of your own services."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from hansard.message import Message

Kind = type[Message]
EVERY_SERVICE = "*"  # stands for each service of the catalogue and each of the user's own


@dataclass(frozen=True)
class Topic:
    """One topic. Its key is the correlation id; nothing on it is ever compacted or, unless `retention_ms` says so, deleted."""

    name: str
    about: str
    kinds: tuple[Kind, ...]
    producers: tuple[str, ...] = ()
    consumers: tuple[str, ...] = ()
    door: bool = False  # open to the outside: the broker stamps its time, and a sender's statements are unproven
    retention_ms: int = -1

    @property
    def recorded(self) -> bool:
        """Whether its messages are in the event store. Others are kept for a while, and no decision uses them."""
        return self.retention_ms < 0


def extended(topics: Iterable[Topic], added: Iterable[Topic]) -> tuple[Topic, ...]:
    """The topics with the added ones. An added topic whose name exists adds only producers and consumers: its kinds stay.

    Raises ValueError for a kind whose name is that of another class in the topics.
    """
    found = {topic.name: topic for topic in topics}
    kinds = {kind.kind: kind for topic in found.values() for kind in topic.kinds}
    for topic in added:
        for kind in topic.kinds:
            if kinds.setdefault(kind.kind, kind) is not kind:
                raise ValueError(f"{topic.name}: the kind {kind.kind} is there already, as {kinds[kind.kind].__qualname__}")
        known = found.get(topic.name)
        if known is None:
            found[topic.name] = topic
        elif not set(topic.kinds) <= set(known.kinds):
            raise ValueError(f"{topic.name} is there already: a kind of your own needs a topic of your own")
        else:
            found[topic.name] = replace(
                known,
                producers=tuple(dict.fromkeys((*known.producers, *topic.producers))),
                consumers=tuple(dict.fromkeys((*known.consumers, *topic.consumers))),
            )
    return tuple(found.values())
