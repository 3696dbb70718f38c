"""The circuit of one endpoint, for all processes together: one stream an endpoint and day. Pure.

    closed   EndpointFailed → CircuitOpened: no process calls until the cooldown is over
    open     ProbeAsked → ProbeGranted: one call is the probe, until its deadline; before the cooldown is over, none is
    probing  ProbeReturned → CircuitClosed if it is good; otherwise CircuitOpened, for twice as long

Each process counts failures in memory and asks for the next change of the circuit by its number. The first to ask gets it; the
others learn that the change has been made.

The stream also knows the fields of requests that the endpoint does not take, for each model, so that one refusal is enough for
all processes: FieldRefusalFound → FieldRefused, which changes nothing of the circuit.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from contracts.gateway import CircuitClosed, CircuitOpened, FieldRefused, ProbeGranted
from hansard.decider import Context, Decider
from hansard.envelope import TENANT
from hansard.message import Message
from services.gateway.config import Chain, Circuits
from services.gateway.facts import EndpointFailed, FieldRefusalFound, ProbeAsked, ProbeReturned
from shared.eventstore.model import Stream


@dataclass(frozen=True, slots=True)
class Circuit:
    """Closed where `until` is None. Before `until` no process calls the endpoint; after it only the probe does."""

    change: int = 0
    until: datetime | None = None
    probe: str = ""  # the call that is the probe, and its attempt
    opened: CircuitOpened | None = None  # the last one
    refused: frozenset[tuple[str, str]] = frozenset()  # model and field

    def bars(self, at: datetime) -> bool:
        """Whether no call but the probe may be made."""
        return self.until is not None and at < self.until


def circuit_stream(endpoint: str, at: datetime) -> Stream:
    """A stream a day, so that none grows without end. At midnight a circuit starts closed."""
    return Stream(TENANT, f"endpoint.{endpoint}", f"gateway/endpoint/{endpoint}/circuit/{at:%Y-%m-%d}")


def circuit_decider(chain: Chain) -> Decider[Circuit]:
    """Stores a message for every change that is asked for, because a request without a reply could not be repeated under the same
    number."""

    def decide(circuit: Circuit, message: Message, context: Context) -> Iterable[Message]:
        return _decide(chain.circuits, circuit, message, context)

    return Decider(Circuit(), decide, evolve, policy=chain.policy)


def _decide(rule: Circuits, circuit: Circuit, message: Message, context: Context) -> Iterator[Message]:
    change, opened = circuit.change + 1, circuit.opened
    match message:
        case EndpointFailed(failures=failures, of=of, endpoint=endpoint) if not trips(rule, failures, of):
            yield CircuitClosed(endpoint=endpoint, change=change, by="")  # by this policy they open nothing
        case EndpointFailed(failures=failures, of=of):
            yield _open(rule, message, context.at, change=change, failures=failures, of=of)
        case ProbeAsked() if circuit.bars(context.at) and opened:  # the clock of the process that asked is ahead
            yield opened.model_copy(update={"change": change, "until": circuit.until})
        case ProbeAsked(endpoint=endpoint, by=by, until=until):
            yield ProbeGranted(endpoint=endpoint, change=change, by=by, until=until)
        case ProbeReturned(good=True, endpoint=endpoint, by=by):
            yield CircuitClosed(endpoint=endpoint, change=change, by=by)
        case ProbeReturned():
            yield _open(rule, message, context.at, change=change, probes=opened.probes + 1 if opened else 1)
        case FieldRefusalFound(endpoint=endpoint, model=model, field=field) if (model, field) not in circuit.refused:
            yield FieldRefused(endpoint=endpoint, model=model, field=field, detail=message.detail)
        case _:
            pass


def evolve(circuit: Circuit, message: Message) -> Circuit:
    match message:
        case CircuitOpened(change=change, until=until):
            return Circuit(change, until, "", message, circuit.refused)
        case ProbeGranted(change=change, by=by, until=until):
            return replace(circuit, change=change, until=until, probe=by)
        case CircuitClosed(change=change):
            return Circuit(change, refused=circuit.refused)
        case FieldRefused(model=model, field=field):
            return replace(circuit, refused=circuit.refused | {(model, field)})
        case _:
            return circuit


def _open(
    rule: Circuits,
    message: EndpointFailed | ProbeReturned,
    at: datetime,
    *,
    change: int,
    failures: int = 1,
    of: int = 1,
    probes: int = 0,
) -> CircuitOpened:
    until = at + timedelta(seconds=min(rule.cooldown * 2 ** min(probes, 30), rule.longest))
    if message.not_before is not None:
        until = max(until, min(message.not_before, at + timedelta(seconds=rule.longest)))
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


def trips(rule: Circuits, failures: int, of: int) -> bool:
    """Whether so many failures among so many calls of one process open the circuit."""
    return failures >= rule.failures and failures >= rule.share * of
