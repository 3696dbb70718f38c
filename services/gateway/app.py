"""The gateway, put together."""

import os
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from contracts.gateway import AttemptStarted, CallModel, CancelCall, RejectReply
from hansard.message import Message
from hansard.policy import StoredPolicy
from hansard.service import Perform, Performer, Service
from services.gateway.call import Attempting
from services.gateway.config import MODEL_KEY, Chain, chain
from services.gateway.decider import State, gateway
from services.gateway.facts import AttemptReturned, EndpointFailed, ProbeAsked, ProbeReturned, RetriesAsked
from services.gateway.performer.answer_cache import GatewayContext
from shared.masking import mask
from shared.settings import Settings


def build(settings: Settings) -> Service[State]:
    """Raises ValueError or OSError if the file of the tiers cannot be read."""
    tiers = chain(settings)

    def open_performer(context: GatewayContext) -> AbstractAsyncContextManager[Perform[Attempting, AttemptStarted]]:
        from services.gateway import performer  # the SDK takes most of a second to import: only a process that calls needs it

        largest = settings.max_message_bytes // 3  # a reply holds text, data and falls
        return performer.open_performer(tiers, keys(tiers, settings), context, largest, settings.stream_tokens)

    return Service(
        name="gateway",
        decider=gateway(tiers),
        receives={
            CallModel: lambda m: m.call,
            CancelCall: lambda m: m.call,
            RejectReply: lambda m: m.call,
            AttemptReturned: lambda m: m.call,
            **dict.fromkeys((EndpointFailed, ProbeAsked, ProbeReturned, RetriesAsked), lambda _: None),  # of its performer only
        },
        performer=Performer(intent=AttemptStarted, open=open_performer, limit=tiers.concurrency),
        stored_policy=StoredPolicy(tiers.data, lambda policy, data: gateway(Chain.of_then(policy, data))),
        observe=count,
    )


def count(messages: Sequence[Message]) -> None:
    from services.gateway.metrics import count_replies  # prometheus_client takes a while to import: only a process needs it

    count_replies(messages)


def keys(tiers: Chain, settings: Settings) -> dict[str, str]:
    """API keys by name of the endpoint; one that is not set is left out."""
    own = {MODEL_KEY: settings.model_key.get_secret_value()}
    found = {e.name: own.get(e.key_env) or os.environ.get(e.key_env, "") for e in tiers.endpoints if e.key_env}
    mask(*found.values())
    return {name: key for name, key in found.items() if key}
