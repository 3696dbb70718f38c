"""One stream for each action that is reviewed over HTTP. Pure."""

from collections.abc import Iterable

from contracts.approval import ReviewByIdentity
from hansard.decider import Context, Decider
from hansard.message import Message
from services.edge.facts import ReviewGiven


def decide(_: None, message: Message, context: Context) -> Iterable[Message]:
    if isinstance(message, ReviewGiven):
        yield ReviewByIdentity(review=message.review, identity=message.identity)


def evolve(_: None, message: Message) -> None:
    """Whether a review was given before, its name tells: see `hansard.PerformerContext.record`."""


edge: Decider[None] = Decider(None, decide, evolve, policy="1")
