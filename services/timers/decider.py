"""One stream a timer."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import assert_never

from contracts.message import Message
from contracts.timers import CancelTimer, DeadlinePassed, SetTimer, TimerCancelled, TimerSet
from shared.decider import Context, Decider, Woken


@dataclass(frozen=True, slots=True)
class Unset: ...


@dataclass(frozen=True, slots=True)
class Pending:
    timer: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Done: ...


Timer = Unset | Pending | Done


def decide(timer: Timer, heard: Message, _: Context) -> Iterable[Message]:
    match timer:
        case Unset():
            match heard:
                case SetTimer(timer=name, at=at):
                    yield TimerSet(timer=name, at=at)
                case CancelTimer(timer=name):
                    yield TimerCancelled(timer=name)
                case _:
                    pass

        case Pending(name, at):
            match heard:
                case Woken():
                    yield DeadlinePassed(timer=name, due=at)
                case CancelTimer():
                    yield TimerCancelled(timer=name)
                case _:
                    pass

        case Done():
            pass

        case _:
            assert_never(timer)


def evolve(timer: Timer, said: Message) -> Timer:
    match said:
        case TimerSet(timer=name, at=at):
            return Pending(name, at)
        case TimerCancelled() | DeadlinePassed():
            return Done()
        case _:
            return timer


def wake_at(timer: Timer) -> datetime | None:
    return timer.at if isinstance(timer, Pending) else None


timers: Decider[Timer] = Decider(Unset(), decide, evolve, wake_at)
