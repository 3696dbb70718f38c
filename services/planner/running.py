"""What the planner decides while a plan runs."""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from contracts.approval import (
    ActionApproved,
    ActionRejected,
    MoreAsked,
    ProposeAction,
    QuestionAnswered,
    QuestionExpired,
    WithdrawAction,
)
from contracts.control import CancelWorkflow, SignalWorkflow
from contracts.dead_letters import DeadLettered
from contracts.planner import (
    DeadlineMoved,
    ExpireWorkflow,
    SignalNoted,
    StepAnswered,
    StepCancelled,
    StepFailed,
    StepPassed,
    StepRetried,
    StepSkipped,
)
from contracts.plans import WAIT, Step
from contracts.results import FailReason, Result
from contracts.router import MoveDeadline
from contracts.specialists import CancelTask, TaskAnswered, TaskCancelled, TaskFailed
from contracts.verifier import ClaimPassed, ClaimRejected
from hansard.actions import Approval, BadAction
from hansard.decider import Context, WakeUp
from hansard.identity import question_of, step_and_attempt, task_name
from hansard.message import Message
from hansard.values import Attribution, Cost, Degradable, Usage, WorkerAnswer, carried
from services.planner import questions, synthesis, waiting
from services.planner.dead import explanation, may_be_awaited, task_of
from services.planner.proposals import approval_by, approved_text, proposal, why_rejected
from services.planner.state import ACTIVE, Phase, Running, StepState, evolve
from services.planner.tasks import claim, promises_data, task
from services.planner.waiting import Came
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
    context: Context
    messages: list[Message] = field(default_factory=list)
    over: bool = False
    came: deque[tuple[Step, Came]] = field(default_factory=deque)  # to steps that wait for it

    @property
    def at(self) -> datetime:
        return self.context.at

    def add(self, message: Message) -> None:
        self.messages.append(message)
        state = evolve(self.state, message)
        if isinstance(state, Running):
            self.state = state

    def add_all(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self.add(message)

    def process(self, message: Message) -> None:
        self.decide(message)
        self.settle()

    def settle(self) -> None:
        """Answers the steps that do not wait any longer: one after the other, since each may be what the next one needs."""
        while self.came:
            step, came = self.came.popleft()
            if current := self.current(task_name(step.id, 1), "waiting"):
                self.answer_wait(current, came)

    def decide(self, message: Message) -> None:
        match message:
            case TaskAnswered() | TaskFailed() | TaskCancelled() if question_of(message.task):
                self.add_all(questions.answered(self.state, message))
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
            case ActionApproved(action_id=name):
                if (current := self.current(name, "waiting")) and current.state.proposal:
                    self.approved(current, message, current.state.proposal)
            case ActionRejected(action_id=name):
                if (current := self.current(name, "waiting")) and current.state.proposal:
                    self.give_up(current, why_rejected(message))
            case MoreAsked(action_id=name):
                if (current := self.current(name, "waiting")) and (proposed := current.state.proposal):
                    self.add_all(questions.asked(self.state, self.workers, current.step, proposed, message, self.at))
            case QuestionAnswered(action_id=name, answer=given, by=by):
                if (current := self.current(name, "waiting")) and waiting.asks(current.step):
                    self.answer_wait(current, Came("person", given, by))
            case QuestionExpired(action_id=name):
                if (current := self.current(name, "waiting")) and waiting.asks(current.step):
                    self.nothing_came(current)
            case SignalWorkflow():
                self.signalled(message)
            case WakeUp():
                self.wake()
            case ExpireWorkflow(deadline=deadline):
                self.deadline_passed(deadline)
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
        if self.over:
            return
        budget = self.state.started.budget
        if budget is not None and self.state.spent >= budget and self.state.spent:
            detail = f"${self.state.spent} of ${budget} were spent before step {step.id!r} could start"
            self.end("budget", "budget", detail)
            return
        before = self.state.steps.get(step.id)
        approval = before.approval if before else None
        if step.wait is None and (step.gate is None or approval is not None):
            self.perform(step, attempt, feedback, approval)
        elif self.state.deadline_at(self.at) <= self.at:  # a clock that has run out does not stand still
            self.expire()
        else:
            self.wait_for(step, attempt)

    def perform(self, step: Step, attempt: int, feedback: tuple[str, ...] = (), approval: Approval | None = None) -> None:
        self.add(task(self.state, self.workers[step.worker], step, attempt, feedback, self.at, approval))

    def wait_for(self, step: Step, attempt: int) -> None:
        """The step begins to wait: its action is proposed, or a person is asked."""
        try:
            begun = waiting.waiting(step, attempt, self.at)
            asks = proposal(self.state, step, step.gate, attempt) if step.gate else waiting.question(self.state, step)
        except (BadAction, ValueError) as bad:
            self.attempt_failed(step, StepFailed(step=step.id, attempt=attempt, reasons=(str(bad),)), "never")
            return
        self.add(begun)
        if asks:
            self.add(asks)
        event = step.wait.event if step.wait else None
        if event is not None and (signal := self.state.signals.get(event)):
            self.came.append((step, Came("event", signal.data, signal.by)))

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
            self.add(claim(self.state, current.step, answer, message.call, self.at))

    def passed(self, passed: StepPassed | StepAnswered) -> None:
        self.add(passed)
        for name in self.state.graph.needed_by[passed.step]:
            if self.state.unmet[name] == 0:
                self.start(self.state.graph.steps[name])
        self.end_if_settled()

    def task_failed(self, current: Current, message: TaskFailed) -> None:
        """At its deadline a task is tried again only where that was the step's own time-out, or the workflow's deadline has moved
        since."""
        step, reason = current.step, message.reason
        has_time = step.timeout or self.state.paused_at or self.state.deadline != self.state.started.deadline
        retry = RETRY.get(reason, "never") if not message.final and (reason != "deadline" or has_time) else "never"
        why = (f"{reason}: {message.detail}" if message.detail else reason,)
        self.attempt_failed(step, StepFailed(step=step.id, attempt=current.state.attempt, reasons=why, cost=message.cost), retry)

    def attempt_failed(self, step: Step, failed: StepFailed, retry: Retry) -> None:
        """The step is tried again; or it has failed, and the steps that need it are skipped."""
        reasons = tuple(shortened(reason, REASON) for reason in failed.reasons)
        attempt, cost = failed.attempt, failed.cost
        wait = timedelta(seconds=BACKOFF[min(attempt, len(BACKOFF)) - 1]) if retry == "later" else timedelta()
        resume_at = self.at + wait
        if retry == "never" or attempt > step.retries or resume_at >= self.state.deadline_at(self.at):
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
        if self.state.deadline_at(self.at) <= self.at:
            self.expire()
        while not self.over and self.state.times and self.state.times.first.at <= self.at:
            step = self.state.graph.steps[self.state.times.first.step]
            state = self.state.steps[step.id]
            if state.phase == "backing-off":
                self.start(step, state.attempt + 1, state.reasons)
            elif state.phase == "waiting" and waiting.is_for_a_time(step):
                self.answer_wait(Current(step, state), Came("time", self.at.isoformat()))
            elif state.phase == "waiting":
                self.withdraw(Current(step, state), "nothing came in time")
                self.nothing_came(Current(step, state))
            else:
                self.timed_out(step, state)
            self.settle()

    def deadline_passed(self, deadline: datetime) -> None:
        """The router says so. Where the deadline has moved meanwhile, it is told the new one."""
        longest = self.state.longest
        if longest is not None and self.state.deadline_at(self.at) > self.at:
            self.add(MoveDeadline(deadline=self.state.deadline_at(longest)))
        elif self.state.deadline > deadline:
            self.add(MoveDeadline(deadline=self.state.deadline))
        else:
            self.expire()

    def expire(self) -> None:
        self.end("deadline", "deadline", f"the deadline {self.state.deadline_at(self.at).isoformat()} has passed")

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
        if question_of(name):
            failure = TaskFailed(task=name, role="", reason="internal", detail=explanation(dead))
            self.add_all(questions.answered(self.state, failure))
            return
        current = self.current(name, *ACTIVE)
        if current and current.step.optional:
            why = (explanation(dead),)
            failed = StepFailed(step=current.step.id, attempt=current.state.attempt, reasons=why)
            self.withdraw(current, explanation(dead))
            self.end_wait(current)
            self.attempt_failed(current.step, failed, "never")
        elif current:
            self.end("dead-letter", "failed", f"step {current.step.id!r}: {explanation(dead)}")

    def end_if_settled(self) -> None:
        if self.state.open == 0 and not self.over:
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
                elif state.phase == "waiting":
                    self.withdraw(Current(step, state), f"the workflow ended: {because}")
        self.result(result)

    def result(self, result: Result) -> None:
        self.add(result)
        self.over = True

    # Waiting

    def end_wait(self, current: Current) -> None:
        """Comes before the message by which the step stops waiting. If none waits any more, the clock goes on; and whoever is
        still looking for an answer to a reviewer may stop."""
        if current.state.phase != "waiting":
            return
        if self.state.waiting == 1 and (deadline := self.state.deadline_at(self.at)) != self.state.deadline:
            self.add(DeadlineMoved(deadline=deadline))
        for name, service in self.state.steps[current.step.id].questions:
            self.add(CancelTask(task=name, service=service))

    def withdraw(self, current: Current, reason: str) -> None:
        """Nobody needs to decide or answer any more."""
        if current.state.phase == "waiting" and (current.state.proposal is not None or waiting.asks(current.step)):
            name = task_name(current.step.id, current.state.attempt)
            self.add(WithdrawAction(action_id=name, reason=shortened(reason, REASON)))

    def give_up(self, current: Current, why: str) -> None:
        """The step has failed. What it waited for is not asked for again."""
        self.end_wait(current)
        failed = StepFailed(step=current.step.id, attempt=current.state.attempt, reasons=(why,))
        self.attempt_failed(current.step, failed, "never")

    def answer_wait(self, current: Current, came: Came) -> None:
        self.end_wait(current)
        self.passed(waiting.answer(current.step, came))

    def nothing_came(self, current: Current) -> None:
        wait = current.step.wait
        if wait is None:
            self.give_up(current, "nobody decided about the action in time, and silence is no consent")
        elif wait.otherwise is not None:
            self.answer_wait(current, Came("timeout", wait.otherwise))
        else:
            what = "an answer" if wait.event is None else f"the event {wait.event!r}"
            self.give_up(current, f"it waited {wait.timeout:g} seconds for {what}, and none came")

    def signalled(self, message: SignalWorkflow) -> None:
        waiting_for = self.state.graph.events.get(message.name, ())
        if not waiting_for or message.name in self.state.signals:
            return
        self.add(SignalNoted(name=message.name, data=message.data, by=message.by))
        self.came.extend((self.state.graph.steps[step], Came("event", message.data, message.by)) for step in waiting_for)

    def approved(self, current: Current, message: ActionApproved, proposed: ProposeAction) -> None:
        """Exactly what is approved runs."""
        approval = approval_by(message, proposed, self.context)
        if approval is None:
            self.give_up(current, f"the approval is of other bytes ({message.sha256}) than those that were proposed")
            return
        if current.step.worker == WAIT:
            self.answer_wait(current, Came("person", approved_text(message), ", ".join(message.by)))
            return
        self.end_wait(current)
        self.perform(current.step, current.state.attempt, approval=approval)
