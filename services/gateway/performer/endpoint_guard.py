"""Whether an attempt may be made at an endpoint: its circuit and its retry budget, as this process knows them.

A process counts its own calls in memory. What follows from them is recorded in the streams of the endpoint, which all processes
share: see `services.gateway.circuit` and `services.gateway.retry_budget`.
"""

import asyncio
import time
import uuid
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from datetime import datetime

from contracts.gateway import AttemptFailed, AttemptStarted, FallReason
from hansard.service import PerformerContext
from services.gateway.call import Attempting
from services.gateway.circuit import Circuit, circuit_stream, trips
from services.gateway.config import Chain, Endpoint
from services.gateway.facts import (
    AttemptReturned,
    EndpointFact,
    EndpointFailed,
    FieldRefusalFound,
    ProbeAsked,
    ProbeReturned,
    RefusedField,
    RetriesAsked,
)
from services.gateway.openai_wire.answer import NoUsableAnswer
from services.gateway.performer.outcomes import NO_SLOT
from services.gateway.retry_budget import RetryBudget, retry_budget_stream
from shared.eventstore.model import StoreUnavailable, Stream
from shared.tasks import end
from shared.telemetry.logs import log

RELOAD_AFTER = 1.0  # seconds; other processes change a circuit too
NO_RETRIES_FOR = 1.0  # seconds before the budget is asked again, once it is spent
FAILURES: tuple[FallReason, ...] = ("error", "rate-limit", "timeout")
# Not "invalid-output", whose repair is a different request, nor "lost", which is not the endpoint's fault.
RETRIED: tuple[FallReason, ...] = ("error", "rate-limit")


class NotAllowed(Exception):
    """The attempt must not be made."""

    def __init__(self, reason: FallReason, detail: str, until: datetime | None = None) -> None:
        super().__init__(detail)
        self.reason: FallReason = reason
        self.detail = detail
        self.until = until


