"""One webhook to one endpoint: attempt after attempt, with growing waits, until it is taken or given up. One stream each. Pure.

    NoDelivery   DeliveryStarted → Attempting · DeliveryAccepted → Waiting · DeliveryFailed → Settled
    Attempting   WebhookDelivered, DeliveryFailed → Settled · DeliveryMissed → Waiting
    Waiting      DeliveryStarted → Attempting · DeliveryFailed → Settled

The first attempt accepts the delivery if a slot is free (`Context.may_perform`). If none is free, `DeliveryAccepted` does.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import assert_never

from contracts.notifier import (
    DeliverWebhook,
    DeliveryAccepted,
    DeliveryFailed,
    DeliveryMissed,
    DeliveryStarted,
    Missed,
    WebhookDelivered,
)
from hansard.decider import Context, Decider, WakeUp
from hansard.identity import webhook_id
from hansard.message import Message
from services.notifier.facts import DeliveryReturned, Taken
from shared.webhooks.endpoints import Endpoints

LOST_AFTER = timedelta(seconds=15)  # after its deadline an attempt is lost, even if a process still holds its stream
LONGEST_RETRY_AFTER = timedelta(days=1)
GONE = 410


@dataclass(frozen=True, slots=True)
class NoDelivery: ...


@dataclass(frozen=True, slots=True)
class Waiting:
    request: DeliverWebhook
    until: datetime  # it is given up then
    resume_at: datetime
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Attempting:
    intent: DeliveryStarted
    request: DeliverWebhook


@dataclass(frozen=True, slots=True)
class Settled: ...


Delivery = NoDelivery | Waiting | Attempting | Settled


def deliveries(endpoints: Endpoints) -> Decider[Delivery]:
    def decide(state: Delivery, message: Message, context: Context) -> Iterable[Message]:
        match state, message:
            case NoDelivery(), DeliverWebhook():
                yield _begin(endpoints, message, context)
            case Waiting(), WakeUp() if context.at >= state.resume_at:
                yield _next(endpoints, state, context)
            case Attempting(intent, request), DeliveryReturned(attempt=attempt) if attempt == intent.attempt:
                yield from _after(endpoints, intent, request, message, context)
            case Attempting(intent, request), WakeUp():
                lost = Missed(attempt=intent.attempt, reason="lost", detail="whoever made this attempt fell silent")
                yield from _missed(endpoints, intent, lost, None, context.at)
            case ((NoDelivery() | Waiting() | Attempting() | Settled()), _):
                pass
            case _:
                assert_never(state)

    return Decider(NoDelivery(), decide, evolve, wake_at, policy=endpoints.policy)


def _begin(endpoints: Endpoints, request: DeliverWebhook, context: Context) -> Message:
    """The first attempt, which accepts the delivery; or that it waits for a slot."""
    until = endpoints.retry.until(context.at)
    first = _next(endpoints, Waiting(request, until, context.at), context)
    if not isinstance(first, DeliveryStarted):
        return first
    if not context.may_perform:
        return DeliveryAccepted(request=request, at=context.at, until=until)
    return first.model_copy(update={"request": request})


def _next(endpoints: Endpoints, state: Waiting, context: Context) -> DeliveryStarted | DeliveryFailed:
    request = state.request
    endpoint = endpoints.by_name.get(request.endpoint)
    if endpoint is None:
        why = f"no endpoint is called {request.endpoint} (any more)"
        return _failed(request.delivery, request.endpoint, "unknown-endpoint", state.attempts, why)
    return DeliveryStarted(
        attempt=state.attempts + 1,
        safety="keyed",
        key=webhook_id(context.tenant, context.workflow, request.delivery),
        deadline=context.at + timedelta(seconds=endpoint.timeout),
        delivery=request.delivery,
        endpoint=request.endpoint,
        until=state.until,
    )


def _after(
    endpoints: Endpoints, intent: DeliveryStarted, request: DeliverWebhook, returned: DeliveryReturned, context: Context
) -> Iterator[Message]:
    match returned:
        case DeliveryReturned(taken=Taken(status=status, latency_ms=latency)):
            named = {"delivery": intent.delivery, "endpoint": intent.endpoint}
            yield WebhookDelivered(**named, attempt=intent.attempt, status=status, latency_ms=latency)
        case DeliveryReturned(unreadable=why) if why:
            yield _failed(intent.delivery, request.endpoint, "content-missing", intent.attempt, why)
        case DeliveryReturned(missed=Missed(reason="status", status=status)) if status == GONE:
            yield _failed(intent.delivery, request.endpoint, "gone", intent.attempt, "the endpoint answered 410: it is gone")
        case DeliveryReturned(missed=missed, retry_at=retry_at):
            missed = missed or Missed(attempt=intent.attempt, reason="internal", detail="the attempt brought nothing")
            yield from _missed(endpoints, intent, missed, retry_at, context.at)


def _missed(
    endpoints: Endpoints, intent: DeliveryStarted, missed: Missed, retry_at: datetime | None, at: datetime
) -> Iterator[Message]:
    """The attempt that delivered nothing, and that it is given up where its time is over."""
    resume = at + endpoints.retry.wait(intent.key, intent.attempt)
    if retry_at is not None:
        resume = max(resume, min(retry_at, at + LONGEST_RETRY_AFTER))
    fields = missed.model_dump() | {"attempt": intent.attempt}
    yield DeliveryMissed.model_validate(fields | {"delivery": intent.delivery, "endpoint": intent.endpoint, "resume_at": resume})
    if resume >= intent.until:
        why = f"the last of {intent.attempt} attempts: {missed.reason} {missed.status or ''} {missed.detail}".rstrip()
        yield _failed(intent.delivery, intent.endpoint, "given-up", intent.attempt, why)


def _failed(delivery: str, endpoint: str, because: str, attempts: int, detail: str) -> DeliveryFailed:
    given = {"delivery": delivery, "endpoint": endpoint, "because": because, "attempts": attempts, "detail": detail}
    return DeliveryFailed.model_validate(given)


def evolve(state: Delivery, message: Message) -> Delivery:
    match state, message:
        case NoDelivery(), DeliveryAccepted(request=request, at=at, until=until):
            return Waiting(request, until, at)
        case NoDelivery(), DeliveryStarted(request=DeliverWebhook() as request):
            return Attempting(message, request)
        case Waiting(request), DeliveryStarted():
            return Attempting(message, request)
        case Attempting(intent, request), DeliveryMissed(resume_at=at):
            return Waiting(request, intent.until, at, intent.attempt)
        case _, WebhookDelivered() | DeliveryFailed():
            return Settled()
        case _:
            return state


def wake_at(state: Delivery) -> datetime | None:
    """While an attempt is out: when it is lost, in case no process reports its outcome."""
    match state:
        case Waiting(resume_at=at):
            return at
        case Attempting(intent):
            return intent.deadline + LOST_AFTER
        case _:
            return None
