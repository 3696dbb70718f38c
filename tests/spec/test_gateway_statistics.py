"""Totals of the gateway's events."""

from decimal import Decimal

import pytest

from contracts.gateway import ModelFailed, RetriesGranted
from services.gateway.statistics import statistics
from tests.spec.gateway_kit import CALL, SECOND, accepted, fell, replied, started
from tests.spec.test_gateway_circuit import granted, opened


def test_statistics_are_the_totals_of_all_calls() -> None:
    error = [fell("error").fall]
    totals = statistics(
        [
            accepted(),
            started(),
            replied(confidence=0.9, latency_ms=10),
            replied(2, falls=error, confidence=0.7, latency_ms=30),
            replied(2, SECOND, falls=error, confidence=0.8, latency_ms=50, cost=Decimal("0.001")),
            replied(tier="rules", falls=error, confidence=None, latency_ms=0, cost=0),
            ModelFailed(call=CALL, reason="no-answer", falls=tuple(error), cost=Decimal("0.01")),
            fell("error"),
            opened(),
            granted(),
            opened(3, 10, probes=1),
            RetriesGranted(endpoint="first", by="p", calls=10, granted=2, left=0),
        ]
    )
    assert totals.calls == 5
    assert totals.distribution == {"first": 0.4, "second": 0.2, "rules": 0.2}
    assert totals.primary_success_rate == 0.4
    assert (totals.latency_ms(), totals.latency_ms("first")) == (22.5, 20)
    assert totals.confidence() == pytest.approx(0.8)
    assert totals.cost == Decimal("0.015")
    assert totals.falls == {("first", "error"): 1}
    assert (totals.openings["first"], totals.probes["first"], totals.retries["first"]) == (1, 1, 2)
    assert totals.as_json()["failed"] == {"no-answer": 1}


def test_without_calls_there_is_no_rate() -> None:
    assert statistics([]).primary_success_rate is None
    assert statistics([]).latency_ms() is None
