"""One firing each, whatever comes in which order."""

from datetime import timedelta
from itertools import permutations

import pytest

from contracts.message import Message
from contracts.timers import CancelTimer, DeadlinePassed, SetTimer, TimerCancelled, TimerSet
from services.timers.app import build
from services.timers.decider import timers
from shared.decider import Woken
from shared.settings import Settings
from tests.told import HERE, NOON, told

NAME = "planner/deadline"
asked = SetTimer(timer=NAME, at=NOON)
set_ = TimerSet(timer=NAME, at=NOON)
fired = DeadlinePassed(timer=NAME, due=NOON)
call_off = CancelTimer(timer=NAME)
called_off = TimerCancelled(timer=NAME)


def test_a_timer_asked_for_is_set() -> None:
    assert told(timers, [], asked) == [set_]


def test_only_a_timer_that_waits_wants_to_be_woken() -> None:
    assert timers.wake_at(timers.fold([])) is None
    assert timers.wake_at(timers.fold([set_])) == NOON
    assert timers.wake_at(timers.fold([set_, fired])) is None
    assert timers.wake_at(timers.fold([set_, called_off])) is None


def test_when_its_time_has_come_it_fires() -> None:
    assert told(timers, [set_], Woken()) == [fired]


def test_a_timer_fires_once() -> None:
    assert told(timers, [set_, fired], Woken()) == []


def test_what_was_called_off_never_fires() -> None:
    assert told(timers, [set_], call_off) == [called_off]
    assert told(timers, [set_, called_off], Woken()) == []


def test_a_timer_called_off_before_it_was_asked_for_is_never_set() -> None:
    assert told(timers, [], call_off) == [called_off]
    assert told(timers, [called_off], asked) == []


def test_what_has_fired_cannot_be_called_off() -> None:
    assert told(timers, [set_, fired], call_off) == []


def test_a_timer_is_set_once_and_not_moved() -> None:
    assert told(timers, [set_], SetTimer(timer=NAME, at=NOON + timedelta(hours=1))) == []


def test_nothing_wakes_a_timer_that_nobody_asked_for() -> None:
    assert told(timers, [], Woken()) == []


@pytest.mark.parametrize("heard", list(permutations([asked, asked, call_off, Woken(), Woken()])))
def test_in_any_order_it_fires_once_at_most_and_never_after_it_was_called_off(heard: tuple[Message, ...]) -> None:
    said: list[Message] = []
    for message in heard:
        said += told(timers, said, message, HERE)
    ends = [one for one in said if isinstance(one, DeadlinePassed | TimerCancelled)]
    assert len(ends) == 1


def test_its_stream_is_the_timers_name() -> None:
    service = build(Settings())
    assert service.stream(asked) == service.stream(call_off) == "timers/planner/deadline"
