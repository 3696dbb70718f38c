"""What the gateway performs: attempts that circuit and budget allow, and what was learned looked up."""

import asyncio
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from contracts.gateway import AttemptFailed, AttemptStarted, Fall, FallReason, ModelReplied, ReplyRejected, TokensStreamed
from services.gateway.chain import missed
from services.gateway.config import Chain, Circuits, Endpoint
from services.gateway.decider import Flying
from services.gateway.effects import NO_SLOT, endpoints
from services.gateway.facts import AttemptReturned, EndpointFact, EndpointFailed, ProbeAsked, ProbeReturned, RetriesAsked
from services.gateway.learning import key, used_again, worth_learning
from services.gateway.steering import Budget, Circuit, budget_stream, circuit_stream
from services.gateway.wire import Unusable
from shared.eventstore.model import StoreUnavailable, Stream
from shared.service import PerformerContext
from shared.telemetry.logs import log

LOOK = 1.0  # seconds after which a circuit is looked at again, beside the path: other processes change it too
SPENT = 1.0  # seconds between two requests for retries where the reserve is spent
NOTED = 0.5  # seconds between two notes of what was learned
PIECE = 0.25  # seconds between two pieces of a streamed answer
FAILURES: tuple[FallReason, ...] = ("error", "rate-limit", "timeout")
RETRIED: tuple[FallReason, ...] = ("error", "rate-limit")  # a repair asks something else; what was lost was our own doing


class Held(Exception):
    """The attempt must not leave the house."""

    def __init__(self, reason: FallReason, detail: str, until: datetime | None = None) -> None:
        super().__init__(detail)
        self.reason: FallReason = reason
        self.detail = detail
        self.until = until


@asynccontextmanager
async def performer(
    chain: Chain, keys: Mapping[str, str], context: PerformerContext, largest: int, stream_tokens: bool = False
) -> AsyncIterator[Callable[[Flying, AttemptStarted, Stream], Coroutine[None, None, AttemptReturned]]]:
    """Opens all that is performed with; yields what performs."""
    keepers = {endpoint.name: Keeper(chain, endpoint, context) for endpoint in chain.endpoints}
    memory = Memory(chain, context)

    async def perform(state: Flying, intent: AttemptStarted, stream: Stream) -> AttemptReturned:
        keeper = keepers.get(intent.endpoint)
        if intent.tier == "cache":
            return await memory.load(state, intent, stream)
        if keeper is None:
            return await ask(state, intent)
        who = f"{stream}#{intent.attempt}"
        try:
            async with asyncio.timeout((intent.deadline - context.now()).total_seconds()):
                probe = await keeper.leave(state, intent, who)
        except Held as held:
            return not_made(intent, held.reason, held.detail, held.until)
        except TimeoutError:
            return not_made(intent, "timeout", NO_SLOT)
        pieces = Whisper(context, stream, intent) if stream_tokens else None
        returned = await ask(state, intent, None if probe else keeper.gate, pieces.add if pieces else None)
        if pieces is not None:
            pieces.end()
        returned = keeper.explained(returned)
        await keeper.back(returned, who if probe else "")
        memory.learn(state, returned, stream)
        return returned

    async with endpoints(chain, keys, context.now, largest) as ask, memory.noting():
        try:
            yield perform
        finally:
            for keeper in keepers.values():
                await keeper.end()


def not_made(intent: AttemptStarted, reason: FallReason, detail: str, until: datetime | None = None) -> AttemptReturned:
    fall = Fall(tier=intent.tier, provider=intent.provider, model=intent.model, reason=reason, detail=detail)
    failure = AttemptFailed(call=intent.call, fall=fall, latency_ms=0, circuit_open_until=until)
    return AttemptReturned(attempt=intent.attempt, call=intent.call, failure=failure)


