"""Serves the HTTP door in each process of the service. It makes no attempts: nothing asks it for any."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol

from hansard.envelope import Envelope, headers
from hansard.identity import Stream, stream_name
from hansard.message import Intent, Outcome
from hansard.service import Perform, PerformerContext
from services.edge.facts import ReviewGiven
from services.edge.performer.http import Door, app_of
from shared.eventstore.api_keys import ApiKeyStore
from shared.http_server import serving
from shared.identity.provider import ProviderKeys
from shared.identity.tokens import TokenVerifier
from shared.kafka.direct import DirectProducer
from shared.settings import Settings
from shared.telemetry.logs import log


class EdgeContext(PerformerContext, Protocol):
    """What the door may use: the keys of programs, too."""

    @property
    def api_keys(self) -> ApiKeyStore: ...


@asynccontextmanager
async def open_performer(settings: Settings, context: EdgeContext) -> AsyncIterator[Perform[None, Intent]]:
    producer = DirectProducer(settings)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(producer.close)
        if settings.edge:
            port = await stack.enter_async_context(serving(app_of(door(settings, context, producer)), settings.edge))
            log.info("the HTTP door is open", address=settings.edge, port=port, reviews=bool(settings.oidc_issuer))
        yield _nothing


def door(settings: Settings, context: EdgeContext, producer: DirectProducer) -> Door:
    async def record(tenant: str, workflow: str, given: ReviewGiven, name: str) -> None:
        await context.record(Stream(tenant, workflow, stream_name("edge", given.review.action_id)), given, name)

    async def publish(envelope: Envelope) -> None:
        key = envelope.correlation_id.encode()
        await (await producer.send("requests", key, envelope.data, headers(envelope)))

    return Door(verifier_of(settings), context.api_keys, context.now, record, publish, settings.max_request_bytes)


def verifier_of(settings: Settings) -> TokenVerifier | None:
    """None where the deployment has no OpenID provider."""
    if not settings.oidc_issuer:
        return None
    keys = ProviderKeys(settings.oidc_issuer, settings.oidc_keys)
    return TokenVerifier(keys, settings.oidc_audience, settings.oidc_algorithms)


async def _nothing(state: None, intent: Intent, stream: Stream, /) -> Outcome:
    raise AssertionError("the HTTP door has no attempts")
