"""The circuit of an endpoint."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from contracts.gateway import CircuitClosed, CircuitOpened, FieldRefused, ProbeGranted
from hansard.message import Message
from services.gateway.circuit import Circuit, circuit_decider, circuit_stream, trips
from services.gateway.facts import EndpointFailed, FieldRefusalFound, ProbeAsked, ProbeReturned
from services.gateway.retry_budget import retry_budget_stream
from tests.decisions import decided
from tests.spec.gateway_kit import FIRST, NOON, at, tiers

decider = circuit_decider(tiers(FIRST, circuits={"cooldown": 5, "longest": 60}))


def time(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def failing(change: int = 1, **more: Any) -> EndpointFailed:
    given = {"attempt": change, "endpoint": "first", "failures": 5, "of": 8, "reason": "error", "detail": "500"}
    return EndpointFailed.model_validate(given | more)


def opened(change: int = 1, until: float = 5, probes: int = 0, **more: Any) -> CircuitOpened:
    given = {"failures": 5, "of": 8, "reason": "error", "detail": "500"} | more
    return CircuitOpened.model_validate({"endpoint": "first", "change": change, "until": time(until), "probes": probes} | given)


def asks_for_probe(change: int = 2, by: str = "a#1") -> ProbeAsked:
    return ProbeAsked(attempt=change, endpoint="first", by=by, until=time(30))


def granted(change: int = 2, by: str = "a#1") -> ProbeGranted:
    return ProbeGranted(endpoint="first", change=change, by=by, until=time(30))


def probed(change: int = 3, *, good: bool, **more: Any) -> ProbeReturned:
    return ProbeReturned.model_validate({"attempt": change, "endpoint": "first", "by": "a#1", "good": good} | more)


def test_a_circuit_opens_for_the_cooldown_and_has_the_reason() -> None:
    assert decided(decider, [], failing(), at()) == [opened()]


def test_an_open_circuit_bars_every_call_until_that_time_and_no_longer() -> None:
    circuit = decider.fold([opened()])
    assert isinstance(circuit, Circuit)
    assert (circuit.bars(time(4.9)), circuit.bars(time(5))) == (True, False)


def test_the_call_that_asked_is_the_probe_and_no_other_call_is_made_while_it_is_out() -> None:
    assert decided(decider, [opened()], asks_for_probe(), at(5)) == [granted()]
    circuit = decider.fold([opened(), granted()])
    assert isinstance(circuit, Circuit)
    assert (circuit.probe, circuit.bars(time(29)), circuit.bars(time(30))) == ("a#1", True, False)


def test_a_probe_asked_for_too_early_is_not_granted_and_the_circuit_can_still_be_changed() -> None:
    assert decided(decider, [opened()], asks_for_probe(), at(1)) == [opened(change=2)]


def test_a_good_probe_closes_the_circuit() -> None:
    assert decided(decider, [opened(), granted()], probed(good=True), at(6)) == [
        CircuitClosed(endpoint="first", change=3, by="a#1")
    ]
    assert decider.fold([opened(), granted(), CircuitClosed(endpoint="first", change=3, by="a#1")]) == Circuit(3)


def test_each_failed_probe_doubles_the_wait_up_to_the_longest() -> None:
    stored: list[Message] = [opened()]
    waits = []
    for probe in range(5):
        stored.append(granted(change=len(stored) + 1))
        (again,) = decided(decider, stored, probed(len(stored) + 1, good=False, reason="error", detail="500"), at(100))
        assert isinstance(again, CircuitOpened)
        assert again.probes == probe + 1
        waits.append((again.until - time(100)).total_seconds())
        stored.append(again)
    assert waits == [10, 20, 40, 60, 60]


def test_a_circuit_stays_open_as_long_as_the_provider_asks_up_to_the_longest_wait() -> None:
    events = [decided(decider, [], failing(reason="rate-limit", not_before=time(s)), at())[0] for s in (1, 30, 9000)]
    assert [(event.until - NOON).total_seconds() for event in events if isinstance(event, CircuitOpened)] == [5, 30, 60]


def test_after_closing_a_circuit_opens_for_the_first_cooldown_again() -> None:
    before = [opened(), granted(), opened(3, 10, 1), granted(4), CircuitClosed(endpoint="first", change=5, by="a#1")]
    assert decided(decider, before, failing(6), at()) == [opened(6)]


@pytest.mark.parametrize(
    ("failures", "of", "trip"), [(5, 5, True), (4, 4, False), (5, 10, True), (5, 11, False), (10, 20, True), (9, 20, False)]
)
def test_a_circuit_opens_only_at_both_the_number_and_the_share_of_failures(failures: int, of: int, trip: bool) -> None:
    assert trips(tiers(FIRST).circuits, failures, of) == trip


def test_no_stream_of_an_endpoint_grows_for_ever() -> None:
    assert circuit_stream("first", time(0)) == circuit_stream("first", time(3600))
    assert circuit_stream("first", time(0)) != circuit_stream("first", time(86_400))
    assert retry_budget_stream("first", time(0)) != retry_budget_stream("first", time(3600))
    assert circuit_stream("first", time(0)).workflow == retry_budget_stream("first", time(0)).workflow == "endpoint.first"


def refuses(field: str, model: str = "m") -> FieldRefused:
    return FieldRefused(endpoint="first", model=model, field=field, detail="status 400")


def test_a_field_that_an_endpoint_does_not_take_is_recorded_once_for_each_model() -> None:
    def found(field: str, model: str = "m") -> FieldRefusalFound:
        return FieldRefusalFound(attempt=1, endpoint="first", model=model, field=field, detail="status 400")

    assert decided(decider, [], found("temperature"), at()) == [refuses("temperature")]
    assert decided(decider, [refuses("temperature")], found("temperature"), at()) == []
    assert decided(decider, [refuses("temperature")], found("temperature", "n"), at()) == [refuses("temperature", "n")]
    assert decided(decider, [refuses("temperature")], found("store"), at()) == [refuses("store")]


def test_a_refused_field_changes_nothing_of_the_circuit_and_is_known_through_its_changes() -> None:
    closed = CircuitClosed(endpoint="first", change=3, by="a#1")
    stored: list[Message] = []
    for message in (refuses("temperature"), opened(), refuses("store"), granted(), closed, opened(4)):
        stored.append(message)
        circuit, before = decider.fold(stored), decider.fold([one for one in stored if not isinstance(one, FieldRefused)])
        assert isinstance(circuit, Circuit)
        assert isinstance(before, Circuit)
        known = frozenset(("m", one.field) for one in stored if isinstance(one, FieldRefused))
        assert (circuit.refused, circuit.until, circuit.change, circuit.probe) == (
            known,
            before.until,
            before.change,
            before.probe,
        )
