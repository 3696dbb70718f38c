"""What the specs of the planner share: plans, messages to it, and what it decides."""

import base64
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from contracts.control import CancelWorkflow
from contracts.dead_letters import DeadLettered
from contracts.planner import (
    ExpireWorkflow,
    PlanStarted,
    RunPlan,
)
from contracts.plans import Plan, Step
from contracts.results import WorkflowCancelled, WorkflowCompleted, WorkflowFailed
from contracts.specialists import PerformTask, TaskAnswered, TaskFailed
from contracts.verifier import CheckClaim, ClaimPassed, ClaimRejected
from hansard.decider import Context
from hansard.message import Message
from services.planner.decider import planner
from tests.decisions import HERE, NOON, decided

WORKERS = {"writer": "specialists", "analyst": "specialists", "retriever": "retriever"}
DEADLINE = NOON + timedelta(hours=1)
decider = planner(WORKERS, "p1")


def step(name: str, *needs: str, **more: Any) -> Step:
    return Step(**{"id": name, "worker": "writer", "needs": needs, **more})


def run(*steps: Step, budget: Decimal | None = None, answer: tuple[str, ...] = ()) -> RunPlan:
    plan = Plan(name="p", steps=steps, answer=answer)
    return RunPlan(request="r", goal="Rain.", plan=plan, deadline=DEADLINE, budget=budget)


def started(asked: RunPlan) -> PlanStarted:
    return PlanStarted(request="r", goal=asked.goal, plan=asked.plan, deadline=asked.deadline, budget=asked.budget, policy="p1")


def task(name: str, **more: Any) -> PerformTask:
    return PerformTask(**{"task": name, "role": "writer", "goal": "Rain.", "deadline": DEADLINE, **more})


def begun(name: str, attempt: int = 1, **more: Any) -> list[Message]:
    return [task(f"{name}.{attempt}", **more)]


def answer(name: str, text: str = "Drip.", **more: Any) -> TaskAnswered:
    given = {"task": name, "role": "writer", "text": text, "tier": "primary", "model": "m", "cost": Decimal("0.1")}
    return TaskAnswered(**{**given, "input_tokens": 7, "output_tokens": 3, **more})


def check(name: str, text: str = "Drip.", **more: Any) -> CheckClaim:
    return CheckClaim(check=name, question="Rain.", claim=text, tier="primary", deadline=DEADLINE, **more)


def failed(name: str, reason: Any = "no-answer", **more: Any) -> TaskFailed:
    return TaskFailed(task=name, role="writer", reason=reason, detail="", **more)


def passed(name: str, **more: Any) -> ClaimPassed:
    return ClaimPassed(check=name, by=("empty",), policy="1", **more)


def rejected(name: str, **more: Any) -> ClaimRejected:
    return ClaimRejected(check=name, reasons=("Too dry.",), failed=("x",), policy="1", **more)


def dead(message: Message | None = None, **more: Any) -> DeadLettered:
    body = base64.b64encode(message.model_dump_json().encode()).decode() if message else None
    given = {"service": "gateway", "reason": "poison", "detail": "boom", "attempts": 1, "door": False, "causation_id": "c"}
    place = {"topic": "gateway.commands", "partition": 0, "offset": 0, "timestamp": 0, "hash": "0"}
    return DeadLettered(**{**given, **place, "message_kind": message.kind if message else "", "body": body, **more})


def after(asked: RunPlan, *received: Message) -> list[Message]:
    """All messages that the planner stores when it receives these, one after the other."""
    messages: list[Message] = []
    for message in (asked, *received):
        messages += decided(decider, messages, message)
    return messages


def then(asked: RunPlan, received: Sequence[Message], when: Message, seconds: float = 0) -> list[Message]:
    """What the planner decides on `when`, so many seconds later."""
    return decided(decider, after(asked, *received), when, at(seconds))


def at(seconds: float) -> Context:
    return replace(HERE, at=NOON + timedelta(seconds=seconds))


def wakes(messages: Sequence[Message]) -> float | None:
    """Seconds after noon at which the planner asks for a wake-up."""
    wake_at = decider.wake_at(decider.fold(messages))
    return None if wake_at is None else (wake_at - NOON).total_seconds()


def result_in(messages: Sequence[Message]) -> Message:
    """The one result among the messages."""
    (result,) = [message for message in messages if isinstance(message, WorkflowCompleted | WorkflowFailed | WorkflowCancelled)]
    return result


def tasks_in(messages: Sequence[Message]) -> list[str]:
    return [message.task for message in messages if isinstance(message, PerformTask)]


one_step = run(step("draft"))
chain = run(step("draft"), step("edit", "draft"))
fan = run(step("a"), step("b"), step("join", "a", "b"))
expire = ExpireWorkflow(request="r", deadline=DEADLINE)
cancel = CancelWorkflow(by="ada", reason="rain is over")
