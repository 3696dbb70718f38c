"""Which tier of a call is next, and what answers without a model."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from contracts.gateway import ChatMessage, Fall, FallReason, ModelFailed, ModelReplied
from contracts.verifier import Passage
from hansard.decider import WakeUp
from services.gateway.call import call_decider
from services.gateway.config import Known
from tests.decisions import decided
from tests.spec.gateway_kit import (
    CALL,
    FIRST,
    KEY,
    NOON,
    SECOND,
    accepted,
    asks,
    at,
    begun,
    failure,
    fell,
    full,
    key,
    replied,
    started,
    success,
    then,
    tiers,
)

both = call_decider(tiers(FIRST, SECOND))
alone = call_decider(tiers(FIRST))
first_fell = [begun(), then(fell("refused"), 1)]


# Falls


@pytest.mark.parametrize("reason", ["timeout", "refused", "low-confidence", "no-endpoint"])
def test_after_a_failure_that_a_retry_would_not_change_the_next_tier_is_tried_at_once(reason: FallReason) -> None:
    failed = fell(reason)
    assert decided(both, [begun()], failure(failed), at(1)) == [then(failed, 1), started(2, SECOND, 1)]


def test_if_no_slot_is_free_the_next_attempt_waits_for_one() -> None:
    (failed_attempt,) = decided(both, [begun()], failure(fell("refused")), full(1))
    assert failed_attempt == then(fell("refused"), 1)
    assert both.wake_at(both.fold([begun(), failed_attempt])) == NOON + timedelta(seconds=1)
    assert decided(both, [begun(), failed_attempt], WakeUp(), at(3)) == [started(2, SECOND, 3)]


def test_after_the_last_attempt_a_tier_without_a_model_answers_at_once_even_if_no_slot_is_free() -> None:
    for context in (at(1), full(1)):
        failed_attempt, answer = decided(alone, [begun()], failure(fell("refused")), context)
        assert failed_attempt == then(fell("refused"), 1)
        assert isinstance(answer, ModelReplied)
        assert answer.tier == "rules"


@pytest.mark.parametrize("reason", ["error", "rate-limit"])
def test_after_a_temporary_failure_the_same_tier_is_tried_again_when_its_time_has_come(reason: FallReason) -> None:
    failed = fell(reason, retry_at=2)
    waiting = then(failed, 2)
    assert decided(both, [accepted(), started()], failure(failed), at(1)) == [waiting]
    assert both.wake_at(both.fold([accepted(), started(), waiting])) == NOON + timedelta(seconds=2)
    assert decided(both, [accepted(), started(), waiting], WakeUp(), at(2)) == [started(2, seconds=2)]


def test_a_wake_up_before_that_time_changes_nothing() -> None:
    waiting = fell("error", retry_at=2, resume_at=2)
    assert decided(both, [accepted(), started(), waiting], WakeUp(), at(1.9)) == []


def test_a_tier_is_tried_again_at_most_as_often_as_configured() -> None:
    once = FIRST.model_copy(update={"max_retries": 1})
    decider = call_decider(tiers(once, SECOND))
    waiting = fell("error", retry_at=1, resume_at=1)
    assert decided(decider, [accepted(), started()], failure(fell("error", retry_at=1)), at(0.5)) == [waiting]
    before = [accepted(), started(), waiting, started(2)]
    last = fell("error", 2, retry_at=3)
    assert decided(decider, before, failure(last), at(2)) == [then(last, 2), started(3, SECOND, 2)]


def test_a_provider_that_asks_for_a_long_wait_is_left_for_the_next() -> None:
    limited = fell("rate-limit", retry_at=30)
    assert decided(both, [begun()], failure(limited), at(1)) == [then(limited, 1), started(2, SECOND, 1)]


def test_if_no_other_provider_is_left_the_call_waits_as_long_as_the_provider_asked() -> None:
    limited = fell("rate-limit", retry_at=30)
    waits = limited.model_copy(update={"resume_at": limited.retry_at})
    assert decided(alone, [accepted(), started()], failure(limited), at(1)) == [waits]
    before = [accepted(), started(), limited, started(2, SECOND)]
    refused = fell("refused", 2, SECOND)
    assert decided(both, before, failure(refused), at(2)) == [refused.model_copy(update={"resume_at": limited.retry_at})]


def test_no_call_waits_for_a_provider_beyond_its_deadline() -> None:
    limited = fell("rate-limit", retry_at=60)
    failed_attempt, reply = decided(alone, [begun()], failure(limited), at(1))
    assert failed_attempt == then(limited, 1)
    assert isinstance(reply, ModelReplied)
    assert reply.tier == "rules"
    assert reply.falls[0] == limited.fall


def test_a_known_answer_now_is_better_than_a_long_wait() -> None:
    limited = fell("rate-limit", retry_at=30)
    failed_attempt, reply = decided(alone, [begun(asks("What is your refund policy?"))], failure(limited), at(1))
    assert failed_attempt == then(limited, 1)
    assert isinstance(reply, ModelReplied)
    assert (reply.tier, reply.falls) == ("cache", (limited.fall,))


def test_unusable_output_is_repaired_once_under_another_key() -> None:
    unusable = fell("invalid-output", detail="no JSON")
    repair = started(2, seconds=1, key=key(repairs=1))
    assert repair.key != KEY
    assert decided(both, [begun()], failure(unusable), at(1)) == [then(unusable, 1), repair]
    again = fell("invalid-output", 2)
    assert decided(both, [begun(), unusable, repair], failure(again), at(2)) == [then(again, 2), started(3, SECOND, 2)]


@pytest.mark.parametrize("reason", ["circuit-open", "retry-budget"])
def test_a_request_that_was_not_sent_is_a_fall_without_an_attempt_and_the_next_tier_is_tried_at_once(reason: FallReason) -> None:
    both = call_decider(tiers(FIRST, SECOND))
    not_sent = failure(fell(reason))
    assert decided(both, [begun()], not_sent, at(1)) == [then(fell(reason, attempt=0), 1), started(2, SECOND, 1)]


# Without a model


def fixed_reply(text: str, *falls: Fall, **more: Any) -> ModelReplied:
    return ModelReplied(
        **{
            "call": CALL,
            "attempt": 0,
            "tier": "rules",
            "provider": "hansard",
            "model": "rules",
            "text": text,
            "confidence": 0.4,
            "falls": falls,
            "latency_ms": 0,
            "cost": Decimal(0),
            **more,
        }
    )


CACHE_MISS = Fall(tier="cache", provider="hansard", model="cache", reason="miss", detail="no known answer")
EXTRACT_MISS = Fall(
    tier="extractive", provider="hansard", model="extractive", reason="miss",
    detail="no passage supports an answer",
)  # fmt: skip
NO_ENDPOINT = Fall(tier="endpoints", reason="no-endpoint", detail="no endpoint is configured")


def test_if_every_endpoint_failed_a_fixed_reply_says_that_no_model_answered_and_the_falls_say_why() -> None:
    timed_out = fell("timeout", 2, SECOND, cost=Decimal("0.1"))
    assert decided(both, [*first_fell, started(2, SECOND)], failure(timed_out), at(2)) == [
        then(timed_out, 2),
        fixed_reply(
            "No model answered: ask a person.",
            fell("refused").fall,
            fell("timeout", 2, SECOND).fall,
            CACHE_MISS,
            EXTRACT_MISS,
            cost=Decimal("0.1"),
            policy=both.policy,
        ),
    ]


def test_without_any_endpoint_the_falls_say_so() -> None:
    decider = call_decider(tiers())
    falls = (NO_ENDPOINT, CACHE_MISS, EXTRACT_MISS)
    assert decided(decider, [], asks("What price?"), at()) == [
        fixed_reply("No model answered: see the prices.", *falls, policy=decider.policy)
    ]


def test_after_the_deadline_no_endpoint_is_called_and_the_caller_still_gets_an_answer() -> None:
    (reply,) = decided(both, [], asks(), at(60))
    assert decided(both, [accepted()], WakeUp(), at(60)) == [reply]
    assert isinstance(reply, ModelReplied)
    assert reply.tier == "rules"
    assert [(fall.tier, fall.reason) for fall in reply.falls] == [
        ("first", "timeout"),
        ("second", "timeout"),
        ("cache", "miss"),
        ("extractive", "miss"),
    ]


def test_if_no_tier_is_left_the_failure_has_every_fall() -> None:
    bare = call_decider(tiers(FIRST, order=["first"]))
    assert decided(bare, [begun()], failure(fell("refused")), at(1)) == [
        then(fell("refused"), 1),
        ModelFailed(call=CALL, reason="refused", falls=(fell("refused").fall,), detail="first: refused"),
    ]
    (late,) = decided(bare, [], asks(), at(60))
    assert isinstance(late, ModelFailed)
    assert late.reason == "deadline"
    failed_attempt, timed_out = decided(bare, [begun()], failure(fell("timeout", cost=Decimal("0.3"))), at(21))
    assert isinstance(timed_out, ModelFailed)
    assert (timed_out.reason, timed_out.cost) == ("no-answer", Decimal("0.3"))
    assert decided(bare, [begun(), failed_attempt, timed_out], WakeUp(), at(22)) == []


def test_case_spacing_and_closing_punctuation_do_not_matter_for_a_known_answer() -> None:
    for question in ("what is your REFUND policy", "  What is  your refund policy?? ", "What is your refund policy."):
        (reply,) = decided(call_decider(tiers()), [], asks(question), at())
        assert isinstance(reply, ModelReplied)
        assert (reply.tier, reply.text, reply.confidence) == ("cache", "30 days.", 0.95)


def test_a_known_answer_is_not_used_for_a_call_with_passages_or_an_earlier_conversation() -> None:
    question = "What is your refund policy?"
    passages = (Passage(source="other.md", text="Nothing of the kind."),)
    conversation = (
        ChatMessage(role="user", content="I mean the other shop."),
        ChatMessage(role="assistant", content="All right."),
        ChatMessage(role="user", content=question),
    )
    for call in (asks(question, passages=passages), asks(question).model_copy(update={"messages": conversation})):
        (reply,) = decided(call_decider(tiers()), [], call, at())
        assert isinstance(reply, ModelReplied)
        assert reply.tier == "rules"


def test_the_best_supported_sentences_of_the_passages_are_quoted_with_their_sources() -> None:
    passages = (
        Passage(source="sky.md", text="Grass is green. The sky is blue because air scatters blue light most."),
        Passage(source="sea.md", text="The sea is deep."),
    )
    (reply,) = decided(call_decider(tiers()), [], asks(passages=passages), at())
    assert isinstance(reply, ModelReplied)
    assert reply.tier == "extractive"
    assert "“The sky is blue because air scatters blue light most.” [sky.md]" in reply.text
    assert "Grass" not in reply.text
    assert reply.sources == ("sky.md",)
    assert reply.confidence is None
    assert [fall.tier for fall in reply.falls] == ["endpoints", "cache"]


def test_a_tier_without_a_model_may_come_first() -> None:
    cached = call_decider(tiers(FIRST, order=["cache", "first", "rules"]))
    (known,) = decided(cached, [], asks("What is your refund policy?"), at())
    assert isinstance(known, ModelReplied)
    assert (known.tier, known.falls) == ("cache", ())
    assert decided(cached, [], asks(), at()) == [begun()]
    (reply,) = decided(cached, [begun()], success(replied()), at(1))
    assert isinstance(reply, ModelReplied)
    assert reply.falls == (CACHE_MISS,)


# The tiers as data


def test_the_policy_changes_with_what_decisions_depend_on_and_not_with_an_address() -> None:
    moved = SECOND.model_copy(update={"url": "http://127.0.0.1:2/v1"})
    assert call_decider(tiers(FIRST, moved)).policy == both.policy
    assert alone.policy != both.policy
    assert call_decider(tiers(FIRST, SECOND, patience=9)).policy != both.policy


def test_known_answers_are_data() -> None:
    chain = tiers(FIRST)
    assert chain.answers.known == (Known(question="What is your refund policy?", answer="30 days."),)