@dataclass
class EndpointGuard:
    chain: Chain
    endpoint: Endpoint
    context: PerformerContext
    circuit: Circuit = field(default_factory=Circuit)
    recent: "deque[tuple[float, bool]]" = field(default_factory=deque)  # the last calls: when, and whether it failed
    _retries: "Retries" = field(init=False)
    _stream: Stream | None = None  # of the circuit, today
    _loaded: float = -RELOAD_AFTER
    _loading: asyncio.Lock = field(default_factory=asyncio.Lock)
    _changing: bool = False
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._retries = Retries(self.endpoint.name, self.context)

    async def admit(self, state: Attempting, intent: AttemptStarted, attempt_id: str) -> bool:
        """Whether the attempt is the circuit's probe. Raises NotAllowed if the attempt must not be made."""
        await self._refresh()
        is_probe = False
        if self.circuit.until is not None:
            is_probe = await self._ask_for_probe(intent, attempt_id)
        last = next((f.fall.reason for f in reversed(state.before.failures) if f.fall.tier == intent.tier), None)
        if last not in RETRIED:
            self._retries.calls += 1
        elif not is_probe and not await self._retries.take():
            rule = self.chain.retries
            share = f"{rule.share:.0%} of the calls of this hour and {rule.reserve} are spent"
            raise NotAllowed("retry-budget", f"the retries at {intent.endpoint}, {share}")
        return is_probe

    def check_again(self) -> None:
        """Raises NoUsableAnswer if the circuit has opened while the attempt waited for a slot."""
        if self.circuit.until is not None:
            raise NoUsableAnswer("circuit-open", self._why_open())

    def with_circuit(self, returned: AttemptReturned) -> AttemptReturned:
        """The outcome and, if the open circuit prevented the attempt, until when the circuit is open."""
        failure = returned.failure
        if failure is None or failure.fall.reason != "circuit-open":
            return returned
        return returned.model_copy(update={"failure": failure.model_copy(update={"circuit_open_until": self.circuit.until})})

    async def observe(self, returned: AttemptReturned, probe: str) -> None:
        """Takes an outcome into account. The end of a probe, and that a field is refused, is on the record before the outcome."""
        for found in returned.refused:
            await self._learn(found)
        failed, failure = self._endpoint_failed(returned), returned.failure
        if probe and probe == self.circuit.probe:
            await self._change(
                ProbeReturned(
                    attempt=self.circuit.change + 1,
                    endpoint=self.endpoint.name,
                    by=probe,
                    good=failed is False,
                    reason=failure.fall.reason if failure else None,
                    detail=failure.fall.detail if failure else "",
                    not_before=_not_before(failure),
                )
            )
        elif failed is not None and self.circuit.until is None:
            self._count(failed)
            failures, of = sum(bad for _, bad in self.recent), len(self.recent)
            if failed and failure and trips(self.chain.circuits, failures, of) and not self._changing:
                fact = EndpointFailed(
                    attempt=self.circuit.change + 1,
                    endpoint=self.endpoint.name,
                    failures=failures,
                    of=of,
                    reason=failure.fall.reason,
                    detail=failure.fall.detail,
                    not_before=_not_before(failure),
                )
                self._changing = True
                self._in_background(self._change(fact))

    async def close(self) -> None:
        await end(self._tasks)

    def _count(self, failed: bool) -> None:
        rule = self.chain.circuits
        self.recent.append((time.monotonic(), failed))
        while self.recent and (len(self.recent) > rule.window or self.recent[0][0] < time.monotonic() - rule.seconds):
            self.recent.popleft()

    def _endpoint_failed(self, returned: AttemptReturned) -> bool | None:
        """None if the outcome shows nothing about the endpoint."""
        failure = returned.failure
        if failure is None:
            return False
        if failure.fall.reason in ("circuit-open", "no-endpoint") or failure.fall.detail == NO_SLOT:
            return None
        if failure.fall.reason == "timeout":
            enough = min(self.endpoint.timeout, self.chain.circuits.slow)
            return True if failure.latency_ms >= enough * 900 else None
        return failure.fall.reason in FAILURES

    async def _refresh(self) -> None:
        """Loads the circuit at the first call of a day; later in the background, so that it is about a second old at most."""
        stream = circuit_stream(self.endpoint.name, self.context.now())
        if stream != self._stream:
            async with self._loading:
                if stream != self._stream:
                    self.circuit = await self._load(stream)
                    self._stream = stream
        elif time.monotonic() - self._loaded > RELOAD_AFTER:
            self._loaded = time.monotonic()
            self._in_background(self._reload(stream))

    async def _reload(self, stream: Stream) -> None:
        self._adopt(await self._load(stream))

    async def _load(self, stream: Stream) -> Circuit:
        self._loaded = time.monotonic()
        try:
            return _circuit((await self.context.load([stream]))[0])
        except StoreUnavailable as error:
            log.debug("a circuit was not loaded", endpoint=self.endpoint.name, error=str(error))
            return self.circuit

    def _adopt(self, circuit: Circuit) -> None:
        if circuit.change > self.circuit.change:
            self.circuit = circuit
            self.recent.clear()
        elif circuit.refused > self.circuit.refused:
            self.circuit = replace(self.circuit, refused=circuit.refused)

    async def _learn(self, found: RefusedField) -> None:
        """Records that the endpoint does not take a field, for all processes; the first to record it is enough."""
        if self._stream is None or (found.model, found.field) in self.circuit.refused:
            return
        fact = FieldRefusalFound(
            attempt=1, endpoint=self.endpoint.name, model=found.model, field=found.field, detail=found.detail
        )
        try:
            self._adopt(_circuit(await self.context.record(self._stream, fact, f"refused/{found.model}/{found.field}")))
        except StoreUnavailable as error:
            log.debug("a refused field was not recorded", endpoint=self.endpoint.name, error=str(error))

    async def _change(self, fact: EndpointFact) -> None:
        """Asks for the next change of the circuit and adopts the result, whichever process was first to ask."""
        assert self._stream is not None
        self._changing = True
        try:
            self._adopt(_circuit(await self.context.record(self._stream, fact, f"change/{fact.attempt}")))
        except StoreUnavailable as error:
            log.debug("a circuit was not changed", endpoint=self.endpoint.name, error=str(error))
        finally:
            self._changing = False

    async def _ask_for_probe(self, intent: AttemptStarted, attempt_id: str) -> bool:
        """Whether this attempt is the probe; False if the circuit has closed. Otherwise raises NotAllowed."""
        if not self.circuit.bars(self.context.now()) and not self._changing:
            change = self.circuit.change + 1
            await self._change(ProbeAsked(attempt=change, endpoint=self.endpoint.name, by=attempt_id, until=intent.deadline))
            if self.circuit.probe == attempt_id:
                return True
        if self.circuit.until is None:
            return False
        raise NotAllowed("circuit-open", self._why_open(), self.circuit.until)

    def _why_open(self) -> str:
        opened, until = self.circuit.opened, self.circuit.until
        if self.circuit.probe:
            return f"the circuit is open, and one call is its probe until {until:%H:%M:%S} UTC"
        what = f"{opened.failures} of {opened.of} calls failed ({opened.reason})" if opened else "calls failed"
        return f"the circuit is open until {until:%H:%M:%S} UTC: {what}"

    def _in_background(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


@dataclass
class Retries:
    """The retries at one endpoint that the budget granted to this process in this hour."""

    endpoint: str
    context: PerformerContext
    process: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    calls: int = 0  # first attempts that the budget does not know of yet
    granted: int = 0
    used: int = 0
    _stream: Stream | None = None  # of the budget, in this hour
    _spent_until: float = 0.0
    _requests: int = 0
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def take(self) -> bool:
        """Takes one retry; asks the budget for more if none is left. False if the budget grants none."""
        async with self._asking:
            stream = retry_budget_stream(self.endpoint, self.context.now())
            if stream != self._stream:
                self._stream, self.granted, self.used, self._spent_until = stream, 0, 0, 0.0
            if self.used >= self.granted and time.monotonic() >= self._spent_until and not await self._ask(stream):
                return False
            if self.used >= self.granted:
                return False
            self.used += 1
            return True

    async def _ask(self, stream: Stream) -> bool:
        """False if the store is not available."""
        self._requests += 1
        calls, self.calls = self.calls, 0
        fact = RetriesAsked(attempt=self._requests, endpoint=self.endpoint, by=self.process, calls=calls)
        try:
            budget = await self.context.record(stream, fact, f"{self.process}/{self._requests}")
        except StoreUnavailable:
            return False
        if isinstance(budget, RetryBudget):
            self.granted = budget.granted.get(self.process, 0)
            if budget.left is None or budget.left < 1:
                self._spent_until = time.monotonic() + NO_RETRIES_FOR
        return True


def _circuit(state: object) -> Circuit:
    return state if isinstance(state, Circuit) else Circuit()


def _not_before(failure: AttemptFailed | None) -> datetime | None:
    """When the provider wants to be called again, if it limits the rate."""
    return failure.retry_at if failure and failure.fall.reason == "rate-limit" else None
