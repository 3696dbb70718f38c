"""One stream a workflow. From `RunPlan` on the planner alone answers for it, and says exactly one result."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, assert_never

from contracts.control import CancelWorkflow
from contracts.dead_letters import DeadLettered
from contracts.planner import (
    Assignment,
    ExpireWorkflow,
    PlanCancelNoted,
    PlanRejected,
    PlanStarted,
    RunPlan,
    StepAnswered,
    StepCancelled,
    StepFailed,
    StepPassed,
    StepRetried,
    StepSkipped,
)
from contracts.plans import Step
from contracts.results import FailReason, Result, WorkflowCancelled, WorkflowFailed
from contracts.specialists import CancelTask, TaskAnswered, TaskCancelled, TaskFailed
from contracts.verifier import ClaimPassed, ClaimRejected
from hansard.decider import Context, Decider, WakeUp
from hansard.message import Message
from hansard.values import Attribution, Usage, WorkerAnswer, carried
from services.planner import synthesis
from services.planner.dead import ends_unheard, is_waited_for, request_of, task_of, told
from services.planner.graph import problems
from services.planner.state import (
    UNDER_WAY,
    CancelledAhead,
    Ended,
    PlanState,
    Running,
    StepState,
    Unasked,
    evolve,
    name_of,
    parts_of,
    wake_at,
)
from services.planner.tasks import claim, task
from shared.shortening import shortened

Retry = Literal["now", "later", "never"]
RETRY: Mapping[str, Retry] = {"no-answer": "later", "internal": "later", "deadline": "now"}  # other failures: never
BACKOFF = (2, 5, 15, 30, 60)  # seconds before a further attempt at what failed for a passing reason
REASON = 4_000  # characters of a reason that a worker is told
Because = Literal["cancelled", "deadline", "failed", "budget"]


def planner(workers: Mapping[str, str], policy: str) -> Decider[PlanState]:
    """`workers`: who takes tasks (a role, or a service of its own), and in which service."""

    def decide(state: PlanState, message: Message, context: Context) -> Iterable[Message]:
        match state:
            case Unasked():
                match message:
                    case RunPlan(request=request, deadline=deadline) if deadline <= context.at:
                        yield WorkflowFailed(request=request, reason="deadline", detail=too_late(deadline))
                    case RunPlan():
                        yield from run(message, workers, policy, context)
                    case CancelWorkflow(by=by, reason=reason):
                        yield PlanCancelNoted(by=by, reason=reason)
                    case ExpireWorkflow(request=request, deadline=deadline):
                        yield WorkflowFailed(request=request, reason="deadline", detail=too_late(deadline))
                    case DeadLettered(door=False) if ends_unheard(message):
                        yield WorkflowFailed(request=request_of(message), reason="dead-letter", detail=told(message))
                    case _:
                        pass

            case CancelledAhead(by, reason):
                match message:
                    case RunPlan(request=request) | ExpireWorkflow(request=request):
                        yield WorkflowCancelled(request=request, by=by, detail=reason)
                    case DeadLettered(door=False) if ends_unheard(message):
                        yield WorkflowCancelled(request=request_of(message), by=by, detail=reason)
                    case _:
                        pass

            case Running():
                decision = Decision(workers, state, context.at)
                decision.process(message)
                yield from decision.messages

            case Ended():
                pass

            case _:
                assert_never(state)

    return Decider(Unasked(), decide, evolve, wake_at, policy)


def run(message: RunPlan, workers: Mapping[str, str], policy: str, context: Context) -> Iterable[Message]:
    if found := problems(message.plan, workers):
        yield PlanRejected(problems=found)
        yield WorkflowFailed(request=message.request, reason="plan-rejected", detail="; ".join(found))
        return
    first = PlanStarted(**carried(message, Assignment), policy=policy)
    state = evolve(Unasked(), first)
    assert isinstance(state, Running)
    decision = Decision(workers, state, context.at, [first])
    for name, needs in state.graph.needs.items():
        if not needs:
            decision.start(state.graph.steps[name])
    yield from decision.messages


@dataclass(slots=True)
class Decision:
    """One decision under way: what is said so far, and the case as it stands after that."""

    workers: Mapping[str, str]
    state: Running
    at: datetime
    messages: list[Message] = field(default_factory=list)
    over: bool = False

    def emit(self, message: Message) -> None:
        self.messages.append(message)
        state = evolve(self.state, message)
        if isinstance(state, Running):
            self.state = state

    def process(self, message: Message) -> None:
        match message:
            case TaskAnswered(task=name):
                step, step_state = self.current(name, "working")
                if step and step_state:
                    self.answered(step, step_state, message)
            case ClaimPassed(check=name, by=by, confidence=confidence, cost=cost):
                step, step_state = self.current(name, "checking")
                if step and step_state:
                    self.passed(
                        step, StepPassed(step=step.id, attempt=step_state.attempt, by=by, confidence=confidence, cost=cost)
                    )
            case ClaimRejected(check=name, reasons=reasons, cost=cost):
                step, step_state = self.current(name, "checking")
                if step and step_state:
                    self.fell(step, StepFailed(step=step.id, attempt=step_state.attempt, reasons=reasons, cost=cost), "now")
            case TaskFailed(task=name, reason=reason, detail=detail, cost=cost):
                step, step_state = self.current(name, "working")
                if step and step_state:
                    retry = RETRY.get(reason, "never") if reason != "deadline" or step.timeout else "never"
                    why = (f"{reason}: {detail}" if detail else reason,)
                    self.fell(step, StepFailed(step=step.id, attempt=step_state.attempt, reasons=why, cost=cost), retry)
            case TaskCancelled(task=name):
                step, step_state = self.current(name, "working")
                if step and step_state:
                    why = (f"{step.worker} called the task off",)
                    self.fell(step, StepFailed(step=step.id, attempt=step_state.attempt, reasons=why), "now")
            case WakeUp():
                self.wake()
            case ExpireWorkflow():
                self.expire()
            case CancelWorkflow(by=by, reason=reason):
                self.stop("cancelled", synthesis.cancelled(self.state, by, reason))
            case DeadLettered() if is_waited_for(message):
                self.lost(message)
            case _:
                pass

    def current(self, name: str, *phases: Literal["working", "checking", "resting"]) -> tuple[Step | None, StepState | None]:
        """The step whose current attempt is this task, while it is in one of the phases: else the answer counts no more."""
        step, attempt = parts_of(name)
        step_state = next((step_state for phase in phases if (step_state := self.state.at(phase, step, attempt))), None)
        return (self.state.graph.steps[step], step_state) if step_state else (None, None)

    def start(self, step: Step, attempt: int = 1, feedback: tuple[str, ...] = ()) -> None:
        budget = self.state.started.budget
        if budget is not None and self.state.spent >= budget and self.state.spent:
            detail = f"${self.state.spent} of ${budget} were spent before step {step.id!r} could start"
            self.end("budget", "budget", detail)
            return
        self.emit(task(self.state, self.workers[step.worker], step, attempt, feedback, self.at))

    def answered(self, step: Step, step_state: StepState, message: TaskAnswered) -> None:
        answer = StepAnswered(
            step=step.id,
            attempt=step_state.attempt,
            passed=step.verify == "none",
            **carried(message, WorkerAnswer, Attribution, Usage),
        )
        if answer.passed:
            self.passed(step, answer)
        else:
            self.emit(answer)
            self.emit(claim(self.state, step, answer, message.call))

    def passed(self, step: Step, passed: StepPassed | StepAnswered) -> None:
        self.emit(passed)
        for name in self.state.graph.needed_by[step.id]:
            if self.state.unmet[name] == 0:
                self.start(self.state.graph.steps[name])
        self.end_if_settled()

    def fell(self, step: Step, failed: StepFailed, retry: Retry) -> None:
        """An attempt that did not pass: tried again, or the step has failed and with it what needs it."""
        reasons = tuple(shortened(reason, REASON) for reason in failed.reasons)
        attempt, cost = failed.attempt, failed.cost
        wait = timedelta(seconds=BACKOFF[min(attempt, len(BACKOFF)) - 1]) if retry == "later" else timedelta()
        resume_at = self.at + wait
        if retry == "never" or attempt > step.retries or resume_at >= self.state.started.deadline:
            self.emit(StepFailed(step=step.id, attempt=attempt, reasons=reasons, cost=cost))
            self.skip_what_needs(step.id)
            self.end_if_settled()
            return
        later = resume_at if wait else None
        self.emit(StepRetried(step=step.id, attempt=attempt, reasons=reasons, cost=cost, resume_at=later))
        if later is None:
            self.start(step, attempt + 1, reasons)

    def skip_what_needs(self, failed: str) -> None:
        graph, unmeetable = self.state.graph, [failed]
        for stopped in unmeetable:
            for name in graph.needed_by[stopped]:
                if name not in self.state.steps:
                    steps = ((need, self.state.steps.get(need)) for need in graph.needs[name])
                    because = tuple(
                        need for need, step_state in steps if step_state and step_state.phase in ("failed", "skipped")
                    )
                    self.emit(StepSkipped(step=name, because=because))
                    unmeetable.append(name)

    def wake(self) -> None:
        """All that is due by now, the earliest first; the deadline before all, since it ends the workflow."""
        if self.state.started.deadline <= self.at:
            self.expire()
        while self.state.times and self.state.times.first.at <= self.at:
            step = self.state.graph.steps[self.state.times.first.step]
            step_state = self.state.steps[step.id]
            if step_state.phase == "resting":
                self.start(step, step_state.attempt + 1, step_state.reasons)
            else:
                self.ran_out(step, step_state)

    def expire(self) -> None:
        self.end("deadline", "deadline", f"the deadline {self.state.started.deadline.isoformat()} has passed")

    def ran_out(self, step: Step, step_state: StepState) -> None:
        """An attempt took too long."""
        if step_state.phase == "working":
            self.emit(CancelTask(task=name_of(step.id, step_state.attempt), service=self.workers[step.worker]))
        why = (f"it was not done within {step.timeout:g} seconds",)
        self.fell(step, StepFailed(step=step.id, attempt=step_state.attempt, reasons=why), "now")

    def lost(self, dead: DeadLettered) -> None:
        """A message of this workflow that nobody will hear. What is not under way any more was not waited for."""
        name = task_of(dead)
        if name is None:
            self.end("dead-letter", "failed", told(dead))
            return
        step, step_state = self.current(name, "working", "checking", "resting")
        if step and step_state and step.optional:
            self.fell(step, StepFailed(step=step.id, attempt=step_state.attempt, reasons=(told(dead),)), "never")
        elif step and step_state:
            self.end("dead-letter", "failed", f"step {step.id!r}: {told(dead)}")

    def end_if_settled(self) -> None:
        if self.state.open == 0:
            self.result(synthesis.finished(self.state))

    def end(self, reason: FailReason, because: Because, detail: str) -> None:
        self.stop(because, synthesis.failed(self.state, reason, detail))

    def stop(self, because: Because, result: Result) -> None:
        """Ends the workflow while steps are under way."""
        if self.over:
            return
        for step, step_state in self.state.in_plan_order():
            if step_state.phase in UNDER_WAY:
                self.emit(StepCancelled(step=step.id, because=because))
                if step_state.phase == "working":
                    self.emit(CancelTask(task=name_of(step.id, step_state.attempt), service=self.workers[step.worker]))
        self.result(result)

    def result(self, result: Result) -> None:
        self.emit(result)
        self.over = True


def too_late(deadline: datetime) -> str:
    return f"the deadline {deadline.isoformat()} passed before the plan came"
