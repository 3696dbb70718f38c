"""The gateway's three deciders as one: each message reaches the one that it is for, and no stream mixes two."""

from collections.abc import Sequence

import pytest

from contracts.catalog import Topics
from contracts.gateway import RetriesGranted
from hansard.decider import WakeUp
from hansard.message import Message
from services.gateway import facts
from services.gateway.call import NoCall, call_decider
from services.gateway.circuit import Circuit, circuit_decider
from services.gateway.decider import State, gateway
from services.gateway.retry_budget import RetryBudget, retry_budget_decider
from tests.decisions import decided
from tests.spec.gateway_kit import FIRST, SECOND, accepted, asks, at, begun, failure, fell, started, tiers
from tests.spec.test_gateway_circuit import asks_for_probe, failing, granted, opened, probed
from tests.spec.test_gateway_retry_budget import asks_retries

chain = tiers(FIRST, SECOND)
whole = gateway(chain)
RETRIES = RetriesGranted(endpoint="first", by="p1", calls=0, granted=1, left=9)
STREAMS: list[tuple[State, Sequence[Message]]] = [
    (NoCall(), []),
    (call_decider(chain).fold([begun()]), [begun()]),
    (circuit_decider(chain).fold([opened()]), [opened()]),
    (retry_budget_decider(chain).fold([RETRIES]), [RETRIES]),
]


@pytest.mark.parametrize("before", [[], [accepted()], [accepted(), started()]])
def test_a_call_is_decided_by_its_own_decider(before: list[Message]) -> None:
    alone = call_decider(chain)
    for message in (asks(), WakeUp(), failure(fell("refused"))):
        assert decided(whole, before, message, at(1)) == decided(alone, before, message, at(1))
    assert whole.fold(before) == alone.fold(before)
    assert whole.wake_at(whole.fold(before)) == alone.wake_at(alone.fold(before))


@pytest.mark.parametrize("before", [[], [opened()], [opened(), granted()]])
def test_a_circuit_is_decided_by_its_own_decider(before: list[Message]) -> None:
    alone = circuit_decider(chain)
    for message in (failing(), asks_for_probe(), probed(good=True), probed(good=False)):
        assert decided(whole, before, message, at(9)) == decided(alone, before, message, at(9)) != []
    assert whole.fold([opened(), granted()]) == alone.fold([opened(), granted()])


@pytest.mark.parametrize("before", [[], [RETRIES]])
def test_a_retry_budget_is_decided_by_its_own_decider(before: list[Message]) -> None:
    alone = retry_budget_decider(chain)
    assert decided(whole, before, asks_retries(9), at()) == decided(alone, before, asks_retries(9), at()) != []
    assert whole.fold([RETRIES]) == alone.fold([RETRIES]) == RetryBudget(9, {"p1": 1})


def test_an_endpoints_streams_never_wake_up_and_ignore_what_is_for_a_call() -> None:
    for before, kind in (([opened()], Circuit), ([RETRIES], RetryBudget)):
        state = whole.fold(before)
        assert isinstance(state, kind)
        assert whole.wake_at(state) is None
        assert whole.fold([begun()], state) == state
        for message in (asks(), WakeUp(), failure(fell("refused"))):
            assert decided(whole, before, message, at()) == []


@pytest.mark.parametrize(("state", "stored"), STREAMS)
def test_the_state_of_a_stream_is_that_of_its_own_decider(state: State, stored: list[Message]) -> None:
    assert whole.fold(stored) == state


def test_one_policy_holds_for_all_three() -> None:
    parts = (call_decider(chain), circuit_decider(chain), retry_budget_decider(chain))
    assert {whole.policy, *(part.policy for part in parts)} == {chain.policy}


def test_what_the_performer_reports_is_on_no_topic() -> None:
    reported = {kind for kind in vars(facts).values() if isinstance(kind, type) and kind.__module__ == facts.__name__}
    assert len(reported) == 8
    assert reported.isdisjoint(Topics().kinds.values())
