"""Posts the webhooks of deliveries."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from contracts.notifier import DeliveryStarted, Missed, MissedBecause
from hansard.service import Perform, PerformerContext
from services.notifier.delivery import Attempting
from services.notifier.facts import DeliveryReturned, Taken
from shared.eventstore.model import StoreUnavailable, Stream
from shared.telemetry.logs import log
from shared.webhooks.endpoints import Endpoints
from shared.webhooks.sender import Reply, open_sender
from shared.webhooks.signing import payload


@asynccontextmanager
async def open_performer(endpoints: Endpoints, context: PerformerContext) -> AsyncIterator[Perform[Attempting, DeliveryStarted]]:
    """Raises ValueError or OSError where the secret of an endpoint is missing or is none."""
    async with open_sender(endpoints) as sender:

        async def perform(state: Attempting, intent: DeliveryStarted, stream: Stream) -> DeliveryReturned:
            returned = partial(DeliveryReturned, attempt=intent.attempt, delivery=intent.delivery)
            try:
                reply = await attempt(state, intent, stream)
            except StoreUnavailable as away:
                return returned(missed=_internal(intent, f"the content store is unavailable: {away}"))
            except LookupError as missing:
                return returned(unreadable=f"what is to be sent is not there: {missing}")
            except Exception as error:
                log.exception("an attempt failed in the notifier itself", stream=str(stream), attempt=intent.attempt)
                return returned(missed=_internal(intent, f"in the notifier itself: {type(error).__name__}"))
            if reason := _missed_because(reply):
                missed = Missed(attempt=intent.attempt, reason=reason, status=reply.status, detail=reply.detail)
                return returned(missed=missed, retry_at=reply.retry_at)
            return returned(taken=Taken(status=reply.status, latency_ms=reply.latency_ms))

        async def attempt(state: Attempting, intent: DeliveryStarted, stream: Stream) -> Reply:
            request = await context.whole(stream, state.request)
            body = payload(request.type, request.at, request.data)
            now = context.now()
            seconds = (intent.deadline - now).total_seconds()
            if seconds <= 0:
                return Reply(problem="timeout", detail="the attempt began too late: nothing was sent")
            return await sender.send(intent.endpoint, intent.key, body, now=now, seconds=seconds)

        yield perform


def _missed_because(reply: Reply) -> MissedBecause | None:
    if reply.problem:
        return reply.problem
    if 200 <= reply.status < 300:
        return None
    return "redirect" if 300 <= reply.status < 400 else "status"


def _internal(intent: DeliveryStarted, detail: str) -> Missed:
    return Missed(attempt=intent.attempt, reason="internal", detail=detail)
