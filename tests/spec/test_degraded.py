"""An answer that is worse than it should be says why, from the gateway's reply to the workflow's result; and what cannot give
what was promised has failed."""

from decimal import Decimal
from typing import Any

import pytest

from contracts.gateway import Fall, FallReason, ModelFailed, ModelReplied
from contracts.results import WorkflowCompleted, WorkflowFailed
from contracts.specialists import PerformTask, TaskAnswered, TaskFailed
from contracts.verifier import ClaimPassed, Passage
from hansard.message import Message
from services.gateway.call import call_decider
from services.gateway.config import MODEL_PRIORS, Endpoint
from services.router.kinds import MODEL_KINDS
from services.router.rules import Unfit
from services.specialists.decider import specialists
from services.verifier.decider import verifier
from shared.falling_back import REASON, REASONS, degraded_by, some
from shared.roles import Role
from tests.decisions import NOON, decided
from tests.spec import gateway_kit, planner_kit, verifier_kit
from tests.spec.gateway_kit import FIRST, SECOND, asks, begun, failure, fell, tiers
from tests.spec.planner_kit import after, answer, one_step, passed, result_in, run, step

REFUSED = "primary: 401, the key was refused"
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"intent": {"type": "string"}}, "required": ["intent"]}
CLASSIFIED = {"response_schema": SCHEMA}


def fall(tier: str = "primary", reason: FallReason = "refused", detail: str = "401, the key was refused") -> Fall:
    return Fall(tier=tier, reason=reason, detail=detail)


def replied(*falls: Fall, tier: str = "secondary", **more: Any) -> ModelReplied:
    given = {"call": "specialists/draft.1/1", "attempt": 0, "tier": tier, "text": "Drip.", "latency_ms": 0, "cost": Decimal(0)}
    return ModelReplied(falls=falls, **given | more)


# Why


@pytest.mark.parametrize(
    ("falls", "reasons"),
    [
        ((), ()),
        ((fall(),), (REFUSED,)),
        ((fall(detail=""),), ("primary: refused",)),
        ((fall(), fall()), (REFUSED,)),
        ((fall("secondary", "error", "500"),), ()),  # tried again, and it answered
        ((fall("cache", "miss", "no known answer"),), ()),
        ((fall(), fall("cache", "miss", "no known answer")), (REFUSED,)),
        ((fall("primary", "circuit-open", ""), fall("local", "timeout", "30 s")), ("primary: circuit-open", "local: 30 s")),
        ((fall("endpoints", "no-endpoint", "no endpoint is configured"),), ("endpoints: no endpoint is configured",)),
    ],
)
def test_an_answer_is_degraded_by_each_better_tier_that_failed(falls: tuple[Fall, ...], reasons: tuple[str, ...]) -> None:
    assert degraded_by(replied(*falls)) == reasons


def test_the_reasons_of_a_message_are_bounded() -> None:
    many = degraded_by(replied(*(fall(f"tier-{n}", detail="x" * 5_000) for n in range(100))))
    assert len(many) == REASONS and many[-1] == f"and {101 - REASONS} more reasons"
    assert max(map(len, many)) <= REASON
    assert some(["a"] * 100) == ("a",)


# From the reply to the result


def test_the_answer_of_a_task_says_why_it_is_degraded() -> None:
    decider = specialists({"writer": Role(prompt="Write.")}, "1")
    (call,) = decided(decider, [], planner_kit.task("draft.1"))
    (message,) = decided(decider, [call], replied(fall()))
    assert isinstance(message, TaskAnswered) and message.degraded == (REFUSED,)


def test_the_result_and_the_part_of_a_step_say_why_they_are_degraded() -> None:
    messages = after(one_step, answer("draft.1", degraded=(REFUSED,)), passed("draft.1", degraded=("judge: no-answer",)))
    result = result_in(messages)
    assert isinstance(result, WorkflowCompleted)
    assert result.degraded == result.contributions[0].degraded == (REFUSED, "judge: no-answer")


