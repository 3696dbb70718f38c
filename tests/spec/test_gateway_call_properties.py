"""What holds for every history of a model call."""

from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.gateway import (
    AttemptStarted,
    CallCancelled,
    CancelCall,
    FallReason,
    ModelFailed,
    ModelReplied,
    RejectReply,
    ReplyRejected,
)
from hansard.decider import Decider, WakeUp
from hansard.message import Message
from services.gateway.call import Settled, Waiting, call_decider
from services.gateway.fallback import NOT_SENT
from tests.decisions import decided
from tests.spec.gateway_kit import CALL, FIRST, NOON, SECOND, asks, at, failure, fell, full, replied, success, tiers, woken_up
from tests.spec.test_gateway_cache import not_found

both = call_decider(tiers(FIRST, SECOND))
alone = call_decider(tiers(FIRST))


REASONS: list[FallReason] = [
    "error", "timeout", "rate-limit", "invalid-output", "low-confidence", "refused", "lost", "no-endpoint",
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_every_call_is_answered_within_its_deadline_and_every_fall_has_a_reason(data: st.DataObject) -> None:
    """Whatever the outcomes are and however long they take. The last attempt is made before the deadline."""
    retries = data.draw(st.integers(0, 3))
    decider = call_decider(tiers(*(e.model_copy(update={"max_retries": retries, "timeout": 10}) for e in (FIRST, SECOND))))
    slots = st.sampled_from([at, full])
    stored: list[Message] = decided(decider, [], asks(), data.draw(slots)(0))
    now, attempts = 0.0, 0
    while not isinstance(state := decider.fold(stored), Settled):
        if isinstance(state, Waiting):
            resume_at = decider.wake_at(state)
            assert resume_at is not None
            assert resume_at < NOON + timedelta(seconds=60)
            now = max(now, (resume_at - NOON).total_seconds())
            stored += woken_up(decider, stored, now)
        else:
            attempts += 1
            out = stored[-1]
            assert isinstance(out, AttemptStarted)
            assert out.deadline <= NOON + timedelta(seconds=60)
            assert out.attempt == attempts
            now = min(now + data.draw(st.floats(0, 10)), (out.deadline - NOON).total_seconds())
            reason = data.draw(st.sampled_from(REASONS))
            retry = data.draw(st.floats(0, 80)) if reason in ("error", "rate-limit") else None
            if reason == "lost":
                stored += woken_up(decider, stored, now)
                continue
            failed = fell(reason, attempts, SECOND if out.tier == "second" else FIRST)
            if retry is not None:
                failed = failed.model_copy(update={"retry_at": NOON + timedelta(seconds=now + retry)})
            stored += decided(decider, stored, failure(failed), data.draw(slots)(now))
        assert len(stored) < 100
    last = stored[-1]
    assert isinstance(last, ModelReplied)
    assert now <= 60
    assert attempts <= 2 * (1 + retries + 1) + 2
    assert len([fall for fall in last.falls if fall.attempt]) == attempts
    assert all(fall.reason for fall in last.falls)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 9), max_size=12))
def test_no_repeated_or_misplaced_message_leads_to_a_second_answer(order: list[int]) -> None:
    received: list[Message] = [
        asks(), WakeUp(), success(replied()), failure(fell("error")), CancelCall(call=CALL), WakeUp(),
        success(replied(2)), failure(fell("timeout", 2)), asks(), RejectReply(call=CALL, reasons=("It is a refusal.",)),
    ]  # fmt: skip
    stored: list[Message] = []
    for place in order:
        stored += decided(both, stored, received[place], at(1))
    ends = [m for m in stored if isinstance(m, ModelReplied | ModelFailed | CallCancelled)]
    assert len(ends) <= 1
    marks = [place for place, m in enumerate(stored) if isinstance(m, ReplyRejected)]
    assert len(marks) <= any(isinstance(m, ModelReplied) for m in stored[: marks[0] if marks else 0])
    attempts = [m.attempt for m in stored if isinstance(m, AttemptStarted)]
    assert attempts == list(range(1, len(attempts) + 1))


