"""Makes the gateway's attempts:

1. `endpoint_guard`: do the circuit and the retry budget allow it?
2. `openai_client`: the request and its answer; `token_stream` publishes the text meanwhile.
3. `endpoint_guard`: what does the outcome show about the endpoint?
4. `answer_cache`: may the answer be used again?

The request is made of the whole texts of a call: `prompts` reads those that the call carries by reference.

An intent of the tier `cache` is for `answer_cache` alone.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from contracts.gateway import AttemptStarted
from hansard.service import Perform
from services.gateway.call import Attempting
from services.gateway.config import Chain
from services.gateway.facts import AttemptReturned
from services.gateway.performer.answer_cache import AnswerCache, GatewayContext
from services.gateway.performer.endpoint_guard import EndpointGuard, NotAllowed
from services.gateway.performer.openai_client import open_clients
from services.gateway.performer.outcomes import NO_SLOT, Progress, failed, not_sent
from services.gateway.performer.prompts import with_whole_call
from services.gateway.performer.token_stream import TokenStream
from shared.eventstore.model import StoreUnavailable, Stream
from shared.telemetry.logs import log


@asynccontextmanager
async def open_performer(
    chain: Chain, keys: Mapping[str, str], context: GatewayContext, largest: int, stream_tokens: bool = False
) -> AsyncIterator[Perform[Attempting, AttemptStarted]]:
    """`keys`: API keys by name of the endpoint; `largest`: bytes of an answer at most."""
    guards = {endpoint.name: EndpointGuard(chain, endpoint, context) for endpoint in chain.endpoints}
    cache = AnswerCache(chain, context.answers, context.now)

    async def perform(state: Attempting, intent: AttemptStarted, stream: Stream) -> AttemptReturned:
        progress = Progress()
        try:
            return await attempt(state, intent, stream)
        except Exception as error:  # an attempt without an outcome is made again when its lease ends, and its cost is lost
            log.exception("an attempt failed in the gateway itself", stream=str(stream), attempt=intent.attempt)
            return failed(intent, progress, "error", f"in the gateway itself: {type(error).__name__}", estimated=True)

    async def attempt(state: Attempting, intent: AttemptStarted, stream: Stream) -> AttemptReturned:
        if intent.tier == "cache":
            return await cache.find(state, intent, stream)
        try:
            whole = await with_whole_call(context, stream, state)
        except StoreUnavailable as away:
            return failed(intent, Progress(), "error", f"the content store is unavailable: {away}")
        except (LookupError, ValueError) as missing:
            return failed(intent, Progress(), "content-missing", str(missing))
        guard = guards.get(intent.endpoint)
        if guard is None:
            return await make_attempt(whole, intent)
        attempt_id = f"{stream}#{intent.attempt}"
        try:
            async with asyncio.timeout((intent.deadline - context.now()).total_seconds()):
                is_probe = await guard.admit(state, intent, attempt_id)
        except NotAllowed as refused:
            return not_sent(intent, refused.reason, refused.detail, refused.until)
        except TimeoutError:
            return not_sent(intent, "timeout", NO_SLOT)
        tokens = TokenStream(context, stream, intent) if stream_tokens else None
        before_sending = None if is_probe else guard.check_again
        on_text = tokens.add if tokens else None
        returned = guard.with_circuit(await make_attempt(whole, intent, before_sending, on_text, guard.circuit.refused))
        try:
            if tokens is not None:
                tokens.flush()
            await guard.observe(returned, attempt_id if is_probe else "")
            cache.learn(state, returned, stream)
        except Exception:  # what an attempt brought counts, whatever becomes of what else is done with it
            log.exception("an outcome was not taken into account", stream=str(stream), attempt=intent.attempt)
        return returned

    async with open_clients(chain, keys, context.now, largest) as make_attempt, cache.flushing():
        try:
            yield perform
        finally:
            for guard in guards.values():
                await guard.close()