def test_a_result_is_degraded_by_any_of_its_steps_and_each_reason_is_there_once() -> None:
    received = [answer("a.1", degraded=(REFUSED,)), passed("a.1"), answer("b.1", degraded=(REFUSED,)), passed("b.1")]
    result = result_in(after(planner_kit.fan, *received, answer("join.1"), passed("join.1")))
    assert isinstance(result, WorkflowCompleted) and result.degraded == (REFUSED,)
    assert [part.degraded for part in result.contributions] == [(REFUSED,), (REFUSED,), ()]


def test_an_attempt_that_was_made_again_leaves_no_reason_behind() -> None:
    again = [answer("draft.1", degraded=(REFUSED,)), planner_kit.rejected("draft.1"), answer("draft.2"), passed("draft.2")]
    result = result_in(after(one_step, *again))
    assert isinstance(result, WorkflowCompleted) and result.degraded == ()


def test_an_answer_that_is_not_checked_keeps_its_reason() -> None:
    result = result_in(after(run(step("draft", verify="none")), answer("draft.1", degraded=(REFUSED,))))
    assert isinstance(result, WorkflowCompleted) and result.degraded == (REFUSED,)


def test_a_result_without_the_answer_of_an_optional_step_is_degraded() -> None:
    asked = run(step("draft"), step("extra", optional=True, retries=0))
    result = result_in(after(asked, answer("draft.1"), passed("draft.1"), planner_kit.failed("extra.1")))
    assert isinstance(result, WorkflowCompleted) and result.degraded == ("step 'extra' failed: no-answer",)


def test_what_a_failed_workflow_has_is_degraded_as_well() -> None:
    asked = run(step("draft"), step("edit", "draft", retries=0))
    result = result_in(
        after(asked, answer("draft.1", degraded=(REFUSED,)), passed("draft.1"), planner_kit.failed("edit.1", "internal"))
    )
    assert isinstance(result, WorkflowFailed) and result.partial[0].degraded == (REFUSED,)


def test_a_message_that_is_not_degraded_is_written_as_before() -> None:
    for message in (answer("draft.1"), passed("draft.1"), result_in(after(one_step, answer("draft.1"), passed("draft.1")))):
        assert "degraded" not in message.model_dump_json()


# The judge


def judged(reply: Message) -> ClaimPassed:
    asked = decided(verifier, [], verifier_kit.claim("Rain is wet.", judge=True))
    (verdict,) = decided(verifier, asked, reply)
    assert isinstance(verdict, ClaimPassed)
    return verdict


def test_a_verdict_says_why_a_lesser_judge_gave_it() -> None:
    data = {"verdict": "pass", "reasons": [], "confidence": 0.8}
    assert judged(replied(fall(), call=verifier_kit.CALL, data=data)).degraded == (f"judge: {REFUSED}",)
    assert judged(replied(call=verifier_kit.CALL, data=data)).degraded == ()


def test_a_verdict_says_why_there_was_no_judge() -> None:
    failed = ModelFailed(call=verifier_kit.CALL, reason="no-answer", falls=(fall(),))
    assert judged(failed).degraded == (f"judge: {REFUSED}",)
    assert judged(replied(fall(), call=verifier_kit.CALL)).degraded == (f"judge: {REFUSED}", "judge: secondary: no verdict")


# What was promised


@pytest.mark.parametrize("question", ["What is your refund policy?", "What is the price?", "Why is rain wet?"])
def test_no_tier_without_a_model_gives_a_text_where_data_is_asked_for(question: str) -> None:
    """A known answer, a quoted passage, a fixed reply."""
    given = (Passage(source="rain.md", text="Rain is wet because it is water."),)
    call = asks(question, response_schema=SCHEMA, passages=given if "rain" in question else ())
    decider = call_decider(tiers())
    (ended,) = decided(decider, [], call, gateway_kit.at())
    assert isinstance(ended, ModelFailed) and ended.reason == "no-answer"
    (ended,) = decided(decider, [], call.model_copy(update={"response_schema": None}), gateway_kit.at())
    assert isinstance(ended, ModelReplied)


def test_no_tier_answers_with_less_confidence_than_was_asked_for() -> None:
    decider = call_decider(tiers(FIRST))
    *_, ended = decided(decider, [begun(asks(minimum_confidence=0.5))], failure(fell("refused")), gateway_kit.at(1))
    assert isinstance(ended, ModelFailed)
    *_, ended = decided(decider, [begun(asks(minimum_confidence=0.4))], failure(fell("refused")), gateway_kit.at(1))
    assert isinstance(ended, ModelReplied) and ended.tier == "rules"


