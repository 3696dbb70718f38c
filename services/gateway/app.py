"""The gateway, put together."""

import os
from contextlib import AbstractAsyncContextManager
from typing import Any

from contracts.gateway import AttemptStarted, CallModel, CancelCall, RejectReply
from services.gateway.config import MODEL_KEY, Chain, chain
from services.gateway.decider import Call, gateway
from services.gateway.facts import AttemptReturned, EndpointFailed, ProbeAsked, ProbeReturned, RetriesAsked
from shared.policy import Basis
from shared.service import Performer, PerformerContext, Service
from shared.settings import Settings


def build(settings: Settings) -> Service[Call]:
    """Raises ValueError or OSError where the tiers' file cannot be read."""
    tiers = chain(settings)

    def open_endpoints(context: PerformerContext) -> AbstractAsyncContextManager[Any]:
        from services.gateway.performer import performer  # the SDK loads for most of a second: only where calls are made

        largest = settings.max_message_bytes // 3  # text, data and falls
        return performer(tiers, keys(tiers, settings), context, largest, settings.stream_tokens)

    return Service(
        name="gateway",
        decider=gateway(tiers),
        receives={
            CallModel: lambda m: m.call,
            CancelCall: lambda m: m.call,
            RejectReply: lambda m: m.call,
            AttemptReturned: lambda m: m.call,
            **dict.fromkeys((EndpointFailed, ProbeAsked, ProbeReturned, RetriesAsked), lambda _: None),  # from within
        },
        performer=Performer(intent=AttemptStarted, open=open_endpoints, limit=tiers.concurrency),
        basis=Basis(tiers.data, lambda policy, data: gateway(Chain.of_then(policy, data))),
    )


def keys(tiers: Chain, settings: Settings) -> dict[str, str]:
    """API keys by name of the endpoint; one that is not set is left out."""
    own = {MODEL_KEY: settings.model_key.get_secret_value()}
    found = {e.name: own.get(e.key_env) or os.environ.get(e.key_env, "") for e in tiers.endpoints if e.key_env}
    return {name: key for name, key in found.items() if key}
