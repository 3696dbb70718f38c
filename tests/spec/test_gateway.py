"""The gateway in sentences: given what was said, when this is heard, then that is said."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.gateway import (
    AttemptFailed,
    AttemptStarted,
    CallAccepted,
    CallCancelled,
    CallModel,
    CancelCall,
    ChatMessage,
    Fall,
    FallReason,
    ModelFailed,
    ModelReplied,
    RejectReply,
    ReplyDiscarded,
    ReplyRejected,
)
from contracts.verifier import Passage
from hansard.decider import Context, Decider, WakeUp
from hansard.message import Message
from services.gateway.config import Chain, Endpoint, Known
from services.gateway.decider import Flying, Ready, Settled, gateway
from services.gateway.facts import AttemptReturned
from tests.told import told

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
CALL = "specialists/draft.1/1"
ANSWERS: dict[str, Any] = {
    "known": [{"question": "What is your refund policy?", "answer": "30 days."}],
    "notice": "No model answered:",
    "fixed": [{"words": ["price"], "answer": "see the prices."}, {"answer": "ask a person."}],
}
FIRST = Endpoint(name="first", url="https://api.openai.com/v1", model="gpt-4o", timeout=20)
SECOND = Endpoint(name="second", url="http://127.0.0.1:1/v1", model="small", timeout=20)


def tiers(*endpoints: Endpoint, **more: Any) -> Chain:
    return Chain.model_validate({"endpoints": endpoints, "answers": ANSWERS, "learning": {"hours": 0}, **more})


both = gateway(tiers(FIRST, SECOND))
alone = gateway(tiers(FIRST))


def at(seconds: float = 0) -> Context:
    return Context(id=UUID(int=1), at=NOON + timedelta(seconds=seconds), workflow="w", tenant="t")


def asks(question: str = "Why is the sky blue?", **more: Any) -> CallModel:
    return CallModel(
        call=CALL,
        messages=(ChatMessage(role="user", content=question),),
        **{"deadline": NOON + timedelta(seconds=60), **more},
    )


def full(seconds: float = 0) -> Context:
    """No slot is free."""
    return replace(at(seconds), may_perform=False)


def accepted(call: CallModel | None = None) -> CallAccepted:
    return CallAccepted(request=call or asks(), at=NOON)


def begun(call: CallModel | None = None, endpoint: Endpoint = FIRST, **more: Any) -> AttemptStarted:
    """The first attempt of a call that waited for nothing."""
    return started(1, endpoint, **more).model_copy(update={"request": call or asks()})


def started(attempt: int = 1, endpoint: Endpoint = FIRST, seconds: float = 0, **more: Any) -> AttemptStarted:
    return AttemptStarted(
        attempt=attempt,
        safety=more.pop("safety", "safe"),
        key=more.pop("key", KEY),
        deadline=NOON + timedelta(seconds=min(seconds + endpoint.timeout, more.pop("until", 60))),
        call=CALL,
        tier=endpoint.name,
        provider=endpoint.provider,
        model=endpoint.model,
        endpoint=endpoint.name,
    )


def key(repairs: int = 0) -> str:
    decider = gateway(tiers(FIRST))
    given: list[Message] = told(decider, [], asks(), at())
    for attempt in range(1, repairs + 1):
        given += told(decider, given, failure(fell("invalid-output", attempt)), at())
    intent = given[-1]
    assert isinstance(intent, AttemptStarted)
    return intent.key


def fell(reason: FallReason, attempt: int = 1, endpoint: Endpoint = FIRST, detail: str = "", **more: Any) -> AttemptFailed:
    for name in ("retry_at", "resume_at"):
        if name in more:
            more[name] = NOON + timedelta(seconds=more[name])
    fall = Fall(
        tier=endpoint.name,
        attempt=attempt,
        provider=endpoint.provider,
        model=endpoint.model,
        reason=reason,
        detail=detail,
    )
    return AttemptFailed(call=CALL, fall=fall, latency_ms=5, **more)


def then(failed: AttemptFailed, seconds: float) -> AttemptFailed:
    """The receipt of an attempt after which the call goes on at that time."""
    return failed.model_copy(update={"resume_at": NOON + timedelta(seconds=seconds)})


def failure(failed: AttemptFailed) -> AttemptReturned:
    return AttemptReturned(attempt=failed.fall.attempt, call=CALL, failure=failed)


def replied(attempt: int = 1, endpoint: Endpoint = FIRST, **more: Any) -> ModelReplied:
    return ModelReplied(
        **{
            "call": CALL,
            "attempt": attempt,
            "tier": endpoint.name,
            "provider": endpoint.provider,
            "model": endpoint.model,
            "text": "Rayleigh.",
            "latency_ms": 7,
            "cost": Decimal("0.002"),
            "input_tokens": 10,
            "output_tokens": 3,
            **more,
        }
    )


def success(reply: ModelReplied) -> AttemptReturned:
    return AttemptReturned(attempt=reply.attempt, call=CALL, reply=reply)


KEY = ""
KEY = key()
first_fell = [begun(), then(fell("refused"), 1)]


# What is asked


def test_where_a_slot_is_free_the_first_attempt_accepts_the_call_as_it_was_heard() -> None:
    assert told(both, [], asks(), at()) == [begun()]


def test_where_no_slot_is_free_a_call_is_accepted_as_it_was_heard_and_waits_for_one() -> None:
    assert told(both, [], asks(), full()) == [accepted()]
    assert both.wake_at(both.fold([accepted()])) == NOON
    assert told(both, [accepted()], WakeUp(), at(1)) == [started(seconds=1)]


def test_who_waited_for_a_slot_goes_on_as_who_did_not() -> None:
    waited, at_once = both.fold([accepted(), started()]), both.fold([begun()])
    assert isinstance(at_once, Flying)
    assert replace(at_once, out=started()) == waited


def test_what_needs_no_model_is_answered_though_no_slot_is_free_and_nothing_else_is_said_of_it() -> None:
    none = gateway(tiers())
    (known,) = told(none, [], asks("What is your refund policy?"), full())
    assert isinstance(known, ModelReplied)
    assert (known.tier, known.text) == ("cache", "30 days.")
    assert none.fold([known]) == Settled(stands=True)


def test_a_call_that_was_heard_before_changes_nothing() -> None:
    for before in ([accepted()], [begun()], [accepted(), started()], [begun(), replied()]):
        assert told(both, before, asks(), at()) == []


def test_the_first_tier_is_asked_first_and_the_intent_says_until_when() -> None:
    assert told(both, [], asks(), at(1)) == [begun(seconds=1)]


def test_no_attempt_may_outlive_the_call() -> None:
    call = asks(deadline=NOON + timedelta(seconds=5))
    assert told(both, [], call, at(1)) == [begun(call, seconds=1, until=5)]


def test_an_attempt_that_is_out_is_lost_some_time_after_its_deadline_whoever_holds_its_stream() -> None:
    resume_at = both.wake_at(both.fold([begun()]))
    assert resume_at is not None
    assert resume_at > begun().deadline


def test_a_call_for_another_class_of_model_begins_at_an_endpoint_that_serves_it() -> None:
    capable = FIRST.model_copy(update={"classes": ("capable",)})
    fast = SECOND.model_copy(update={"classes": ("fast",)})
    decider = gateway(tiers(capable, fast))
    assert told(decider, [], asks(), at()) == [begun(endpoint=fast)]
    wanted = asks(model_class="capable")
    assert told(decider, [], wanted, at()) == [begun(wanted, capable)]


def test_a_lesser_model_is_better_than_none() -> None:
    decider = gateway(tiers(FIRST.model_copy(update={"classes": ("capable",)})))
    assert told(decider, [], asks(model_class="fast"), at()) == [begun()]


def test_the_key_of_a_call_is_its_own_in_every_workflow_and_tenant() -> None:
    contexts = [Context(UUID(int=1), NOON, workflow, tenant) for workflow in ("w", "v") for tenant in ("t", "u")]
    keys = {message.key for c in contexts for message in told(both, [], asks(), c)}  # type: ignore[attr-defined]
    assert len(keys) == 4
    assert all(CALL not in key for key in keys)


# What comes back


def test_a_reply_counts_and_tells_the_policy_and_the_prior_of_its_tier() -> None:
    assert told(both, [accepted(), started()], success(replied()), at(1)) == [replied(confidence=0.92, policy=both.policy)]


def test_the_models_own_confidence_goes_before_the_prior() -> None:
    message = told(both, [accepted(), started()], success(replied(confidence=0.3)), at(1))
    assert message == [replied(confidence=0.3, policy=both.policy)]


def test_a_reply_of_the_second_tier_tells_why_the_first_fell_and_what_all_attempts_cost() -> None:
    before = [
        accepted(),
        started(),
        fell("invalid-output", cost=Decimal("0.01")),
        started(2),
        fell("timeout", 2, estimated=True),
        started(3, SECOND),
    ]
    message = told(both, before, success(replied(3, SECOND)), at(1))
    falls = (fell("invalid-output").fall, fell("timeout", 2).fall)
    assert message == [
        replied(
            3,
            SECOND,
            confidence=0.78,
            cost=Decimal("0.012"),
            falls=falls,
            estimated=True,
            policy=both.policy,
        )
    ]


def test_a_reply_after_the_deadline_is_paid_for_and_counts() -> None:
    message = told(both, [accepted(), started()], success(replied()), at(61))
    assert message == [replied(confidence=0.92, policy=both.policy)]


def test_after_the_reply_nothing_is_said_any_more() -> None:
    done = [accepted(), started(), replied()]
    for message in (asks(), CancelCall(call=CALL), WakeUp(), success(replied()), failure(fell("error"))):
        assert told(both, done, message, at(1)) == []
    assert both.wake_at(both.fold(done)) is None


# Confidence


def test_a_model_that_is_less_sure_than_was_asked_for_falls_and_is_paid() -> None:
    call = asks(minimum_confidence=0.7)
    message = told(both, [accepted(call), started()], success(replied(confidence=0.5)), at(1))
    assert message == [
        fell(
            "low-confidence", detail="0.5 where 0.7 was asked for", cost=Decimal("0.002"),
            input_tokens=10, output_tokens=3, resume_at=1,
        ).model_copy(update={"latency_ms": 7}),
        started(2, SECOND, 1),
    ]  # fmt: skip


def test_a_model_that_is_as_sure_as_was_asked_for_counts() -> None:
    call = asks(minimum_confidence=0.7)
    message = told(both, [accepted(call), started()], success(replied(confidence=0.7)), at(1))
    assert message == [replied(confidence=0.7, policy=both.policy)]


def test_a_confidence_that_is_not_known_causes_no_fall() -> None:
    call = asks(minimum_confidence=0.99)
    message = told(both, [accepted(call), started()], success(replied()), at(1))
    assert message == [replied(confidence=0.92, policy=both.policy)]


# Falls


@pytest.mark.parametrize("reason", ["timeout", "refused", "low-confidence", "no-endpoint"])
def test_what_another_attempt_would_not_change_falls_to_the_next_tier_at_once(reason: FallReason) -> None:
    failed = fell(reason)
    assert told(both, [begun()], failure(failed), at(1)) == [then(failed, 1), started(2, SECOND, 1)]


def test_where_no_slot_is_free_the_next_attempt_waits_for_one() -> None:
    (receipt,) = told(both, [begun()], failure(fell("refused")), full(1))
    assert receipt == then(fell("refused"), 1)
    assert both.wake_at(both.fold([begun(), receipt])) == NOON + timedelta(seconds=1)
    assert told(both, [begun(), receipt], WakeUp(), at(3)) == [started(2, SECOND, 3)]


def test_after_the_last_attempt_what_needs_no_model_answers_at_once_though_no_slot_is_free() -> None:
    for context in (at(1), full(1)):
        receipt, answer = told(alone, [begun()], failure(fell("refused")), context)
        assert receipt == then(fell("refused"), 1)
        assert isinstance(answer, ModelReplied)
        assert answer.tier == "rules"


@pytest.mark.parametrize("reason", ["error", "rate-limit"])
def test_what_passes_is_tried_again_at_the_same_tier_when_its_time_has_come(reason: FallReason) -> None:
    failed = fell(reason, retry_at=2)
    waiting = then(failed, 2)
    assert told(both, [accepted(), started()], failure(failed), at(1)) == [waiting]
    assert both.wake_at(both.fold([accepted(), started(), waiting])) == NOON + timedelta(seconds=2)
    assert told(both, [accepted(), started(), waiting], WakeUp(), at(2)) == [started(2, seconds=2)]


def test_who_is_woken_before_the_time_has_come_says_nothing() -> None:
    waiting = fell("error", retry_at=2, resume_at=2)
    assert told(both, [accepted(), started(), waiting], WakeUp(), at(1.9)) == []


def test_a_tier_is_tried_again_only_so_often() -> None:
    once = FIRST.model_copy(update={"max_retries": 1})
    decider = gateway(tiers(once, SECOND))
    waiting = fell("error", retry_at=1, resume_at=1)
    assert told(decider, [accepted(), started()], failure(fell("error", retry_at=1)), at(0.5)) == [waiting]
    before = [accepted(), started(), waiting, started(2)]
    last = fell("error", 2, retry_at=3)
    assert told(decider, before, failure(last), at(2)) == [then(last, 2), started(3, SECOND, 2)]


def test_a_provider_that_wants_a_long_wait_is_left_for_the_next() -> None:
    limited = fell("rate-limit", retry_at=30)
    assert told(both, [begun()], failure(limited), at(1)) == [then(limited, 1), started(2, SECOND, 1)]


def test_a_provider_is_waited_for_as_it_asked_where_no_other_is_left() -> None:
    limited = fell("rate-limit", retry_at=30)
    waits = limited.model_copy(update={"resume_at": limited.retry_at})
    assert told(alone, [accepted(), started()], failure(limited), at(1)) == [waits]
    before = [accepted(), started(), limited, started(2, SECOND)]
    refused = fell("refused", 2, SECOND)
    assert told(both, before, failure(refused), at(2)) == [refused.model_copy(update={"resume_at": limited.retry_at})]


def test_no_provider_is_waited_for_beyond_the_deadline() -> None:
    limited = fell("rate-limit", retry_at=60)
    receipt, message = told(alone, [begun()], failure(limited), at(1))
    assert receipt == then(limited, 1)
    assert isinstance(message, ModelReplied)
    assert message.tier == "rules"
    assert message.falls[0] == limited.fall


def test_a_known_answer_now_is_better_than_a_long_wait() -> None:
    limited = fell("rate-limit", retry_at=30)
    receipt, message = told(alone, [begun(asks("What is your refund policy?"))], failure(limited), at(1))
    assert receipt == then(limited, 1)
    assert isinstance(message, ModelReplied)
    assert (message.tier, message.falls) == ("cache", (limited.fall,))


def test_output_that_cannot_be_used_is_repaired_once_under_another_key() -> None:
    unusable = fell("invalid-output", detail="no JSON")
    repair = started(2, seconds=1, key=key(repairs=1))
    assert repair.key != KEY
    assert told(both, [begun()], failure(unusable), at(1)) == [then(unusable, 1), repair]
    again = fell("invalid-output", 2)
    assert told(both, [begun(), unusable, repair], failure(again), at(2)) == [then(again, 2), started(3, SECOND, 2)]


def test_a_performer_cannot_say_that_another_tier_or_attempt_failed() -> None:
    wrong = fell("refused", 1, SECOND)
    message, _ = told(both, [begun()], failure(wrong), at(1))
    assert isinstance(message, AttemptFailed)
    assert message.fall.tier == "first"


def test_an_outcome_without_content_is_a_loss() -> None:
    message, next_ = told(both, [begun()], AttemptReturned(attempt=1, call=CALL), at(1))
    assert isinstance(message, AttemptFailed)
    assert message.fall.reason == "lost"
    assert next_ == started(2, seconds=1)


# In doubt


def lost(attempt: int = 1, endpoint: Endpoint = FIRST, **more: Any) -> AttemptFailed:
    detail = "whoever made this attempt fell silent; what became of it, and what it cost, is not known"
    return fell("lost", attempt, endpoint, detail, estimated=True, **more).model_copy(update={"latency_ms": 0})


def test_an_attempt_whose_process_fell_silent_is_in_doubt_and_made_again_under_its_key() -> None:
    assert told(both, [begun()], WakeUp(), at(15)) == [lost(resume_at=15), started(2, seconds=15)]


def test_what_may_never_be_repeated_is_not_and_says_so() -> None:
    intent = started(safety="never-repeat")
    message = told(both, [accepted(), intent], WakeUp(), at(15))
    falls = (lost().fall,)
    assert message == [
        lost(resume_at=15),
        ModelFailed(call=CALL, reason="in-doubt", falls=falls, detail="first: lost", cost=Decimal(0)),
    ]
    assert told(both, [accepted(), intent, *message], WakeUp(), at(15)) == []


@pytest.mark.parametrize("reason", ["timeout", "error"])
def test_what_may_never_be_repeated_is_in_doubt_after_a_broken_attempt(reason: FallReason) -> None:
    intent = started(safety="never-repeat")
    emitted = told(both, [accepted(), intent], failure(fell(reason)), at(15))
    assert [type(message) for message in emitted] == [AttemptFailed, ModelFailed]


def test_what_was_refused_is_in_no_doubt() -> None:
    intent = started(safety="never-repeat")
    assert told(both, [accepted(), intent], failure(fell("refused")), at(1)) == [
        then(fell("refused"), 1),
        started(2, SECOND, 1),
    ]


def test_the_safety_of_an_endpoint_is_declared_in_the_intent() -> None:
    keyed = FIRST.model_copy(update={"safety": "keyed"})
    assert told(gateway(tiers(keyed)), [], asks(), at()) == [begun(safety="keyed")]


def test_a_lost_attempt_that_comes_back_never_wins_but_is_paid_for() -> None:
    paid = ReplyDiscarded(call=CALL, attempt=1, because="superseded", cost=Decimal("0.002"), input_tokens=10, output_tokens=3)
    while_the_next_is_out = [accepted(), started(), lost(), started(2)]
    assert told(both, while_the_next_is_out, success(replied()), at(16)) == [paid]
    assert told(both, [*while_the_next_is_out, paid], success(replied()), at(16)) == []
    before_the_next = [accepted(), started(), lost()]
    assert told(both, before_the_next, success(replied()), at(16)) == [paid]
    assert told(both, [*before_the_next, paid], success(replied()), at(16)) == []
    after_all = [*while_the_next_is_out, replied(2)]
    assert told(both, after_all, success(replied()), at(16)) == [paid]
    assert told(both, [*after_all, paid], success(replied()), at(16)) == []


def test_the_next_attempt_still_counts_after_the_lost_one_came_back() -> None:
    paid = ReplyDiscarded(call=CALL, attempt=1, because="superseded", cost=Decimal(0))
    (message,) = told(both, [accepted(), started(), lost(), started(2), paid], success(replied(2)), at(16))
    assert isinstance(message, ModelReplied)


def test_an_attempt_that_failed_and_comes_back_again_says_nothing() -> None:
    assert told(both, first_fell, failure(fell("refused")), at(1)) == []
    assert told(both, [*first_fell, started(2, SECOND)], success(replied()), at(1)) == []


def test_an_attempt_that_was_never_started_says_nothing() -> None:
    for before in ([], [accepted()], [begun()]):
        assert told(both, before, success(replied(9)), at(1)) == []


# Cancelling


def test_a_cancelled_call_is_never_made() -> None:
    cancelled = CallCancelled(call=CALL)
    assert told(both, [accepted()], CancelCall(call=CALL), at()) == [cancelled]
    assert told(both, [accepted(), cancelled], WakeUp(), at()) == []
    assert both.wake_at(both.fold([accepted(), cancelled])) is None


def test_a_cancel_that_overtakes_its_call_is_remembered() -> None:
    cancelled = CallCancelled(call=CALL)
    assert told(both, [], CancelCall(call=CALL), at()) == [cancelled]
    assert told(both, [cancelled], asks(), at()) == []
    assert told(both, [cancelled], WakeUp(), at()) == []


def test_a_second_cancel_changes_nothing() -> None:
    assert told(both, [accepted(), CallCancelled(call=CALL)], CancelCall(call=CALL), at()) == []


def test_a_reply_after_the_cancel_is_not_used_but_paid_for() -> None:
    cancelled = CallCancelled(call=CALL)
    assert told(both, [accepted(), started()], CancelCall(call=CALL), at()) == [cancelled]
    late = told(both, [accepted(), started(), cancelled], success(replied()), at(1))
    paid = ReplyDiscarded(call=CALL, attempt=1, because="cancelled", cost=Decimal("0.002"), input_tokens=10, output_tokens=3)
    assert late == [paid]
    assert told(both, [accepted(), started(), cancelled, paid], success(replied()), at(1)) == []


def test_a_failure_after_the_cancel_is_paid_for_too() -> None:
    before = [accepted(), started(), CallCancelled(call=CALL)]
    failed = fell("invalid-output", cost=Decimal("0.5"))
    assert told(both, before, failure(failed), at(1)) == [
        ReplyDiscarded(call=CALL, attempt=1, because="cancelled", cost=Decimal("0.5"))
    ]


# Replies that did not hold

rejects = RejectReply(call=CALL, reasons=("It is a refusal.",))
rejected = ReplyRejected(call=CALL, reasons=("It is a refusal.",))


def test_a_reply_that_did_not_hold_is_marked_once_and_with_the_reasons() -> None:
    replied_to = [accepted(), started(), replied()]
    assert told(both, replied_to, rejects, at(2)) == [rejected]
    assert told(both, [*replied_to, rejected], rejects, at(3)) == []


def test_a_reply_without_an_attempt_can_be_marked_too() -> None:
    message = told(gateway(tiers()), [], asks(), at())
    assert told(gateway(tiers()), message, rejects, at(2)) == [rejected]


@pytest.mark.parametrize(
    "before",
    [
        [],
        [accepted()],
        [accepted(), started()],
        [accepted(), CallCancelled(call=CALL)],
        [accepted(), ModelFailed(call=CALL, reason="no-answer")],
    ],
)
def test_where_there_is_no_reply_there_is_nothing_to_mark(before: list[Message]) -> None:
    assert told(both, before, rejects, at()) == []


def test_a_mark_changes_nothing_else() -> None:
    late = [accepted(), started(), lost(), started(2), replied(2), rejected]
    (paid,) = told(both, late, success(replied()), at(16))
    assert isinstance(paid, ReplyDiscarded)
    assert told(both, [*late, paid], success(replied()), at(16)) == []
    assert both.wake_at(both.fold(late)) is None
    assert told(both, late, asks(), at(16)) == []


def test_a_mark_is_not_lost_when_a_late_attempt_comes_back() -> None:
    message: list[Message] = [accepted(), started(), lost(), started(2), replied(2)]
    message += told(both, message, success(replied()), at(16))
    assert told(both, message, rejects, at(17)) == [rejected]
    assert told(both, [*message, rejected], rejects, at(18)) == []


# Without a model


def by_rule(text: str, *falls: Fall, **more: Any) -> ModelReplied:
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


def test_where_every_endpoint_fell_a_rule_says_that_no_model_answered_and_why() -> None:
    timed_out = fell("timeout", 2, SECOND, cost=Decimal("0.1"))
    assert told(both, [*first_fell, started(2, SECOND)], failure(timed_out), at(2)) == [
        then(timed_out, 2),
        by_rule(
            "No model answered: ask a person.",
            fell("refused").fall,
            fell("timeout", 2, SECOND).fall,
            CACHE_MISS,
            EXTRACT_MISS,
            cost=Decimal("0.1"),
            policy=both.policy,
        ),
    ]


def test_without_any_endpoint_the_answer_says_so() -> None:
    none = gateway(tiers())
    falls = (NO_ENDPOINT, CACHE_MISS, EXTRACT_MISS)
    assert told(none, [], asks("What price?"), at()) == [
        by_rule("No model answered: see the prices.", *falls, policy=none.policy)
    ]


def test_after_the_deadline_no_endpoint_is_asked_and_the_caller_is_still_answered() -> None:
    (message,) = told(both, [], asks(), at(60))
    assert told(both, [accepted()], WakeUp(), at(60)) == [message]
    assert isinstance(message, ModelReplied)
    assert message.tier == "rules"
    assert [(fall.tier, fall.reason) for fall in message.falls] == [
        ("first", "timeout"),
        ("second", "timeout"),
        ("cache", "miss"),
        ("extractive", "miss"),
    ]


def test_where_nothing_is_left_the_failure_tells_every_fall() -> None:
    bare = gateway(tiers(FIRST, order=["first"]))
    assert told(bare, [begun()], failure(fell("refused")), at(1)) == [
        then(fell("refused"), 1),
        ModelFailed(call=CALL, reason="refused", falls=(fell("refused").fall,), detail="first: refused"),
    ]
    (late,) = told(bare, [], asks(), at(60))
    assert isinstance(late, ModelFailed)
    assert late.reason == "deadline"
    receipt, timed_out = told(bare, [begun()], failure(fell("timeout", cost=Decimal("0.3"))), at(21))
    assert isinstance(timed_out, ModelFailed)
    assert (timed_out.reason, timed_out.cost) == ("no-answer", Decimal("0.3"))
    assert told(bare, [begun(), receipt, timed_out], WakeUp(), at(22)) == []


def test_a_known_answer_is_found_without_regard_to_case_spacing_and_closing_punctuation() -> None:
    for question in ("what is your REFUND policy", "  What is  your refund policy?? ", "What is your refund policy."):
        (message,) = told(gateway(tiers()), [], asks(question), at())
        assert isinstance(message, ModelReplied)
        assert (message.tier, message.text, message.confidence) == ("cache", "30 days.", 0.95)


def test_a_known_answer_does_not_go_before_passages_or_an_earlier_talk() -> None:
    question = "What is your refund policy?"
    passages = (Passage(source="other.md", text="Nothing of the kind."),)
    talk = (
        ChatMessage(role="user", content="I mean the other shop."),
        ChatMessage(role="assistant", content="All right."),
        ChatMessage(role="user", content=question),
    )
    for call in (asks(question, passages=passages), asks(question).model_copy(update={"messages": talk})):
        (message,) = told(gateway(tiers()), [], call, at())
        assert isinstance(message, ModelReplied)
        assert message.tier == "rules"


def test_the_best_supported_sentences_of_the_passages_are_quoted_with_their_sources() -> None:
    passages = (
        Passage(source="sky.md", text="Grass is green. The sky is blue because air scatters blue light most."),
        Passage(source="sea.md", text="The sea is deep."),
    )
    (message,) = told(gateway(tiers()), [], asks(passages=passages), at())
    assert isinstance(message, ModelReplied)
    assert message.tier == "extractive"
    assert "“The sky is blue because air scatters blue light most.” [sky.md]" in message.text
    assert "Grass" not in message.text
    assert message.sources == ("sky.md",)
    assert message.confidence is None
    assert [fall.tier for fall in message.falls] == ["endpoints", "cache"]


def test_a_tier_without_a_model_may_stand_first() -> None:
    cached = gateway(tiers(FIRST, order=["cache", "first", "rules"]))
    (known,) = told(cached, [], asks("What is your refund policy?"), at())
    assert isinstance(known, ModelReplied)
    assert (known.tier, known.falls) == ("cache", ())
    assert told(cached, [], asks(), at()) == [begun()]
    (message,) = told(cached, [begun()], success(replied()), at(1))
    assert isinstance(message, ModelReplied)
    assert message.falls == (CACHE_MISS,)


# Properties

REASONS: list[FallReason] = [
    "error", "timeout", "rate-limit", "invalid-output", "low-confidence", "refused", "lost", "no-endpoint",
]  # fmt: skip


def woken(decider: Decider[Any], message: list[Message], seconds: float) -> list[Message]:
    """What is said to a waking, which must not leave a stream that wants to be woken at that time or before."""
    more = told(decider, message, WakeUp(), at(seconds))
    resume_at = decider.wake_at(decider.fold([*message, *more]))
    assert resume_at is None or resume_at > at(seconds).at
    return more


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_every_call_is_answered_within_its_deadline_and_no_fall_lacks_a_reason(data: st.DataObject) -> None:
    """Whatever the attempts bring and however long they take: the last is asked before the deadline, then comes an answer."""
    retries = data.draw(st.integers(0, 3))
    decider = gateway(tiers(*(e.model_copy(update={"max_retries": retries, "timeout": 10}) for e in (FIRST, SECOND))))
    slots = st.sampled_from([at, full])
    message: list[Message] = told(decider, [], asks(), data.draw(slots)(0))
    now, attempts = 0.0, 0
    while not isinstance(state := decider.fold(message), Settled):
        if isinstance(state, Ready):
            resume_at = decider.wake_at(state)
            assert resume_at is not None
            assert resume_at < NOON + timedelta(seconds=60)
            now = max(now, (resume_at - NOON).total_seconds())
            message += woken(decider, message, now)
        else:
            attempts += 1
            out = message[-1]
            assert isinstance(out, AttemptStarted)
            assert out.deadline <= NOON + timedelta(seconds=60)
            assert out.attempt == attempts
            now = min(now + data.draw(st.floats(0, 10)), (out.deadline - NOON).total_seconds())
            reason = data.draw(st.sampled_from(REASONS))
            retry = data.draw(st.floats(0, 80)) if reason in ("error", "rate-limit") else None
            if reason == "lost":
                message += woken(decider, message, now)
                continue
            failed = fell(reason, attempts, SECOND if out.tier == "second" else FIRST)
            if retry is not None:
                failed = failed.model_copy(update={"retry_at": NOON + timedelta(seconds=now + retry)})
            message += told(decider, message, failure(failed), data.draw(slots)(now))
        assert len(message) < 100
    last = message[-1]
    assert isinstance(last, ModelReplied)
    assert now <= 60
    assert attempts <= 2 * (1 + retries + 1) + 2
    assert len([fall for fall in last.falls if fall.attempt]) == attempts
    assert all(fall.reason for fall in last.falls)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 9), max_size=12))
def test_nothing_that_is_repeated_or_out_of_order_gives_a_second_answer(order: list[int]) -> None:
    words: list[Message] = [
        asks(), WakeUp(), success(replied()), failure(fell("error")), CancelCall(call=CALL), WakeUp(),
        success(replied(2)), failure(fell("timeout", 2)), asks(), rejects,
    ]  # fmt: skip
    message: list[Message] = []
    for place in order:
        message += told(both, message, words[place], at(1))
    ends = [m for m in message if isinstance(m, ModelReplied | ModelFailed | CallCancelled)]
    assert len(ends) <= 1
    marks = [place for place, m in enumerate(message) if isinstance(m, ReplyRejected)]
    assert len(marks) <= any(isinstance(m, ModelReplied) for m in message[: marks[0] if marks else 0])
    started_ones = [m.attempt for m in message if isinstance(m, AttemptStarted)]
    assert started_ones == list(range(1, len(started_ones) + 1))


HEARD = st.one_of(
    st.just(asks()),
    st.just(asks("What is your refund policy?")),
    st.just(CancelCall(call=CALL)),
    st.just(rejects),
    st.just(WakeUp()),
    st.integers(1, 4).map(lambda attempt: success(replied(attempt, confidence=0.5))),
    st.builds(
        lambda reason, attempt, retry: failure(fell(reason, attempt, retry_at=retry) if retry else fell(reason, attempt)),
        st.sampled_from(REASONS),
        st.integers(1, 4),
        st.none() | st.floats(0.1, 90),
    ),
)


@settings(max_examples=500, deadline=None)
@given(
    st.sampled_from([both, alone, gateway(tiers()), gateway(tiers(FIRST, order=["first"]))]),
    st.lists(st.tuples(HEARD, st.floats(0, 40), st.booleans()), max_size=12),
)
def test_no_stream_wants_to_be_woken_at_a_time_that_is_past_but_for_a_slot(
    decider: Decider[Any], history: list[tuple[Message, float, bool]]
) -> None:
    message: list[Message] = []
    now = 0.0
    for received, seconds, free in history:
        now += seconds
        if isinstance(received, WakeUp):
            message += woken(decider, message, now)
            continue
        before, more = decider.fold(message), told(decider, message, received, at(now) if free else full(now))
        message += more
        after = decider.fold(message)
        if more and isinstance(after, Ready) and not isinstance(before, Ready) and free:
            assert after.wake_at is not None and after.wake_at > at(now).at
        assert not isinstance(after, Ready) or after.wake_at is not None
        assert sum(isinstance(one, AttemptStarted) and one.request is not None for one in message) <= 1
    if not isinstance(decider.fold(message), Settled) and message:
        while not isinstance(state := decider.fold(message), Settled):
            resume_at = decider.wake_at(state)
            assert resume_at is not None, "nobody will ever look at it again"
            now = max(now, (resume_at - NOON).total_seconds())
            more = woken(decider, message, now)
            assert more
            message += more
            assert len(message) < 100


# The tiers as data


def test_the_policy_changes_with_what_decisions_rest_on_and_not_with_an_address() -> None:
    moved = SECOND.model_copy(update={"url": "http://127.0.0.1:2/v1"})
    assert gateway(tiers(FIRST, moved)).policy == both.policy
    assert alone.policy != both.policy
    assert gateway(tiers(FIRST, SECOND, patience=9)).policy != both.policy


def test_known_answers_are_data() -> None:
    chain = tiers(FIRST)
    assert chain.answers.known == (Known(question="What is your refund policy?", answer="30 days."),)