RECEIVED = st.one_of(
    st.just(asks()),
    st.just(asks("What is your refund policy?")),
    st.just(CancelCall(call=CALL)),
    st.just(RejectReply(call=CALL, reasons=("It is a refusal.",))),
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
    st.sampled_from([both, alone, call_decider(tiers()), call_decider(tiers(FIRST, order=["first"]))]),
    st.lists(st.tuples(RECEIVED, st.floats(0, 40), st.booleans()), max_size=12),
)
def test_a_wake_up_time_is_never_in_the_past_except_while_a_call_waits_for_a_slot(
    decider: Decider[Any], history: list[tuple[Message, float, bool]]
) -> None:
    stored: list[Message] = []
    now = 0.0
    for received, seconds, free in history:
        now += seconds
        if isinstance(received, WakeUp):
            stored += woken_up(decider, stored, now)
            continue
        before, more = decider.fold(stored), decided(decider, stored, received, at(now) if free else full(now))
        stored += more
        after = decider.fold(stored)
        if more and isinstance(after, Waiting) and not isinstance(before, Waiting) and free:
            assert after.wake_at is not None and after.wake_at > at(now).at
        assert not isinstance(after, Waiting) or after.wake_at is not None
        assert sum(isinstance(m, AttemptStarted) and m.request is not None for m in stored) <= 1
    if not isinstance(decider.fold(stored), Settled) and stored:
        while not isinstance(state := decider.fold(stored), Settled):
            resume_at = decider.wake_at(state)
            assert resume_at is not None, "the call would never go on"
            now = max(now, (resume_at - NOON).total_seconds())
            more = woken_up(decider, stored, now)
            assert more
            stored += more
            assert len(stored) < 100


WITH_CIRCUITS: list[FallReason] = [
    "error",
    "timeout",
    "rate-limit",
    "circuit-open",
    "invalid-output",
    "retry-budget",
    "refused",
    "lost",
]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_call_is_answered_within_its_deadline_whatever_circuits_budgets_and_the_cache_do(data: st.DataObject) -> None:
    """Whatever the order of the tiers, and however late the outcomes."""
    order = data.draw(st.permutations(["first", "second", "cache", "extractive", "rules"]))
    chain = tiers(
        *(
            endpoint.model_copy(update={"max_retries": data.draw(st.integers(0, 3)), "timeout": 10})
            for endpoint in (FIRST, SECOND)
        ),
        order=order,
        learning={"hours": data.draw(st.sampled_from([0, 1]))},
    )
    decider, span = call_decider(chain), data.draw(st.floats(0.1, 60))
    slots = st.sampled_from([at, full])
    stored: list[Message] = decided(decider, [], asks(deadline=NOON + timedelta(seconds=span)), data.draw(slots)(0))
    now, attempts = 0.0, 0
    while not isinstance(state := decider.fold(stored), Settled):
        out = stored[-1]
        if not isinstance(out, AttemptStarted):
            resume_at = decider.wake_at(state)
            assert resume_at is not None and resume_at <= NOON + timedelta(seconds=span)
            now = max(now, (resume_at - NOON).total_seconds())
            stored += woken_up(decider, stored, now)
            continue
        attempts += 1
        assert out.deadline <= NOON + timedelta(seconds=span)
        now = min(now + data.draw(st.floats(0, 12)), max(now, (out.deadline - NOON).total_seconds()))
        if out.tier == "cache":
            hit = data.draw(st.booleans())
            found = success(replied(attempts, tier="cache")) if hit else not_found(attempts)
            stored += decided(decider, stored, found, data.draw(slots)(now))
            continue
        reason = data.draw(st.sampled_from(WITH_CIRCUITS))
        if reason == "lost":
            stored += woken_up(decider, stored, now)
            continue
        retry = now + data.draw(st.floats(0, 80)) if reason in ("error", "rate-limit") else None
        failed = fell(reason, attempts, SECOND if out.tier == "second" else FIRST, "why", retry_at=retry) if retry else None
        stored += decided(decider, stored, failure(failed or fell(reason, attempts, detail="why")), data.draw(slots)(now))
        assert len(stored) < 100
    last = stored[-1]
    assert isinstance(last, ModelReplied | ModelFailed)
    assert now <= span + 1e-5
    assert all(fall.reason and (fall.detail or fall.reason == "miss") for fall in last.falls)
    assert all(fall.attempt == 0 for fall in last.falls if fall.reason in NOT_SENT)
    places = order.index(last.tier) if isinstance(last, ModelReplied) else len(order)
    with_reason = {fall.tier for fall in last.falls}
    assert set(order[:places]) - with_reason == set(), "a better tier did not answer, and no fall says why"
