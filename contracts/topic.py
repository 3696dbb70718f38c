"""A topic of the catalogue: one row in `contracts/<service>/topics.py`."""

from dataclasses import dataclass

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
    door: bool = False  # open to the outside: the broker stamps its time, and what a sender states is unproven
    retention_ms: int = -1

    @property
    def recorded(self) -> bool:
        """Whether its messages are in the event store. Those that are not are kept for a while, and never decided on."""
        return self.retention_ms < 0
