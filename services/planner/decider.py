"""One stream a workflow. From `RunPlan` on the planner alone answers for it, and says exactly one result."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, assert_never

from contracts.control import CancelWorkflow
from contracts.dead_letters import DeadLettered
from contracts.message import Message
from contracts.planner import (
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
from services.planner import synthesis
from services.planner.dead import ends_unheard, is_waited_for, request_of, task_of, told
from services.planner.graph import problems
from services.planner.state import (
    UNDER_WAY,
    CancelledAhead,
    Case,
    Ended,
    Running,
    Unasked,
    Work,
    evolve,
    name_of,
    parts_of,
    wake_at,
)
from services.planner.tasks import claim, task
from shared.decider import Context, Decider, Woken
from shared.shortening import shortened

Retry = Literal["now", "later", "never"]
RETRY: Mapping[str, Retry] = {"no-answer": "later", "internal": "later", "deadline": "now"}  # other failures: never
BACKOFF = (2, 5, 15, 30, 60)  # seconds before a further attempt at what failed for a passing reason
REASON = 4_000  # characters of a reason that a worker is told
Because = Literal["cancelled", "deadline", "failed", "budget"]


def planner(workers: Mapping[str, str], policy: str) -> Decider[Case]:
    """`workers`: who takes tasks (a role, or a service of its own), and in which service."""

    def decide(case: Case, heard: Message, context: Context) -> Iterable[Message]:
        match case:
            case Unasked():
                match heard:
                    case RunPlan(request=request, deadline=deadline) if deadline <= context.at:
                        yield WorkflowFailed(request=request, reason="deadline", detail=too_late(deadline))
                    case RunPlan():
                        yield from run(heard, workers, policy, context)
                    case CancelWorkflow(by=by, reason=reason):
                        yield PlanCancelNoted(by=by, reason=reason)
                    case ExpireWorkflow(request=request, deadline=deadline):
                        yield WorkflowFailed(request=request, reason="deadline", detail=too_late(deadline))
                    case DeadLettered(door=False) if ends_unheard(heard):
                        yield WorkflowFailed(request=request_of(heard), reason="dead-letter", detail=told(heard))
                    case _:
                        pass

            case CancelledAhead(by, reason):
                match heard:
                    case RunPlan(request=request) | ExpireWorkflow(request=request):
                        yield WorkflowCancelled(request=request, by=by, detail=reason)
                    case DeadLettered(door=False) if ends_unheard(heard):
                        yield WorkflowCancelled(request=request_of(heard), by=by, detail=reason)
                    case _:
                        pass

            case Running():
                turn = Turn(workers, case, context.at)
                turn.hear(heard)
                yield from turn.said

            case Ended():
                pass

            case _:
                assert_never(case)

    return Decider(Unasked(), decide, evolve, wake_at, policy)


def run(heard: RunPlan, workers: Mapping[str, str], policy: str, context: Context) -> Iterable[Message]:
    if found := problems(heard.plan, workers):
        yield PlanRejected(problems=found)
        yield WorkflowFailed(request=heard.request, reason="plan-rejected", detail="; ".join(found))
        return
    first = PlanStarted(
        request=heard.request,
        goal=heard.goal,
        plan=heard.plan,
        deadline=heard.deadline,
        budget=heard.budget,
        policy=policy,
    )
    case = evolve(Unasked(), first)
    assert isinstance(case, Running)
    turn = Turn(workers, case, context.at, [first])
    for name, needs in case.graph.needs.items():
        if not needs:
            turn.start(case.graph.steps[name])
    yield from turn.said


@dataclass(slots=True)
class Turn:
    """One decision under way: what is said so far, and the case as it stands after that."""

    workers: Mapping[str, str]
    case: Running
    at: datetime
    said: list[Message] = field(default_factory=list)
    over: bool = False

    def say(self, message: Message) -> None:
        self.said.append(message)
        case = evolve(self.case, message)
        if isinstance(case, Running):
            self.case = case

    def hear(self, heard: Message) -> None:
        match heard:
            case TaskAnswered(task=name):
                step, work = self.current(name, "working")
                if step and work:
                    self.answered(step, work, heard)
            case ClaimPassed(check=name, by=by, confidence=confidence, cost=cost):
                step, work = self.current(name, "checking")
                if step and work:
                    self.passed(step, StepPassed(step=step.id, attempt=work.attempt, by=by, confidence=confidence, cost=cost))
            case ClaimRejected(check=name, reasons=reasons, cost=cost):
                step, work = self.current(name, "checking")
                if step and work:
                    self.fell(step, StepFailed(step=step.id, attempt=work.attempt, reasons=reasons, cost=cost), "now")
            case TaskFailed(task=name, reason=reason, detail=detail, cost=cost):
                step, work = self.current(name, "working")
                if step and work:
                    retry = RETRY.get(reason, "never") if reason != "deadline" or step.timeout else "never"
                    why = (f"{reason}: {detail}" if detail else reason,)
                    self.fell(step, StepFailed(step=step.id, attempt=work.attempt, reasons=why, cost=cost), retry)
            case TaskCancelled(task=name):
                step, work = self.current(name, "working")
                if step and work:
                    why = (f"{step.worker} called the task off",)
                    self.fell(step, StepFailed(step=step.id, attempt=work.attempt, reasons=why), "now")
            case Woken():
                self.wake()
            case ExpireWorkflow():
                self.expire()
            case CancelWorkflow(by=by, reason=reason):
                self.stop("cancelled", synthesis.cancelled(self.case, by, reason))
            case DeadLettered() if is_waited_for(heard):
                self.lost(heard)
            case _:
                pass

    def current(self, name: str, *phases: Literal["working", "checking", "resting"]) -> tuple[Step | None, Work | None]:
        """The step whose current attempt is this task, while it is in one of the phases: else the answer counts no more."""
        step, attempt = parts_of(name)
        work = next((work for phase in phases if (work := self.case.at(phase, step, attempt))), None)
        return (self.case.graph.steps[step], work) if work else (None, None)

    def start(self, step: Step, attempt: int = 1, feedback: tuple[str, ...] = ()) -> None:
        budget = self.case.started.budget
        if budget is not None and self.case.spent >= budget and self.case.spent:
            detail = f"${self.case.spent} of ${budget} were spent before step {step.id!r} could start"
            self.end("budget", "budget", detail)
            return
        self.say(task(self.case, self.workers[step.worker], step, attempt, feedback, self.at))

    def answered(self, step: Step, work: Work, heard: TaskAnswered) -> None:
        answer = StepAnswered(
            step=step.id,
            attempt=work.attempt,
            text=heard.text,
            data=heard.data,
            confidence=heard.confidence,
            sources=heard.sources,
            passages=heard.passages,
            tier=heard.tier,
            model=heard.model,
            cost=heard.cost,
            input_tokens=heard.input_tokens,
            output_tokens=heard.output_tokens,
            passed=step.verify == "none",
        )
        if answer.passed:
            self.passed(step, answer)
        else:
            self.say(answer)
            self.say(claim(self.case, step, answer, heard.call))

    def passed(self, step: Step, passed: StepPassed | StepAnswered) -> None:
        self.say(passed)
        for name in self.case.graph.needed_by[step.id]:
            if self.case.unmet[name] == 0:
                self.start(self.case.graph.steps[name])
        self.end_if_settled()

    def fell(self, step: Step, failed: StepFailed, retry: Retry) -> None:
        """An attempt that did not pass: tried again, or the step has failed and with it what needs it."""
        reasons = tuple(shortened(reason, REASON) for reason in failed.reasons)
        attempt, cost = failed.attempt, failed.cost
        wait = timedelta(seconds=BACKOFF[min(attempt, len(BACKOFF)) - 1]) if retry == "later" else timedelta()
        resume_at = self.at + wait
        if retry == "never" or attempt > step.retries or resume_at >= self.case.started.deadline:
            self.say(StepFailed(step=step.id, attempt=attempt, reasons=reasons, cost=cost))
            self.skip_what_needs(step.id)
            self.end_if_settled()
            return
        later = resume_at if wait else None
        self.say(StepRetried(step=step.id, attempt=attempt, reasons=reasons, cost=cost, resume_at=later))
        if later is None:
            self.start(step, attempt + 1, reasons)

    def skip_what_needs(self, failed: str) -> None:
        graph, unmeetable = self.case.graph, [failed]
        for stopped in unmeetable:
            for name in graph.needed_by[stopped]:
                if name not in self.case.works:
                    works = ((need, self.case.works.get(need)) for need in graph.needs[name])
                    because = tuple(need for need, work in works if work and work.phase in ("failed", "skipped"))
                    self.say(StepSkipped(step=name, because=because))
                    unmeetable.append(name)

    def wake(self) -> None:
        """All that is due by now, the earliest first; the deadline before all, since it ends the workflow."""
        if self.case.started.deadline <= self.at:
            self.expire()
        while self.case.times and self.case.times.first.at <= self.at:
            step = self.case.graph.steps[self.case.times.first.step]
            work = self.case.works[step.id]
            if work.phase == "resting":
                self.start(step, work.attempt + 1, work.reasons)
            else:
                self.ran_out(step, work)

    def expire(self) -> None:
        self.end("deadline", "deadline", f"the deadline {self.case.started.deadline.isoformat()} has passed")

    def ran_out(self, step: Step, work: Work) -> None:
        """An attempt took too long."""
        if work.phase == "working":
            self.say(CancelTask(task=name_of(step.id, work.attempt), service=self.workers[step.worker]))
        why = (f"it was not done within {step.timeout:g} seconds",)
        self.fell(step, StepFailed(step=step.id, attempt=work.attempt, reasons=why), "now")

    def lost(self, dead: DeadLettered) -> None:
        """A message of this workflow that nobody will hear. What is not under way any more was not waited for."""
        name = task_of(dead)
        if name is None:
            self.end("dead-letter", "failed", told(dead))
            return
        step, work = self.current(name, "working", "checking", "resting")
        if step and work and step.optional:
            self.fell(step, StepFailed(step=step.id, attempt=work.attempt, reasons=(told(dead),)), "never")
        elif step and work:
            self.end("dead-letter", "failed", f"step {step.id!r}: {told(dead)}")

    def end_if_settled(self) -> None:
        if self.case.open == 0:
            self.result(synthesis.finished(self.case))

    def end(self, reason: FailReason, because: Because, detail: str) -> None:
        self.stop(because, synthesis.failed(self.case, reason, detail))

    def stop(self, because: Because, result: Result) -> None:
        """Ends the workflow while steps are under way."""
        if self.over:
            return
        for step, work in self.case.in_plan_order():
            if work.phase in UNDER_WAY:
                self.say(StepCancelled(step=step.id, because=because))
                if work.phase == "working":
                    self.say(CancelTask(task=name_of(step.id, work.attempt), service=self.workers[step.worker]))
        self.result(result)

    def result(self, result: Result) -> None:
        self.say(result)
        self.over = True


def too_late(deadline: datetime) -> str:
    return f"the deadline {deadline.isoformat()} passed before the plan came"
