"""A worker that calls the outside: what it is about to do is stored before the call, what came of it after.

`decide` is pure, so it never calls anything itself. It publishes an *intent*; a *performer* makes the call and hands back an
*outcome*; the decider makes an answer of that. Where the process ends in between, the intent tells that an attempt was begun,
and its `safety` whether it may be made again. The stream wakes up at the intent's deadline, so no attempt is waited for in vain.
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from hansard import (
    Context,
    Decider,
    Event,
    Intent,
    Message,
    Outcome,
    Perform,
    Performer,
    PerformerContext,
    PerformTask,
    Service,
    Stream,
    TaskAnswered,
    TaskFailed,
    WakeUp,
    task_topics,
)
from hansard.testing import NOON, InMemory, given

PATIENCE = timedelta(seconds=10)
ATTEMPTS = 2
HEIGHTS = {"Dover": 6.2}  # stands for a service on the network


class LookUpTide(Intent):
    """Safe: to look something up twice does no harm. What must not be done twice is `keyed` or `never-repeat`."""

    kind = "tides.look-up.v1"
    asked: PerformTask


class TideLookedUp(Outcome):
    kind = "tides.looked-up.v1"
    metres: float | None


class TideMissed(Event):
    kind = "tides.missed.v1"


@dataclass(frozen=True)
class Question:
    asked: PerformTask | None = None
    attempts: int = 0
    until: datetime | None = None


def decide(question: Question, message: Message, context: Context) -> Iterable[Message]:
    match message:
        case PerformTask() if question.attempts == 0:
            yield look_up(message, 1, context)
        case TideLookedUp(metres=float(metres)) if question.asked:
            yield question.asked.answer(f"{metres} m", data={"metres": metres})
        case TideLookedUp() | WakeUp() if question.asked:
            yield TideMissed()
            if question.attempts < ATTEMPTS:
                yield look_up(question.asked, question.attempts + 1, context)
            else:
                yield question.asked.failure("no-answer", f"nothing came of {ATTEMPTS} attempts")


def look_up(asked: PerformTask, attempt: int, context: Context) -> LookUpTide:
    return LookUpTide(attempt=attempt, safety="safe", key=asked.task, deadline=context.at + PATIENCE, asked=asked)


def evolve(question: Question, stored: Message) -> Question:
    match stored:
        case LookUpTide(asked=asked, attempt=attempt, deadline=deadline):
            return Question(asked, attempt, deadline)
        case TaskAnswered() | TaskFailed():
            return replace(question, asked=None, until=None)
        case _:
            return question


@asynccontextmanager
async def opened(context: PerformerContext) -> AsyncIterator[Perform[Question, LookUpTide]]:
    """Entered once a process: open clients here, and close them after the `yield`."""

    async def perform(question: Question, intent: LookUpTide, stream: Stream) -> TideLookedUp:
        return TideLookedUp(attempt=intent.attempt, metres=HEIGHTS.get(intent.asked.goal))

    yield perform


tides = Decider(Question(), decide, evolve, wake_at=lambda question: question.until)
service = Service(
    "tides",
    tides,
    receives={PerformTask: lambda task: task.task if task.service == "tides" else None},
    performer=Performer(LookUpTide, opened),
    topics=task_topics("tides", facts=(LookUpTide, TideMissed)),
)

TASK = PerformTask(task="tide.1", service="tides", role="tides", goal="Dover", deadline=NOON + timedelta(hours=1))
FIRST = LookUpTide(attempt=1, safety="safe", key="tide.1", deadline=NOON + PATIENCE, asked=TASK)


def test_the_intent_is_stored_before_the_call() -> None:
    given(tides).when(TASK).then(FIRST)


def test_the_outcome_becomes_the_answer() -> None:
    given(tides, FIRST).when(TideLookedUp(attempt=1, metres=6.2)).then(TASK.answer("6.2 m", data={"metres": 6.2}))


def test_an_attempt_of_which_nothing_is_heard_is_made_again_once() -> None:
    second = given(tides, FIRST).when(WakeUp()).then(TideMissed(), LookUpTide)
    second.when(WakeUp(), at=PATIENCE).then(TideMissed(), TaskFailed)


async def test_the_whole_worker_in_memory() -> None:
    there = InMemory(service)
    assert there.send(TASK) == (FIRST,)
    assert await there.perform() == (TASK.answer("6.2 m", data={"metres": 6.2}),)

    elsewhere = TASK.model_copy(update={"task": "tide.2", "goal": "Bern"})
    there.send(elsewhere)
    assert [type(message) for message in await there.perform()] == [TideMissed, LookUpTide, TideMissed, TaskFailed]
