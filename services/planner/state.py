"""What the planner knows of a workflow: the fold of what it has stored.

A workflow of n steps has some multiple of n messages, so to fold one of them must not cost n. Therefore the steps are in
persistent maps, the times that they wait for in a persistent heap, and whatever would need a look at all steps is counted.
Never iterate over the maps: their order differs from process to process. The order that counts is the plan's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from rpds import HashTrieMap

from contracts.approval import ProposeAction
from contracts.planner import (
    DeadlineMoved,
    PlanCancelNoted,
    PlanStarted,
    ReviewerAnswered,
    SignalNoted,
    StepAnswered,
    StepCancelled,
    StepFailed,
    StepPassed,
    StepRetried,
    StepSkipped,
    StepWaiting,
)
from contracts.plans import Step
from contracts.results import Result, WorkflowCancelled, WorkflowCompleted, WorkflowFailed
from contracts.specialists import PerformTask
from hansard.actions import Approval
from hansard.identity import question_of, step_and_attempt
from hansard.message import Message
from services.planner.graph import Graph, graph_of
from services.planner.heap import Heap, StepTime, pop, push

Phase = Literal["waiting", "working", "checking", "backing-off", "passed", "failed", "skipped", "cancelled"]
ACTIVE: frozenset[Phase] = frozenset({"waiting", "working", "checking", "backing-off"})
PAUSED = timedelta(days=366)  # how long the clock of a workflow stands still, in all
EARLY = 20  # signals that are remembered before the plan comes


class StepState(NamedTuple):
    """`answer`: of the current attempt; `reasons`: why the last attempt failed; `degraded`: why the answer, with its check, is
    worse than it should be.

    `until`: when the attempt, with its check, times out; while backing off, when the next attempt begins; while waiting, the end
    of that. `proposal`: what waits for a decision; `approval`: by which every attempt runs; `questions`: the open tasks for
    answers to a reviewer, with the service of each.
    """

    phase: Phase
    attempt: int = 0
    until: datetime | None = None
    answer: StepAnswered | None = None
    confidence: float | None = None
    reasons: tuple[str, ...] = ()
    degraded: tuple[str, ...] = ()
    proposal: ProposeAction | None = None
    approval: Approval | None = None
    questions: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class AwaitingPlan:
    """`signals`: the events that came before the plan, the first of each name."""

    signals: HashTrieMap[str, SignalNoted] = HashTrieMap()  # noqa: RUF009 (it is immutable)


@dataclass(frozen=True, slots=True)
class CancelledBeforePlan:
    by: str
    reason: str


class Running(NamedTuple):
    """`steps`: those that have started or were settled. `unmet`: for each step, how many of its needs have not passed. `open`:
    how many steps are not settled.

    `times`: what steps wait for. Only the first is sure to be current. `signals`: the events that came, the first of each name.

    `deadline`: as long as no step waits. While `waiting` steps do, since `paused_at`, the clock of the workflow stands still, but
    never beyond `last_deadline`; `longest`: the last of the times at which they stop waiting.
    """

    started: PlanStarted
    graph: Graph
    steps: HashTrieMap[str, StepState]
    unmet: HashTrieMap[str, int]
    open: int
    deadline: datetime
    signals: HashTrieMap[str, SignalNoted] = HashTrieMap()
    waiting: int = 0
    paused_at: datetime | None = None
    longest: datetime | None = None
    times: Heap | None = None
    spent: Decimal = Decimal(0)
    input_tokens: int = 0
    output_tokens: int = 0

    def deadline_at(self, at: datetime) -> datetime:
        """The deadline if all waiting ends at this time."""
        if self.paused_at is None:
            return self.deadline
        return min(moved(self.deadline, at - self.paused_at), self.last_deadline)

    @property
    def last_deadline(self) -> datetime:
        """Past which no waiting moves it."""
        return moved(self.started.deadline, PAUSED)

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
                    running = started(ByIdentity(message))
                    return running._replace(signals=state.signals) if isinstance(state, AwaitingPlan) else running
                case SignalNoted(name=name) if isinstance(state, AwaitingPlan):
                    return AwaitingPlan(state.signals.insert(name, message))
                case PlanCancelNoted(by=by, reason=reason):
                    return CancelledBeforePlan(by, reason)
                case Result():
                    return Ended()
    return state


def wake_at(state: WorkflowState) -> datetime | None:
    """The earliest of the steps' times and the deadline: the last that it may be while the clock stands still."""
    if not isinstance(state, Running):
        return None
    first = state.times.first.at if state.times else None
    deadline = state.deadline if state.paused_at is None else state.last_deadline
    return deadline if first is None else min(first, deadline)


