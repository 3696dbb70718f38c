"""What a reviewer asks about an action, and the workflow's answer: a worker gives it, or it is said why there is none."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal

from contracts.approval import GiveMore, MoreAsked, ProposeAction
from contracts.planner import ReviewerAnswered
from contracts.plans import Step
from contracts.specialists import PerformTask, TaskAnswered, TaskCancelled, TaskFailed
from hansard.identity import question_of, question_task, step_and_attempt
from hansard.message import Message
from hansard.values import ContentReference, Usage, carried
from services.planner.state import Running
from services.planner.tasks import budget_left, given_to, passages_for
from shared.shortening import shortened

MOST = 20  # questions about one action that workers answer: each costs money
WORKER = "analyst"  # where neither the gate nor the steps before it name one
INSTRUCTIONS = (
    "A person is to decide whether an action may run, and asks a question about it. Answer the question, for that person, from"
    " what you are given. Say what you do not know."
)
DETAIL = 4_000  # characters of why there is no answer


def asked(
    state: Running, workers: Mapping[str, str], step: Step, proposed: ProposeAction, message: MoreAsked, at: datetime
) -> Iterator[Message]:
    """The question as a task for a worker, which has as long as the workflow has, and no longer than the reviewer waits."""
    named = step.gate and step.gate.ask
    needs = (state.graph.steps[need].worker for need in state.graph.needs[step.id])
    worker = named or next((worker for worker in needs if worker in workers), WORKER)
    name = question_task(message.action_id, message.question)
    if why := _cannot(state, workers, worker, message):
        yield _given(name, f"The workflow cannot answer: {why}.")
        return
    yield PerformTask(
        task=name,
        service=workers[worker],
        role=worker,
        goal=state.started.goal,
        goal_ref=state.started.goal_ref,
        instructions=f"{INSTRUCTIONS}\n\nThe question: {message.text}\n\nThe action: {proposed.action}",
        context=given_to(state, step),
        passages=passages_for(state, step),
        deadline=min(state.deadline_at(at), message.expires_at),
        budget=budget_left(state),
    )


def answered(state: Running, message: TaskAnswered | TaskFailed | TaskCancelled) -> Iterator[Message]:
    """What goes back to the reviewer. Nothing where nobody waits for it any more."""
    asked = question_of(message.task)
    reached = state.steps.get(step_and_attempt(asked[0])[0]) if asked else None
    if reached is None or message.task not in dict(reached.questions):
        return
    match message:
        case TaskAnswered():
            yield ReviewerAnswered(task=message.task, **carried(message, Usage))
            yield _given(message.task, message.text, message.text_ref)
        case TaskFailed(reason=reason, detail=detail, cost=cost):
            yield from _failed(message.task, f"{reason}: {detail}" if detail else reason, cost)
        case TaskCancelled():
            yield from _failed(message.task, "its worker called the task off", Decimal(0))


def _failed(task: str, why: str, cost: Decimal) -> Iterator[Message]:
    why = shortened(why, DETAIL)
    yield ReviewerAnswered(task=task, failed=why, cost=cost)
    yield _given(task, f"The workflow found no answer: {why}")


def _cannot(state: Running, workers: Mapping[str, str], worker: str, message: MoreAsked) -> str:
    budget, spent = state.started.budget, state.spent
    if message.question > MOST:
        return f"it answers no more than {MOST} questions about an action"
    if worker not in workers:
        return f"it has no worker named {worker!r}"
    if budget is not None and spent >= budget and spent:
        return f"${spent} of its ${budget} are spent"
    return ""


def _given(task: str, answer: str, whole: ContentReference | None = None) -> GiveMore:
    asked = question_of(task)
    assert asked is not None, "only the task of a question is answered so"
    return GiveMore(action_id=asked[0], question=asked[1], answer=answer, answer_ref=whole)
