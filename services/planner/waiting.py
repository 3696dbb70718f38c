"""What a step waits for: until when, and the answer that what comes makes."""

import json
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal, NamedTuple

from pydantic import JsonValue

from contracts.approval import AskPerson, Requester
from contracts.planner import StepAnswered, StepWaiting
from contracts.plans import LONGEST_WAIT, Gate, Step, Wait
from hansard.identity import task_name
from services.planner.state import Running

AFTER_EXPIRY = timedelta(days=1)  # a decision expires where it is made: this ends the waiting where nobody answers at all
UNLIMITED = timedelta(days=31)  # of a decision whose time the policy of approvals sets


class Came(NamedTuple):
    """What a step waited for. `how`: `person`, `event`, `time`, `timeout`; `by`: who sent it, as far as that is known."""

    how: str
    data: JsonValue
    by: str = ""


def waiting(step: Step, attempt: int, at: datetime) -> StepWaiting:
    """Raises ValueError for a time too far away."""
    awaited, until = _gate(step.gate, at) if step.wait is None else _wait(step.wait, at)
    if until - at > timedelta(seconds=LONGEST_WAIT) + AFTER_EXPIRY:
        raise ValueError(f"it would wait until {until.isoformat()}: a step waits at most {LONGEST_WAIT // 86400} days")
    return StepWaiting(step=step.id, attempt=attempt, awaited=awaited, since=at, until=until)


Awaited = Literal["approval", "answer", "event", "time"]


def _gate(gate: Gate | None, at: datetime) -> tuple[Awaited, datetime]:
    seconds = gate.seconds if gate else None
    return "approval", at + AFTER_EXPIRY + (UNLIMITED if seconds is None else timedelta(seconds=seconds))


def _wait(wait: Wait, at: datetime) -> tuple[Awaited, datetime]:
    if wait.until is not None:
        return "time", max(wait.until, at)
    if wait.seconds is not None:
        return "time", at + timedelta(seconds=wait.seconds)
    return "answer" if wait.question is not None else "event", at + timedelta(seconds=wait.timeout)


def asks(step: Step) -> bool:
    """Whether it waits for a person's answer."""
    return step.wait is not None and step.wait.question is not None


def is_for_a_time(step: Step) -> bool:
    return step.wait is not None and step.wait.question is None and step.wait.event is None


def question(state: Running, step: Step) -> AskPerson | None:
    """The question to a person, where the step waits for one."""
    wait = step.wait
    if wait is None or wait.question is None:
        return None
    return AskPerson(
        action_id=task_name(step.id, 1),
        question=wait.question,
        role=wait.role,
        choices=wait.choices,
        proposer="planner",
        requester=state.started.requester or Requester(),
        seconds=wait.timeout,
    )


def answer(step: Step, came: Came) -> StepAnswered:
    """The step's answer: nobody checks it."""
    text = came.data if isinstance(came.data, str) else "" if came.data is None else json.dumps(came.data, ensure_ascii=False)
    return StepAnswered(
        step=step.id,
        attempt=1,
        text=text,
        data=came.data,
        tier=came.how,
        provider=came.by,
        cost=Decimal(0),
        passed=True,
    )
