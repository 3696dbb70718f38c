"""One stream per workflow. From `RunPlan` on the planner alone answers for the workflow, and gives exactly one result."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import assert_never

from contracts.control import CancelWorkflow, SignalWorkflow
from contracts.dead_letters import DeadLettered
from contracts.planner import Assignment, ExpireWorkflow, PlanCancelNoted, PlanRejected, PlanStarted, RunPlan, SignalNoted
from contracts.results import WorkflowCancelled, WorkflowFailed
from hansard.decider import Context, Decider
from hansard.message import Message
from hansard.values import carried
from services.planner.dead import explanation, prevents_end, request_of
from services.planner.graph import problems
from services.planner.running import Decision
from services.planner.state import (
    EARLY,
    AwaitingPlan,
    CancelledBeforePlan,
    Ended,
    Running,
    WorkflowState,
    evolve,
    wake_at,
)

CANNOT_FOLD = "this version of the planner cannot fold the workflow's history"


def planner(workers: Mapping[str, str], policy: str) -> Decider[WorkflowState]:
    """`workers`: the service of each worker, by the worker's name."""

    def decide(state: WorkflowState, message: Message, context: Context) -> Iterable[Message]:
        match state:
            case AwaitingPlan():
                match message:
                    case RunPlan(request=request, deadline=deadline) if deadline <= context.at:
                        yield WorkflowFailed(request=request, reason="deadline", detail=too_late(deadline))
                    case RunPlan():
                        yield from run(state, message, workers, policy, context)
                    case SignalWorkflow(name=name, data=data, by=by):
                        if name not in state.signals and len(state.signals) < EARLY:
                            yield SignalNoted(name=name, data=data, by=by)
                    case CancelWorkflow(by=by, reason=reason):
                        yield PlanCancelNoted(by=by, reason=reason)
                    case ExpireWorkflow(request=request, deadline=deadline):
                        yield WorkflowFailed(request=request, reason="deadline", detail=too_late(deadline))
                    case DeadLettered(door=False) if prevents_end(message):
                        yield WorkflowFailed(
                            request=request_of(message, context.workflow), reason="dead-letter", detail=explanation(message)
                        )
                    case _:
                        pass

            case CancelledBeforePlan(by, reason):
                match message:
                    case RunPlan(request=request) | ExpireWorkflow(request=request):
                        yield WorkflowCancelled(request=request, by=by, detail=reason)
                    case DeadLettered(door=False) if prevents_end(message):
                        yield WorkflowCancelled(request=request_of(message, context.workflow), by=by, detail=reason)
                    case _:
                        pass

            case Running():
                decision = Decision(workers, state, context)
                decision.process(message)
                yield from decision.messages

            case Ended():
                pass

            case _:
                assert_never(state)

    return Decider(AwaitingPlan(), decide, evolve, wake_at, policy)


def run(awaiting: AwaitingPlan, message: RunPlan, workers: Mapping[str, str], policy: str, context: Context) -> Iterable[Message]:
    if found := problems(message.plan, workers):
        yield PlanRejected(problems=found)
        yield WorkflowFailed(request=message.request, reason="plan-rejected", detail="; ".join(found))
        return
    first = PlanStarted(**carried(message, Assignment), policy=policy)
    state = evolve(awaiting, first)
    assert isinstance(state, Running)
    decision = Decision(workers, state, context, [first])
    for name, needs in state.graph.needs.items():
        if not needs:
            decision.start(state.graph.steps[name])
    decision.settle()
    yield from decision.messages


def too_late(deadline: datetime) -> str:
    return f"the deadline {deadline.isoformat()} passed before the plan came"


def set_aside(readable: Sequence[Message], message: Message | None, context: Context) -> Iterable[Message]:
    """The result of a workflow whose history this version cannot fold, so that it does not hang."""
    for known in (*readable, message):
        if isinstance(known, PlanStarted | ExpireWorkflow):
            yield WorkflowFailed(request=known.request, reason="internal", detail=CANNOT_FOLD)
            return
