"""A service is a pure function: its messages follow from those that it has stored and those that it receives."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

from hansard.message import DeadReason, Event, Message

State = TypeVar("State")


@dataclass(frozen=True, slots=True)
class Context:
    """The facts that a decision may use besides the message. All are recorded, so they are the same when it is decided again."""

    causation_id: UUID  # the id of the message that is decided; messages stored because of it carry this id
    at: datetime  # recorded time of this decision
    workflow: str
    tenant: str
    source: str = ""  # the sender: proven for a message of the deployment's services, a claim at a door
    message_id: str = ""  # CloudEvents id as the sender wrote it
    may_perform: bool = True  # whether a slot for an attempt is free; an audit infers this from a stored intent
    topic: str = ""  # the door at which it was received, which is proven; "" for a message of the deployment's services


class CannotProcess(Exception):
    """Raised by a decision for a message that it cannot process: it is recorded as a dead letter with this reason."""

    def __init__(self, reason: DeadReason, detail: str) -> None:
        super().__init__(detail)
        self.reason: DeadReason = reason
        self.detail = detail


class WakeUp(Event):
    """Received by a stream when its time has come, or when the process that worked on it has fallen silent."""

    kind = "hansard.runtime.wake-up.v1"


def never(_: object) -> datetime | None:
    return None


@dataclass(frozen=True)
class Decider(Generic[State]):
    """`decide(state, message, context) -> messages` and `evolve(state, message) -> state`, both pure; `State` is immutable.

    `wake_at(state)` is the time at which this stream receives its next `WakeUp` (None: never).
    `policy` is the version of the rules; every inbox entry records it.
    """

    initial: State
    decide: Callable[[State, Message, Context], Iterable[Message]]
    evolve: Callable[[State, Message], State]
    wake_at: Callable[[State], datetime | None] = never
    policy: str = "1"

    def fold(self, messages: Iterable[Message], state: State | None = None) -> State:
        """The state after these messages. A dead letter for which `evolve` raises or gives None changes nothing."""
        folded = self.initial if state is None else state
        for message in messages:
            try:
                evolved = self.evolve(folded, message)
            except (Exception, SystemExit):  # `evolve` is a service's own code: it may raise anything
                if not message.by_runtime:
                    raise
                continue
            if evolved is not None or not message.by_runtime:
                folded = evolved
        return folded

    def next_wake_up(self, state: State) -> datetime | None:
        """What `wake_at` gives for this state. Raises ValueError where that is no time, and what `wake_at` raises."""
        at = self.wake_at(state)
        if at is None or (isinstance(at, datetime) and at.utcoffset() is not None):
            return at
        raise ValueError(f"wake_at must give an aware datetime or None, not {repr(at)[:80]}")
