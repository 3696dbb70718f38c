"""Whole deliveries in memory, over HTTP on this machine: refused at first and taken at last, given up, cut off in between."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from contracts.notifier import DeliverWebhook, DeliveryFailed, DeliveryMissed, DeliveryStarted, WebhookDelivered
from hansard.message import Message
from hansard.service import Performer, PerformerContext, Service
from hansard.testing import NOON, InMemory
from services.notifier import app
from services.notifier.decider import notifier
from services.notifier.performer import open_performer
from shared.settings import Settings
from shared.webhooks.endpoints import Endpoints
from tests.spec.notifier_kit import ASSESSED, PROPOSED, endpoints
from tests.webhook_receiver import SECRET, SILENT, TAKEN, Receiver, Request, answer

DAY = timedelta(days=1)


class Whole:
    """A performer's context whose messages are all whole."""

    def __init__(self, context: PerformerContext, now: Callable[[], datetime]) -> None:
        self.context, self.now = context, now

    async def whole(self, _: object, value: Any) -> Any:
        return value


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", SECRET)


def service(table: Endpoints) -> Service[Any]:
    made = app.build(Settings())
    performer = Performer[Any, Any](
        DeliveryStarted,
        lambda context: open_performer(table, Whole(context, context.now)),  # type: ignore[arg-type]
    )
    return replace(made, decider=notifier(table), performer=performer, stored_policy=None)


async def deliver(there: InMemory, until: timedelta = DAY) -> list[Message]:
    """A notification, and what comes of its webhooks until then."""
    there.send(PROPOSED)
    ordered = [message for message in there.send(ASSESSED) if isinstance(message, DeliverWebhook)]
    stored = [message for one in ordered for message in there.send(one)]
    end = there.now + until
    while True:
        stored += await there.perform()
        due = [at for stream in list(there._streams) if (at := there.wake_at(stream)) is not None and at <= end]
        if not due:
            return stored
        stored += there.advance(to=min(due))


def endings(stored: list[Message]) -> list[Message]:
    return [one for one in stored if isinstance(one, WebhookDelivered | DeliveryFailed)]


async def test_after_500_comes_200_under_the_same_id_and_the_same_bytes() -> None:
    def faltering(_: Request, before: int) -> bytes:
        return answer(500, b"not now") if before < 3 else TAKEN

    async with Receiver(faltering) as receiver:
        stored = await deliver(InMemory(service(endpoints({"name": "chat", "url": receiver.url}))))
    [end] = endings(stored)
    assert isinstance(end, WebhookDelivered) and (end.attempt, end.status) == (4, 204)
    missed = [one for one in stored if isinstance(one, DeliveryMissed)]
    assert [(one.status, one.detail) for one in missed] == [(500, "not now")] * 3
    assert len(receiver.received) == 4 and len({(one.id, one.body) for one in receiver.received}) == 1


async def test_a_payload_shows_what_must_be_decided_and_nothing_more() -> None:
    async with Receiver() as receiver:
        table = endpoints({"name": "chat", "url": receiver.url})
        await deliver(InMemory(service(table), at=datetime.now(NOON.tzinfo)))
    [request] = receiver.received
    payload: Any = request.verified()
    assert payload["type"] == "approval.decision-needed"
    shown = payload["data"]
    assert (shown["workflow"], shown["action_id"], shown["about"]) == ("wf-1", "pay.1", "Refund the outage")
    assert (shown["amount"], shown["queue"], shown["role"]) == ("2500", "reviewers", "reviewer")
    assert shown["sha256"] == ASSESSED.sha256 and shown["deadline"] == "2026-01-02T12:00:00Z"
    assert shown["reasons"] == ["high risk: refund"]
    assert b"invoice" not in request.body and b"Ada" not in request.body


async def test_an_endpoint_that_asks_for_arguments_has_them() -> None:
    async with Receiver() as receiver:
        table = endpoints({"name": "chat", "url": receiver.url, "arguments": True})
        await deliver(InMemory(service(table), at=datetime.now(NOON.tzinfo)))
    payload: Any = receiver.received[0].verified()
    assert payload["data"]["arguments"]["invoice"] == "R-17"


async def test_an_endpoint_that_is_gone_is_asked_once() -> None:
    async with Receiver(lambda *_: answer(410)) as receiver:
        [end] = endings(await deliver(InMemory(service(endpoints({"name": "chat", "url": receiver.url})))))
    assert isinstance(end, DeliveryFailed) and end.because == "gone" and len(receiver.received) == 1


async def test_a_delivery_that_is_never_taken_is_given_up_after_the_configured_hours() -> None:
    async with Receiver(lambda *_: answer(302, location="/elsewhere")) as receiver:
        table = endpoints({"name": "chat", "url": receiver.url}, retry={"first": 60, "hours": 2})
        there = InMemory(service(table))
        stored = await deliver(there)
    [end] = endings(stored)
    assert isinstance(end, DeliveryFailed) and end.because == "given-up" and end.attempts == len(receiver.received) > 5
    assert {one.reason for one in stored if isinstance(one, DeliveryMissed)} == {"redirect"}
    assert there.now <= NOON + timedelta(hours=2)
    assert {one.path for one in receiver.received} == {"/hook"}


async def test_an_endpoint_that_says_when_is_not_asked_before() -> None:
    def limited(_: Request, before: int) -> bytes:
        return answer(429, retry_after="3600") if before == 0 else TAKEN

    async with Receiver(limited) as receiver:
        there = InMemory(service(endpoints({"name": "chat", "url": receiver.url})))
        [end] = endings(await deliver(there))
    assert isinstance(end, WebhookDelivered) and there.now == NOON + timedelta(hours=1)


async def test_of_two_endpoints_each_has_its_own_fate() -> None:
    async with Receiver(lambda *_: SILENT) as silent, Receiver() as there:
        table = endpoints({"name": "silent", "url": silent.url, "timeout": 0.1}, {"name": "there", "url": there.url})
        ends = endings(await deliver(InMemory(service(table)), until=timedelta(minutes=1)))
    assert [(type(end), end.endpoint) for end in ends] == [(WebhookDelivered, "there")]  # type: ignore[attr-defined]
    assert len(silent.received) > 2 and len({one.id for one in silent.received}) == 1 == len(there.received)
