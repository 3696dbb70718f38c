"""What the planner knows of a workflow: the fold of what it said.

A workflow of n steps says some multiple of n messages, so what each of them changes must not cost n: steps are kept in
persistent maps, and what would need a look at all of them is counted. The maps are never iterated: their order differs
from process to process; the plan's order is the one that counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, NamedTuple

from rpds import HashTrieMap

from contracts.message import Command, Message
from contracts.planner import (
    PlanCancelNoted,
    PlanStarted,
    StepAnswered,
    StepCancelled,
    StepFailed,
    StepPassed,
    StepRetried,
    StepSkipped,
    StepStarted,
)
from contracts.plans import Step
from contracts.results import Result
from contracts.specialists import PerformTask
from services.planner.graph import Graph, graph_of

Phase = Literal["working", "checking", "resting", "passed", "failed", "skipped", "cancelled"]
UNDER_WAY: frozenset[Phase] = frozenset({"working", "checking", "resting"})


class Work(NamedTuple):
    """Where one step is. `answer` is that of the current attempt; `reasons` are those of the last one that failed."""

    phase: Phase
    attempt: int = 0
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
    """`unmet` counts for each step the needs that have not passed; `open` the steps that are not settled."""

    started: PlanStarted
    graph: Graph
    works: HashTrieMap[str, Work]
    unmet: HashTrieMap[str, int]
    open: int
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
    match said:
        case PerformTask(task=task) if isinstance(case, Running):
            return begun(case, *parts_of(task))
        case Command():
            return case
        case PlanCancelNoted(by=by, reason=reason):
            return CancelledAhead(by, reason)
        case PlanStarted():
            return started(said)
        case Result():
            return Ended()
        case _:
            return advanced(case, said) if isinstance(case, Running) else case


def started(said: PlanStarted) -> Running:
    graph = graph_of(said.plan)
    unmet = HashTrieMap({name: len(needs) for name, needs in graph.needs.items()})
    return Running(said, graph, HashTrieMap(), unmet, open=len(graph.steps))


def begun(case: Running, step: str, attempt: int) -> Running:
    return case._replace(works=case.works.insert(step, Work("working", attempt)))


def met(case: Running, step: str) -> HashTrieMap[str, int]:
    unmet = case.unmet
    for needing in case.graph.needed_by[step]:
        unmet = unmet.insert(needing, unmet[needing] - 1)
    return unmet


def advanced(case: Running, said: Message) -> Running:
    match said:
        case StepStarted(step=step, attempt=attempt):
            return begun(case, step, attempt)
        case StepAnswered(step=step, attempt=attempt):
            return case._replace(
                works=case.works.insert(step, Work("passed" if said.passed else "checking", attempt, said, said.confidence)),
                unmet=met(case, step) if said.passed else case.unmet,
                open=case.open - said.passed,
                spent=case.spent + said.cost,
                input_tokens=case.input_tokens + said.input_tokens,
                output_tokens=case.output_tokens + said.output_tokens,
            )
        case StepPassed(step=step):
            work = case.works[step]
            confidence = min((c for c in (work.confidence, said.confidence) if c is not None), default=None)
            return case._replace(
                works=case.works.insert(step, work._replace(phase="passed", confidence=confidence)),
                unmet=met(case, step),
                open=case.open - 1,
                spent=case.spent + said.cost,
            )
        case StepRetried(step=step, attempt=attempt, reasons=reasons):
            works = case.works.insert(step, Work("resting", attempt, reasons=reasons))
            return case._replace(works=works, spent=case.spent + said.cost)
        case StepFailed(step=step, attempt=attempt, reasons=reasons):
            works = case.works.insert(step, Work("failed", attempt, reasons=reasons))
            return case._replace(works=works, open=case.open - 1, spent=case.spent + said.cost)
        case StepSkipped(step=step, because=because):
            works = case.works.insert(step, Work("skipped", reasons=because))
            return case._replace(works=works, open=case.open - 1)
        case StepCancelled(step=step):
            return case._replace(works=case.works.insert(step, Work("cancelled")), open=case.open - 1)
        case _:
            return case
