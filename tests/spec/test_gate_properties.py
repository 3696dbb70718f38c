"""Whatever comes in whatever order: nothing runs that was not approved, and waiting never lets the deadline pass."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.approval import ActionApproved, AskPerson, MoreAsked, ProposeAction, QuestionAnswered, QuestionExpired
from contracts.control import CancelWorkflow, SignalWorkflow
from contracts.planner import RunPlan, StepAnswered, StepCancelled, StepFailed, StepWaiting
from contracts.plans import Gate, Plan, Step, Wait
from contracts.results import Result, WorkflowFailed
from contracts.router import MoveDeadline
from contracts.specialists import CancelTask, PerformTask, TaskAnswered
from contracts.verifier import CheckClaim, ClaimPassed
from hansard.decider import Decider
from hansard.identity import question_of, step_and_attempt
from hansard.message import Message
from services.planner.decider import planner
from services.planner.state import WorkflowState
from tests.decisions import NOON
from tests.spec import test_planner_properties as plain
from tests.spec.gates_kit import OTHER, REFUND, WORKERS, approved, edited, rejected
from tests.spec.planner_kit import expire

DEADLINE = plain.DEADLINE
DECIDER = planner(WORKERS, "p1")
EVENTS = ("paid", "shipped")
chances = plain.chances


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    names = [f"s{n}" for n in range(draw(st.integers(1, 6)))]
    steps = []
    for place, name in enumerate(names):
        needs = tuple(draw(st.lists(st.sampled_from(names[:place]), max_size=2))) if place else ()
        common = {"id": name, "needs": needs, "optional": draw(st.booleans()), "retries": draw(st.integers(0, 2))}
        steps.append(Step.model_validate(common | draw(st.sampled_from(SORTS))))
    return Plan(steps=tuple(draw(st.permutations(steps))))


SORTS: list[dict[str, object]] = [
    {"worker": "writer", "verify": "none"},
    {"worker": "writer", "verify": "code", "timeout": 30},
    {"worker": "ledger", "verify": "none", "gate": Gate(action=REFUND)},
    {"worker": "ledger", "verify": "none", "gate": Gate(action=REFUND, seconds=60), "timeout": 30},
    {"worker": "wait", "wait": Wait(question="?", timeout=7200)},
    {"worker": "wait", "wait": Wait(event="paid", timeout=7200, otherwise="no")},
    {"worker": "wait", "wait": Wait(event="shipped", timeout=60)},
    {"worker": "wait", "wait": Wait(seconds=5000)},
]


def world(chance: Random, message: Message) -> Iterator[Message]:
    """What the other services, and people, answer: some of it is wrong."""
    match message:
        case ProposeAction(action_id=name):
            yield chance.choice(
                [
                    approved(action_id=name),
                    approved(action_id=name),
                    edited(action_id=name),
                    approved(OTHER, action_id=name),
                    edited(REFUND, of=OTHER, action_id=name),
                    rejected(action_id=name),
                    rejected("expired", action_id=name),
                    MoreAsked(action_id=name, question=1, text="?", by="a", at=NOON, expires_at=DEADLINE),
                ]
            )
            if chance.random() < 0.3:
                yield chance.choice([approved(action_id=name), approved(OTHER, action_id=name)])
        case AskPerson(action_id=name):
            answered = QuestionAnswered(action_id=name, answer="yes", by="alice")
            yield chance.choice([answered, QuestionExpired(action_id=name, because="expired")])
        case _:
            yield from plain.world(chance, message)


@dataclass
class Run(plain.Run):
    """Notes what was delivered, and what is stored at which time."""

    decider: Decider[WorkflowState] = DECIDER
    delivered: list[Message] = field(default_factory=list)
    at: list[tuple[datetime, Message]] = field(default_factory=list)

    def process(self, message: Message) -> list[Message]:
        self.delivered.append(message)
        decided = super().process(message)
        self.at += [(self.now, one) for one in decided]
        return decided


def run_in_any_order(chance: Random, asked: RunPlan, *more: Message, late: int = 0) -> Run:
    """As `plain.run_in_any_order`, and the clock may move while messages are on their way."""
    run, on_its_way = Run(), [asked, *more]
    while on_its_way or run.wake_at:
        if run.wake_at and (not on_its_way or chance.random() < 0.1):
            decided = run.wake(timedelta(seconds=chance.randint(0, late)))
        else:
            if chance.random() < 0.2 and not plain.results(run):
                soon = run.wake_at - run.now if run.wake_at else timedelta(minutes=1)
                run.now += soon * chance.random() * 0.9
            again = run.delivered and chance.random() < 0.1
            message = chance.choice(run.delivered) if again else on_its_way.pop(chance.randrange(len(on_its_way)))
            decided = run.process(message)
        for message in decided:
            on_its_way += world(chance, message)
    return run


def signals(chance: Random) -> list[Message]:
    return [SignalWorkflow(name=chance.choice([*EVENTS, "other"]), by="shop") for _ in range(chance.randint(0, 3))]


def asked_for(plan: Plan, budget: Decimal | None = None) -> RunPlan:
    return RunPlan(goal="g", plan=plan, deadline=DEADLINE, budget=budget)


@settings(max_examples=300, deadline=None)
@given(chances, plans(), st.booleans(), st.booleans())
def test_nothing_of_a_gated_step_runs_but_what_was_approved(chance: Random, plan: Plan, expires: bool, stops: bool) -> None:
    more = [*signals(chance), *[expire] * expires, *[CancelWorkflow(by="ada")] * stops]
    run = run_in_any_order(chance, asked_for(plan), *more, late=600)
    gated = {step.id for step in plan.steps if step.gate}
    proposed = {one.action_id: one.sha256 for one in run.messages if isinstance(one, ProposeAction)}
    allowed = {
        (one.action_id, one.sha256)
        for one in run.delivered
        if isinstance(one, ActionApproved) and proposed.get(one.action_id) == (one.proposed or one.sha256)
    }
    approvals: dict[str, set[str]] = {}
    for task in (one for one in run.messages if isinstance(one, PerformTask) and not question_of(one.task)):
        step, _ = step_and_attempt(task.task)
        assert (task.approval is not None) == (step in gated)
        if task.approval is not None:
            assert (f"{step}.1", task.approval.action.sha256) in allowed
            approvals.setdefault(step, set()).add(f"{task.approval.action.sha256}{task.approval.decision}")
    assert all(len(mine) == 1 for mine in approvals.values()), "every attempt runs under one approval"
    assert len(proposed) == len({step_and_attempt(name)[0] for name in proposed}), "no action is proposed twice"


@settings(max_examples=300, deadline=None)
@given(chances, plans(), plain.budgets, st.integers(0, 3600))
def test_any_plan_ends_once_and_waiting_never_lets_the_deadline_pass(
    chance: Random, plan: Plan, budget: Decimal | None, late: int
) -> None:
    run = run_in_any_order(chance, asked_for(plan, budget), *signals(chance), *[expire] * chance.randint(0, 1), late=late)
    [result] = plain.results(run)
    counted = time_that_counts(run)
    if isinstance(result, WorkflowFailed) and result.reason == "deadline" and expire not in run.delivered:
        assert counted >= DEADLINE - NOON
    else:
        assert counted <= DEADLINE - NOON + timedelta(seconds=late), "the deadline ends it, in time"


def time_that_counts(run: Run) -> timedelta:
    """From the plan to the result, without the times at which some step waited: by a look at all messages."""
    waiting: set[str] = set()
    counted, since = timedelta(), NOON
    for at, message in run.at:
        if not waiting:
            counted += at - since
        since = at
        match message:
            case StepWaiting(step=step):
                waiting.add(step)
            case StepAnswered(step=step) | StepFailed(step=step) | StepCancelled(step=step):
                waiting.discard(step)
            case PerformTask(task=task) if not question_of(task):
                waiting.discard(step_and_attempt(task)[0])
            case Result():
                return counted
            case _:
                pass
    raise AssertionError("it has no result")


@settings(max_examples=200, deadline=None)
@given(chances, plans())
def test_whatever_is_received_again_changes_nothing(chance: Random, plan: Plan) -> None:
    run, on_its_way = Run(), [asked_for(plan), *signals(chance)]
    while on_its_way:
        message = on_its_way.pop(chance.randrange(len(on_its_way)))
        for sent in run.process(message):
            on_its_way += world(chance, sent)
        again = run.process(message)
        assert again == [] or isinstance(message, MoreAsked), "approval numbers its questions, and the runtime its messages"
        for sent in again:
            on_its_way += world(chance, sent)


@settings(max_examples=100, deadline=None)
@given(chances, plans())
def test_the_router_is_never_told_a_deadline_that_is_over(chance: Random, plan: Plan) -> None:
    run = run_in_any_order(chance, asked_for(plan), *signals(chance), *[expire] * 3)
    for at, message in run.at:
        if isinstance(message, MoveDeadline):
            assert message.deadline > at


# Cost


def waits(n: int) -> Plan:
    """n steps that wait for one event, at once, and one that needs them all."""
    middle = tuple(Step(id=f"s{k}", worker="wait", wait=Wait(event="paid", timeout=1 + k * 37 % n)) for k in range(n))
    return Plan(steps=(*middle, Step(id="last", worker="writer", needs=tuple(step.id for step in middle))))


def gates(n: int) -> Plan:
    return Plan(steps=tuple(Step(id=f"s{k}", worker="ledger", gate=Gate(action=REFUND), verify="none") for k in range(n)))


def all_goes_well(plan: Plan) -> Run:
    run, on_its_way = Run(), list[Message]([asked_for(plan), SignalWorkflow(name="paid")])
    for message in on_its_way:
        for decided in run.process(message):
            if isinstance(decided, ProposeAction):
                on_its_way.append(approved(action_id=decided.action_id))
            elif isinstance(decided, PerformTask):
                on_its_way.append(TaskAnswered(task=decided.task, role="r", text="", tier="t", model="m", cost=Decimal(0)))
            elif isinstance(decided, CheckClaim):
                on_its_way.append(ClaimPassed(check=decided.check, by=(), policy="1"))
    assert not any(isinstance(message, CancelTask) for message in run.messages)
    assert len(plain.results(run)) == 1
    return run


@pytest.mark.parametrize("shape", [waits, gates])
def test_four_times_the_waiting_steps_cost_four_times_the_calls(shape: object) -> None:
    assert callable(shape)
    few, many = shape(100), shape(400)
    assert plain.calls(lambda: all_goes_well(many)) < 4.6 * plain.calls(lambda: all_goes_well(few))


@pytest.mark.parametrize("shape", [waits, gates])
def test_no_state_is_copied_whole_while_steps_wait(shape: object) -> None:
    assert callable(shape)
    short, long = all_goes_well(shape(200)).messages, all_goes_well(shape(1_600)).messages
    assert plain.cpu_seconds(lambda: DECIDER.fold(long)) < 20 * plain.cpu_seconds(lambda: DECIDER.fold(short))
