"""The checks by code, with one table for each; then the judge."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from contracts.gateway import CallModel, ModelFailed, ModelReplied, RejectReply
from contracts.verifier import ClaimPassed, ClaimRejected
from hansard.message import Message
from services.verifier.app import build
from services.verifier.checks import CHECKS
from services.verifier.decider import VERSION, verifier
from shared.settings import Settings
from tests.decisions import NOON, decided
from tests.spec.verifier_kit import CALL, GIVEN, claim, failing


def test_a_claim_that_passes_every_check_passes_and_the_verdict_names_the_checks() -> None:
    by = ("empty", "echo", "refusal", "failure", "repetition")
    assert decided(verifier, [], claim("Rain is water that falls.")) == [ClaimPassed(check="draft.1", by=by, policy=VERSION)]


def test_a_verdict_names_only_checks_that_had_something_to_check_against() -> None:
    (message,) = decided(verifier, [], claim("It falls [1].", passages=GIVEN, facts={"year": 2026}))
    assert isinstance(message, ClaimPassed) and message.by == tuple(CHECKS)


def test_a_verdict_gives_all_reasons_at_once() -> None:
    (message,) = decided(verifier, [], claim("Error: no connection.", passages=GIVEN))
    assert isinstance(message, ClaimRejected)
    assert message.failed == ("failure", "citation") and len(message.reasons) == 2
    assert "[rain.md], [sun.md]" in message.reasons[1]


@pytest.mark.parametrize("text", ["", "   \n", "…", "---", "```\n```"])
def test_an_empty_answer_is_rejected(text: str) -> None:
    assert "empty" in failing(claim(text))


@pytest.mark.parametrize("text", ["Tell me about rain.", "tell me about RAIN"])
def test_an_answer_that_only_repeats_the_question_is_rejected(text: str) -> None:
    assert failing(claim(text)) == ("echo",)
    assert failing(claim(text, question="Write it.\n\nTell me about rain.")) == ("echo",)


def test_a_short_answer_may_repeat_the_question() -> None:
    assert failing(claim("Yes", question="Yes")) == ()


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I’m sorry, but I cannot do this.",
        "I cannot answer this question.",
        "As an AI language model, I don't have opinions.",
        "I am unable to provide legal advice.",
        "We are sorry, we are unable to help you here.",
    ],
)
def test_a_refusal_is_rejected(text: str) -> None:
    assert failing(claim(text)) == ("refusal",)


@pytest.mark.parametrize(
    "text",
    [
        "I cannot recommend this book enough.",
        "The company said it was sorry and refunded the customer.",
        "You cannot answer a summons by mail.",
        "Sorry customers can return the item within 30 days.",
        "A language model is a network that predicts the next token.",
    ],
)
def test_an_answer_with_words_of_refusal_passes(text: str) -> None:
    assert failing(claim(text)) == ()


@pytest.mark.parametrize(
    "text",
    [
        "Error: connection refused",
        "FAILED",
        "Status: failed.",
        "Result: mismatch",
        "Traceback (most recent call last):\n  File x",
        "The request timed out.",
        "Timeout",
        "Migration failed at step 3.",
        "An unexpected error occurred.",
        "Row counts mismatch",
        "Internal server error",
        "Hash mismatch found",
    ],
)
def test_a_report_of_failure_is_rejected(text: str) -> None:
    assert failing(claim(text)) == ("failure",)


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("Error handling in Python uses try and except.", "How does Python deal with problems?"),
        ("Timeout: how long a caller waits before it gives up.", "What is a timeout?"),
        ("Wrap the call: an error is then caught.", "How do I catch an exception?"),
        ("The migration failed.", "Why did the migration fail?"),
        ("No, the payment failed.", "Did my payment go through?"),
        ("No errors found.", "Check the file."),
        ("All rows were copied without error.", "Copy the rows."),
        ("It never failed in a year.", "Tell me about the pump."),
        ("Copied 1,000 rows, 0 failed.", "Copy the rows."),
        (
            "The first attempt failed, so the team went back and rebuilt the bridge in steel in 1890.",
            "History of the bridge",
        ),
    ],
)
def test_an_answer_that_mentions_a_failure_passes(text: str, question: str) -> None:
    assert failing(claim(text, question)) == ()


@pytest.mark.parametrize(
    "text",
    [
        "The rain is the rain and " * 20,
        "\n".join(["It rains because water falls."] * 6),
        "a" * 60,
    ],
)
def test_an_answer_that_loops_is_rejected(text: str) -> None:
    assert failing(claim(text)) == ("repetition",)


@pytest.mark.parametrize(
    "text",
    [
        "Rain falls. Rain falls again. Then the sun comes out.",
        "-" * 80 + "\nA heading",
        "```\n" + "x = x + 1\n" * 40 + "```\nThe loop is unrolled.",
        " ".join(f"{n} times seven makes {n * 7}." for n in range(60)),
    ],
)
def test_an_answer_that_repeats_for_a_reason_passes(text: str) -> None:
    assert failing(claim(text)) == ()


@pytest.mark.parametrize("text", ["It falls [rain.md].", "It falls [1].", "It falls [1, 2].", "Falls [Rain.md; sun.md]."])
def test_a_claim_that_cites_a_given_passage_passes(text: str) -> None:
    assert failing(claim(text, passages=GIVEN)) == ()


@pytest.mark.parametrize("text", ["It falls.", "It falls, see rows[0] and [this](http://x).", "It falls [citation needed]."])
def test_a_claim_that_was_given_passages_and_cites_none_is_rejected(text: str) -> None:
    assert failing(claim(text, passages=GIVEN)) == ("citation",)


def test_a_claim_that_cites_a_source_which_was_not_given_is_rejected() -> None:
    assert failing(claim("It falls [1] [7].", passages=GIVEN)) == ("citation",)
    assert failing(claim("It falls [1].", passages=GIVEN, sources=("snow.md",))) == ("citation",)
    assert failing(claim("It falls.", passages=GIVEN, sources=("rain.md",))) == ()


def test_an_answer_of_the_rules_passes_and_the_verdict_notes_it() -> None:
    honest = claim("No model answered: the request failed.", tier="rules", passages=GIVEN, judge=True)
    assert decided(verifier, [], honest) == [ClaimPassed(check="draft.1", by=("empty", "no-model"), policy=VERSION)]


def test_an_empty_answer_of_the_rules_is_rejected() -> None:
    assert failing(claim("", tier="rules")) == ("empty",)


# The judge


def asked_judge(**more: Any) -> CallModel:
    (call,) = decided(verifier, [], claim("Rain is wet.", judge=True, **more))
    assert isinstance(call, CallModel)
    return call


def replied(data: JsonValue, **more: Any) -> ModelReplied:
    given = {"call": CALL, "attempt": 1, "tier": "primary", "provider": "o", "model": "m", "text": "", "latency_ms": 1}
    return ModelReplied(**{**given, "data": data, "cost": Decimal("0.01"), **more})


def test_a_judge_is_asked_for_a_verdict_in_a_schema_after_the_checks_by_code_passed() -> None:
    call = asked_judge(facts={"year": 2026}, passages=())
    assert (call.call, call.role, call.model_class, call.temperature) == (CALL, "judge", "capable", 0)
    assert call.response_schema is not None and call.deadline == NOON + timedelta(seconds=60)
    assert "Rain is wet." in call.messages[-1].content and '"year": 2026' in call.messages[-1].content


def test_a_judge_is_not_waited_for_beyond_the_workflows_deadline() -> None:
    assert asked_judge(deadline=NOON + timedelta(seconds=5)).deadline == NOON + timedelta(seconds=5)


def test_no_judge_is_asked_about_a_claim_that_fails_a_check_by_code() -> None:
    assert failing(claim("", judge=True)) == ("empty",)


def test_a_judge_may_pass_it_with_a_confidence() -> None:
    messages = decided(verifier, [asked_judge()], replied({"verdict": "pass", "reasons": [], "confidence": 0.8}))
    assert messages == [ClaimPassed(check="draft.1", by=("code", "judge"), confidence=0.8, cost=Decimal("0.01"), policy=VERSION)]


def test_a_judge_may_reject_it_with_reasons() -> None:
    messages = decided(verifier, [asked_judge()], replied({"verdict": "fail", "reasons": ["Say why."], "confidence": 0.9}))
    assert messages == [
        ClaimRejected(check="draft.1", reasons=("Say why.",), failed=("judge",), cost=Decimal("0.01"), policy=VERSION)
    ]


def test_a_rejection_by_a_judge_without_reasons_has_a_reason_all_the_same() -> None:
    (message,) = decided(verifier, [asked_judge()], replied({"verdict": "fail", "reasons": [" "], "confidence": 0.9}))
    assert isinstance(message, ClaimRejected) and message.reasons[0]


@pytest.mark.parametrize(
    "reply",
    [
        replied(None, tier="rules"),
        replied({"verdict": "fail", "reasons": ["x"], "confidence": 1}, tier="rules"),
        replied({"verdict": "fail", "reasons": ["x"], "confidence": 1}, tier="extractive"),
        replied(None),
        replied({"verdict": "perhaps"}),
        replied("pass"),
    ],
)
def test_a_claim_passes_where_no_judge_replied_and_the_verdict_notes_it(reply: ModelReplied) -> None:
    unjudged = ClaimPassed(
        check="draft.1",
        by=("code", "no-judge"),
        cost=Decimal("0.01"),
        degraded=(f"judge: {reply.tier}: no verdict",),
        policy=VERSION,
    )
    assert decided(verifier, [asked_judge()], reply) == [unjudged]


def test_a_claim_passes_where_the_call_to_the_judge_failed() -> None:
    failed = ModelFailed(call=CALL, reason="no-answer", cost=Decimal("0.02"))
    unjudged = ClaimPassed(
        check="draft.1", by=("code", "no-judge"), cost=Decimal("0.02"), degraded=("judge: no-answer",), policy=VERSION
    )
    assert decided(verifier, [asked_judge()], failed) == [unjudged]


# Rejected replies

CLAIMED = "specialists/draft.1/1"
FAIL: JsonValue = {"verdict": "fail", "reasons": ["Say why."], "confidence": 0.9}


def test_the_reply_behind_a_claim_rejected_by_code_is_rejected_with_the_reasons() -> None:
    verdict, to_gateway = decided(verifier, [], claim("", tier="primary", call=CLAIMED))
    assert isinstance(verdict, ClaimRejected)
    assert to_gateway == RejectReply(call=CLAIMED, reasons=verdict.reasons)


def test_the_reply_behind_a_claim_rejected_by_a_judge_is_rejected_with_the_reasons() -> None:
    verdict, to_gateway = decided(verifier, [asked_judge(tier="primary", call=CLAIMED)], replied(FAIL))
    assert isinstance(verdict, ClaimRejected)
    assert to_gateway == RejectReply(call=CLAIMED, reasons=("Say why.",))


def test_the_reply_behind_a_claim_that_passes_is_not_rejected() -> None:
    asked = claim("Rain is wet.", tier="primary", call=CLAIMED)
    assert [type(message) for message in decided(verifier, [], asked)] == [ClaimPassed]
    judged: list[JsonValue] = [{"verdict": "pass", "reasons": []}, None]
    for data in judged:
        messages = decided(verifier, [asked_judge(tier="primary", call=CLAIMED)], replied(data))
        assert [type(message) for message in messages] == [ClaimPassed]


def test_no_reply_is_rejected_for_a_claim_that_names_no_call() -> None:
    assert [type(message) for message in decided(verifier, [], claim("", tier="primary"))] == [ClaimRejected]
    assert [type(message) for message in decided(verifier, [asked_judge(tier="primary")], replied(FAIL))] == [ClaimRejected]


@pytest.mark.parametrize("tier", ["cache", "extractive", "rules"])
def test_a_reply_that_the_gateway_does_not_cache_is_not_rejected(tier: str) -> None:
    assert [type(message) for message in decided(verifier, [], claim("", tier=tier, call=CLAIMED))] == [ClaimRejected]
    if tier != "rules":
        messages = decided(verifier, [asked_judge(tier=tier, call=CLAIMED)], replied(FAIL))
        assert [type(message) for message in messages] == [ClaimRejected]


passed = ClaimPassed(check="draft.1", by=(), policy=VERSION)
rejected = ClaimRejected(check="draft.1", reasons=("x",), failed=(), policy=VERSION)


def test_a_reply_is_rejected_once() -> None:
    asked = claim("", tier="primary", call=CLAIMED)
    assert decided(verifier, decided(verifier, [], asked), asked) == []


@pytest.mark.parametrize("end", [passed, rejected])
@pytest.mark.parametrize("message", [claim("Rain."), replied(None), ModelFailed(call=CALL, reason="no-answer")])
def test_a_verdict_is_given_once(end: Message, message: Message) -> None:
    assert decided(verifier, [asked_judge(), end], message) == []


def test_a_reply_to_another_call_does_not_count() -> None:
    assert decided(verifier, [asked_judge()], replied(None, call="verifier/draft.1/2")) == []
    assert decided(verifier, [asked_judge()], ModelFailed(call="verifier/draft.1/2", reason="no-answer")) == []
    assert decided(verifier, [asked_judge()], claim("Rain.")) == []
    assert decided(verifier, [], replied(None)) == []


def test_the_verifier_has_one_stream_for_each_check() -> None:
    service = build(Settings())
    assert service.stream(claim("x")) == service.stream(replied(None)) == "verifier/draft.1"
    assert service.stream(replied(None, call="specialists/draft.1/1")) is None


ODD = ["total", "is", "1,300", "8%", "not", "error", "[1]", "2026-13-45", "\n", "“", "n't", ":"]
words = st.lists(st.sampled_from(ODD) | st.text(max_size=9)).map(" ".join)
values = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=12)
odd_values = st.sampled_from(["1e999999", "NaN", "31 feb 2026", "8%"])
some_facts = st.dictionaries(st.sampled_from(["total", "", "a.b*", "x" * 50]), values | odd_values)


@settings(max_examples=300, deadline=None)
@given(words, words, some_facts)
def test_any_text_gets_a_verdict(text: str, question: str, facts: dict[str, JsonValue]) -> None:
    (message,) = decided(verifier, [], claim(text, question, facts=facts, passages=GIVEN))
    assert isinstance(message, ClaimPassed | ClaimRejected)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "text", ["total is" + " " * 200_000, "total is " + "1," * 100_000, "not " * 50_000, "n't" * 60_000, "[" * 200_000]
)
def test_no_text_takes_long_to_check(text: str) -> None:
    given = {"total": 1, "due": "2026-01-01", "code": "AB1"}
    assert decided(verifier, [], claim(text, facts=given, passages=GIVEN))
