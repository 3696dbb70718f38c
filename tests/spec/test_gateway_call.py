"""A model call: its first attempt, what the attempts return, cancelling and rejecting."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from contracts.gateway import (
    AttemptFailed,
    CallCancelled,
    CancelCall,
    FallReason,
    ModelFailed,
    ModelReplied,
    RejectReply,
    ReplyDiscarded,
    ReplyRejected,
)
from hansard.decider import Context, WakeUp
from hansard.message import Message
from services.gateway import call
from services.gateway.call import Attempting, Call, Settled, call_decider
from services.gateway.facts import AttemptReturned
from tests.decisions import decided
from tests.spec.gateway_kit import (
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
    lost,
    replied,
    started,
    success,
    then,
    tiers,
)

both = call_decider(tiers(FIRST, SECOND))
alone = call_decider(tiers(FIRST))
first_fell = [begun(), then(fell("refused"), 1)]


# The first attempt


def test_if_a_slot_is_free_the_first_attempt_accepts_the_call_as_it_was_received() -> None:
    assert decided(both, [], asks(), at()) == [begun()]


def test_if_no_slot_is_free_the_call_is_accepted_as_it_was_received_and_waits_for_one() -> None:
    assert decided(both, [], asks(), full()) == [accepted()]
    assert both.wake_at(both.fold([accepted()])) == NOON
    assert decided(both, [accepted()], WakeUp(), at(1)) == [started(seconds=1)]


def test_a_call_that_waited_for_a_slot_goes_on_like_one_that_did_not() -> None:
    waited, at_once = both.fold([accepted(), started()]), both.fold([begun()])
    assert isinstance(at_once, Attempting)
    assert replace(at_once, intent=started()) == waited


def test_a_call_that_needs_no_model_is_answered_in_one_event_even_if_no_slot_is_free() -> None:
    decider = call_decider(tiers())
    (known,) = decided(decider, [], asks("What is your refund policy?"), full())
    assert isinstance(known, ModelReplied)
    assert (known.tier, known.text) == ("cache", "30 days.")
    assert decider.fold([known]) == Settled(stands=True)


def test_a_call_that_was_received_before_changes_nothing() -> None:
    for before in ([accepted()], [begun()], [accepted(), started()], [begun(), replied()]):
        assert decided(both, before, asks(), at()) == []


def test_the_first_tier_is_tried_first_and_the_intent_has_its_deadline() -> None:
    assert decided(both, [], asks(), at(1)) == [begun(seconds=1)]


def test_no_attempt_has_a_later_deadline_than_its_call() -> None:
    call = asks(deadline=NOON + timedelta(seconds=5))
    assert decided(both, [], call, at(1)) == [begun(call, seconds=1, until=5)]


def test_an_attempt_is_lost_some_time_after_its_deadline_whichever_process_holds_its_stream() -> None:
    resume_at = both.wake_at(both.fold([begun()]))
    assert resume_at is not None
    assert resume_at > begun().deadline


def test_a_call_for_a_class_of_model_starts_at_an_endpoint_of_that_class() -> None:
    capable = FIRST.model_copy(update={"classes": ("capable",)})
    fast = SECOND.model_copy(update={"classes": ("fast",)})
    decider = call_decider(tiers(capable, fast))
    assert decided(decider, [], asks(), at()) == [begun(endpoint=fast)]
    wanted = asks(model_class="capable")
    assert decided(decider, [], wanted, at()) == [begun(wanted, capable)]


def test_a_lesser_model_is_better_than_none() -> None:
    decider = call_decider(tiers(FIRST.model_copy(update={"classes": ("capable",)})))
    assert decided(decider, [], asks(model_class="fast"), at()) == [begun()]


def test_the_same_call_in_another_workflow_or_tenant_has_another_key() -> None:
    contexts = [Context(UUID(int=1), NOON, workflow, tenant) for workflow in ("w", "v") for tenant in ("t", "u")]
    keys = {message.key for c in contexts for message in decided(both, [], asks(), c)}  # type: ignore[attr-defined]
    assert len(keys) == 4
    assert all(CALL not in key for key in keys)


# Replies


def test_a_reply_counts_and_gets_the_policy_and_the_prior_of_its_tier() -> None:
    assert decided(both, [accepted(), started()], success(replied()), at(1)) == [replied(confidence=0.92, policy=both.policy)]


def test_the_models_own_confidence_takes_precedence_over_the_prior() -> None:
    stored = decided(both, [accepted(), started()], success(replied(confidence=0.3)), at(1))
    assert stored == [replied(confidence=0.3, policy=both.policy)]


def test_a_reply_of_the_second_tier_has_the_falls_of_the_first_and_the_cost_of_all_attempts() -> None:
    before = [
        accepted(),
        started(),
        fell("invalid-output", cost=Decimal("0.01")),
        started(2),
        fell("timeout", 2, estimated=True),
        started(3, SECOND),
    ]
    stored = decided(both, before, success(replied(3, SECOND)), at(1))
    falls = (fell("invalid-output").fall, fell("timeout", 2).fall)
    assert stored == [
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
    stored = decided(both, [accepted(), started()], success(replied()), at(61))
    assert stored == [replied(confidence=0.92, policy=both.policy)]


def test_after_the_reply_nothing_more_is_stored() -> None:
    done = [accepted(), started(), replied()]
    for message in (asks(), CancelCall(call=CALL), WakeUp(), success(replied()), failure(fell("error"))):
        assert decided(both, done, message, at(1)) == []
    assert both.wake_at(both.fold(done)) is None


def test_a_reply_below_the_minimum_confidence_is_a_fall_and_is_paid_for() -> None:
    call = asks(minimum_confidence=0.7)
    stored = decided(both, [accepted(call), started()], success(replied(confidence=0.5)), at(1))
    assert stored == [
        fell(
            "low-confidence", detail="0.5 where 0.7 was asked for", cost=Decimal("0.002"),
            input_tokens=10, output_tokens=3, resume_at=1,
        ).model_copy(update={"latency_ms": 7}),
        started(2, SECOND, 1),
    ]  # fmt: skip


def test_a_reply_of_the_minimum_confidence_counts() -> None:
    call = asks(minimum_confidence=0.7)
    stored = decided(both, [accepted(call), started()], success(replied(confidence=0.7)), at(1))
    assert stored == [replied(confidence=0.7, policy=both.policy)]


def test_an_unknown_confidence_causes_no_fall() -> None:
    call = asks(minimum_confidence=0.99)
    stored = decided(both, [accepted(call), started()], success(replied()), at(1))
    assert stored == [replied(confidence=0.92, policy=both.policy)]


# Outcomes that report the wrong thing, or nothing


def test_a_performer_cannot_report_the_failure_of_a_different_tier_or_attempt() -> None:
    wrong = fell("refused", 1, SECOND)
    failed, _ = decided(both, [begun()], failure(wrong), at(1))
    assert isinstance(failed, AttemptFailed)
    assert failed.fall.tier == "first"


def test_an_outcome_without_reply_or_failure_is_a_lost_attempt() -> None:
    failed, following = decided(both, [begun()], AttemptReturned(attempt=1, call=CALL), at(1))
    assert isinstance(failed, AttemptFailed)
    assert failed.fall.reason == "lost"
    assert following == started(2, seconds=1)


# In doubt


def test_an_attempt_whose_process_stopped_is_in_doubt_and_is_made_again_under_the_same_key() -> None:
    assert decided(both, [begun()], WakeUp(), at(15)) == [lost(resume_at=15), started(2, seconds=15)]


def test_an_attempt_that_must_not_be_repeated_ends_the_call_in_doubt() -> None:
    intent = started(safety="never-repeat")
    stored = decided(both, [accepted(), intent], WakeUp(), at(15))
    falls = (lost().fall,)
    assert stored == [
        lost(resume_at=15),
        ModelFailed(call=CALL, reason="in-doubt", falls=falls, detail="first: lost", cost=Decimal(0)),
    ]
    assert decided(both, [accepted(), intent, *stored], WakeUp(), at(15)) == []


@pytest.mark.parametrize("reason", ["timeout", "error"])
def test_an_attempt_that_must_not_be_repeated_is_in_doubt_after_an_error_too(reason: FallReason) -> None:
    intent = started(safety="never-repeat")
    stored = decided(both, [accepted(), intent], failure(fell(reason)), at(15))
    assert [type(message) for message in stored] == [AttemptFailed, ModelFailed]


def test_a_refused_attempt_is_not_in_doubt() -> None:
    intent = started(safety="never-repeat")
    assert decided(both, [accepted(), intent], failure(fell("refused")), at(1)) == [
        then(fell("refused"), 1),
        started(2, SECOND, 1),
    ]


def test_the_intent_declares_the_safety_of_its_endpoint() -> None:
    keyed = FIRST.model_copy(update={"safety": "keyed"})
    assert decided(call_decider(tiers(keyed)), [], asks(), at()) == [begun(safety="keyed")]


def test_a_lost_attempt_that_returns_never_wins_but_is_paid_for() -> None:
    paid = ReplyDiscarded(call=CALL, attempt=1, because="superseded", cost=Decimal("0.002"), input_tokens=10, output_tokens=3)
    while_the_next_is_out = [accepted(), started(), lost(), started(2)]
    assert decided(both, while_the_next_is_out, success(replied()), at(16)) == [paid]
    assert decided(both, [*while_the_next_is_out, paid], success(replied()), at(16)) == []
    before_the_next = [accepted(), started(), lost()]
    assert decided(both, before_the_next, success(replied()), at(16)) == [paid]
    assert decided(both, [*before_the_next, paid], success(replied()), at(16)) == []
    after_all = [*while_the_next_is_out, replied(2)]
    assert decided(both, after_all, success(replied()), at(16)) == [paid]
    assert decided(both, [*after_all, paid], success(replied()), at(16)) == []


def test_the_next_attempt_still_counts_after_the_lost_one_returned() -> None:
    paid = ReplyDiscarded(call=CALL, attempt=1, because="superseded", cost=Decimal(0))
    (reply,) = decided(both, [accepted(), started(), lost(), started(2), paid], success(replied(2)), at(16))
    assert isinstance(reply, ModelReplied)


def test_a_failed_attempt_that_returns_again_changes_nothing() -> None:
    assert decided(both, first_fell, failure(fell("refused")), at(1)) == []
    assert decided(both, [*first_fell, started(2, SECOND)], success(replied()), at(1)) == []


def test_the_outcome_of_an_attempt_that_was_never_started_changes_nothing() -> None:
    for before in ([], [accepted()], [begun()]):
        assert decided(both, before, success(replied(9)), at(1)) == []


# Cancelling


def test_a_cancelled_call_is_never_made() -> None:
    cancelled = CallCancelled(call=CALL)
    assert decided(both, [accepted()], CancelCall(call=CALL), at()) == [cancelled]
    assert decided(both, [accepted(), cancelled], WakeUp(), at()) == []
    assert both.wake_at(both.fold([accepted(), cancelled])) is None


def test_a_cancel_that_overtakes_its_call_is_remembered() -> None:
    cancelled = CallCancelled(call=CALL)
    assert decided(both, [], CancelCall(call=CALL), at()) == [cancelled]
    assert decided(both, [cancelled], asks(), at()) == []
    assert decided(both, [cancelled], WakeUp(), at()) == []


def test_a_second_cancel_changes_nothing() -> None:
    assert decided(both, [accepted(), CallCancelled(call=CALL)], CancelCall(call=CALL), at()) == []


def test_a_reply_after_the_cancel_is_not_used_but_paid_for() -> None:
    cancelled = CallCancelled(call=CALL)
    assert decided(both, [accepted(), started()], CancelCall(call=CALL), at()) == [cancelled]
    late = decided(both, [accepted(), started(), cancelled], success(replied()), at(1))
    paid = ReplyDiscarded(call=CALL, attempt=1, because="cancelled", cost=Decimal("0.002"), input_tokens=10, output_tokens=3)
    assert late == [paid]
    assert decided(both, [accepted(), started(), cancelled, paid], success(replied()), at(1)) == []


def test_a_failure_after_the_cancel_is_paid_for_too() -> None:
    before = [accepted(), started(), CallCancelled(call=CALL)]
    failed = fell("invalid-output", cost=Decimal("0.5"))
    assert decided(both, before, failure(failed), at(1)) == [
        ReplyDiscarded(call=CALL, attempt=1, because="cancelled", cost=Decimal("0.5"))
    ]


# Replies that did not hold

reject = RejectReply(call=CALL, reasons=("It is a refusal.",))
rejected = ReplyRejected(call=CALL, reasons=("It is a refusal.",))


def test_a_reply_that_did_not_hold_is_rejected_once_with_the_reasons() -> None:
    replied_to = [accepted(), started(), replied()]
    assert decided(both, replied_to, reject, at(2)) == [rejected]
    assert decided(both, [*replied_to, rejected], reject, at(3)) == []


def test_a_reply_without_an_attempt_can_be_rejected_too() -> None:
    stored = decided(call_decider(tiers()), [], asks(), at())
    assert decided(call_decider(tiers()), stored, reject, at(2)) == [rejected]


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
def test_without_a_reply_there_is_nothing_to_reject(before: list[Message]) -> None:
    assert decided(both, before, reject, at()) == []


def test_a_rejection_changes_nothing_else() -> None:
    late = [accepted(), started(), lost(), started(2), replied(2), rejected]
    (paid,) = decided(both, late, success(replied()), at(16))
    assert isinstance(paid, ReplyDiscarded)
    assert decided(both, [*late, paid], success(replied()), at(16)) == []
    assert both.wake_at(both.fold(late)) is None
    assert decided(both, late, asks(), at(16)) == []


def test_a_reply_can_still_be_rejected_after_a_late_attempt_returned() -> None:
    stored: list[Message] = [accepted(), started(), lost(), started(2), replied(2)]
    stored += decided(both, stored, success(replied()), at(16))
    assert decided(both, stored, reject, at(17)) == [rejected]
    assert decided(both, [*stored, rejected], reject, at(18)) == []


# The states


def test_the_module_describes_every_change_of_state() -> None:
    states: list[Call] = [both.fold(stored) for stored in ([], [accepted()], [begun()])]
    events: list[Message] = [
        accepted(), begun(), fell("error"), replied(), ModelFailed(call=CALL, reason="no-answer"), CallCancelled(call=CALL),
        ReplyDiscarded(call=CALL, attempt=1, because="superseded", cost=Decimal(0)), rejected,
    ]  # fmt: skip
    lines = []
    for state in states:
        changes: dict[str, list[str]] = {}
        for event in events:
            after = both.evolve(state, event)
            if type(after) is not type(state):
                changes.setdefault(type(after).__name__, []).append(type(event).__name__)
        arrows = " · ".join(f"{', '.join(kinds)} → {after}" for after, kinds in changes.items())
        lines.append(f"    {type(state).__name__:<10}  {arrows}\n")
    assert "".join(lines) in str(call.__doc__)
    assert all(isinstance(both.evolve(Settled(stands=True), event), Settled) for event in events)
