"""One stream a task: attempts to make the entry, until it is there or the task's time is over. Pure.

    Awaiting     PostingStarted → Attempting · TaskFailed, TaskCancelled → Settled
    Attempting   EntryPosted and TaskAnswered, TaskFailed, TaskCancelled → Settled · PostingFailed → Waiting
    Waiting      PostingStarted → Attempting · TaskFailed, TaskCancelled → Settled

Each attempt has the same key, so it may be repeated: it finds the entry of the one before.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import assert_never

from contracts.ledger import Entry, EntryPosted, PostingFailed, PostingStarted
from hansard.decider import Context, Decider, WakeUp
from hansard.message import Message
from hansard.tasks import CancelTask, PerformTask, TaskAnswered, TaskCancelled, TaskFailed
from services.ledger.facts import PostingReturned
from services.ledger.posting import Unfit, check_approval

PATIENCE = timedelta(seconds=10)  # of one attempt
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=1), timedelta(seconds=30)  # after a failed attempt; each failure doubles it
LOST = "whoever made this attempt fell silent: the next one finds its entry, if there is one"


@dataclass(frozen=True, slots=True)
class Awaiting: ...


@dataclass(frozen=True, slots=True)
class Attempting:
    intent: PostingStarted


@dataclass(frozen=True, slots=True)
class Waiting:
    """Goes on at `resume_at`. `last`: the attempt before."""

    last: PostingStarted
    resume_at: datetime


@dataclass(frozen=True, slots=True)
class Settled:
    """`out`: the last attempt where the task ended without an entry: it may still come back with one."""

    out: int = 0


PostingState = Awaiting | Attempting | Waiting | Settled


def decide(state: PostingState, message: Message, context: Context) -> Iterable[Message]:
    match state:
        case Awaiting():
            return _when_awaiting(message, context)
        case Attempting(intent):
            return _when_attempting(intent, message, context)
        case Waiting(last):
            return _when_waiting(last, message, context)
        case Settled(out):
            return _when_settled(out, message)
        case _:
            assert_never(state)


def _when_awaiting(message: Message, context: Context) -> Iterator[Message]:
    match message:
        case PerformTask(approval=None):
            yield message.failure("internal", "the ledger carries out approved actions only, and this task has no approval")
        case PerformTask(approval=approval) if approval is not None:
            try:
                check_approval(approval)
            except Unfit as unfit:
                yield message.failure("internal", f"refused: {unfit}")
                return
            if context.at >= message.deadline:
                yield message.failure("deadline", "the task's time was over before it began: nothing was written")
                return
            yield PostingStarted(
                attempt=1,
                safety="keyed",
                key=approval.decision,
                deadline=min(message.deadline, context.at + PATIENCE),
                task=message.task,
                role=message.role,
                approval=approval,
                until=message.deadline,
            )
        case CancelTask(task=task):
            yield TaskCancelled(task=task)
        case _:
            pass


def _when_attempting(intent: PostingStarted, message: Message, context: Context) -> Iterator[Message]:
    match message:
        case PostingReturned(attempt=intent.attempt, entry=Entry() as entry):
            yield EntryPosted(task=intent.task, entry=entry)
            yield _answer(intent, entry)
        case PostingReturned(attempt=intent.attempt, refused=refused) if refused:
            yield _failure(intent, f"refused: {refused}")
        case PostingReturned(attempt=intent.attempt, failed=failed):
            yield from _after_failure(intent, failed, context.at + _wait(intent.attempt), context.at)
        case WakeUp():
            yield from _after_failure(intent, LOST, context.at, context.at)
        case CancelTask(task=task):
            yield TaskCancelled(task=task)
        case _:
            pass


def _when_waiting(last: PostingStarted, message: Message, context: Context) -> Iterator[Message]:
    match message:
        case WakeUp():
            yield _next(last, context.at)
        case CancelTask(task=task):
            yield TaskCancelled(task=task)
        case _:
            pass


def _when_settled(out: int, message: Message) -> Iterator[Message]:
    match message:
        case PostingReturned(attempt=attempt, entry=Entry() as entry) if attempt == out:
            yield EntryPosted(task=message.task, entry=entry, late=True)
        case _:
            pass


def _after_failure(intent: PostingStarted, detail: str, resume_at: datetime, at: datetime) -> Iterator[Message]:
    """The failed attempt, and what follows where it goes on at once."""
    yield PostingFailed(task=intent.task, attempt=intent.attempt, detail=detail, resume_at=resume_at)
    if resume_at <= at:
        yield _next(intent, at)


def _next(last: PostingStarted, at: datetime) -> PostingStarted | TaskFailed:
    """The next attempt. Where the task's time is over there is none, and whether there is an entry is left in doubt."""
    if at >= last.until:
        detail = f"after {last.attempt} attempts nobody knows whether decision {last.key} has an entry: look into the book"
        return _failure(last, detail, reason_is_time=True)
    return last.model_copy(update={"attempt": last.attempt + 1, "deadline": min(last.until, at + PATIENCE)})


def _wait(attempt: int) -> timedelta:
    return min(FIRST_WAIT * (1 << min(attempt - 1, 10)), LONGEST_WAIT)


def _answer(intent: PostingStarted, entry: Entry) -> TaskAnswered:
    return TaskAnswered(
        task=intent.task,
        role=intent.role,
        text=f"Entry {entry.number}: {entry.amount} {entry.currency} to {entry.recipient}.",
        data=entry.model_dump(mode="json"),
        tier="code",
        model="",
        cost=Decimal(0),
    )


def _failure(intent: PostingStarted, detail: str, reason_is_time: bool = False) -> TaskFailed:
    return TaskFailed(task=intent.task, role=intent.role, reason="deadline" if reason_is_time else "internal", detail=detail)


def evolve(state: PostingState, message: Message) -> PostingState:
    match state, message:
        case _, PostingStarted():
            return Attempting(message)
        case Attempting(intent), PostingFailed(resume_at=at):
            return Waiting(intent, at)
        case Attempting(last) | Waiting(last), TaskFailed() | TaskCancelled():
            return Settled(out=last.attempt)
        case Settled(), EntryPosted():
            return replace(state, out=0)
        case _, TaskAnswered() | TaskFailed() | TaskCancelled():
            return Settled()
        case _:
            return state


def wake_at(state: PostingState) -> datetime | None:
    """While an attempt is out: when it is lost, in case no process reports its outcome."""
    match state:
        case Attempting(intent):
            return intent.deadline + PATIENCE
        case Waiting(resume_at=at):
            return at
        case _:
            return None


ledger: Decider[PostingState] = Decider(Awaiting(), decide, evolve, wake_at, policy="1")
