"""A webhook is tried until it is taken, at growing intervals, under one id; and given up at last."""

from datetime import timedelta
from itertools import pairwise

import pytest

from contracts.notifier import (
    DeliverWebhook,
    DeliveryAccepted,
    DeliveryFailed,
    DeliveryMissed,
    DeliveryStarted,
    Missed,
    WebhookDelivered,
)
from hansard.decider import WakeUp
from hansard.identity import webhook_id
from hansard.testing import NOON, Given, given
from services.notifier.delivery import LOST_AFTER, Delivery, deliveries
from services.notifier.facts import DeliveryReturned, Taken
from tests.spec.notifier_kit import endpoints

TABLE = endpoints({"name": "chat", "timeout": 10}, retry={"first": 5, "longest": 3600, "hours": 24})
DECIDER = deliveries(TABLE)
ID = webhook_id("default", "wf-1", "pay.1/1/chat")
DELIVER = DeliverWebhook(delivery="pay.1/1/chat", endpoint="chat", type="approval.escalated", at=NOON, data={"about": "Refund"})
UNTIL = NOON + timedelta(hours=24)
STARTED = DeliveryStarted(
    attempt=1,
    safety="keyed",
    key=ID,
    deadline=NOON + timedelta(seconds=10),
    delivery="pay.1/1/chat",
    endpoint="chat",
    until=UNTIL,
    request=DELIVER,
)


def taken(attempt: int = 1) -> DeliveryReturned:
    return DeliveryReturned(attempt=attempt, delivery="pay.1/1/chat", taken=Taken(status=204, latency_ms=41.5))


def missed(attempt: int = 1, status: int = 503, after: timedelta | None = None) -> DeliveryReturned:
    return DeliveryReturned(
        attempt=attempt,
        delivery="pay.1/1/chat",
        missed=Missed(attempt=attempt, reason="status", status=status, detail="later"),
        retry_at=None if after is None else NOON + after,
    )


def wait(stored: Given[Delivery], returned: DeliveryReturned) -> float:
    """Seconds until the next attempt, after an attempt that returned at noon."""
    [message, *_] = stored.when(returned).messages
    assert isinstance(message, DeliveryMissed)
    return (message.resume_at - NOON).total_seconds()


def test_the_intent_is_stored_under_the_webhooks_id_before_it_is_sent() -> None:
    given(DECIDER).when(DELIVER).then(STARTED)


def test_without_a_free_slot_the_delivery_waits() -> None:
    accepted = given(DECIDER).when(DELIVER, may_perform=False)
    waiting = accepted.then(DeliveryAccepted(request=DELIVER, at=NOON, until=UNTIL))
    waiting.when(WakeUp()).then(STARTED.model_copy(update={"request": None}))


def test_what_was_taken_is_done() -> None:
    delivered = WebhookDelivered(delivery="pay.1/1/chat", endpoint="chat", attempt=1, status=204, latency_ms=41.5)
    decided = given(DECIDER, STARTED).when(taken())
    settled = decided.then(delivered)
    assert decided.wake_at is None
    settled.when(DELIVER).then()
    settled.when(taken()).then()


def test_a_delivery_is_accepted_once() -> None:
    given(DECIDER, STARTED).when(DELIVER).then()


def test_a_failed_attempt_is_repeated_under_the_same_id() -> None:
    waiting = given(DECIDER, STARTED).when(missed()).then(DeliveryMissed)
    [second] = waiting.when(WakeUp()).messages
    assert isinstance(second, DeliveryStarted)
    assert (second.attempt, second.key, second.until, second.request) == (2, ID, UNTIL, None)


