"""What the planner knows of a workflow: the fold of what it has stored.

A workflow of n steps has some multiple of n messages, so to fold one of them must not cost n. Therefore the steps are in
persistent maps, the times that they wait for in a persistent heap, and whatever would need a look at all steps is counted.
Never iterate over the maps: their order differs from process to process. The order that counts is the plan's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from rpds import HashTrieMap

from contracts.planner import (
    PlanCancelNoted,
    PlanStarted,
    StepAnswered,
    StepCancelled,
    StepFailed,
    StepPassed,
    StepRetried,
    StepSkipped,
)
from contracts.plans import Step
from contracts.results import Result, WorkflowCancelled, WorkflowCompleted, WorkflowFailed
from contracts.specialists import PerformTask
from hansard.identity import step_and_attempt
from hansard.message import Message
from services.planner.graph import Graph, graph_of
from services.planner.heap import Heap, StepTime, pop, push

Phase = Literal["working", "checking", "backing-off", "passed", "failed", "skipped", "cancelled"]
ACTIVE: frozenset[Phase] = frozenset({"working", "checking", "backing-off"})


class StepState(NamedTuple):
    """`answer`: of the current attempt; `reasons`: why the last attempt failed; `degraded`: why the answer, with its check, is
    worse than it should be.

    `until`: when the attempt, with its check, times out; while backing off, when the next attempt begins.
    """

    phase: Phase
    attempt: int = 0
    until: datetime | None = None
    answer: StepAnswered | None = None
    confidence: float | None = None
    reasons: tuple[str, ...] = ()
    degraded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AwaitingPlan: ...


@dataclass(frozen=True, slots=True)
class CancelledBeforePlan:
    by: str
    reason: str


class Running(NamedTuple):
    """`steps`: those that have started or were settled. `unmet`: for each step, how many of its needs have not passed. `open`:
    how many steps are not settled.

    `times`: what steps wait for, as far as it comes before the deadline. Only the first is sure to be current.
    """

    started: PlanStarted
    graph: Graph
    steps: HashTrieMap[str, StepState]
    unmet: HashTrieMap[str, int]
    open: int
    times: Heap | None = None
    spent: Decimal = Decimal(0)
    input_tokens: int = 0
    output_tokens: int = 0

    def at(self, phase: Phase, step: str, attempt: int) -> StepState | None:
        """The step's state, where it is in this phase of this attempt."""
        state = self.steps.get(step)
        return state if state is not None and state.phase == phase and state.attempt == attempt else None

    def in_plan_order(self) -> Iterator[tuple[Step, StepState]]:
        """Every step that has started or was settled. Costs n: only for the end of a workflow."""
        for name, step in self.graph.steps.items():
            state = self.steps.get(name)
            if state is not None:
                yield step, state


@dataclass(frozen=True, slots=True)
class Ended: ...


WorkflowState = AwaitingPlan | CancelledBeforePlan | Running | Ended


def evolve(state: WorkflowState, message: Message) -> WorkflowState:
    match state:
        case Running():
            change = CHANGES.get(type(message))
            return change(state, message) if change else state
        case AwaitingPlan() | CancelledBeforePlan():
            match message:
                case PlanStarted():
                    return started(ByIdentity(message))
                case PlanCancelNoted(by=by, reason=reason):
                    return CancelledBeforePlan(by, reason)
                case Result():
                    return Ended()
    return state


def wake_at(state: WorkflowState) -> datetime | None:
    """The earliest of the steps' times and the deadline."""
    if not isinstance(state, Running):
        return None
    return state.started.deadline if state.times is None else state.times.first.at


class ByIdentity:
    """A cache key that equals only the key of the same message object, so that a look-up does not read the message."""

    __slots__ = ("message",)

    def __init__(self, message: PlanStarted) -> None:
        self.message = message

    def __hash__(self) -> int:
        return id(self.message)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ByIdentity) and self.message is other.message


