"""A service is a pure function: what it says follows from what it has said and what it hears."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from typing import Generic, TypeVar
from uuid import UUID

from hansard.message import DeadReason, Event, Message

State = TypeVar("State")


@dataclass(frozen=True, slots=True)
class Context:
    """What a decision may know besides the message: recorded facts only, the same at every hearing."""

    id: UUID  # the cause id of this hearing
    at: datetime  # recorded time of this decision
    workflow: str
    tenant: str
    source: str = ""  # who says so: proven for a message of ours, a claim at a door
    message_id: str = ""  # CloudEvents id as the sender wrote it
    may_perform: bool = True  # a slot is free: an intent that is said now is performed now. On record by what was said


class CannotProcess(Exception):
    """Raised by a decision for what cannot be heard as it stands: it is recorded as a dead letter with this reason."""

    def __init__(self, reason: DeadReason, detail: str) -> None:
        super().__init__(detail)
        self.reason: DeadReason = reason
        self.detail = detail


class WakeUp(Event):
    """The time at which a stream wanted to be woken has come; or whoever worked on it has fallen silent."""

    kind = "hansard.runtime.woken.v1"


def never(_: object) -> datetime | None:
    return None


@dataclass(frozen=True)
class Decider(Generic[State]):
    """`decide(state, heard, context) -> said`, `evolve(state, said) -> state`, both pure; `State` is immutable.

    `wake_at` tells from the state when this stream wants to hear `Woken` next (None: not at all).
    `policy` names the version of the rules; it goes on the record with every hearing.
    """

    initial: State
    decide: Callable[[State, Message, Context], Iterable[Message]]
    evolve: Callable[[State, Message], State]
    wake_at: Callable[[State], datetime | None] = never
    policy: str = "1"

    def fold(self, message: Iterable[Message], state: State | None = None) -> State:
        return reduce(self.evolve, message, self.initial if state is None else state)
