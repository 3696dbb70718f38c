"""Makes the result of a workflow from the states of its steps."""

from collections.abc import Iterable, Iterator

from contracts.results import Contribution, FailReason, WorkflowCancelled, WorkflowCompleted, WorkflowFailed
from hansard.references import Excerpt, joined
from hansard.values import Attribution, Content, carried
from services.planner.state import Running, StepState
from shared.falling_back import REASON, some
from shared.shortening import shortened

TEXT = 200_000  # characters of why a workflow failed
SOURCES = 2_000  # of one result
EXPLAINED = 10  # failed steps in the detail of a failure


def finished(state: Running) -> WorkflowCompleted | WorkflowFailed:
    """The result once every step is settled."""
    failures = [
        f"step {step.id!r}: {'; '.join(reached.reasons)}"
        for step, reached in state.in_plan_order()
        if reached.phase == "failed" and not step.optional
    ]
    if failures:
        more = [f"and {len(failures) - EXPLAINED} more steps"] if len(failures) > EXPLAINED else []
        return failed(state, "step-failed", " | ".join(failures[:EXPLAINED] + more))
    answers = [step for name in state.graph.answer if (step := state.steps[name]).phase == "passed"]
    return completed(state, answers) if answers else failed(state, "no-answer", "none of the steps that make the answer passed")


def completed(state: Running, answers: list[StepState]) -> WorkflowCompleted:
    given = [step.answer for step in answers if step.answer is not None]
    data = {answer.step: answer.data for answer in given if answer.data is not None}
    parts = contributions(state)
    text, inserts = joined((f"## {one.step}\n\n", Excerpt(one.text, one.text_ref) if one.text_ref else one.text) for one in given)
    content = carried(given[0], Content) if len(given) == 1 else {"text": text, "text_inserts": inserts, "data": data or None}
    sources = {"sources": tuple(dict.fromkeys(source for part in parts for source in part.sources))}
    return WorkflowCompleted(
        request=state.started.request,
        **content | sources,
        answered_by="plan",
        handler=state.started.plan.name,
        confidence=min((part.confidence for part in parts if part.confidence is not None), default=None),
        contributions=parts,
        degraded=degraded(state, parts),
        cost=state.spent,
        input_tokens=state.input_tokens,
        output_tokens=state.output_tokens,
    )


def degraded(state: Running, parts: Iterable[Contribution]) -> tuple[str, ...]:
    """Why the result is worse than it should be: by what its steps say, and by those that were optional and failed."""
    missing = (
        shortened(f"step {step.id!r} failed: {'; '.join(reached.reasons)}", REASON)
        for step, reached in state.in_plan_order()
        if reached.phase == "failed"
    )
    return some((*(reason for part in parts for reason in part.degraded), *missing))


def failed(state: Running, reason: FailReason, detail: str) -> WorkflowFailed:
    return WorkflowFailed(
        request=state.started.request,
        reason=reason,
        detail=shortened(detail, TEXT),
        partial=contributions(state),
        cost=state.spent,
        input_tokens=state.input_tokens,
        output_tokens=state.output_tokens,
    )


def cancelled(state: Running, by: str, reason: str) -> WorkflowCancelled:
    return WorkflowCancelled(
        request=state.started.request,
        by=by,
        detail=reason,
        cost=state.spent,
        input_tokens=state.input_tokens,
        output_tokens=state.output_tokens,
    )


def contributions(state: Running) -> tuple[Contribution, ...]:
    """One for every step that passed, in plan order."""
    return tuple(_contributions(state))


def _contributions(state: Running) -> Iterator[Contribution]:
    share = max(1, SOURCES // len(state.graph.steps))
    for step, reached in state.in_plan_order():
        if reached.phase == "passed" and (answer := reached.answer) is not None:
            yield Contribution(
                step=step.id,
                worker=step.worker,
                confidence=reached.confidence,
                sources=answer.sources[:share],
                answer=answer.text_ref,
                data=answer.data_ref,
                degraded=some(reached.degraded),
                **carried(answer, Attribution),
            )
