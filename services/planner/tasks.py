"""Makes the task of a step's attempt, and the claim by which the verifier checks its answer."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal

from pydantic import JsonValue

from contracts.planner import StepAnswered
from contracts.plans import Step
from contracts.specialists import Given, PerformTask
from contracts.verifier import CheckClaim, Passage
from hansard.actions import Approval
from hansard.identity import task_name
from hansard.values import Content, carried
from services.planner.state import Running
from shared.shortening import fitted, shortened

PASSAGES = 60_000  # characters, in a task and in a claim
QUESTION = 20_000  # characters of a claim's question


def task(
    state: Running,
    service: str,
    step: Step,
    attempt: int,
    feedback: tuple[str, ...],
    at: datetime,
    approval: Approval | None = None,
) -> PerformTask:
    """The task of an attempt that starts at `at`."""
    return PerformTask(
        task=task_name(step.id, attempt),
        service=service,
        role=step.worker,
        goal=state.started.goal,
        goal_ref=state.started.goal_ref,
        instructions=step.instructions,
        instructions_ref=step.instructions_ref,
        context=given_to(state, step),
        passages=passages_for(state, step),
        feedback=feedback,
        input=step.input,
        input_refs=step.input_refs,
        deadline=_deadline(state, step, at),
        budget=budget_left(state),
        approval=approval,
    )


def _deadline(state: Running, step: Step, at: datetime) -> datetime:
    """The workflow's, or the step's own where that is earlier; while the clock stands still nobody knows which one is."""
    if not step.timeout:
        return state.deadline_at(at)
    own = at + max(timedelta(seconds=step.timeout), timedelta.resolution)
    return min(own, state.last_deadline if state.paused_at else state.deadline)


def given_to(state: Running, step: Step) -> tuple[Given, ...]:
    """The answers that a step needs."""
    return tuple(
        Given(step=answer.step, worker=state.graph.steps[answer.step].worker, **carried(answer, Content))
        for answer in _answers(state, step)
    )


def budget_left(state: Running) -> Decimal | None:
    budget = state.started.budget
    return None if budget is None else max(budget - state.spent, Decimal(0))


def claim(state: Running, step: Step, answer: StepAnswered, call: str | None, at: datetime) -> CheckClaim:
    """`call`: the gateway's call that gave the answer, where one did."""
    goal = state.started.goal
    return CheckClaim(
        check=task_name(step.id, answer.attempt),
        question=shortened(f"{step.instructions}\n\n{goal}" if step.instructions else goal, QUESTION),
        claim=answer.text,
        claim_ref=answer.text_ref,
        sources=answer.sources,
        sources_ref=answer.sources_ref,
        passages=passages_for(state, step),
        facts=_facts(step.input),
        judge=step.verify == "judge",
        tier=answer.tier,
        call=call,
        deadline=state.deadline_at(at),
    )


def promises_data(step: Step) -> bool:
    """Whether its answer must be data, in the form of a schema."""
    return isinstance(step.input, dict) and isinstance(step.input.get("response_schema"), dict)


def passages_for(state: Running, step: Step) -> tuple[Passage, ...]:
    """The passages of the step's own input and of the answers that it needs; each once, shortened to fit."""
    found = [*_passages(step.input), *(passage for answer in _answers(state, step) for passage in answer.passages)]
    if not found:
        return ()
    unique = {(passage.source, passage.text): passage for passage in found}
    texts = fitted([passage.text for passage in unique.values()], PASSAGES)
    return tuple(
        passage if text is passage.text else Passage(source=passage.source, text=text)
        for passage, text in zip(unique.values(), texts, strict=True)
    )


def _answers(state: Running, step: Step) -> list[StepAnswered]:
    needed = (state.steps.get(need) for need in state.graph.needs[step.id])
    return [reached.answer for reached in needed if reached is not None and reached.answer is not None]


def _facts(given: JsonValue) -> dict[str, JsonValue]:
    facts = given.get("facts") if isinstance(given, dict) else None
    return dict(facts) if isinstance(facts, dict) else {}


def _passages(given: JsonValue) -> Iterator[Passage]:
    items = given.get("passages") if isinstance(given, dict) else None
    for item in items if isinstance(items, list) else []:
        source, text = (item.get("source"), item.get("text")) if isinstance(item, dict) else (None, None)
        if isinstance(source, str) and isinstance(text, str):
            yield Passage(source=source, text=text)