@pytest.mark.parametrize("kind", [kind for kind in MODEL_KINDS.values() if kind.schema], ids=lambda kind: kind.name)
def test_a_typed_request_whose_kind_promises_data_fails_without_it(kind: Any) -> None:
    """Whichever service lets a text through."""
    asked = run(kind.step({kind.field: "Hello."}, {}).model_copy(update={"worker": "writer", "retries": 0}))
    (task,) = [message for message in after(asked) if isinstance(message, PerformTask)]
    decider = specialists({"writer": Role(prompt="Write.")}, "1")
    call = decided(decider, [], task)
    (ended,) = decided(decider, call, replied(fall(), tier="rules", call=f"specialists/{task.task}/1", cost=Decimal(1)))
    assert isinstance(ended, TaskFailed) and (ended.reason, ended.cost) == ("no-answer", Decimal(1))
    assert ended.detail == f"the task promises data, and rules gave a text | {REFUSED}"
    for received in (ended, answer(task.task, tier="rules")):
        result = result_in(after(asked, received))
        assert isinstance(result, WorkflowFailed) and "promises data" in result.detail


@pytest.mark.parametrize("given", [None, "{}", [], 5])
def test_a_typed_request_cannot_take_back_what_its_kind_promises(given: Any) -> None:
    for kind in MODEL_KINDS.values():
        with pytest.raises(Unfit, match="response_schema"):
            kind.step({kind.field: "Hello.", "response_schema": given}, {})
        step = kind.step({kind.field: "Hello.", "response_schema": SCHEMA}, {})
        assert isinstance(step.input, dict) and step.input["response_schema"] == SCHEMA


def test_a_workers_answer_without_the_promised_data_is_tried_again_and_paid_for() -> None:
    asked = run(step("draft", worker="retriever", input=CLASSIFIED, verify="none"))
    retried = after(asked, answer("draft.1"))[-1]
    assert retried.kind == "hansard.planner.step-retried.v1"
    assert retried.model_dump()["cost"] == Decimal("0.1")
    result = result_in(after(asked, answer("draft.1", data={"intent": "buy"})))
    assert isinstance(result, WorkflowCompleted) and result.data == {"intent": "buy"}


@pytest.mark.parametrize("given", [None, "words", {"words": 40}, {"response_schema": "a form"}])
def test_an_answer_without_data_is_one_where_none_was_promised(given: Any) -> None:
    asked = run(step("draft", input=given, verify="none"))
    assert isinstance(result_in(after(asked, answer("draft.1"))), WorkflowCompleted)


# Confidence


@pytest.mark.parametrize(
    ("endpoints", "more", "expected"),
    [
        ((), {}, 0.4),
        ((FIRST, SECOND), {}, 0.4),
        ((Endpoint(name="own", url="http://127.0.0.1:1/v1", model=next(iter(MODEL_PRIORS))),), {}, 0.3),
        ((FIRST, SECOND.model_copy(update={"confidence": 0.1})), {}, 0.1),
        ((FIRST,), {"priors": {"rules": 0.99}}, 0.92),
        ((), {"priors": {"rules": 0.5, "cache": 0.2}}, 0.2),
        ((FIRST,), {"priors": {"rules": 0.99, "extractive": 0.6}}, 0.6),
    ],
)
def test_a_fixed_reply_never_has_more_confidence_than_a_real_answer(
    endpoints: tuple[Endpoint, ...], more: dict[str, Any], expected: float
) -> None:
    chain = tiers(*endpoints, **more)
    assert chain.prior("rules") == expected
    assert all(expected <= prior for tier in chain.order if (prior := chain.prior(tier)) is not None)
    assert type(chain).of_then("then", chain.data).prior("rules") == expected


def test_a_deadline_that_is_over_leaves_no_promise_half_kept() -> None:
    call = asks(response_schema=SCHEMA, deadline=NOON)
    (ended,) = decided(call_decider(tiers(FIRST)), [], call, gateway_kit.at(1))
    assert isinstance(ended, ModelFailed) and ended.reason == "deadline"
