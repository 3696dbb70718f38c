"""Answers of models that the cache uses again."""

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from contracts.gateway import AttemptFailed, AttemptStarted, ChatMessage, Learned, ModelReplied, ToolCall
from contracts.verifier import Passage
from hansard.codec import encode
from hansard.decider import WakeUp
from services.gateway.answer_reuse import cache_key, found_again, may_be_reused
from services.gateway.call import call_decider
from services.gateway.facts import AttemptReturned
from shared.eventstore.model import StoredMessage, Stream
from tests.decisions import decided
from tests.spec.gateway_kit import (
    CALL,
    FIRST,
    NOON,
    SECOND,
    asks,
    at,
    begun,
    failure,
    fell,
    full,
    replied,
    started,
    success,
    then,
    tiers,
)

chain = tiers(FIRST, SECOND, learning={"hours": 1, "confidence": 0.7})
decider = call_decider(chain)
QUESTION = asks("Why is the sky blue?")
trying = [begun(), fell("refused"), started(2, SECOND)]
refused = fell("refused", 2, SECOND)
fallen = [*trying, then(refused, 0)]


def searches(attempt: int = 3, seconds: float = 0, **more: Any) -> AttemptStarted:
    return AttemptStarted(
        attempt=attempt, safety="safe", key="", deadline=NOON + timedelta(seconds=seconds + 2), call=CALL,
        tier="cache", provider="hansard", model="cache", endpoint="cache", **more,
    )  # fmt: skip


def not_found(attempt: int = 3) -> AttemptReturned:
    failed = fell("miss")
    return AttemptReturned(attempt=attempt, call=CALL, failure=failed)


def test_if_no_endpoint_is_left_the_cache_is_searched_and_the_search_is_recorded() -> None:
    assert decided(decider, trying, failure(refused), at()) == [then(refused, 0), searches()]
    assert decided(decider, trying, failure(refused), full()) == [then(refused, 0)]
    assert decided(decider, fallen, WakeUp(), at()) == [searches()]


def test_an_answer_of_the_cache_has_its_source_and_the_cost_of_the_attempts_before_it() -> None:
    learned = Learned(event="e", workflow="w", stream="gateway/a/1", tier="first", at=NOON)
    found = replied(3, tier="cache", learned=learned, cost=Decimal(0), confidence=0.9)
    (answer,) = decided(decider, [*fallen, searches()], success(found), at(1))
    assert isinstance(answer, ModelReplied)
    assert (answer.tier, answer.learned, answer.confidence, answer.cost) == ("cache", learned, 0.9, Decimal(0))
    assert [(fall.tier, fall.reason) for fall in answer.falls] == [("first", "refused"), ("second", "refused")]


def test_if_the_cache_has_no_answer_the_next_tier_answers_and_the_cache_is_one_fall() -> None:
    _, answer = decided(decider, [*fallen, searches()], not_found(), at(1))
    assert isinstance(answer, ModelReplied)
    assert answer.tier == "rules"
    assert [fall.tier for fall in answer.falls] == ["first", "second", "cache", "extractive"]
    assert [fall.attempt for fall in answer.falls] == [1, 2, 0, 0]


def test_a_known_answer_takes_precedence_over_the_cache() -> None:
    known = begun(asks("What is your refund policy?"))
    _, answer = decided(decider, [known, *trying[1:]], failure(refused), at())
    assert isinstance(answer, ModelReplied)
    assert (answer.tier, answer.text, answer.learned) == ("cache", "30 days.", None)


def test_the_cache_is_searched_before_a_long_wait_for_an_endpoint_and_the_wait_follows() -> None:
    alone = call_decider(tiers(FIRST, learning={"hours": 1}))
    limited = fell("rate-limit", retry_at=30)
    assert decided(alone, [begun()], failure(limited), at(1)) == [then(limited, 1), searches(2, 1)]
    stored = [begun(), then(limited, 1), searches(2, 1)]
    (miss,) = decided(alone, stored, not_found(2), at(1))
    assert alone.wake_at(alone.fold([*stored, miss])) == NOON + timedelta(seconds=30)


def test_a_cache_that_comes_first_is_searched_first_and_an_endpoint_after_it() -> None:
    first = call_decider(tiers(FIRST, order=["cache", "first", "rules"], learning={"hours": 1}))
    stored = decided(first, [], asks(), at())
    assert stored == [searches(1, request=asks())]
    stored += decided(first, stored, not_found(1), at())
    assert stored[-1] == started(2)
    (answer,) = decided(first, stored, success(replied(2)), at(1))
    assert isinstance(answer, ModelReplied)
    assert [fall.tier for fall in answer.falls] == ["cache"]


