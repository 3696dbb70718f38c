"""Circuits, budgets and what is learned, in sentences: given what was said, when this is heard, then that is said."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.gateway import (
    AttemptStarted,
    ChatMessage,
    CircuitClosed,
    CircuitOpened,
    FallReason,
    Learned,
    ModelFailed,
    ModelReplied,
    ProbeGranted,
    RetriesGranted,
    ToolCall,
)
from contracts.verifier import Passage
from hansard.codec import encode
from hansard.decider import WakeUp
from hansard.message import Message
from services.gateway.chain import STAYED
from services.gateway.decider import Settled, gateway
from services.gateway.facts import AttemptReturned, EndpointFailed, ProbeAsked, ProbeReturned, RetriesAsked
from services.gateway.learning import key, used_again, worth_learning
from services.gateway.performer import trips
from services.gateway.statistics import statistics
from services.gateway.steering import Budget, Circuit, budget_stream, circuit_stream
from shared.eventstore.model import StoredMessage, Stream
from tests.spec.test_gateway import (
    CALL,
    FIRST,
    NOON,
    SECOND,
    accepted,
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
    woken,
)
from tests.told import told

steers = gateway(tiers(FIRST, circuits={"cooldown": 5, "longest": 60}, retries={"share": 0.1, "reserve": 3}))


def time(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def failing(change: int = 1, **more: Any) -> EndpointFailed:
    given = {"attempt": change, "endpoint": "first", "failures": 5, "of": 8, "reason": "error", "detail": "500"}
    return EndpointFailed.model_validate(given | more)


def opened(change: int = 1, until: float = 5, probes: int = 0, **more: Any) -> CircuitOpened:
    given = {"failures": 5, "of": 8, "reason": "error", "detail": "500"} | more
    return CircuitOpened.model_validate({"endpoint": "first", "change": change, "until": time(until), "probes": probes} | given)


def wants_probe(change: int = 2, by: str = "a#1") -> ProbeAsked:
    return ProbeAsked(attempt=change, endpoint="first", by=by, until=time(30))


def granted(change: int = 2, by: str = "a#1") -> ProbeGranted:
    return ProbeGranted(endpoint="first", change=change, by=by, until=time(30))


def probed(change: int = 3, *, good: bool, **more: Any) -> ProbeReturned:
    return ProbeReturned.model_validate({"attempt": change, "endpoint": "first", "by": "a#1", "good": good} | more)


# Circuits


def test_a_circuit_opens_until_the_cooldown_is_over_and_says_why() -> None:
    assert told(steers, [], failing(), at()) == [opened()]


def test_from_then_on_nobody_calls_before_that_time_and_one_asks_after_it() -> None:
    circuit = steers.fold([opened()])
    assert isinstance(circuit, Circuit)
    assert (circuit.bars(time(4.9)), circuit.bars(time(5))) == (True, False)


def test_the_probe_is_granted_to_who_asked_and_nobody_else_calls_while_it_is_out() -> None:
    assert told(steers, [opened()], wants_probe(), at(5)) == [granted()]
    circuit = steers.fold([opened(), granted()])
    assert isinstance(circuit, Circuit)
    assert (circuit.probe, circuit.bars(time(29)), circuit.bars(time(30))) == ("a#1", True, False)


def test_a_probe_asked_for_too_early_is_not_granted_and_the_circuit_can_still_be_changed() -> None:
    assert told(steers, [opened()], wants_probe(), at(1)) == [opened(change=2)]


def test_a_good_probe_closes_the_circuit() -> None:
    assert told(steers, [opened(), granted()], probed(good=True), at(6)) == [CircuitClosed(endpoint="first", change=3, by="a#1")]
    assert steers.fold([opened(), granted(), CircuitClosed(endpoint="first", change=3, by="a#1")]) == Circuit(3)


def test_each_failed_probe_doubles_the_wait_up_to_the_longest() -> None:
    given: list[Message] = [opened()]
    waits = []
    for probe in range(5):
        given.append(granted(change=len(given) + 1))
        (again,) = told(steers, given, probed(len(given) + 1, good=False, reason="error", detail="500"), at(100))
        assert isinstance(again, CircuitOpened)
        assert again.probes == probe + 1
        waits.append((again.until - time(100)).total_seconds())
        given.append(again)
    assert waits == [10, 20, 40, 60, 60]


def test_a_provider_that_says_when_to_come_back_is_left_alone_so_long_within_reason() -> None:
    asked = [told(steers, [], failing(reason="rate-limit", not_before=time(s)), at())[0] for s in (1, 30, 9000)]
    assert [(it.until - NOON).total_seconds() for it in asked if isinstance(it, CircuitOpened)] == [5, 30, 60]


def test_after_closing_a_circuit_opens_for_the_first_cooldown_again() -> None:
    before = [opened(), granted(), opened(3, 10, 1), granted(4), CircuitClosed(endpoint="first", change=5, by="a#1")]
    assert told(steers, before, failing(6), at()) == [opened(6)]


@pytest.mark.parametrize(
    ("failures", "of", "so"), [(5, 5, True), (4, 4, False), (5, 10, True), (5, 11, False), (10, 20, True), (9, 20, False)]
)
def test_a_circuit_needs_so_many_failures_and_such_a_share_of_them(failures: int, of: int, so: bool) -> None:
    assert trips(tiers(FIRST).circuits, failures, of) == so


def test_no_stream_of_an_endpoint_grows_for_ever() -> None:
    assert circuit_stream("first", time(0)) == circuit_stream("first", time(3600))
    assert circuit_stream("first", time(0)) != circuit_stream("first", time(86_400))
    assert budget_stream("first", time(0)) != budget_stream("first", time(3600))
    assert circuit_stream("first", time(0)).workflow == budget_stream("first", time(0)).workflow == "endpoint.first"


# The budget of retries


def asks_retries(calls: int, by: str = "p1", attempt: int = 1) -> RetriesAsked:
    return RetriesAsked(attempt=attempt, endpoint="first", by=by, calls=calls)


def test_the_reserve_goes_first_one_by_one_and_then_nothing_is_granted() -> None:
    given: list[Message] = []
    for left in (2, 1, 0):
        message = told(steers, given, asks_retries(0), at())
        assert message == [RetriesGranted(endpoint="first", by="p1", calls=0, granted=1, left=left)]
        given += message
    assert told(steers, given, asks_retries(0), at()) == [RetriesGranted(endpoint="first", by="p1", calls=0, granted=0, left=0)]


def test_every_ten_calls_earn_a_retry_whoever_made_them() -> None:
    spent = [RetriesGranted(endpoint="first", by="p1", calls=0, granted=1, left=0)]
    (some,) = told(steers, spent, asks_retries(9, by="p2"), at())
    assert isinstance(some, RetriesGranted)
    assert (some.granted, some.left) == (0, 0.9)
    (one,) = told(steers, [*spent, some], asks_retries(1), at())
    assert isinstance(one, RetriesGranted)
    assert (one.granted, one.left) == (1, 0)
    assert steers.fold([*spent, some, one]) == Budget(0, {"p1": 2, "p2": 0})


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 300), st.sampled_from("abc")), max_size=60))
def test_retries_are_never_more_than_a_tenth_of_the_calls_and_the_reserve(asked: list[tuple[int, str]]) -> None:
    given: list[Message] = []
    for calls, by in asked:
        given += told(steers, given, asks_retries(calls, by), at())
    granted = sum(message.granted for message in given if isinstance(message, RetriesGranted))
    assert granted <= 3 + 0.1 * sum(calls for calls, _ in asked) + 1e-6


# What a call makes of them


@pytest.mark.parametrize("reason", ["circuit-open", "retry-budget"])
def test_what_did_not_leave_the_house_is_a_fall_without_an_attempt_and_the_next_tier_is_asked_at_once(reason: FallReason) -> None:
    both = gateway(tiers(FIRST, SECOND))
    held = failure(fell(reason))
    assert told(both, [begun()], held, at(1)) == [then(fell(reason, attempt=0), 1), started(2, SECOND, 1)]


# What was learned

learns = tiers(FIRST, SECOND, learning={"hours": 1, "confidence": 0.7})
learner = gateway(learns)
QUESTION = asks("Why is the sky blue?")
trying = [begun(), fell("refused"), started(2, SECOND)]
refused = fell("refused", 2, SECOND)
fallen = [*trying, then(refused, 0)]


def looks(attempt: int = 3, seconds: float = 0, **more: Any) -> AttemptStarted:
    return AttemptStarted(
        attempt=attempt, safety="safe", key="", deadline=time(seconds + 2), call=CALL,
        tier="cache", provider="hansard", model="cache", endpoint="cache", **more,
    )  # fmt: skip


def missing(attempt: int = 3) -> AttemptReturned:
    failed = fell("miss")
    return AttemptReturned(attempt=attempt, call=CALL, failure=failed)


def test_when_no_endpoint_is_left_what_was_learned_is_looked_up_and_that_is_on_the_record() -> None:
    assert told(learner, trying, failure(refused), at()) == [then(refused, 0), looks()]
    assert told(learner, trying, failure(refused), full()) == [then(refused, 0)]
    assert told(learner, fallen, WakeUp(), at()) == [looks()]


def test_what_was_learned_is_the_answer_with_its_source_and_what_the_attempts_before_it_cost() -> None:
    learned = Learned(event="e", workflow="w", stream="gateway/a/1", tier="first", at=NOON)
    found = replied(3, tier="cache", learned=learned, cost=Decimal(0), confidence=0.9)
    (answer,) = told(learner, [*fallen, looks()], success(found), at(1))
    assert isinstance(answer, ModelReplied)
    assert (answer.tier, answer.learned, answer.confidence, answer.cost) == ("cache", learned, 0.9, Decimal(0))
    assert [(fall.tier, fall.reason) for fall in answer.falls] == [("first", "refused"), ("second", "refused")]


def test_where_nothing_was_learned_the_next_tier_answers_and_says_so_once() -> None:
    _, answer = told(learner, [*fallen, looks()], missing(), at(1))
    assert isinstance(answer, ModelReplied)
    assert answer.tier == "rules"
    assert [fall.tier for fall in answer.falls] == ["first", "second", "cache", "extractive"]
    assert [fall.attempt for fall in answer.falls] == [1, 2, 0, 0]


def test_a_known_answer_goes_before_what_was_learned() -> None:
    known = begun(asks("What is your refund policy?"))
    _, answer = told(learner, [known, *trying[1:]], failure(refused), at())
    assert isinstance(answer, ModelReplied)
    assert (answer.tier, answer.text, answer.learned) == ("cache", "30 days.", None)


def test_what_was_learned_is_looked_up_before_a_long_wait_for_an_endpoint_and_that_wait_is_taken_after_it() -> None:
    alone = gateway(tiers(FIRST, learning={"hours": 1}))
    limited = fell("rate-limit", retry_at=30)
    assert told(alone, [begun()], failure(limited), at(1)) == [then(limited, 1), looks(2, 1)]
    given = [begun(), then(limited, 1), looks(2, 1)]
    (miss,) = told(alone, given, missing(2), at(1))
    assert alone.wake_at(alone.fold([*given, miss])) == time(30)


def test_a_cache_that_is_placed_first_is_asked_first_and_an_endpoint_after_it() -> None:
    first = gateway(tiers(FIRST, order=["cache", "first", "rules"], learning={"hours": 1}))
    given = told(first, [], asks(), at())
    assert given == [looks(1, request=asks())]
    given += told(first, given, missing(1), at())
    assert given[-1] == started(2)
    (answer,) = told(first, given, success(replied(2)), at(1))
    assert isinstance(answer, ModelReplied)
    assert [fall.tier for fall in answer.falls] == ["cache"]


def test_after_the_deadline_nothing_is_looked_up() -> None:
    _, answer = told(learner, trying, failure(refused), at(60))
    assert told(learner, fallen, WakeUp(), at(60)) == [answer]
    assert isinstance(answer, ModelReplied)
    assert answer.tier == "rules"


def test_a_question_is_the_same_without_case_and_punctuation_and_another_in_any_other_context() -> None:
    same = key("t", QUESTION)
    assert key("t", asks("why is the SKY blue")) == same
    others = [
        key("u", QUESTION),
        key("t", asks("Why is the sea blue?")),
        key("t", asks(role="judge")),
        key("t", asks(model_class="capable")),
        key("t", asks(passages=(Passage(source="s", text="x"),))),
        key("t", asks(response_schema={"type": "object"})),
        key("t", QUESTION.model_copy(update={"messages": (ChatMessage(role="system", content="x"), *QUESTION.messages)})),
    ]
    assert len({same, *others}) == 1 + len(others)
    assert key("t", asks(deadline=time(7))) == same


def test_only_a_models_own_whole_and_sure_answer_is_learned() -> None:
    assert worth_learning(learns, replied(), 0.92)
    assert not worth_learning(learns, replied(), 0.3)
    assert not worth_learning(learns, replied(), None)
    assert not worth_learning(learns, replied(finish_reason="length"), 0.92)
    assert not worth_learning(learns, replied(tool_calls=(ToolCall(id="1", name="t", arguments="{}"),)), 0.92)
    for tier in ("cache", "extractive", "rules"):
        assert not worth_learning(learns, replied(tier=tier), 0.95)
    assert not worth_learning(tiers(FIRST), replied(), 0.92)


def test_what_is_no_answer_any_more_is_not_used_again() -> None:
    stream = Stream("t", "w", "gateway/a/1")
    id_ = UUID(int=7)

    def stored(reply: ModelReplied) -> StoredMessage:
        return StoredMessage(stream, 3, id_, reply.kind, "gateway.replies", id_, encode(reply), b"", at=NOON)

    again = used_again(learns, stored(replied(confidence=0.9)), QUESTION)
    assert again is not None
    assert again.learned == Learned(event=str(id_), workflow="w", stream="gateway/a/1", tier="first", at=NOON)
    assert (again.cost, again.tier, again.falls) == (Decimal(0), "cache", ())
    assert used_again(learns, stored(replied(confidence=0.1)), QUESTION) is None
    assert used_again(learns, stored(replied(tier="rules", confidence=0.9)), QUESTION) is None
    assert used_again(learns, StoredMessage(stream, 3, id_, "x", "gateway.replies", id_, b"{}", b"", at=NOON), QUESTION) is None


# Properties

REASONS: list[FallReason] = [
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
def test_a_call_is_answered_within_its_deadline_and_a_tick_and_no_fall_lacks_a_reason(data: st.DataObject) -> None:
    """Whatever attempts, circuits, budgets and the cache bring, in whatever order of tiers, and however late."""
    order = data.draw(st.permutations(["first", "second", "cache", "extractive", "rules"]))
    chain = tiers(
        *(
            endpoint.model_copy(update={"max_retries": data.draw(st.integers(0, 3)), "timeout": 10})
            for endpoint in (FIRST, SECOND)
        ),
        order=order,
        learning={"hours": data.draw(st.sampled_from([0, 1]))},
    )
    decider, span = gateway(chain), data.draw(st.floats(0.1, 60))
    slots = st.sampled_from([at, full])
    message: list[Message] = told(decider, [], asks(deadline=time(span)), data.draw(slots)(0))
    now, attempts = 0.0, 0
    while not isinstance(state := decider.fold(message), Settled):
        out = message[-1]
        if not isinstance(out, AttemptStarted):
            resume_at = decider.wake_at(state)
            assert resume_at is not None and resume_at <= time(span)
            now = max(now, (resume_at - NOON).total_seconds())
            message += woken(decider, message, now)
            continue
        attempts += 1
        assert out.deadline <= time(span)
        now = min(now + data.draw(st.floats(0, 12)), max(now, (out.deadline - NOON).total_seconds()))
        if out.tier == "cache":
            hit = data.draw(st.booleans())
            found = success(replied(attempts, tier="cache")) if hit else missing(attempts)
            message += told(decider, message, found, data.draw(slots)(now))
            continue
        reason = data.draw(st.sampled_from(REASONS))
        if reason == "lost":
            message += woken(decider, message, now)
            continue
        retry = now + data.draw(st.floats(0, 80)) if reason in ("error", "rate-limit") else None
        failed = fell(reason, attempts, SECOND if out.tier == "second" else FIRST, "why", retry_at=retry) if retry else None
        message += told(decider, message, failure(failed or fell(reason, attempts, detail="why")), data.draw(slots)(now))
        assert len(message) < 100
    last = message[-1]
    assert isinstance(last, ModelReplied | ModelFailed)
    assert now <= span + 1e-5
    assert all(fall.reason and (fall.detail or fall.reason == "miss") for fall in last.falls)
    assert all(fall.attempt == 0 for fall in last.falls if fall.reason in STAYED)
    places = order.index(last.tier) if isinstance(last, ModelReplied) else len(order)
    told_of = {fall.tier for fall in last.falls}
    assert set(order[:places]) - told_of == set(), "a better tier did not answer, and nothing says why"


# Statistics


def test_what_all_calls_add_up_to() -> None:
    error = [fell("error").fall]
    told_of = statistics(
        [
            accepted(),
            started(),
            replied(confidence=0.9, latency_ms=10),
            replied(2, falls=error, confidence=0.7, latency_ms=30),
            replied(2, SECOND, falls=error, confidence=0.8, latency_ms=50, cost=Decimal("0.001")),
            replied(tier="rules", falls=error, confidence=None, latency_ms=0, cost=0),
            ModelFailed(call=CALL, reason="no-answer", falls=tuple(error), cost=Decimal("0.01")),
            fell("error"),
            opened(),
            granted(),
            opened(3, 10, probes=1),
            RetriesGranted(endpoint="first", by="p", calls=10, granted=2, left=0),
        ]
    )
    assert told_of.calls == 5
    assert told_of.distribution == {"first": 0.4, "second": 0.2, "rules": 0.2}
    assert told_of.primary_success_rate == 0.4
    assert (told_of.latency_ms(), told_of.latency_ms("first")) == (22.5, 20)
    assert told_of.confidence() == pytest.approx(0.8)
    assert told_of.cost == Decimal("0.015")
    assert told_of.falls == {("first", "error"): 1}
    assert (told_of.openings["first"], told_of.probes["first"], told_of.retries["first"]) == (1, 1, 2)
    assert told_of.as_json()["failed"] == {"no-answer": 1}


def test_of_no_calls_there_is_no_rate() -> None:
    assert statistics([]).primary_success_rate is None
    assert statistics([]).latency_ms() is None
