"""What the planner may receive, for its diagrams: plans of every kind of step, and all that may happen to each of them."""

import base64
from collections.abc import Hashable, Iterator, Mapping
from datetime import timedelta
from decimal import Decimal

from contracts.approval import ActionApproved, ActionRejected, QuestionAnswered, QuestionExpired
from contracts.control import CancelWorkflow, SignalWorkflow
from contracts.dead_letters import DeadLettered
from contracts.planner import ExpireWorkflow, RunPlan
from contracts.plans import WAIT, Gate, Plan, Step, Wait
from contracts.specialists import TaskAnswered, TaskCancelled, TaskFailed
from contracts.verifier import ClaimPassed, ClaimRejected
from hansard.actions import Action, action_bytes, action_reference
from hansard.decider import Context, WakeUp
from hansard.identity import task_name
from hansard.message import Message
from infra.diagrams import HERE, NOON, Machine, at
from services.planner.decider import planner
from services.planner.state import AwaitingPlan, CancelledBeforePlan, Ended, Running, WorkflowState, wake_at

WORKER = "writer"
DEADLINE = NOON + timedelta(hours=1)
PLANS = tuple(
    Plan(
        name=f"{verify}-{optional}-{timeout}",
        steps=(
            Step(id="first", worker=WORKER, verify=verify, retries=1, optional=optional, timeout=timeout),
            Step(id="second", worker=WORKER, verify=verify, retries=0, needs=("first",)),
        ),
    )
    for verify in ("code", "none")
    for optional in (False, True)
    for timeout in (None, 60)
) + tuple(
    Plan(
        name=f"{name}-{optional}",
        steps=(
            Step.model_validate({"id": "first", "optional": optional, "retries": 1, "verify": "none"} | step),
            Step(id="second", worker=WORKER, verify="none", retries=0, needs=("first",)),
        ),
    )
    for optional in (False, True)
    for name, step in {
        "gate": {"worker": WORKER, "gate": Gate(action={"tool": "tool"})},
        "question": {"worker": WAIT, "wait": Wait(question="question")},
        "event": {"worker": WAIT, "wait": Wait(event="event")},
        "time": {"worker": WAIT, "wait": Wait(seconds=60)},
    }.items()
)
NO_ACTION = Plan(
    name="no-action",
    steps=(
        Step(id="first", worker=WORKER, verify="none", retries=0),
        Step(id="second", worker=WORKER, needs=("first",), gate=Gate(action_from="first")),
    ),
)
CYCLE = Plan(name="cycle", steps=(Step(id="first", worker=WORKER, needs=("first",)),))
ACTION = action_bytes(Action(tool="tool"))
BYTES = action_reference(ACTION)
EXPIRED = ExpireWorkflow(request="request", deadline=DEADLINE)


def received(state: WorkflowState) -> Iterator[tuple[Message, Context]]:
    match state:
        case AwaitingPlan() | CancelledBeforePlan():
            for plan in (*PLANS, NO_ACTION, CYCLE):
                yield RunPlan(request="request", goal="goal", plan=plan, deadline=DEADLINE), HERE
            yield CancelWorkflow(by="caller"), HERE
            yield EXPIRED, at(DEADLINE)
            yield dead(EXPIRED), HERE
        case Running():
            for step, reached in state.in_plan_order():
                for message in about(task_name(step.id, reached.attempt)):
                    yield message, HERE
            if (due := wake_at(state)) is not None:
                yield WakeUp(), at(due)
            yield EXPIRED, at(DEADLINE)
            yield CancelWorkflow(by="caller"), HERE
            yield SignalWorkflow(name="event"), at(NOON + timedelta(seconds=1))
        case Ended():
            pass


def about(task: str) -> Iterator[Message]:
    """All that may be received about the current attempt of a step; what does not fit its phase changes nothing."""
    yield TaskAnswered(task=task, role=WORKER, text="text", tier="primary", model="model", cost=Decimal(0))
    yield TaskFailed(task=task, role=WORKER, reason="no-answer", detail="")
    yield TaskFailed(task=task, role=WORKER, reason="unknown-role", detail="")
    yield TaskCancelled(task=task)
    yield ClaimPassed(check=task, by=(), policy="1")
    yield ClaimRejected(check=task, reasons=("reason",), failed=(), policy="1")
    yield dead(TaskCancelled(task=task))
    yield approved(task)
    yield ActionRejected(action_id=task, sha256=BYTES.sha256, because="reviewed", status="human_rejected", policy="1")
    yield QuestionAnswered(action_id=task, answer="answer", by="person")
    yield QuestionExpired(action_id=task, because="expired")


def approved(task: str) -> ActionApproved:
    return ActionApproved(
        action_id=task, sha256=BYTES.sha256, policy="1", status="human_approved", action=ACTION.decode(), action_ref=BYTES
    )


def dead(message: Message) -> DeadLettered:
    return DeadLettered(
        service="planner",
        reason="poison",
        detail="",
        attempts=1,
        door=False,
        message_kind=message.kind,
        causation_id="",
        topic="planner.commands" if isinstance(message, ExpireWorkflow) else "specialists.events",
        partition=0,
        offset=0,
        timestamp=0,
        body=base64.b64encode(message.model_dump_json().encode()).decode(),
        hash="",
    )


def workflow(state: WorkflowState) -> Mapping[str, str]:
    return {"workflow": type(state).__name__}


def steps(state: WorkflowState) -> Mapping[str, str]:
    if not isinstance(state, Running):
        return {}
    reached = {name: state.steps.get(name) for name in state.graph.steps}
    return {name: "not-started" if step is None else step.phase for name, step in reached.items()}


def clock(state: WorkflowState) -> Mapping[str, str]:
    return {"clock": "stands-still" if state.paused_at else "running"} if isinstance(state, Running) else {}


def key(state: WorkflowState) -> Hashable:
    if not isinstance(state, Running):
        return type(state).__name__
    reached = tuple((step.id, now.phase, now.attempt, now.until) for step, now in state.in_plan_order())
    return state.started.plan.name, reached, state.deadline, state.paused_at


DECIDERS = (planner({WORKER: "specialists"}, "1"),)
MACHINES = (
    Machine("A workflow", DECIDERS, received, workflow, key),
    Machine("A step of a running plan", DECIDERS, received, steps, key),
    Machine("The clock of a running plan, by which its deadline comes", DECIDERS, received, clock, key),
)
