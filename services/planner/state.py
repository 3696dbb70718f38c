"""What the planner knows of a workflow: the fold of what it said.

A workflow of n steps says some multiple of n messages, so what each of them changes must not cost n: steps are kept in
persistent maps, the times that they wait for in a persistent heap, and what would need a look at all of them is counted.
The maps are never iterated: their order differs from process to process; the plan's order is the one that counts.
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
from hansard.message import Message
from services.planner.graph import Graph, graph_of
from services.planner.heap import Heap, StepTime, pop, push

Phase = Literal["working", "checking", "resting", "passed", "failed", "skipped", "cancelled"]
UNDER_WAY: frozenset[Phase] = frozenset({"working", "checking", "resting"})


class StepState(NamedTuple):
    """Where one step is. `answer` is that of the current attempt; `reasons` are those of the last one that failed.

    `until`: when this attempt, its check included, takes too long; of one that rests, when the next begins.
    """

    phase: Phase
    attempt: int = 0
    until: datetime | None = None
    answer: StepAnswered | None = None
    confidence: float | None = None
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unasked: ...


@dataclass(frozen=True, slots=True)
class CancelledAhead:
    by: str
    reason: str


class Running(NamedTuple):
    """`unmet` counts for each step the needs that have not passed; `open` the steps that are not settled.

    `times`: what steps wait for before the deadline. The first counts; behind it there may be some that count no more.
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
        """This attempt of a step, where it is the current one and in that phase."""
        step_state = self.steps.get(step)
        return step_state if step_state is not None and step_state.phase == phase and step_state.attempt == attempt else None

    def in_plan_order(self) -> Iterator[tuple[Step, StepState]]:
        """Every step that was begun or settled. Costs n: for ends."""
        for name, step in self.graph.steps.items():
            step_state = self.steps.get(name)
            if step_state is not None:
                yield step, step_state


@dataclass(frozen=True, slots=True)
class Ended: ...


PlanState = Unasked | CancelledAhead | Running | Ended


def name_of(step: str, attempt: int) -> str:
    """The task, and the check, of one attempt."""
    return f"{step}.{attempt}"


def parts_of(task: str) -> tuple[str, int]:
    """Step and attempt; attempt 0, which no step ever has, where the name is not of ours."""
    step, _, attempt = task.rpartition(".")
    return step, int(attempt) if attempt.isascii() and attempt.isdecimal() and len(attempt) < 5 else 0


def evolve(state: PlanState, message: Message) -> PlanState:
    match state:
        case Running():
            change = CHANGES.get(type(message))
            return change(state, message) if change else state
        case Unasked() | CancelledAhead():
            match message:
                case PlanStarted():
                    return started(Itself(message))
                case PlanCancelNoted(by=by, reason=reason):
                    return CancelledAhead(by, reason)
                case Result():
                    return Ended()
    return state


def wake_at(state: PlanState) -> datetime | None:
    """The earliest of its times: a step's, or the deadline."""
    if not isinstance(state, Running):
        return None
    return state.started.deadline if state.times is None else state.times.first.at


class Itself:
    """A message as a key that equals that very message alone: to look it up reads nothing of it."""

    __slots__ = ("message",)

    def __init__(self, message: PlanStarted) -> None:
        self.message = message

    def __hash__(self) -> int:
        return id(self.message)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Itself) and self.message is other.message


@lru_cache(maxsize=1)
def started(key: Itself) -> Running:
    """Costs as much as the plan has steps and needs: kept for who folds what was decided just now."""
    message = key.message
    graph = graph_of(message.plan)
    unmet = HashTrieMap({name: len(needs) for name, needs in graph.needs.items()})
    return Running(message, graph, HashTrieMap(), unmet, open=len(graph.steps))


def begun(state: Running, message: PerformTask) -> Running:
    step, attempt = parts_of(message.task)
    return moved(state, step, StepState("working", attempt, sooner(state, message.deadline)))


def answered(state: Running, message: StepAnswered) -> Running:
    until = None if message.passed else state.steps[message.step].until
    return moved(
        state,
        message.step,
        StepState("passed" if message.passed else "checking", message.attempt, until, message, message.confidence),
        unmet=met(state, message.step) if message.passed else state.unmet,
        open=state.open - message.passed,
        spent=state.spent + message.cost,
        input_tokens=state.input_tokens + message.input_tokens,
        output_tokens=state.output_tokens + message.output_tokens,
    )


def passed(state: Running, message: StepPassed) -> Running:
    step_state = state.steps[message.step]
    confidence = min((c for c in (step_state.confidence, message.confidence) if c is not None), default=None)
    step_state = step_state._replace(phase="passed", until=None, confidence=confidence)
    return moved(
        state, message.step, step_state, unmet=met(state, message.step), open=state.open - 1, spent=state.spent + message.cost
    )


def retried(state: Running, message: StepRetried) -> Running:
    step_state = StepState(
        "resting", message.attempt, message.resume_at and sooner(state, message.resume_at), reasons=message.reasons
    )
    return moved(state, message.step, step_state, spent=state.spent + message.cost)


def failed(state: Running, message: StepFailed) -> Running:
    step_state = StepState("failed", message.attempt, reasons=message.reasons)
    return moved(state, message.step, step_state, open=state.open - 1, spent=state.spent + message.cost)


def skipped(state: Running, message: StepSkipped) -> Running:
    return moved(state, message.step, StepState("skipped", reasons=message.because), open=state.open - 1)


def cancelled(state: Running, message: StepCancelled) -> Running:
    return moved(state, message.step, StepState("cancelled"), open=state.open - 1)


def ended(_: Running, __: Result) -> Ended:
    return Ended()


CHANGES: Mapping[type[Message], Callable[[Running, Any], PlanState]] = {
    PerformTask: begun,
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


def moved(state: Running, step: str, step_state: StepState, **more: Any) -> Running:
    """The case with a step there. The time of what has moved on leaves the heap once it comes first."""
    before, steps, times = state.steps.get(step), state.steps.insert(step, step_state), state.times
    if step_state.until is not None and (before is None or before.until != step_state.until):
        times = push(times, StepTime(step_state.until, step))
    while times is not None and steps[times.first.step].until != times.first.at:
        times = pop(times)
    return state._replace(steps=steps, times=times, **more)


def sooner(state: Running, at: datetime) -> datetime | None:
    """A time that comes before the deadline: the others do not count, it ends the workflow."""
    return at if at < state.started.deadline else None


def met(state: Running, step: str) -> HashTrieMap[str, int]:
    unmet = state.unmet
    for needing in state.graph.needed_by[step]:
        unmet = unmet.insert(needing, unmet[needing] - 1)
    return unmet
