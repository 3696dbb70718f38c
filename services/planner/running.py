"""What the planner decides while a plan runs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from contracts.control import CancelWorkflow
from contracts.dead_letters import DeadLettered
from contracts.planner import ExpireWorkflow, StepAnswered, StepCancelled, StepFailed, StepPassed, StepRetried, StepSkipped
from contracts.plans import Step
from contracts.results import FailReason, Result
from contracts.specialists import CancelTask, TaskAnswered, TaskCancelled, TaskFailed
from contracts.verifier import ClaimPassed, ClaimRejected
from hansard.decider import WakeUp
from hansard.identity import step_and_attempt, task_name
from hansard.message import Message
from hansard.values import Attribution, Cost, Degradable, Usage, WorkerAnswer, carried
from services.planner import synthesis
from services.planner.dead import explanation, may_be_awaited, task_of
from services.planner.state import ACTIVE, Phase, Running, StepState, evolve
from services.planner.tasks import claim, promises_data, task
from shared.shortening import shortened

Retry = Literal["now", "later", "never"]
RETRY: Mapping[str, Retry] = {"no-answer": "later", "internal": "later", "deadline": "now"}  # other failures: never
BACKOFF = (2, 5, 15, 30, 60)  # seconds before the next attempt, after a failure that may pass by itself
REASON = 4_000  # characters of a reason in the next attempt's feedback
Because = Literal["cancelled", "deadline", "failed", "budget"]


class Current(NamedTuple):
    """A step and the state of its current attempt."""

    step: Step
    state: StepState


@dataclass(slots=True)
class Decision:
    """Collects the messages of one decision. `state` already includes them."""

    workers: Mapping[str, str]
    state: Running
    at: datetime
    messages: list[Message] = field(default_factory=list)
    over: bool = False

    def add(self, message: Message) -> None:
        self.messages.append(message)
        state = evolve(self.state, message)
        if isinstance(state, Running):
            self.state = state

    def process(self, message: Message) -> None:
        match message:
            case TaskAnswered(task=name):
                if current := self.current(name, "working"):
                    self.answered(current, message)
            case ClaimPassed(check=name, by=by, confidence=confidence):
                if current := self.current(name, "checking"):
                    step, attempt = current.step.id, current.state.attempt
                    more = carried(message, Cost, Degradable)
                    self.passed(StepPassed(step=step, attempt=attempt, by=by, confidence=confidence, **more))
            case ClaimRejected(check=name, reasons=reasons, cost=cost):
                if current := self.current(name, "checking"):
                    failed = StepFailed(step=current.step.id, attempt=current.state.attempt, reasons=reasons, cost=cost)
                    self.attempt_failed(current.step, failed, "now")
            case TaskFailed(task=name):
                if current := self.current(name, "working"):
                    self.task_failed(current, message)
            case TaskCancelled(task=name):
                if current := self.current(name, "working"):
                    why = (f"{current.step.worker} called the task off",)
                    failed = StepFailed(step=current.step.id, attempt=current.state.attempt, reasons=why)
                    self.attempt_failed(current.step, failed, "now")
            case WakeUp():
                self.wake()
            case ExpireWorkflow():
                self.expire()
            case CancelWorkflow(by=by, reason=reason):
                self.stop("cancelled", synthesis.cancelled(self.state, by, reason))
            case DeadLettered() if may_be_awaited(message):
                self.dead_lettered(message)
            case _:
                pass

    def current(self, name: str, *phases: Phase) -> Current | None:
        """The step whose current attempt has this task, while it is in one of these phases. Otherwise the message comes too
        late, or is a copy, and nothing follows from it."""
        step, attempt = step_and_attempt(name)
        state = next((state for phase in phases if (state := self.state.at(phase, step, attempt))), None)
        return Current(self.state.graph.steps[step], state) if state else None

    def start(self, step: Step, attempt: int = 1, feedback: tuple[str, ...] = ()) -> None:
        budget = self.state.started.budget
        if budget is not None and self.state.spent >= budget and self.state.spent:
            detail = f"${self.state.spent} of ${budget} were spent before step {step.id!r} could start"
            self.end("budget", "budget", detail)
            return
        self.add(task(self.state, self.workers[step.worker], step, attempt, feedback, self.at))

    def answered(self, current: Current, message: TaskAnswered) -> None:
        if message.data is None and message.data_ref is None and promises_data(current.step):
            why = (f"no-answer: the step promises data, and {current.step.worker} gave a text",)
            failed = StepFailed(step=current.step.id, attempt=current.state.attempt, reasons=why, cost=message.cost)
            self.attempt_failed(current.step, failed, RETRY["no-answer"])
            return
        answer = StepAnswered(
            step=current.step.id,
            attempt=current.state.attempt,
            passed=current.step.verify == "none",
            **carried(message, WorkerAnswer, Attribution, Usage),
        )
        if answer.passed:
            self.passed(answer)
        else:
            self.add(answer)
            self.add(claim(self.state, current.step, answer, message.call))

    def passed(self, passed: StepPassed | StepAnswered) -> None:
        self.add(passed)
        for name in self.state.graph.needed_by[passed.step]:
            if self.state.unmet[name] == 0:
                self.start(self.state.graph.steps[name])
        self.end_if_settled()

    def task_failed(self, current: Current, message: TaskFailed) -> None:
        """At its deadline a task is tried again only where that was the step's own time-out, not the workflow's deadline."""
        step, reason = current.step, message.reason
        retry = RETRY.get(reason, "never") if reason != "deadline" or step.timeout else "never"
        why = (f"{reason}: {message.detail}" if message.detail else reason,)
        self.attempt_failed(step, StepFailed(step=step.id, attempt=current.state.attempt, reasons=why, cost=message.cost), retry)

    def attempt_failed(self, step: Step, failed: StepFailed, retry: Retry) -> None:
        """The step is tried again; or it has failed, and the steps that need it are skipped."""
        reasons = tuple(shortened(reason, REASON) for reason in failed.reasons)
        attempt, cost = failed.attempt, failed.cost
        wait = timedelta(seconds=BACKOFF[min(attempt, len(BACKOFF)) - 1]) if retry == "later" else timedelta()
        resume_at = self.at + wait
        if retry == "never" or attempt > step.retries or resume_at >= self.state.started.deadline:
            self.add(StepFailed(step=step.id, attempt=attempt, reasons=reasons, cost=cost))
            self.skip_what_needs(step.id)
            self.end_if_settled()
            return
        later = resume_at if wait else None
        self.add(StepRetried(step=step.id, attempt=attempt, reasons=reasons, cost=cost, resume_at=later))
        if later is None:
            self.start(step, attempt + 1, reasons)

    def skip_what_needs(self, failed: str) -> None:
        graph, unmeetable = self.state.graph, [failed]
        for stopped in unmeetable:
            for name in graph.needed_by[stopped]:
                if name not in self.state.steps:
                    needs = ((need, self.state.steps.get(need)) for need in graph.needs[name])
                    because = tuple(need for need, state in needs if state and state.phase in ("failed", "skipped"))
                    self.add(StepSkipped(step=name, because=because))
                    unmeetable.append(name)

    def wake(self) -> None:
        """Handles every time that has come, the earliest first; the deadline before all, since it ends the workflow."""
        if self.state.started.deadline <= self.at:
            self.expire()
        while self.state.times and self.state.times.first.at <= self.at:
            step = self.state.graph.steps[self.state.times.first.step]
            state = self.state.steps[step.id]
            if state.phase == "backing-off":
                self.start(step, state.attempt + 1, state.reasons)
            else:
                self.timed_out(step, state)

    def expire(self) -> None:
        self.end("deadline", "deadline", f"the deadline {self.state.started.deadline.isoformat()} has passed")

    def timed_out(self, step: Step, state: StepState) -> None:
        if state.phase == "working":
            self.add(CancelTask(task=task_name(step.id, state.attempt), service=self.workers[step.worker]))
        why = (f"it was not done within {step.timeout:g} seconds",)
        self.attempt_failed(step, StepFailed(step=step.id, attempt=state.attempt, reasons=why), "now")

    def dead_lettered(self, dead: DeadLettered) -> None:
        """A message of this workflow was not processed. Where no active attempt waits for what it would have led to, nothing
        follows."""
        name = task_of(dead)
        if name is None:
            self.end("dead-letter", "failed", explanation(dead))
            return
        current = self.current(name, "working", "checking", "backing-off")
        if current and current.step.optional:
            why = (explanation(dead),)
            failed = StepFailed(step=current.step.id, attempt=current.state.attempt, reasons=why)
            self.attempt_failed(current.step, failed, "never")
        elif current:
            self.end("dead-letter", "failed", f"step {current.step.id!r}: {explanation(dead)}")

    def end_if_settled(self) -> None:
        if self.state.open == 0:
            self.result(synthesis.finished(self.state))

    def end(self, reason: FailReason, because: Because, detail: str) -> None:
        self.stop(because, synthesis.failed(self.state, reason, detail))

    def stop(self, because: Because, result: Result) -> None:
        """Cancels the active steps and ends the workflow."""
        if self.over:
            return
        for step, state in self.state.in_plan_order():
            if state.phase in ACTIVE:
                self.add(StepCancelled(step=step.id, because=because))
                if state.phase == "working":
                    self.add(CancelTask(task=task_name(step.id, state.attempt), service=self.workers[step.worker]))
        self.result(result)

    def result(self, result: Result) -> None:
        self.add(result)
        self.over = True
