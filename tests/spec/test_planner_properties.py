"""Any plan, any outcomes, any order: it ends, once, and no step runs before what it needs; and at a cost that grows as n."""

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
from hansard.decider import WakeUp
from hansard.message import Message
from services.planner.decider import planner
from services.planner.graph import problems
from services.planner.state import PlanState, parts_of
from tests.told import HERE, NOON

WORKERS = {"writer": "specialists", "retriever": "retriever"}
DEADLINE = NOON + timedelta(hours=1)
HEAD = planner(WORKERS, "p1")


@dataclass
class Story:
    """A planner that is told one thing after another, each decided twice. Its time moves on only when it is told to."""

    case: PlanState = HEAD.initial
    messages: list[Message] = field(default_factory=list)
    now: datetime = NOON

    def process(self, message: Message) -> list[Message]:
        context = replace(HERE, at=self.now)
        emitted, again = (list(HEAD.decide(self.case, message, context)) for _ in range(2))
        assert emitted == again
        self.case = HEAD.fold(emitted, self.case)
        self.messages += emitted
        return emitted

    @property
    def wake_at(self) -> datetime | None:
        return HEAD.wake_at(self.case)

    def wake(self, late: timedelta = timedelta()) -> list[Message]:
        """Lets its time come: an early wake-up says nothing, and after one that is not nothing is due any more."""
        assert self.wake_at is not None
        assert self.wake_at == HEAD.wake_at(HEAD.fold(self.messages))
        if self.now < self.wake_at:
            assert self.process(WakeUp()) == []
        self.now = max(self.now, self.wake_at) + late
        message = self.process(WakeUp())
        assert message and (self.wake_at is None or self.wake_at > self.now)
        return message


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
    """What the other services make of what the planner said."""
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


def told_in_any_order(chance: Random, asked: RunPlan, *more: Message, late: int = 0) -> Story:
    """Until nothing is on its way and nothing is due: delivered in any order, some of it twice. What a step waits for may
    come while much is on its way, and a wake-up up to so many seconds `late`."""
    story, on_its_way, received = Story(), [asked, *more], list[Message]()
    while on_its_way or story.wake_at:
        if story.wake_at and (not on_its_way or (story.wake_at < DEADLINE and chance.random() < 0.1)):
            emitted = story.wake(timedelta(seconds=chance.randint(0, late)))
        else:
            again = received and chance.random() < 0.1
            message = chance.choice(received) if again else on_its_way.pop(chance.randrange(len(on_its_way)))
            received.append(message)
            emitted = story.process(message)
        assert story.wake_at == earliest(story.messages)
        for message in emitted:
            on_its_way += world(chance, message)
    return story


def earliest(message: list[Message]) -> datetime | None:
    """The earliest of all times in what was said, by looking at all of it."""
    deadline: datetime | None = None
    times: dict[str, datetime] = {}
    for one in message:
        match one:
            case PlanStarted():
                deadline = one.deadline
            case PerformTask(task=task):
                times[parts_of(task)[0]] = one.deadline
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


def results(story: Story) -> list[Result]:
    return [message for message in story.messages if isinstance(message, Result)]


@settings(max_examples=200, deadline=None)
@given(chances, plans(), budgets)
def test_any_plan_ends_with_one_result_whatever_the_outcomes_and_their_order(
    chance: Random, plan: Plan, budget: Decimal | None
) -> None:
    story = told_in_any_order(chance, RunPlan(goal="g", plan=plan, deadline=DEADLINE, budget=budget))
    assert len(results(story)) == 1
    assert story.now < DEADLINE, "and not by its deadline"


@settings(max_examples=100, deadline=None)
@given(chances, plans(), st.booleans(), st.booleans())
def test_with_a_deadline_or_a_cancel_at_any_moment_there_is_still_one_result(
    chance: Random, plan: Plan, deadline: bool, cancel: bool
) -> None:
    more = [ExpireWorkflow(request="", deadline=DEADLINE)] * deadline + [CancelWorkflow(by="ada")] * cancel
    story = told_in_any_order(chance, RunPlan(goal="g", plan=plan, deadline=DEADLINE), *more, late=3600)
    assert len(results(story)) == 1


