"""A service as data: see `hansard.service`. Here, what only a service of ours may use of its process."""

from typing import Protocol

from hansard.service import Perform, Performer, Service
from hansard.service import PerformerContext as PublicContext
from shared.eventstore.ports import AnswerIndex


class PerformerContext(PublicContext, Protocol):
    """The public one, and the index of answers for the gateway's cache."""

    @property
    def answers(self) -> AnswerIndex: ...


__all__ = ["Perform", "Performer", "PerformerContext", "Service"]
