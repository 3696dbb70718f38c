"""The cache: an index of where good answers stand in the event store. Losing the index loses no recorded answer."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from contracts.gateway import AttemptStarted, ModelReplied, ReplyRejected
from hansard.service import PerformerContext
from services.gateway.answer_reuse import cache_key, found_again, may_be_reused
from services.gateway.call import Attempting
from services.gateway.config import Chain
from services.gateway.facts import AttemptReturned
from services.gateway.local_tiers import miss
from services.gateway.performer.outcomes import not_sent
from shared.eventstore.model import StoreUnavailable, Stream
from shared.eventstore.ports import AnswerIndex
from shared.tasks import end
from shared.telemetry.logs import log

FLUSH_EVERY = 0.5  # seconds


class GatewayContext(PerformerContext, Protocol):
    """What the gateway's performer may use: the index of answers, too."""

    @property
    def answers(self) -> AnswerIndex: ...


@dataclass
class AnswerCache:
    chain: Chain
    answers: AnswerIndex
    now: Callable[[], datetime]
    new: list[tuple[bytes, Stream]] = field(default_factory=list)  # not yet in the index

    def learn(self, state: Attempting, returned: AttemptReturned, stream: Stream) -> None:
        reply = returned.reply
        if reply is None:
            return
        confidence = self.chain.prior(reply.tier) if reply.confidence is None else reply.confidence
        if may_be_reused(self.chain, reply, confidence):
            self.new.append((cache_key(stream.tenant, state.before.call), stream))

    async def find(self, state: Attempting, intent: AttemptStarted, stream: Stream) -> AttemptReturned:
        """The outcome of a search of the index: the last answer that stands, or that there is none."""
        call, began = state.before.call, time.perf_counter()
        try:
            async with asyncio.timeout((intent.deadline - self.now()).total_seconds()):
                key = cache_key(stream.tenant, call)
                message = await self.answers.find_answer(stream.tenant, key, ModelReplied.kind, ReplyRejected.kind)
        except (TimeoutError, StoreUnavailable):
            return not_sent(intent, "miss", "the cache did not answer in time")
        reply = found_again(message, call) if message else None
        if reply is None:
            return not_sent(intent, "miss", miss("cache").detail)
        reply = reply.model_copy(update={"attempt": intent.attempt, "latency_ms": round((time.perf_counter() - began) * 1000, 3)})
        return AttemptReturned(attempt=intent.attempt, call=intent.call, reply=reply)

    @asynccontextmanager
    async def flushing(self) -> AsyncIterator[None]:
        """Writes what is new to the index every `FLUSH_EVERY`, and at the end."""
        task = asyncio.create_task(self._keep_flushing())
        try:
            yield
        finally:
            await end([task])
            await self._flush()

    async def _keep_flushing(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_EVERY)
            await self._flush()

    async def _flush(self) -> None:
        new, self.new = self.new, []
        if new:
            try:
                await self.answers.index_answers(new, self.chain.learning.hours * 3600)
            except StoreUnavailable as error:
                log.debug("answers were not added to the cache's index", answers=len(new), error=str(error))
