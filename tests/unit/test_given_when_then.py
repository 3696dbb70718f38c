"""What `hansard.testing` finds out about a decider and a service."""

from collections.abc import Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import pytest

from hansard import CannotProcess, Command, Context, Decider, Event, Intent, Message, Outcome, Performer, Service, Topic, WakeUp
from hansard.testing import NOON, InMemory, given

MINUTE = timedelta(minutes=1)


class Ask(Command):
    kind = "test.bell.ask.v1"
    text: str = ""


class Asked(Event):
    kind = "test.bell.asked.v1"
    text: str
    number: int = 0


class Ring(Intent):
    kind = "test.bell.ring.v1"


class Rung(Outcome):
    kind = "test.bell.rung.v1"
    loud: bool


@dataclass(frozen=True)
class Bell:
    asked: int = 0
    wake_at: datetime | None = None


def decide(bell: Bell, message: Message, context: Context) -> Iterable[Message]:
    match message:
        case Ask(text="nobody"):
            raise CannotProcess("not-expected", "there is nobody")
        case Ask(text="ring"):
            yield Ring(attempt=1, safety="safe", key="k", deadline=context.at + MINUTE)
        case Ask(text=text):
            yield Asked(text=text, number=bell.asked + 1)
        case Rung(loud=loud):
            yield Asked(text=f"loud: {loud}")
        case WakeUp():
            yield Asked(text="awake")


def evolve(bell: Bell, stored: Message) -> Bell:
    match stored:
        case Asked(text="wait"):
            return replace(bell, asked=bell.asked + 1, wake_at=NOON + MINUTE)
        case Asked(text="awake"):
            return replace(bell, wake_at=None)
        case Ring(deadline=deadline):
            return replace(bell, wake_at=deadline)
        case Asked():
            return replace(bell, asked=bell.asked + 1, wake_at=None)
        case _:
            return bell


bell = Decider(Bell(), decide, evolve, wake_at=lambda bell: bell.wake_at)


@asynccontextmanager
async def opened(context: Any) -> Any:
    async def perform(state: Bell, intent: Ring, stream: object) -> Rung:
        assert context.now() == NOON and (await context.load([stream]))[0] == state
        return Rung(attempt=intent.attempt, loud=True)

    yield perform


service = Service("bell", bell, {Ask: lambda _: "", Rung: lambda _: ""}, performer=Performer(Ring, opened))


def test_what_was_decided_is_compared_as_a_whole_and_in_order() -> None:
    given(bell).when(Ask(text="a")).then(Asked(text="a", number=1)).when(Ask(text="b")).then(Asked(text="b", number=2))
    given(bell, Asked(text="a")).when(Ask(text="b")).then(Asked)
    for expected in ((), (Asked(text="b", number=1),), (Asked, Asked), (Ask,)):
        with pytest.raises(AssertionError, match="something else was decided"):
            given(bell).when(Ask(text="a")).then(*expected)


def test_a_decider_with_a_memory_of_its_own_is_found_out() -> None:
    numbers = count()
    impure = Decider(Bell(), lambda *_: [Asked(text="a", number=next(numbers))], evolve)
    with pytest.raises(AssertionError, match="decided in two ways"):
        given(impure).when(Ask())


def test_a_message_that_its_own_json_does_not_give_back_is_found_out() -> None:
    class Sized(Event):
        kind = "test.bell.sized.v1"
        size: Any

    with pytest.raises(AssertionError, match="comes back from its JSON"):
        given(Decider(None, lambda *_: [Sized(size=(1, 2))], lambda *_: None)).when(Ask())


def test_a_refusal_is_expected_by_its_reason() -> None:
    given(bell).when(Ask(text="nobody")).then_refused("not-expected")
    with pytest.raises(AssertionError, match="refused as not-expected"):
        given(bell).when(Ask(text="nobody")).then_refused("invalid")
    with pytest.raises(AssertionError, match="was not refused"):
        given(bell).when(Ask(text="a")).then_refused("invalid")
    with pytest.raises(AssertionError, match="there is nobody"):
        given(bell).when(Ask(text="nobody")).then()


def test_a_wake_up_comes_when_the_stream_asked_for_it() -> None:
    decided = given(bell, Asked(text="wait")).when(WakeUp())
    assert decided.context.at == NOON + MINUTE and decided.wake_at is None
    with pytest.raises(AssertionError, match="asks for no wake-up"):
        given(bell).when(WakeUp())
    restless = replace(bell, wake_at=lambda _: NOON)
    with pytest.raises(AssertionError, match="which is no later"):
        given(restless, Asked(text="wait")).when(WakeUp())


def test_time_goes_on_from_message_to_message() -> None:
    later = given(bell).when(Ask(text="ring"), at=MINUTE).then(Ring).when(Ask(text="ring"), at=2 * MINUTE)
    [ring] = later.messages
    assert isinstance(ring, Ring) and ring.deadline == NOON + 4 * MINUTE


async def test_a_performer_makes_the_attempts_that_are_stored() -> None:
    there = InMemory(service)
    assert [type(message) for message in there.send(Ask(text="ring"))] == [Ring]
    assert await there.perform() == (Asked(text="loud: True"),)
    assert await there.perform() == ()


def test_services_receive_what_the_others_publish() -> None:
    def echo(_: object, message: Message, __: Context) -> Iterable[Message]:
        yield Ask(text=f"echo of {message.text}") if message.text == "a" else Asked(text="done")  # type: ignore[attr-defined]

    other = Service("echo", Decider(None, echo, lambda *_: None), {Asked: lambda _: "one"})
    there = InMemory(service, other)
    assert [getattr(message, "text", "") for message in there.send(Ask(text="a"))] == ["a", "echo of a", "echo of a", "done"]
    assert len(there.messages("echo/one")) == 2 and there.state("bell").asked == 2


def test_the_clock_stands_still_until_it_is_moved() -> None:
    there = InMemory(service)
    there.send(Ask(text="wait"))
    assert there.advance(MINUTE / 2) == () and there.now == NOON + MINUTE / 2
    assert there.advance(to=NOON + 2 * MINUTE) == (Asked(text="awake"),) and there.now == NOON + 2 * MINUTE


def test_a_kind_that_no_topic_of_the_service_carries_is_found_out() -> None:
    tidy = replace(service, topics=(Topic("bell.events", "", (Ring,), ("bell",)),))
    with pytest.raises(LookupError, match=r"no topic to publish test\.bell\.asked\.v1"):
        InMemory(tidy).send(Ask(text="a"))


def test_services_that_answer_each_other_for_ever_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hansard.memory.MOST", 50)
    ping = Service("ping", Decider(None, lambda *_: [Asked(text="")], lambda *_: None), {Ask: lambda _: ""})
    pong = Service("pong", Decider(None, lambda *_: [Ask()], lambda *_: None), {Asked: lambda _: ""})
    with pytest.raises(AssertionError, match="for ever"):
        InMemory(ping, pong).send(Ask())
