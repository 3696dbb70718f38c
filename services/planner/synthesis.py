"""The one result of a workflow, made from what its steps came to."""

from collections.abc import Iterator

from contracts.results import Contribution, FailReason, WorkflowCancelled, WorkflowCompleted, WorkflowFailed
from services.planner.state import Running, Work
from shared.shortening import fitted, shortened

TEXT = 200_000  # characters of an answer: longer ones are shortened, and say so
SOURCES = 2_000  # named in one result
TOLD = 10  # failed steps that a failure explains


def finished(case: Running) -> WorkflowCompleted | WorkflowFailed:
    """The result when every step is settled."""
    failures = [
        f"step {step.id!r}: {'; '.join(work.reasons)}"
        for step, work in case.in_plan_order()
        if work.phase == "failed" and not step.optional
    ]
    if failures:
        more = [f"and {len(failures) - TOLD} more steps"] if len(failures) > TOLD else []
        return failed(case, "step-failed", " | ".join(failures[:TOLD] + more))
    answers = [work for name in case.graph.answer if (work := case.works[name]).phase == "passed"]
    return completed(case, answers) if answers else failed(case, "no-answer", "none of the steps that make the answer passed")


def completed(case: Running, answers: list[Work]) -> WorkflowCompleted:
    given = [work.answer for work in answers if work.answer is not None]
    texts = fitted([answer.text for answer in given], TEXT)
    data = {answer.step: answer.data for answer in given if answer.data is not None}
    parts = contributions(case)
    return WorkflowCompleted(
        request=case.started.request,
        text=texts[0]
        if len(given) == 1
        else "\n\n".join(f"## {answer.step}\n\n{text}" for answer, text in zip(given, texts, strict=True)),
        data=given[0].data if len(given) == 1 else data or None,
        answered_by="plan",
        handler=case.started.plan.name,
        confidence=min((part.confidence for part in parts if part.confidence is not None), default=None),
        sources=tuple(dict.fromkeys(source for part in parts for source in part.sources)),
        contributions=parts,
        cost=case.spent,
        input_tokens=case.input_tokens,
        output_tokens=case.output_tokens,
    )


def failed(case: Running, reason: FailReason, detail: str) -> WorkflowFailed:
    return WorkflowFailed(
        request=case.started.request,
        reason=reason,
        detail=shortened(detail, TEXT),
        partial=contributions(case),
        cost=case.spent,
        input_tokens=case.input_tokens,
        output_tokens=case.output_tokens,
    )


def cancelled(case: Running, by: str, reason: str) -> WorkflowCancelled:
    return WorkflowCancelled(
        request=case.started.request,
        by=by,
        detail=reason,
        cost=case.spent,
        input_tokens=case.input_tokens,
        output_tokens=case.output_tokens,
    )


def contributions(case: Running) -> tuple[Contribution, ...]:
    """Of every step that passed, in plan order."""
    return tuple(_contributions(case))


def _contributions(case: Running) -> Iterator[Contribution]:
    share = max(1, SOURCES // len(case.graph.steps))
    for step, work in case.in_plan_order():
        if work.phase == "passed" and (answer := work.answer) is not None:
            yield Contribution(
                step=step.id,
                worker=step.worker,
                confidence=work.confidence,
                sources=answer.sources[:share],
                tier=answer.tier,
                model=answer.model,
            )