def test_after_the_deadline_the_cache_is_not_searched() -> None:
    _, answer = decided(decider, trying, failure(refused), at(60))
    assert decided(decider, fallen, WakeUp(), at(60)) == [answer]
    assert isinstance(answer, ModelReplied)
    assert answer.tier == "rules"


def test_a_key_ignores_case_and_punctuation_and_differs_in_every_other_context() -> None:
    same = cache_key("t", QUESTION)
    assert cache_key("t", asks("why is the SKY blue")) == same
    others = [
        cache_key("u", QUESTION),
        cache_key("t", asks("Why is the sea blue?")),
        cache_key("t", asks(role="judge")),
        cache_key("t", asks(model_class="capable")),
        cache_key("t", asks(passages=(Passage(source="s", text="x"),))),
        cache_key("t", asks(response_schema={"type": "object"})),
        cache_key("t", QUESTION.model_copy(update={"messages": (ChatMessage(role="system", content="x"), *QUESTION.messages)})),
    ]
    assert len({same, *others}) == 1 + len(others)
    assert cache_key("t", asks(deadline=NOON + timedelta(seconds=7))) == same


def test_only_a_models_own_whole_answer_of_enough_confidence_is_reused() -> None:
    assert may_be_reused(chain, replied(), 0.92)
    assert not may_be_reused(chain, replied(), 0.3)
    assert not may_be_reused(chain, replied(), None)
    assert not may_be_reused(chain, replied(finish_reason="length"), 0.92)
    assert not may_be_reused(chain, replied(tool_calls=(ToolCall(id="1", name="t", arguments="{}"),)), 0.92)
    for tier in ("cache", "extractive", "rules"):
        assert not may_be_reused(chain, replied(tier=tier), 0.95)
    assert not may_be_reused(tiers(FIRST), replied(), 0.92)


@pytest.mark.parametrize(
    ("found", "age", "why"),
    [
        ({"confidence": 0.69}, 0, "no known answer"),
        ({"confidence": None}, 0, "no known answer"),
        ({"finish_reason": "length"}, 0, "no known answer"),
        ({"learned": {"tier": "rules"}}, 0, "no known answer"),
        ({}, 61, "the recorded answer is of 2026-01-01 10:59 UTC, and too old"),
        ({}, 60, ""),
    ],
)
def test_whether_an_answer_that_the_cache_found_counts_is_decided_and_on_the_record(
    found: dict[str, Any], age: int, why: str
) -> None:
    learned = Learned(event="e", workflow="w", stream="gateway/a/1", tier="first", at=NOON - timedelta(minutes=age))
    fields: dict[str, Any] = {"tier": "cache", "learned": learned, "cost": Decimal(0), "confidence": 0.9} | found
    fields["learned"] = learned.model_copy(update=found.get("learned", {}))
    first, *more = decided(decider, [*fallen, searches()], success(replied(3, **fields)), at())
    if not why:
        assert isinstance(first, ModelReplied) and first.tier == "cache" and not more
        return
    assert isinstance(first, AttemptFailed)
    assert (first.fall.tier, first.fall.reason, first.fall.detail, first.fall.attempt) == ("cache", "miss", why, 0)
    assert [answer.tier for answer in more if isinstance(answer, ModelReplied)] == ["rules"]


def test_a_recorded_answer_becomes_an_answer_to_the_call_whatever_it_is_worth() -> None:
    stream = Stream("t", "w", "gateway/a/1")
    id_ = UUID(int=7)

    def stored(reply: ModelReplied) -> StoredMessage:
        return StoredMessage(stream, 3, id_, reply.kind, "gateway.replies", id_, encode(reply), b"", at=NOON)

    again = found_again(stored(replied(confidence=0.9)), QUESTION)
    assert again is not None
    assert again.learned == Learned(event=str(id_), workflow="w", stream="gateway/a/1", tier="first", at=NOON)
    assert (again.cost, again.tier, again.falls) == (Decimal(0), "cache", ())
    poor = found_again(stored(replied(confidence=0.1)), QUESTION)
    assert poor is not None and poor.confidence == 0.1
    assert found_again(StoredMessage(stream, 3, id_, "x", "gateway.replies", id_, b"{}", b"", at=NOON), QUESTION) is None
