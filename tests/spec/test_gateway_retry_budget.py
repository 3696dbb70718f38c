"""The budget of retries at an endpoint."""

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.gateway import RetriesGranted
from hansard.message import Message
from services.gateway.facts import RetriesAsked
from services.gateway.retry_budget import RetryBudget, retry_budget_decider
from tests.decisions import decided
from tests.spec.gateway_kit import FIRST, at, tiers

decider = retry_budget_decider(tiers(FIRST, retries={"share": 0.1, "reserve": 3}))


def asks_retries(calls: int, by: str = "p1", attempt: int = 1) -> RetriesAsked:
    return RetriesAsked(attempt=attempt, endpoint="first", by=by, calls=calls)


def test_the_reserve_is_granted_one_by_one_and_then_nothing() -> None:
    stored: list[Message] = []
    for left in (2, 1, 0):
        granted = decided(decider, stored, asks_retries(0), at())
        assert granted == [RetriesGranted(endpoint="first", by="p1", calls=0, granted=1, left=left)]
        stored += granted
    assert decided(decider, stored, asks_retries(0), at()) == [
        RetriesGranted(endpoint="first", by="p1", calls=0, granted=0, left=0)
    ]


def test_every_ten_calls_earn_a_retry_whichever_process_made_them() -> None:
    spent = [RetriesGranted(endpoint="first", by="p1", calls=0, granted=1, left=0)]
    (some,) = decided(decider, spent, asks_retries(9, by="p2"), at())
    assert isinstance(some, RetriesGranted)
    assert (some.granted, some.left) == (0, 0.9)
    (one,) = decided(decider, [*spent, some], asks_retries(1), at())
    assert isinstance(one, RetriesGranted)
    assert (one.granted, one.left) == (1, 0)
    assert decider.fold([*spent, some, one]) == RetryBudget(0, {"p1": 2, "p2": 0})


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 300), st.sampled_from("abc")), max_size=60))
def test_retries_never_exceed_a_tenth_of_the_calls_and_the_reserve(asked: list[tuple[int, str]]) -> None:
    stored: list[Message] = []
    for calls, by in asked:
        stored += decided(decider, stored, asks_retries(calls, by), at())
    granted = sum(message.granted for message in stored if isinstance(message, RetriesGranted))
    assert granted <= 3 + 0.1 * sum(calls for calls, _ in asked) + 1e-6