@dataclass
class Keeper:
    """Keeps one endpoint for this process. What it counts is its own; what follows from that is on the record."""

    chain: Chain
    endpoint: Endpoint
    context: PerformerContext
    me: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    circuit: Circuit = field(default_factory=Circuit)
    recent: "deque[tuple[float, bool]]" = field(default_factory=deque)  # when, and whether it failed
    calls: int = 0  # first attempts that the budget does not know of
    had: int = 0  # retries granted to this process in this hour, and
    used: int = 0  # of these, made
    _day: Stream | None = None
    _hour: Stream | None = None
    _looked: float = -LOOK
    _spent_until: float = 0.0
    _asks: int = 0
    _first: asyncio.Lock = field(default_factory=asyncio.Lock)
    _budgeting: asyncio.Lock = field(default_factory=asyncio.Lock)
    _changing: bool = False
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    async def leave(self, state: Flying, intent: AttemptStarted, who: str) -> bool:
        """Returns when the attempt may leave the house: whether it is a probe. Raises Held where it may not."""
        await self._know()
        probe = False
        if self.circuit.until is not None:
            probe = await self._probe(intent, who)
        last = next((r.fall.reason for r in reversed(state.since.receipts) if r.fall.tier == intent.tier), None)
        if last not in RETRIED:
            self.calls += 1
        elif not probe and not await self._may_retry():
            rule = self.chain.retries
            share = f"{rule.share:.0%} of the calls of this hour and {rule.reserve} are spent"
            raise Held("retry-budget", f"the retries at {intent.endpoint}, {share}")
        return probe

    def gate(self) -> None:
        """Raises Unusable where the circuit has opened while the attempt waited for a slot."""
        if self.circuit.until is not None:
            raise Unusable("circuit-open", self._why())

    def explained(self, returned: AttemptReturned) -> AttemptReturned:
        failure = returned.failure
        if failure is None or failure.fall.reason != "circuit-open":
            return returned
        return returned.model_copy(update={"failure": failure.model_copy(update={"circuit_open_until": self.circuit.until})})

    async def back(self, returned: AttemptReturned, probe: str) -> None:
        """Takes note of what came back. A probe's end is on the record before its outcome."""
        failed, failure = self._failed(returned), returned.failure
        if probe and probe == self.circuit.probe:
            reason, detail = (failure.fall.reason, failure.fall.detail) if failure else (None, "")
            await self._change(
                ProbeReturned(
                    attempt=self.circuit.change + 1,
                    endpoint=self.endpoint.name,
                    by=probe,
                    good=failed is False,
                    reason=reason,
                    detail=detail,
                    not_before=failure.retry_at if failure and reason == "rate-limit" else None,
                )
            )
        elif failed is not None and self.circuit.until is None:
            self.recent.append((time.monotonic(), failed))
            rule = self.chain.circuits
            while len(self.recent) > rule.window or self.recent[0][0] < time.monotonic() - rule.seconds:
                self.recent.popleft()
                if not self.recent:
                    return
            failures = sum(bad for _, bad in self.recent)
            if failed and failure and trips(rule, failures, len(self.recent)) and not self._changing:
                fact = EndpointFailed(
                    attempt=self.circuit.change + 1,
                    endpoint=self.endpoint.name,
                    failures=failures,
                    of=len(self.recent),
                    reason=failure.fall.reason,
                    detail=failure.fall.detail,
                    not_before=failure.retry_at if failure.fall.reason == "rate-limit" else None,
                )
                self._changing = True
                self._beside(self._change(fact))

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _failed(self, returned: AttemptReturned) -> bool | None:
        """Whether the endpoint failed; None where this says nothing of it."""
        failure = returned.failure
        if failure is None:
            return False
        if failure.fall.reason in ("circuit-open", "no-endpoint") or failure.fall.detail == NO_SLOT:
            return None
        if failure.fall.reason == "timeout":
            enough = min(self.endpoint.timeout, self.chain.circuits.slow)
            return True if failure.latency_ms >= enough * 900 else None
        return failure.fall.reason in FAILURES

    async def _know(self) -> None:
        """The circuit as it was at most a second ago; at the first call, as it is now."""
        stream = circuit_stream(self.endpoint.name, self.context.now())
        if stream != self._day:
            async with self._first:
                if stream != self._day:
                    self.circuit = _circuit(await self._looked_up(stream))
                    self._day = stream
        elif time.monotonic() - self._looked > LOOK:
            self._looked = time.monotonic()
            self._beside(self._look(stream))

    async def _look(self, stream: Stream) -> None:
        self._learn(_circuit(await self._looked_up(stream)))

    async def _looked_up(self, stream: Stream) -> Any:
        self._looked = time.monotonic()
        try:
            return (await self.context.load([stream]))[0]
        except StoreUnavailable as away:
            log.debug("a circuit was not looked at", endpoint=self.endpoint.name, trouble=str(away))
            return self.circuit

    def _learn(self, circuit: Circuit) -> None:
        if circuit.change > self.circuit.change:
            self.circuit = circuit
            self.recent.clear()

    async def _change(self, fact: EndpointFact) -> None:
        """Asks for the next change of the circuit; whoever was first is heard, and what came of it is known here then."""
        assert self._day is not None
        self._changing = True
        try:
            self._learn(_circuit(await self.context.record(self._day, fact, f"change/{fact.attempt}")))
        except StoreUnavailable as away:
            log.debug("a circuit was not looked at", endpoint=self.endpoint.name, trouble=str(away))
        finally:
            self._changing = False

    async def _probe(self, intent: AttemptStarted, who: str) -> bool:
        """Raises Held, unless the circuit has closed (False) or this attempt is granted its probe (True)."""
        if not self.circuit.bars(self.context.now()) and not self._changing:
            change = self.circuit.change + 1
            await self._change(ProbeAsked(attempt=change, endpoint=self.endpoint.name, by=who, until=intent.deadline))
            if self.circuit.probe == who:
                return True
        if self.circuit.until is None:
            return False
        raise Held("circuit-open", self._why(), self.circuit.until)

    def _why(self) -> str:
        opened, until = self.circuit.opened, self.circuit.until
        if self.circuit.probe:
            return f"the circuit is open, and one call is its probe until {until:%H:%M:%S} UTC"
        what = f"{opened.failures} of {opened.of} calls failed ({opened.reason})" if opened else "calls failed"
        return f"the circuit is open until {until:%H:%M:%S} UTC: {what}"

    async def _may_retry(self) -> bool:
        """Whether the budget has a retry for this process; one from the record where it has none left of its own."""
        async with self._budgeting:
            stream = budget_stream(self.endpoint.name, self.context.now())
            if stream != self._hour:
                self._hour, self.had, self.used, self._spent_until = stream, 0, 0, 0.0
            if self.used >= self.had and time.monotonic() >= self._spent_until:
                self._asks += 1
                calls, self.calls = self.calls, 0
                fact = RetriesAsked(attempt=self._asks, endpoint=self.endpoint.name, by=self.me, calls=calls)
                try:
                    budget = await self.context.record(stream, fact, f"{self.me}/{self._asks}")
                except StoreUnavailable:
                    return False
                if isinstance(budget, Budget):
                    self.had = budget.granted.get(self.me, 0)
                    if budget.left is None or budget.left < 1:
                        self._spent_until = time.monotonic() + SPENT
            if self.used >= self.had:
                return False
            self.used += 1
            return True

    def _beside(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def trips(rule: Circuits, failures: int, of: int) -> bool:
    return failures >= rule.failures and failures >= rule.share * of


def _circuit(state: Any) -> Circuit:
    return state if isinstance(state, Circuit) else Circuit()


@dataclass
class Memory:
    """The cache: an index beside the record of where good answers stand in it. Losing it loses no truth."""

    chain: Chain
    context: PerformerContext
    new: list[tuple[bytes, Stream]] = field(default_factory=list)

    def learn(self, state: Flying, returned: AttemptReturned, stream: Stream) -> None:
        reply = returned.reply
        if reply is None:
            return
        sure = self.chain.prior(reply.tier) if reply.confidence is None else reply.confidence
        if worth_learning(self.chain, reply, sure):
            self.new.append((key(stream.tenant, state.since.call), stream))

    async def load(self, state: Flying, intent: AttemptStarted, stream: Stream) -> AttemptReturned:
        """The answer that was learned, as a receipt; or that there is none, or none that is young, good enough and stands."""
        call, began = state.since.call, time.perf_counter()
        try:
            async with asyncio.timeout((intent.deadline - self.context.now()).total_seconds()):
                learned = key(stream.tenant, call)
                message = await self.context.remembered(stream.tenant, learned, ModelReplied.kind, ReplyRejected.kind)
        except (TimeoutError, StoreUnavailable):
            return not_made(intent, "miss", "the cache did not answer in time")
        reply = used_again(self.chain, message, call) if message else None
        if message is None or message.at is None or reply is None:
            return not_made(intent, "miss", missed("cache").detail)
        if (self.context.now() - message.at).total_seconds() > self.chain.learning.hours * 3600:
            return not_made(intent, "miss", f"what was learned is of {message.at:%Y-%m-%d %H:%M} UTC, and too old")
        reply = reply.model_copy(update={"attempt": intent.attempt, "latency_ms": round((time.perf_counter() - began) * 1000, 3)})
        return AttemptReturned(attempt=intent.attempt, call=intent.call, reply=reply)

    async def note(self) -> None:
        new, self.new = self.new, []
        if new:
            try:
                await self.context.remember(new, self.chain.learning.hours * 3600)
            except StoreUnavailable as away:
                log.debug("what was learned is not noted", answers=len(new), trouble=str(away))

    @asynccontextmanager
    async def noting(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._keep_noting())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self.note()

    async def _keep_noting(self) -> None:
        while True:
            await asyncio.sleep(NOTED)
            await self.note()


@dataclass
class Whisper:
    """The text of one attempt for whoever watches: a piece at most every so often."""

    context: PerformerContext
    stream: Stream
    intent: AttemptStarted
    pieces: int = 0
    text: str = ""
    last: float = 0.0

    def add(self, text: str) -> None:
        self.text += text
        if time.monotonic() - self.last >= PIECE:
            self.end()

    def end(self) -> None:
        """What is left of it."""
        if not self.text:
            return
        self.last, self.pieces = time.monotonic(), self.pieces + 1
        intent, text, self.text = self.intent, self.text, ""
        piece = TokensStreamed(call=intent.call, attempt=intent.attempt, tier=intent.tier, piece=self.pieces, text=text)
        self.context.publish_ephemeral(self.stream, piece, uuid.uuid4())