@settings(max_examples=200, deadline=None)
@given(chances, plans(), budgets)
def test_no_step_runs_before_its_needs_and_none_is_settled_twice(chance: Random, plan: Plan, budget: Decimal | None) -> None:
    story = told_in_any_order(chance, RunPlan(goal="g", plan=plan, deadline=DEADLINE, budget=budget))
    needs = {step.id: set(step.needs) for step in plan.steps}
    passed: set[str] = set()
    settled: list[str] = []
    attempts: dict[str, int] = {}
    for message in story.messages:
        match message:
            case PerformTask(task=task):
                step, attempt = parts_of(task)
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
def test_nothing_is_left_behind_under_way(chance: Random, plan: Plan) -> None:
    """Every task that was asked for is answered or called off, and no time is waited for."""
    story, on_its_way = Story(), list[Message]([RunPlan(goal="g", plan=plan, deadline=DEADLINE)])
    received: list[Message] = []
    stop = chance.randint(1, 30)
    while not results(story):
        if not on_its_way:
            on_its_way += [answer for emitted in story.wake() for answer in world(chance, emitted)]
            continue
        message = on_its_way.pop(chance.randrange(len(on_its_way))) if len(received) != stop else CancelWorkflow(by="ada")
        received.append(message)
        for emitted in story.process(message):
            on_its_way += world(chance, emitted)
    asked = {emitted.task for emitted in story.messages if isinstance(emitted, PerformTask)}
    ended = {
        m.task for m in [*received, *story.messages] if isinstance(m, TaskAnswered | TaskFailed | TaskCancelled | CancelTask)
    }
    assert asked <= ended
    assert story.wake_at is None


@settings(max_examples=100, deadline=None)
@given(chances, plans())
def test_a_message_heard_again_says_nothing(chance: Random, plan: Plan) -> None:
    story, on_its_way = Story(), list[Message]([RunPlan(goal="g", plan=plan, deadline=DEADLINE)])
    while on_its_way or story.wake_at:
        if on_its_way:
            message = on_its_way.pop(chance.randrange(len(on_its_way)))
            received = story.process(message)
        else:
            message, received = WakeUp(), story.wake()
        for emitted in received:
            on_its_way += world(chance, emitted)
        assert story.process(message) == []


names = st.sampled_from(["a", "b", "c", "z"])


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.builds(Step, id=names, worker=st.sampled_from(["writer", "clown"]), needs=st.lists(names).map(tuple)), min_size=1)
)
def test_a_plan_runs_or_is_refused_with_reasons_and_never_in_between(steps: list[Step]) -> None:
    plan = Plan(steps=tuple(steps))
    story = Story()
    message = story.process(RunPlan(goal="g", plan=plan, deadline=DEADLINE))
    refused = [one for one in message if isinstance(one, WorkflowFailed)]
    assert bool(refused) == bool(problems(plan, WORKERS))
    assert refused or any(isinstance(one, PerformTask) for one in message)


# Cost


def fan_out(n: int) -> Plan:
    """One step, n that need it, and one that needs them all."""
    middle = tuple(Step(id=f"s{k}", worker="writer", needs=("first",)) for k in range(n))
    last = Step(id="last", worker="writer", needs=tuple(step.id for step in middle))
    return Plan(steps=(Step(id="first", worker="writer"), *middle, last))


def timed(n: int) -> Plan:
    """The same, where each waits for a time of its own."""
    plan = fan_out(n)
    return plan.model_copy(
        update={"steps": tuple(step.model_copy(update={"timeout": 1 + k * 37 % n}) for k, step in enumerate(plan.steps))}
    )


def chain(n: int) -> Plan:
    return Plan(steps=tuple(Step(id=f"s{k}", worker="writer", needs=(f"s{k - 1}",) if k else ()) for k in range(n)))


def all_goes_well(plan: Plan) -> Story:
    story = Story()
    on_its_way: list[Message] = [RunPlan(goal="g", plan=plan, deadline=DEADLINE)]
    for message in on_its_way:
        for emitted in story.process(message):
            match emitted:
                case PerformTask(task=task):
                    on_its_way.append(TaskAnswered(task=task, role="writer", text=task, tier="t", model="m", cost=Decimal(0)))
                case CheckClaim(check=check):
                    on_its_way.append(ClaimPassed(check=check, by=(), policy="1"))
    assert isinstance(results(story)[0], WorkflowCompleted)
    return story


def calls(work: Callable[[], object]) -> int:
    """How many functions are called, in Python and in C."""
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
    """The least of several: a busy machine can only add."""

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
    assert cpu_seconds(lambda: HEAD.fold(long)) < 20 * cpu_seconds(lambda: HEAD.fold(short))


def times_out(n: int) -> Callable[[], object]:
    """A wake-up that finds all of n parallel steps due."""
    plan = Plan(steps=tuple(Step(id=f"s{k}", worker="writer", timeout=1 + k * 37 % n) for k in range(n)))
    story = Story()
    story.process(RunPlan(goal="g", plan=plan, deadline=DEADLINE + timedelta(days=1)))
    return lambda: story.wake(timedelta(seconds=n))


def test_a_wake_up_at_which_four_times_the_steps_are_due_costs_four_times_the_calls() -> None:
    assert calls(times_out(1_000)) < 5 * calls(times_out(250))


def test_to_know_when_to_wake_costs_no_look_at_the_steps() -> None:
    few, many = (HEAD.fold(all_goes_well(timed(n)).messages[: n // 2]) for n in (100, 1_600))
    assert calls(lambda: HEAD.wake_at(few)) == calls(lambda: HEAD.wake_at(many))
