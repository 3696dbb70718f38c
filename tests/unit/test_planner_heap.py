"""The heap of what steps wait for: the earliest first, nothing changed in place, few nodes visited."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from math import log2
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.planner import heap
from services.planner.heap import Heap, StepTime, pop, push
from tests.told import NOON


def due(seconds: int, step: str = "a") -> StepTime:
    return StepTime(NOON + timedelta(seconds=seconds), step)


def heaped(due_wake_ups: list[StepTime]) -> Heap | None:
    all_: Heap | None = None
    for one in due_wake_ups:
        all_ = push(all_, one)
    return all_


def drained(all_: Heap | None) -> Iterator[StepTime]:
    while all_ is not None:
        yield all_.first
        all_ = pop(all_)


due_wake_ups = st.lists(st.builds(due, st.integers(0, 20), st.sampled_from("abc")))


@given(due_wake_ups)
def test_the_earliest_comes_first_and_at_one_time_the_first_name(some: list[StepTime]) -> None:
    assert list(drained(heaped(some))) == sorted(some)


@given(due_wake_ups, st.builds(due, st.integers(0, 20)))
def test_to_push_and_to_pop_leaves_what_was_there_as_it_was(some: list[StepTime], more: StepTime) -> None:
    before = heaped(some)
    push(before, more)
    if before is not None:
        pop(before)
    assert list(drained(before)) == sorted(some)


ORDERS: dict[str, Callable[[list[StepTime]], list[StepTime]]] = {
    "rising": sorted,
    "falling": lambda some: sorted(some, reverse=True),
    "any": lambda some: Random(1).sample(some, len(some)),
}


@pytest.mark.parametrize("order", ORDERS)
def test_to_push_and_to_pop_visits_few_nodes_of_many(order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    count, merged = 0, heap.merged

    def counted(*both: Any) -> Heap:
        nonlocal count
        count += 1
        return merged(*both)

    monkeypatch.setattr(heap, "merged", counted)
    some = ORDERS[order]([due(n) for n in range(2_000)])
    most = 2 * log2(len(some) + 1) + 1
    all_: Heap | None = None
    for one in some:
        count, all_ = 0, push(all_, one)
        assert count <= most
    while all_ is not None:
        count, all_ = 0, pop(all_)
        assert count <= most


@pytest.mark.parametrize("order", ORDERS)
def test_twenty_thousand_are_no_deeper_than_python_goes(order: str) -> None:
    all_ = heaped(ORDERS[order]([due(n) for n in range(20_000)]))
    assert all_ is not None and all_.first == due(0)
    rest = pop(all_)
    assert rest is not None and rest.first == due(1)
