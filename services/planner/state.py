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

from contracts.message import Message
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
from services.planner.graph import Graph, graph_of
from services.planner.heap import Due, Heap, pop, push

Phase = Literal["working", "checking", "resting", "passed", "failed", "skipped", "cancelled"]
UNDER_WAY: frozenset[Phase] = frozenset({"working", "checking", "resting"})


class Work(NamedTuple):
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
    works: HashTrieMap[str, Work]
    unmet: HashTrieMap[str, int]
    open: int
    times: Heap | None = None
    spent: Decimal = Decimal(0)
    input_tokens: int = 0
    output_tokens: int = 0

    def at(self, phase: Phase, step: str, attempt: int) -> Work | None:
        """This attempt of a step, where it is the current one and in that phase."""
        work = self.works.get(step)
        return work if work is not None and work.phase == phase and work.attempt == attempt else None

    def in_plan_order(self) -> Iterator[tuple[Step, Work]]:
        """Every step that was begun or settled. Costs n: for ends."""
        for name, step in self.graph.steps.items():
            work = self.works.get(name)
            if work is not None:
                yield step, work


@dataclass(frozen=True, slots=True)
class Ended: ...


Case = Unasked | CancelledAhead | Running | Ended


def name_of(step: str, attempt: int) -> str:
    """The task, and the check, of one attempt."""
    return f"{step}.{attempt}"


def parts_of(task: str) -> tuple[str, int]:
    """Step and attempt; attempt 0, which no step ever has, where the name is not of ours."""
    step, _, attempt = task.rpartition(".")
    return step, int(attempt) if attempt.isascii() and attempt.isdecimal() and len(attempt) < 5 else 0


def evolve(case: Case, said: Message) -> Case:
    match case:
        case Running():
            change = CHANGES.get(type(said))
            return change(case, said) if change else case
        case Unasked() | CancelledAhead():
            match said:
                case PlanStarted():
                    return started(Itself(said))
                case PlanCancelNoted(by=by, reason=reason):
                    return CancelledAhead(by, reason)
                case Result():
                    return Ended()
    return case


def wake_at(case: Case) -> datetime | None:
    """The earliest of its times: a step's, or the deadline."""
    if not isinstance(case, Running):
        return None
    return case.started.deadline if case.times is None else case.times.first.at


class Itself:
    """A message as a key that equals that very message alone: to look it up reads nothing of it."""

    __slots__ = ("said",)

    def __init__(self, said: PlanStarted) -> None:
        self.said = said

    def __hash__(self) -> int:
        return id(self.said)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Itself) and self.said is other.said


@lru_cache(maxsize=1)
def started(key: Itself) -> Running:
    """Costs as much as the plan has steps and needs: kept for who folds what was decided just now."""
    said = key.said
    graph = graph_of(said.plan)
    unmet = HashTrieMap({name: len(needs) for name, needs in graph.needs.items()})
    return Running(said, graph, HashTrieMap(), unmet, open=len(graph.steps))


def begun(case: Running, said: PerformTask) -> Running:
    step, attempt = parts_of(said.task)
    return moved(case, step, Work("working", attempt, sooner(case, said.deadline)))


def answered(case: Running, said: StepAnswered) -> Running:
    until = None if said.passed else case.works[said.step].until
    return moved(
        case,
        said.step,
        Work("passed" if said.passed else "checking", said.attempt, until, said, said.confidence),
        unmet=met(case, said.step) if said.passed else case.unmet,
        open=case.open - said.passed,
        spent=case.spent + said.cost,
        input_tokens=case.input_tokens + said.input_tokens,
        output_tokens=case.output_tokens + said.output_tokens,
    )


def passed(case: Running, said: StepPassed) -> Running:
    work = case.works[said.step]
    confidence = min((c for c in (work.confidence, said.confidence) if c is not None), default=None)
    work = work._replace(phase="passed", until=None, confidence=confidence)
    return moved(case, said.step, work, unmet=met(case, said.step), open=case.open - 1, spent=case.spent + said.cost)


def retried(case: Running, said: StepRetried) -> Running:
    work = Work("resting", said.attempt, said.resume_at and sooner(case, said.resume_at), reasons=said.reasons)
    return moved(case, said.step, work, spent=case.spent + said.cost)


def failed(case: Running, said: StepFailed) -> Running:
    work = Work("failed", said.attempt, reasons=said.reasons)
    return moved(case, said.step, work, open=case.open - 1, spent=case.spent + said.cost)


def skipped(case: Running, said: StepSkipped) -> Running:
    return moved(case, said.step, Work("skipped", reasons=said.because), open=case.open - 1)


def cancelled(case: Running, said: StepCancelled) -> Running:
    return moved(case, said.step, Work("cancelled"), open=case.open - 1)


def ended(_: Running, __: Result) -> Ended:
    return Ended()


CHANGES: Mapping[type[Message], Callable[[Running, Any], Case]] = {
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


def moved(case: Running, step: str, work: Work, **more: Any) -> Running:
    """The case with a step there. The time of what has moved on leaves the heap once it comes first."""
    before, works, times = case.works.get(step), case.works.insert(step, work), case.times
    if work.until is not None and (before is None or before.until != work.until):
        times = push(times, Due(work.until, step))
    while times is not None and works[times.first.step].until != times.first.at:
        times = pop(times)
    return case._replace(works=works, times=times, **more)


def sooner(case: Running, at: datetime) -> datetime | None:
    """A time that comes before the deadline: the others do not count, it ends the workflow."""
    return at if at < case.started.deadline else None


def met(case: Running, step: str) -> HashTrieMap[str, int]:
    unmet = case.unmet
    for needing in case.graph.needed_by[step]:
        unmet = unmet.insert(needing, unmet[needing] - 1)
    return unmet
