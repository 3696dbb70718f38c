"""The words about time. A deadline ends where `DeadlinePassed` stands in the record, whatever any clock says."""

from pydantic import AwareDatetime, Field

from contracts.message import Command, Event, Path


class SetTimer(Command):
    kind = "hansard.timers.set.v1"
    timer: Path = Field(description="the asking stream and a name: `planner/deadline`")
    at: AwareDatetime


class CancelTimer(Command):
    """Calls a timer off. One that overtakes its `SetTimer` is remembered."""

    kind = "hansard.timers.cancel.v1"
    timer: Path


class TimerSet(Event):
    kind = "hansard.timers.timer-set.v1"
    timer: Path
    at: AwareDatetime


class TimerCancelled(Event):
    kind = "hansard.timers.timer-cancelled.v1"
    timer: Path


class DeadlinePassed(Event):
    kind = "hansard.timers.deadline-passed.v1"
    once = "stream"
    timer: Path
    due: AwareDatetime