def moved(time: datetime, by: timedelta) -> datetime:
    """The time so much later, or the last one that there is."""
    return time + min(by, datetime.max.replace(tzinfo=time.tzinfo) - time)


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
    return Running(message, graph, HashTrieMap(), unmet, open=len(graph.steps), deadline=message.deadline)


def task_sent(state: Running, message: PerformTask) -> Running:
    if question := question_of(message.task):
        step, _ = step_and_attempt(question[0])
        asked = state.steps[step]
        return with_step(state, step, asked._replace(questions=(*asked.questions, (message.task, message.service))))
    step, attempt = step_and_attempt(message.task)
    own_timeout = state.graph.steps[step].timeout is not None
    until = message.deadline if own_timeout and (state.paused_at or message.deadline < state.deadline) else None
    return with_step(state, step, StepState("working", attempt, until, approval=message.approval))


def proposed(state: Running, message: ProposeAction) -> Running:
    step, _ = step_and_attempt(message.action_id)
    return with_step(state, step, state.steps[step]._replace(proposal=message))


def waits(state: Running, message: StepWaiting) -> Running:
    longest = message.until if state.longest is None else max(state.longest, message.until)
    paused = state._replace(waiting=state.waiting + 1, paused_at=state.paused_at or message.since, longest=longest)
    return with_step(paused, message.step, StepState("waiting", message.attempt, message.until))


def deadline_moved(state: Running, message: DeadlineMoved) -> Running:
    return state._replace(deadline=message.deadline, paused_at=None, longest=None)


def signalled(state: Running, message: SignalNoted) -> Running:
    return state._replace(signals=state.signals.insert(message.name, message))


def reviewer_answered(state: Running, message: ReviewerAnswered) -> Running:
    question = question_of(message.task)
    assert question is not None, "only the answer to a question is noted so"
    step, _ = step_and_attempt(question[0])
    asked = state.steps[step]
    left = tuple(one for one in asked.questions if one[0] != message.task)
    changed = state._replace(
        spent=state.spent + message.cost,
        input_tokens=state.input_tokens + message.input_tokens,
        output_tokens=state.output_tokens + message.output_tokens,
    )
    return with_step(changed, step, asked._replace(questions=left))


def answered(state: Running, message: StepAnswered) -> Running:
    phase: Phase = "passed" if message.passed else "checking"
    before = state.steps[message.step]
    until = None if message.passed else before.until
    changed = state._replace(
        unmet=with_need_met(state, message.step) if message.passed else state.unmet,
        open=state.open - message.passed,
        spent=state.spent + message.cost,
        input_tokens=state.input_tokens + message.input_tokens,
        output_tokens=state.output_tokens + message.output_tokens,
    )
    step = StepState(
        phase, message.attempt, until, message, message.confidence, degraded=message.degraded, approval=before.approval
    )
    return with_step(changed, message.step, step)


def passed(state: Running, message: StepPassed) -> Running:
    step = state.steps[message.step]
    confidence = min((c for c in (step.confidence, message.confidence) if c is not None), default=None)
    changed = settled(state, message.cost)._replace(unmet=with_need_met(state, message.step))
    degraded = (*step.degraded, *message.degraded)
    return with_step(changed, message.step, step._replace(phase="passed", until=None, confidence=confidence, degraded=degraded))


def retried(state: Running, message: StepRetried) -> Running:
    approval = state.steps[message.step].approval
    step = StepState("backing-off", message.attempt, message.resume_at, reasons=message.reasons, approval=approval)
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
    StepWaiting: waits,
    ProposeAction: proposed,
    ReviewerAnswered: reviewer_answered,
    SignalNoted: signalled,
    DeadlineMoved: deadline_moved,
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
    """The state with this state of a step. A time that is no longer current leaves the heap once it is the first. The clock goes
    on once no step waits."""
    before, steps, times = state.steps.get(name), state.steps.insert(name, step), state.times
    if step.until is not None and (before is None or before.until != step.until):
        times = push(times, StepTime(step.until, name))
    while times is not None and steps[times.first.step].until != times.first.at:
        times = pop(times)
    if before is None or before.phase != "waiting" or step.phase == "waiting":
        return state._replace(steps=steps, times=times)
    if state.waiting > 1:
        return state._replace(steps=steps, times=times, waiting=state.waiting - 1)
    return state._replace(steps=steps, times=times, waiting=0, paused_at=None, longest=None)


def settled(state: Running, cost: Decimal = Decimal(0)) -> Running:
    """The state with one step less to wait for, and what its end cost."""
    return state._replace(open=state.open - 1, spent=state.spent + cost)


def with_need_met(state: Running, step: str) -> HashTrieMap[str, int]:
    """`unmet` after the step has passed."""
    unmet = state.unmet
    for needing in state.graph.needed_by[step]:
        unmet = unmet.insert(needing, unmet[needing] - 1)
    return unmet
