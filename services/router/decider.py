"""One stream a workflow. The router answers for it until it says `RunPlan`; from there the planner does.

The router still wakes at the deadline and tells the planner: where the plan was lost, the workflow ends all the same.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import assert_never

from contracts.control import CancelWorkflow
from contracts.dead_letters import DeadLettered
from contracts.planner import ExpireWorkflow, RunPlan
from contracts.requests import SubmitRequest
from contracts.results import Result, WorkflowCancelled, WorkflowCompleted, WorkflowFailed, WorkflowRefused
from contracts.router import CancelNoted
from hansard.decider import CannotProcess, Context, Decider, WakeUp
from hansard.message import Message
from services.router.policy import Policy
from services.router.routing import ByPlan, ByRule, Refusal, route


@dataclass(frozen=True)
class Unasked: ...


@dataclass(frozen=True)
class CancelledAhead:
    by: str
    reason: str


@dataclass(frozen=True)
class HandedOver:
    request: str
    deadline: datetime


@dataclass(frozen=True)
class Over:
    """Nothing is left to do here: the result is said, or the planner knows that the deadline has passed."""


RequestState = Unasked | CancelledAhead | HandedOver | Over


def router(policy: Policy) -> Decider[RequestState]:
    def decide(state: RequestState, message: Message, context: Context) -> Iterable[Message]:
        match state:
            case Unasked():
                match message:
                    case SubmitRequest():
                        yield from answer(policy, message, context)
                    case CancelWorkflow(by=by, reason=reason):
                        yield CancelNoted(by=by, reason=reason)
                    case DeadLettered() if ends(message):
                        yield from unheard(message)
                    case _:
                        pass

            case CancelledAhead(by, reason):
                match message:
                    case SubmitRequest():
                        yield WorkflowCancelled(request=context.message_id, by=by, detail=reason)
                    case DeadLettered() if ends(message):
                        yield from unheard(message)
                    case _:
                        pass

            case _ if isinstance(message, SubmitRequest):
                raise CannotProcess("correlation-in-use", f"workflow {context.workflow} has its request already")

            case HandedOver(request, deadline):
                if isinstance(message, WakeUp) and deadline <= context.at:
                    yield ExpireWorkflow(request=request, deadline=deadline)

            case Over():
                pass

            case _:
                assert_never(state)

    return Decider(Unasked(), decide, evolve, wake_at, policy.version)


def evolve(state: RequestState, message: Message) -> RequestState:
    match message:
        case CancelNoted(by=by, reason=reason):
            return CancelledAhead(by, reason)
        case RunPlan(request=request, deadline=deadline):
            return HandedOver(request, deadline)
        case Result() | ExpireWorkflow():
            return Over()
        case _:
            return state


def wake_at(state: RequestState) -> datetime | None:
    return state.deadline if isinstance(state, HandedOver) else None


def answer(policy: Policy, asked: SubmitRequest, context: Context) -> Iterable[Message]:
    request = context.message_id
    match route(policy, asked, context.at):
        case ByRule(routed, data, text):
            yield routed
            yield WorkflowCompleted(
                request=request, text=text, data=data, answered_by="rule", handler=routed.handler, confidence=routed.confidence
            )
        case ByPlan(routed, goal, plan):
            deadline = asked.deadline or context.at + policy.within
            yield routed
            yield RunPlan(request=request, goal=goal, plan=plan, deadline=deadline, budget=asked.budget)
        case Refusal(reason, detail):
            yield WorkflowRefused(request=request, reason=reason, detail=detail)


def ends(dead: DeadLettered) -> bool:
    """Whether this was the request itself, readable enough for an answer. A claim on another's workflow ends nothing."""
    return (
        dead.service == "router"
        and dead.message_kind == SubmitRequest.kind
        and dead.message_id != ""
        and dead.reason in ("unreadable", "invalid", "too-large", "refused-by-store", "poison", "crashed")
    )


def unheard(dead: DeadLettered) -> Iterable[Message]:
    match dead.reason:
        case "poison" | "crashed":
            yield WorkflowFailed(request=dead.message_id, reason="dead-letter", detail=f"{dead.reason}: {dead.detail}")
        case "too-large":
            yield WorkflowRefused(request=dead.message_id, reason="too-large", detail=dead.detail)
        case _:
            yield WorkflowRefused(request=dead.message_id, reason="invalid", detail=dead.detail)
