"""What steers the calls to one endpoint, in every process alike: its circuit, and its budget of retries. Pure.

Each is a stream of its own, of no tenant and no call. A process counts what it sees and brings what follows from it; the
first to ask for a change of a circuit is heard, the others find that it was heard before.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from contracts.gateway import CircuitClosed, CircuitOpened, ProbeGranted, RetriesGranted
from hansard.decider import Context
from hansard.envelope import TENANT
from hansard.message import Message
from services.gateway.config import Chain
from services.gateway.facts import EndpointFact, EndpointFailed, ProbeAsked, ProbeReturned, RetriesAsked
from shared.eventstore.model import Stream

Steering = CircuitOpened | CircuitClosed | ProbeGranted | RetriesGranted


@dataclass(frozen=True, slots=True)
class Circuit:
    """Closed where there is no `until`. Before `until` nobody calls; from then on whoever is granted the probe."""

    change: int = 0
    until: datetime | None = None
    probe: str = ""  # who has it
    opened: CircuitOpened | None = None  # the last

    def bars(self, at: datetime) -> bool:
        """Whether nobody but the probe may call."""
        return self.until is not None and at < self.until


@dataclass(frozen=True, slots=True)
class Budget:
    """`left`: retries for whoever asks next. `granted`: to each process, since the budget began."""

    left: float | None = None
    granted: dict[str, int] = field(default_factory=dict)


def circuit_stream(endpoint: str, at: datetime) -> Stream:
    """A stream a day, so that none grows without end: at midnight a circuit begins closed."""
    return Stream(TENANT, f"endpoint.{endpoint}", f"gateway/endpoint/{endpoint}/circuit/{at:%Y-%m-%d}")


def budget_stream(endpoint: str, at: datetime) -> Stream:
    """A stream an hour: a budget is an hour's."""
    return Stream(TENANT, f"endpoint.{endpoint}", f"gateway/endpoint/{endpoint}/retries/{at:%Y-%m-%dT%H}")


def steer(chain: Chain, state: object, message: EndpointFact, context: Context) -> Iterator[Message]:
    """Whatever is heard is answered: a change that was asked for in vain could never be asked for again."""
    circuit = state if isinstance(state, Circuit) else Circuit()
    change, failed = circuit.change + 1, circuit.opened
    match message:
        case EndpointFailed():
            yield opened(chain, message, change, 0, context.at)
        case ProbeAsked(endpoint=endpoint, by=by, until=until):
            if circuit.bars(context.at) and failed:  # asked for by a clock that is ahead
                yield failed.model_copy(update={"change": change, "until": circuit.until})
            else:
                yield ProbeGranted(endpoint=endpoint, change=change, by=by, until=until)
        case ProbeReturned(good=True, endpoint=endpoint, by=by):
            yield CircuitClosed(endpoint=endpoint, change=change, by=by)
        case ProbeReturned():
            yield opened(chain, message, change, failed.probes + 1 if failed else 1, context.at)
        case RetriesAsked(endpoint=endpoint, by=by, calls=calls):
            rule, budget = chain.retries, state if isinstance(state, Budget) else Budget()
            before = rule.reserve if budget.left is None else min(budget.left, rule.reserve)
            left = before + calls * rule.share
            granted = min(int(left), max(1, int(calls * rule.share)))
            yield RetriesGranted(endpoint=endpoint, by=by, calls=calls, granted=granted, left=round(left - granted, 6))
        case _:
            pass


def opened(chain: Chain, message: EndpointFailed | ProbeReturned, change: int, probes: int, at: datetime) -> CircuitOpened:
    rule = chain.circuits
    until = at + timedelta(seconds=min(rule.cooldown * 2 ** min(probes, 30), rule.longest))
    if message.not_before is not None:
        until = max(until, min(message.not_before, at + timedelta(seconds=rule.longest)))
    failures, of = (message.failures, message.of) if isinstance(message, EndpointFailed) else (1, 1)
    return CircuitOpened(
        endpoint=message.endpoint,
        change=change,
        until=until,
        failures=failures,
        of=of,
        probes=probes,
        reason=message.reason or "error",
        detail=message.detail,
    )


def steered(state: object, message: Steering) -> Circuit | Budget:
    """`evolve` of both kinds of stream."""
    circuit = state if isinstance(state, Circuit) else Circuit()
    match message:
        case CircuitOpened(change=change, until=until):
            return Circuit(change, until, "", message)
        case ProbeGranted(change=change, by=by, until=until):
            return replace(circuit, change=change, until=until, probe=by)
        case CircuitClosed(change=change):
            return Circuit(change)
        case RetriesGranted(by=by, granted=granted, left=left):
            had = state.granted if isinstance(state, Budget) else {}
            return Budget(left, had | {by: had.get(by, 0) + granted})