@lru_cache(maxsize=1)
def started(key: ByIdentity) -> Running:
    """Costs as much as the plan has steps and needs. Cached because a decision's messages are folded right after it."""
    message = key.message
    graph = graph_of(message.plan)
    unmet = HashTrieMap({name: len(needs) for name, needs in graph.needs.items()})
    return Running(message, graph, HashTrieMap(), unmet, open=len(graph.steps))


def task_sent(state: Running, message: PerformTask) -> Running:
    step, attempt = step_and_attempt(message.task)
    return with_step(state, step, StepState("working", attempt, before_deadline(state, message.deadline)))


def answered(state: Running, message: StepAnswered) -> Running:
    phase: Phase = "passed" if message.passed else "checking"
    until = None if message.passed else state.steps[message.step].until
    changed = state._replace(
        unmet=with_need_met(state, message.step) if message.passed else state.unmet,
        open=state.open - message.passed,
        spent=state.spent + message.cost,
        input_tokens=state.input_tokens + message.input_tokens,
        output_tokens=state.output_tokens + message.output_tokens,
    )
    step = StepState(phase, message.attempt, until, message, message.confidence, degraded=message.degraded)
    return with_step(changed, message.step, step)


def passed(state: Running, message: StepPassed) -> Running:
    step = state.steps[message.step]
    confidence = min((c for c in (step.confidence, message.confidence) if c is not None), default=None)
    changed = settled(state, message.cost)._replace(unmet=with_need_met(state, message.step))
    degraded = (*step.degraded, *message.degraded)
    return with_step(changed, message.step, step._replace(phase="passed", until=None, confidence=confidence, degraded=degraded))


def retried(state: Running, message: StepRetried) -> Running:
    until = message.resume_at and before_deadline(state, message.resume_at)
    step = StepState("backing-off", message.attempt, until, reasons=message.reasons)
    return with_step(state._replace(spent=state.spent + message.cost), message.step, step)


def failed(state: Running, message: StepFailed) -> Running:
    step = StepState("failed", message.attempt, reasons=message.reasons)
    return with_step(settled(state, message.cost), message.step, step)


def skipped(state: Running, message: StepSkipped) -> Running:
    return with_step(settled(state), message.step, StepState("skipped", reasons=message.because))


def cancelled(state: Running, message: StepCancelled) -> Running:
    return with_step(settled(state), message.step, StepState("cancelled"))


def ended(_: Running, __: Result) -> Ended:
    return Ended()


CHANGES: Mapping[type[Message], Callable[[Running, Any], WorkflowState]] = {  # each takes messages of its own kind
    PerformTask: task_sent,
    StepAnswered: answered,
    StepPassed: passed,
    StepRetried: retried,
    StepFailed: failed,
    StepSkipped: skipped,
    StepCancelled: cancelled,
    WorkflowCompleted: ended,
    WorkflowFailed: ended,
    WorkflowCancelled: ended,
}


def with_step(state: Running, name: str, step: StepState) -> Running:
    """The state with this state of a step. A time that is no longer current leaves the heap once it is the first."""
    before, steps, times = state.steps.get(name), state.steps.insert(name, step), state.times
    if step.until is not None and (before is None or before.until != step.until):
        times = push(times, StepTime(step.until, name))
    while times is not None and steps[times.first.step].until != times.first.at:
        times = pop(times)
    return state._replace(steps=steps, times=times)


def settled(state: Running, cost: Decimal = Decimal(0)) -> Running:
    """The state with one step less to wait for, and what its end cost."""
    return state._replace(open=state.open - 1, spent=state.spent + cost)


def before_deadline(state: Running, at: datetime) -> datetime | None:
    """The time; None where the deadline comes first, since it ends the workflow."""
    return at if at < state.started.deadline else None


def with_need_met(state: Running, step: str) -> HashTrieMap[str, int]:
    """`unmet` after the step has passed."""
    unmet = state.unmet
    for needing in state.graph.needed_by[step]:
        unmet = unmet.insert(needing, unmet[needing] - 1)
    return unmet
