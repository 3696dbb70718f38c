"""A service as data: see `hansard.service`. Here, what only a service of ours may ask of its process."""

from collections.abc import Sequence
from typing import Protocol

from hansard.identity import Stream
from hansard.service import Perform, Performer, Service
from hansard.service import PerformerContext as PublicContext
from shared.eventstore.model import StoredMessage


class PerformerContext(PublicContext, Protocol):
    """The public one, and the index of answers."""

    async def remember(self, answers: Sequence[tuple[bytes, Stream]], keep: float) -> None:
        """See EventStore."""
        ...

    async def remembered(self, tenant: str, key: bytes, kind: str, unless: str = "") -> StoredMessage | None:
        """See EventStore."""
        ...


__all__ = ["Perform", "Performer", "PerformerContext", "Service"]