def test_waits_grow_differ_between_deliveries_and_are_bounded() -> None:
    waits = [wait(given(DECIDER, STARTED.model_copy(update={"attempt": n})), missed(n)) for n in range(1, 15)]
    assert 2.5 <= waits[0] <= 5 and all(later > earlier / 2 for earlier, later in pairwise(waits)) and waits[9] > 1000
    assert max(waits) <= 3600 and wait(given(DECIDER, STARTED.model_copy(update={"attempt": 10**6})), missed(10**6)) <= 3600
    other = STARTED.model_copy(update={"key": webhook_id("default", "wf-2", "pay.1/1/chat")})
    assert wait(given(DECIDER, other), missed()) != waits[0]


@pytest.mark.parametrize(
    ("asked", "least", "most"),
    [(timedelta(minutes=3), 180, 180), (timedelta(seconds=0.1), 2.5, 5), (timedelta(hours=20), 72_000, 72_000)],
)
def test_an_endpoint_that_says_when_is_asked_then(asked: timedelta, least: float, most: float) -> None:
    assert least <= wait(given(DECIDER, STARTED), missed(status=429, after=asked)) <= most


def test_an_endpoint_that_is_gone_is_not_asked_again() -> None:
    decided = given(DECIDER, STARTED).when(missed(status=410))
    decided.then(DeliveryFailed)
    assert decided.wake_at is None


def test_after_a_day_it_is_given_up() -> None:
    before = DeliveryMissed(delivery="pay.1/1/chat", endpoint="chat", attempt=1, reason="timeout", resume_at=UNTIL)
    started = STARTED.model_copy(update={"attempt": 2, "request": None, "deadline": UNTIL})
    decided = given(DECIDER, STARTED, before, started).when(missed(2), at=timedelta(hours=24) - timedelta(seconds=1))
    decided.then(DeliveryMissed, DeliveryFailed)
    failed = decided.messages[1]
    assert isinstance(failed, DeliveryFailed) and (failed.because, failed.attempts) == ("given-up", 2)
    assert "503" in failed.detail and decided.wake_at is None


def test_it_is_tried_for_as_long_as_the_configuration_has_it_and_no_longer() -> None:
    stream, tried, at = given(DECIDER).when(DELIVER).then(DeliveryStarted), 1, NOON
    while True:
        decided = stream.when(missed(tried), at=at)
        if isinstance(decided.messages[-1], DeliveryFailed):
            break
        stream = decided.then(DeliveryMissed)
        assert decided.wake_at is not None
        at, tried = decided.wake_at, tried + 1
        stream = stream.when(WakeUp()).then(DeliveryStarted)
    assert 20 < tried < 60 and UNTIL - timedelta(hours=1) <= at < UNTIL


def test_a_lost_attempt_is_missed_and_repeated_later() -> None:
    decided = given(DECIDER, STARTED).when(WakeUp())
    waiting = decided.then(DeliveryMissed)
    assert decided.context.at == STARTED.deadline + LOST_AFTER
    waiting.when(WakeUp()).then(DeliveryStarted)


def test_the_outcome_of_an_attempt_that_was_given_up_changes_nothing() -> None:
    waiting = given(DECIDER, STARTED).when(WakeUp()).then(DeliveryMissed)
    waiting.when(taken()).then()
    waiting.when(WakeUp()).then(DeliveryStarted).when(taken(1)).then()


def test_what_cannot_be_read_from_the_content_store_is_not_tried_again() -> None:
    unreadable = DeliveryReturned(attempt=1, delivery="pay.1/1/chat", unreadable="no content has this hash")
    given(DECIDER, STARTED).when(unreadable).then(DeliveryFailed)


def test_an_endpoint_that_left_the_configuration_gets_nothing_more() -> None:
    waiting = given(deliveries(endpoints()), STARTED, DeliveryMissed(**NAMED, attempt=1, reason="busy", resume_at=NOON))
    decided = waiting.when(WakeUp(), at=timedelta(seconds=1))
    decided.then(DeliveryFailed)
    failed = decided.messages[0]
    assert isinstance(failed, DeliveryFailed) and failed.because == "unknown-endpoint"


NAMED = {"delivery": "pay.1/1/chat", "endpoint": "chat"}
