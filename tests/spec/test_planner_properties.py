"""Any plan ends once, whatever happens in whatever order; no step runs before what it needs; and the cost grows as n."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from time import process_time
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.control import CancelWorkflow
from contracts.planner import (
    ExpireWorkflow,
    PlanStarted,
    RunPlan,
    StepAnswered,
    StepCancelled,
    StepFailed,
    StepPassed,
    StepRetried,
    StepSkipped,
)
from contracts.plans import Plan, Step
from contracts.results import Result, WorkflowCompleted, WorkflowFailed
from contracts.specialists import CancelTask, PerformTask, TaskAnswered, TaskCancelled, TaskFailed
from contracts.verifier import CheckClaim, ClaimPassed, ClaimRejected
from hansard.decider import Decider, WakeUp
from hansard.identity import step_and_attempt
from hansard.message import Message
from services.planner.decider import planner
from services.planner.graph import problems
from services.planner.state import WorkflowState
from tests.decisions import HERE, NOON

WORKERS = {"writer": "specialists", "retriever": "retriever"}
DEADLINE = NOON + timedelta(hours=1)
DECIDER = planner(WORKERS, "p1")


@dataclass
class Run:
    """A planner that receives one message after another and decides each twice. Its clock moves only by `wake`."""

    decider: Decider[WorkflowState] = DECIDER
    state: WorkflowState = DECIDER.initial
    messages: list[Message] = field(default_factory=list)
    now: datetime = NOON

    def process(self, message: Message) -> list[Message]:
        context = replace(HERE, at=self.now)
        decided, again = (list(self.decider.decide(self.state, message, context)) for _ in range(2))
        assert decided == again
        self.state = self.decider.fold(decided, self.state)
        self.messages += decided
        return decided

    @property
    def wake_at(self) -> datetime | None:
        return self.decider.wake_at(self.state)

    def wake(self, late: timedelta = timedelta()) -> list[Message]:
        """Moves the clock to the next wake-up: an earlier one decides nothing, and after it no time is left that has come."""
        assert self.wake_at is not None
        assert self.wake_at == self.decider.wake_at(self.decider.fold(self.messages))
        if self.now < self.wake_at:
            assert self.process(WakeUp()) == []
        self.now = max(self.now, self.wake_at) + late
        decided = self.process(WakeUp())
        assert decided and (self.wake_at is None or self.wake_at > self.now)
        return decided


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    names = [f"s{n}" for n in range(draw(st.integers(1, 7)))]
    steps = []
    for place, name in enumerate(names):
        needs = draw(st.lists(st.sampled_from(names[:place]), max_size=3)) if place else []
        steps.append(
            Step(
                id=name,
                worker=draw(st.sampled_from(sorted(WORKERS))),
                needs=tuple(needs),
                verify=draw(st.sampled_from(["code", "judge", "none"])),
                retries=draw(st.integers(0, 2)),
                timeout=draw(st.sampled_from([None, 30])),
                optional=draw(st.booleans()),
            )
        )
    answer = draw(st.lists(st.sampled_from(names), max_size=2))
    return Plan(steps=tuple(draw(st.permutations(steps))), answer=tuple(answer))


chances = st.integers(0, 2**32).map(Random)
budgets = st.sampled_from([None, Decimal(0), Decimal("0.25"), Decimal(5)])


def world(chance: Random, message: Message) -> Iterator[Message]:
    """What the other services answer to a message of the planner."""
    match message:
        case PerformTask(task=task, role=role):
            yield chance.choice(
                [
                    TaskAnswered(task=task, role=role, text=task, tier="t", model="m", cost=Decimal("0.1")),
                    TaskAnswered(task=task, role=role, text=task, tier="t", model="m", cost=Decimal("0.1")),
                    TaskFailed(task=task, role=role, reason="no-answer", detail=""),
                    TaskFailed(task=task, role=role, reason="unknown-role", detail=""),
                    TaskFailed(task=task, role=role, reason="deadline", detail="", cost=Decimal("0.1")),
                    TaskCancelled(task=task),
                ]
            )
        case CheckClaim(check=check):
            rejected = ClaimRejected(check=check, reasons=("x",), failed=(), policy="1")
            yield chance.choice([ClaimPassed(check=check, by=(), policy="1"), rejected])
        case CancelTask(task=task):
            yield TaskCancelled(task=task)
        case _:
            pass


def run_in_any_order(chance: Random, asked: RunPlan, *more: Message, late: int = 0) -> Run:
    """Delivers messages in any order, some of them twice, until none is on its way and no time is waited for. Wake-ups come
    while others are on their way, up to `late` seconds too late."""
    run, on_its_way, received = Run(), [asked, *more], list[Message]()
    while on_its_way or run.wake_at:
        if run.wake_at and (not on_its_way or (run.wake_at < DEADLINE and chance.random() < 0.1)):
            decided = run.wake(timedelta(seconds=chance.randint(0, late)))
        else:
            again = received and chance.random() < 0.1
            message = chance.choice(received) if again else on_its_way.pop(chance.randrange(len(on_its_way)))
            received.append(message)
            decided = run.process(message)
        assert run.wake_at == earliest(run.messages)
        for message in decided:
            on_its_way += world(chance, message)
    return run


def earliest(messages: list[Message]) -> datetime | None:
    """The earliest time that is waited for after these messages, by a look at all of them."""
    deadline: datetime | None = None
    times: dict[str, datetime] = {}
    for message in messages:
        match message:
            case PlanStarted():
                deadline = message.deadline
            case PerformTask(task=task):
                times[step_and_attempt(task)[0]] = message.deadline
            case StepRetried(step=step, resume_at=datetime() as at):
                times[step] = at
            case StepRetried(step=step) | StepPassed(step=step) | StepFailed(step=step) | StepCancelled(step=step):
                times.pop(step, None)
            case StepAnswered(step=step, passed=True):
                times.pop(step, None)
            case Result():
                return None
            case _:
                pass
    return min([deadline, *times.values()]) if deadline else None


def results(run: Run) -> list[Result]:
    return [message for message in run.messages if isinstance(message, Result)]


@settings(max_examples=200, deadline=None)
@given(chances, plans(), budgets)
def test_any_plan_ends_with_one_result_whatever_the_outcomes_and_their_order(
    chance: Random, plan: Plan, budget: Decimal | None
) -> None:
    run = run_in_any_order(chance, RunPlan(goal="g", plan=plan, deadline=DEADLINE, budget=budget))
    assert len(results(run)) == 1
    assert run.now < DEADLINE, "the plan ended by itself and not by its deadline"


@settings(max_examples=100, deadline=None)
@given(chances, plans(), st.booleans(), st.booleans())
def test_a_deadline_or_a_cancellation_at_any_moment_leads_to_one_result(
    chance: Random, plan: Plan, deadline: bool, cancel: bool
) -> None:
    more = [ExpireWorkflow(request="", deadline=DEADLINE)] * deadline + [CancelWorkflow(by="ada")] * cancel
    run = run_in_any_order(chance, RunPlan(goal="g", plan=plan, deadline=DEADLINE), *more, late=3600)
    assert len(results(run)) == 1


@settings(max_examples=200, deadline=None)
@given(chances, plans(), budgets)
def test_no_step_runs_before_its_needs_and_none_is_settled_twice(chance: Random, plan: Plan, budget: Decimal | None) -> None:
    run = run_in_any_order(chance, RunPlan(goal="g", plan=plan, deadline=DEADLINE, budget=budget))
    needs = {step.id: set(step.needs) for step in plan.steps}
    passed: set[str] = set()
    settled: list[str] = []
    attempts: dict[str, int] = {}
    for message in run.messages:
        match message:
            case PerformTask(task=task):
                step, attempt = step_and_attempt(task)
                assert needs[step] <= passed
                assert attempt == attempts.get(step, 0) + 1
                assert step not in settled
                attempts[step] = attempt
            case StepPassed(step=step) | StepAnswered(step=step, passed=True):
                passed.add(step)
                settled.append(step)
            case StepFailed(step=step) | StepSkipped(step=step) | StepCancelled(step=step):
                settled.append(step)
            case _:
                pass
    assert len(settled) == len(set(settled))
    assert all(attempts[step.id] <= step.retries + 1 for step in plan.steps if step.id in attempts)


@settings(max_examples=100, deadline=None)
@given(chances, plans())
def test_no_task_is_left_active_after_the_end_of_a_workflow(chance: Random, plan: Plan) -> None:
    """Every task is answered or cancelled, and no time is waited for."""
    run, on_its_way = Run(), list[Message]([RunPlan(goal="g", plan=plan, deadline=DEADLINE)])
    received: list[Message] = []
    stop = chance.randint(1, 30)
    while not results(run):
        if not on_its_way:
            on_its_way += [answer for decided in run.wake() for answer in world(chance, decided)]
            continue
        message = on_its_way.pop(chance.randrange(len(on_its_way))) if len(received) != stop else CancelWorkflow(by="ada")
        received.append(message)
        for decided in run.process(message):
            on_its_way += world(chance, decided)
    asked = {sent.task for sent in run.messages if isinstance(sent, PerformTask)}
    ended = {m.task for m in [*received, *run.messages] if isinstance(m, TaskAnswered | TaskFailed | TaskCancelled | CancelTask)}
    assert asked <= ended
    assert run.wake_at is None


@settings(max_examples=100, deadline=None)
@given(chances, plans())
def test_a_message_that_is_received_again_changes_nothing(chance: Random, plan: Plan) -> None:
    run, on_its_way = Run(), list[Message]([RunPlan(goal="g", plan=plan, deadline=DEADLINE)])
    while on_its_way or run.wake_at:
        if on_its_way:
            message = on_its_way.pop(chance.randrange(len(on_its_way)))
            decided = run.process(message)
        else:
            message, decided = WakeUp(), run.wake()
        for sent in decided:
            on_its_way += world(chance, sent)
        assert run.process(message) == []


names = st.sampled_from(["a", "b", "c", "z"])


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.builds(Step, id=names, worker=st.sampled_from(["writer", "clown"]), needs=st.lists(names).map(tuple)), min_size=1)
)
def test_a_plan_either_runs_or_is_rejected_with_reasons(steps: list[Step]) -> None:
    plan = Plan(steps=tuple(steps))
    run = Run()
    decided = run.process(RunPlan(goal="g", plan=plan, deadline=DEADLINE))
    rejected = [message for message in decided if isinstance(message, WorkflowFailed)]
    assert bool(rejected) == bool(problems(plan, WORKERS))
    assert rejected or any(isinstance(message, PerformTask) for message in decided)


# Cost


def fan_out(n: int) -> Plan:
    """One step, n that need it, and one that needs them all."""
    middle = tuple(Step(id=f"s{k}", worker="writer", needs=("first",)) for k in range(n))
    last = Step(id="last", worker="writer", needs=tuple(step.id for step in middle))
    return Plan(steps=(Step(id="first", worker="writer"), *middle, last))


def timed(n: int) -> Plan:
    """The same plan, where each step has a timeout of its own."""
    plan = fan_out(n)
    return plan.model_copy(
        update={"steps": tuple(step.model_copy(update={"timeout": 1 + k * 37 % n}) for k, step in enumerate(plan.steps))}
    )


def chain(n: int) -> Plan:
    return Plan(steps=tuple(Step(id=f"s{k}", worker="writer", needs=(f"s{k - 1}",) if k else ()) for k in range(n)))


def all_goes_well(plan: Plan) -> Run:
    run = Run()
    on_its_way: list[Message] = [RunPlan(goal="g", plan=plan, deadline=DEADLINE)]
    for message in on_its_way:
        for decided in run.process(message):
            match decided:
                case PerformTask(task=task):
                    on_its_way.append(TaskAnswered(task=task, role="writer", text=task, tier="t", model="m", cost=Decimal(0)))
                case CheckClaim(check=check):
                    on_its_way.append(ClaimPassed(check=check, by=(), policy="1"))
    assert isinstance(results(run)[0], WorkflowCompleted)
    return run


def calls(work: Callable[[], object]) -> int:
    """How many functions are called, of Python and of C."""
    count = 0

    def counted(frame: FrameType, event: str, arg: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(counted)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def cpu_seconds(work: Callable[[], object]) -> float:
    """The least of several runs: a busy machine can only add time."""

    def once() -> float:
        begin = process_time()
        work()
        return process_time() - begin

    return min(once() for _ in range(5))


@pytest.mark.parametrize("shape", [fan_out, timed, chain])
def test_four_times_the_steps_cost_four_times_the_calls_and_not_sixteen(shape: Callable[[int], Plan]) -> None:
    few, many = shape(100), shape(400)
    assert calls(lambda: all_goes_well(many)) < 4.4 * calls(lambda: all_goes_well(few))


@pytest.mark.parametrize("shape", [fan_out, timed, chain])
def test_no_state_is_copied_whole_for_every_message(shape: Callable[[int], Plan]) -> None:
    """Eight times the steps: about 8 times the time, where a copy for each message would take up to 64 times."""
    short, long = all_goes_well(shape(250)).messages, all_goes_well(shape(2_000)).messages
    assert cpu_seconds(lambda: DECIDER.fold(long)) < 20 * cpu_seconds(lambda: DECIDER.fold(short))


def times_out(n: int) -> Callable[[], object]:
    """A wake-up at which all of n parallel steps have timed out."""
    plan = Plan(steps=tuple(Step(id=f"s{k}", worker="writer", timeout=1 + k * 37 % n) for k in range(n)))
    run = Run()
    run.process(RunPlan(goal="g", plan=plan, deadline=DEADLINE + timedelta(days=1)))
    return lambda: run.wake(timedelta(seconds=n))


def test_a_wake_up_at_which_four_times_the_steps_time_out_costs_four_times_the_calls() -> None:
    assert calls(times_out(1_000)) < 5 * calls(times_out(250))


def test_the_next_wake_up_is_known_without_a_look_at_the_steps() -> None:
    few, many = (DECIDER.fold(all_goes_well(timed(n)).messages[: n // 2]) for n in (100, 1_600))
    assert calls(lambda: DECIDER.wake_at(few)) == calls(lambda: DECIDER.wake_at(many))
