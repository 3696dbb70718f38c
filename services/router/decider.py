"""One stream per workflow. The router answers for the workflow until it stores `RunPlan`; from then on the planner does.

The router still wakes at the deadline and tells the planner. So the workflow ends even where the plan was lost on its way. A
planner whose plan has steps that waited answers with a later deadline, and the router tells it again then.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import assert_never

from contracts.approval import Requester
from contracts.control import CancelWorkflow
from contracts.dead_letters import DeadLettered
from contracts.planner import ExpireWorkflow, RunPlan
from contracts.requests import SubmitRequest
from contracts.results import Result, WorkflowCancelled, WorkflowCompleted, WorkflowFailed, WorkflowRefused
from contracts.router import CancelNoted, ExpiryPostponed, MoveDeadline
from hansard.decider import CannotProcess, Context, Decider, WakeUp
from hansard.identity import PEOPLE, is_reserved
from hansard.message import Message
from hansard.reviews import request_sha256
from services.router.policy import Policy
from services.router.routing import ByPlan, ByRule, Refusal, route


@dataclass(frozen=True)
class AwaitingRequest: ...


@dataclass(frozen=True)
class CancelledBeforeRequest:
    by: str
    reason: str


@dataclass(frozen=True)
class HandedOver:
    """The planner runs the request's plan."""

    request: str
    deadline: datetime


@dataclass(frozen=True)
class PlannerTold:
    """The planner knows that the deadline has passed. It ends the workflow, or has a later one."""

    request: str


@dataclass(frozen=True)
class Ended:
    """The router gave the result."""


WorkflowState = AwaitingRequest | CancelledBeforeRequest | HandedOver | PlannerTold | Ended


def router(policy: Policy) -> Decider[WorkflowState]:
    def decide(state: WorkflowState, message: Message, context: Context) -> Iterable[Message]:
        if is_reserved(context.workflow) and isinstance(message, SubmitRequest | CancelWorkflow):
            raise CannotProcess("invalid", f"the workflow {PEOPLE!r} holds the registrations of people: choose another name")
        match state:
            case AwaitingRequest():
                match message:
                    case SubmitRequest():
                        yield from answer(policy, message, context)
                    case CancelWorkflow(by=by, reason=reason):
                        yield CancelNoted(by=by, reason=reason)
                    case DeadLettered() if is_request(message):
                        yield from request_failed(message)
                    case _:
                        pass

            case CancelledBeforeRequest(by, reason):
                match message:
                    case SubmitRequest():
                        yield WorkflowCancelled(request=context.message_id, by=by, detail=reason)
                    case DeadLettered() if is_request(message):
                        yield from request_failed(message)
                    case _:
                        pass

            case _ if isinstance(message, SubmitRequest):
                raise CannotProcess("correlation-in-use", f"workflow {context.workflow} has its request already")

            case HandedOver(request, deadline):
                match message:
                    case WakeUp() if deadline <= context.at:
                        yield ExpireWorkflow(request=request, deadline=deadline)
                    case MoveDeadline(deadline=moved) if deadline < moved:
                        yield ExpiryPostponed(deadline=moved)
                    case _:
                        pass

            case PlannerTold():
                if isinstance(message, MoveDeadline):
                    yield ExpiryPostponed(deadline=message.deadline)

            case Ended():
                pass

            case _:
                assert_never(state)

    return Decider(AwaitingRequest(), decide, evolve, wake_at, policy.version)


def evolve(state: WorkflowState, message: Message) -> WorkflowState:
    match message:
        case CancelNoted(by=by, reason=reason):
            return CancelledBeforeRequest(by, reason)
        case RunPlan(request=request, deadline=deadline):
            return HandedOver(request, deadline)
        case ExpireWorkflow(request=request):
            return PlannerTold(request)
        case ExpiryPostponed(deadline=deadline) if isinstance(state, HandedOver | PlannerTold):
            return HandedOver(state.request, deadline)
        case Result():
            return Ended()
        case _:
            return state


def wake_at(state: WorkflowState) -> datetime | None:
    return state.deadline if isinstance(state, HandedOver) else None


def answer(policy: Policy, asked: SubmitRequest, context: Context) -> Iterable[Message]:
    request = context.message_id
    match route(policy, asked, context.at):
        case ByRule(routed, data, text):
            yield routed
            yield WorkflowCompleted(
                request=request, text=text, data=data, answered_by="rule", handler=routed.handler, confidence=routed.confidence
            )
        case ByPlan(routed, goal, plan, goal_ref):
            deadline = asked.deadline or context.at + policy.within
            yield routed
            yield RunPlan(
                request=request,
                goal=goal,
                goal_ref=goal_ref,
                plan=plan,
                deadline=deadline,
                budget=asked.budget,
                requester=requester_of(asked),
            )
        case Refusal(reason, detail):
            yield WorkflowRefused(request=request, reason=reason, detail=detail)


def requester_of(asked: SubmitRequest) -> Requester | None:
    """Who sent the request, as it states: nobody has checked the signature."""
    if not asked.requester:
        return None
    try:
        sha256 = request_sha256(asked.model_dump(mode="json", exclude_unset=True))
    except ValueError:  # it has no canonical form, so nobody can have signed it
        sha256 = ""
    return Requester(name=asked.requester, key=asked.requester_key, sha256=sha256, signature=asked.requester_signature)


def is_request(dead: DeadLettered) -> bool:
    """Whether the dead letter is the workflow's own request, so that it gets a result.

    A request that used another workflow's correlation id, or the id of another request, ends nothing. One whose envelope cannot
    be read is filed under its own correlation id, id or Kafka key; without any of them nobody waits for it.
    """
    if dead.service != "router" or dead.topic != "requests":
        return False
    if dead.reason == "unreadable":
        return bool(dead.message_id or dead.key)
    known = dead.message_kind == SubmitRequest.kind and dead.message_id != ""
    return known and dead.reason in ("invalid", "too-large", "refused-by-store", "poison", "crashed")


def request_failed(dead: DeadLettered) -> Iterable[Message]:
    """The result of a request that the router could not process."""
    match dead.reason:
        case "poison" | "crashed":
            yield WorkflowFailed(request=dead.message_id, reason="dead-letter", detail=f"{dead.reason}: {dead.detail}")
        case "too-large":
            yield WorkflowRefused(request=dead.message_id, reason="too-large", detail=dead.detail)
        case _:
            yield WorkflowRefused(request=dead.message_id, reason="invalid", detail=dead.detail)


def set_aside(readable: Sequence[Message], message: Message | None, context: Context) -> Iterable[Message]:
    """The result of a request that comes to a workflow whose history this version cannot fold. The planner's is not touched."""
    if isinstance(message, SubmitRequest) and not any(isinstance(known, RunPlan | Result) for known in readable):
        detail = "this version of the router cannot fold the workflow's history"
        yield WorkflowFailed(request=context.message_id, reason="internal", detail=detail)
