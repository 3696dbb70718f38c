"""The heap of the times that steps wait for: the earliest first, no change in place, few nodes visited."""

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
from tests.decisions import NOON


def step_time(seconds: int, step: str = "a") -> StepTime:
    return StepTime(NOON + timedelta(seconds=seconds), step)


def heap_of(times: list[StepTime]) -> Heap | None:
    made: Heap | None = None
    for time in times:
        made = push(made, time)
    return made


def drained(some: Heap | None) -> Iterator[StepTime]:
    while some is not None:
        yield some.first
        some = pop(some)


times = st.lists(st.builds(step_time, st.integers(0, 20), st.sampled_from("abc")))


@given(times)
def test_the_earliest_time_comes_first_and_of_equal_times_the_first_name(some: list[StepTime]) -> None:
    assert list(drained(heap_of(some))) == sorted(some)


@given(times, st.builds(step_time, st.integers(0, 20)))
def test_push_and_pop_leave_the_old_heap_as_it_is(some: list[StepTime], more: StepTime) -> None:
    before = heap_of(some)
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
def test_push_and_pop_visit_few_of_many_nodes(order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    count, merged = 0, heap.merged

    def counted(*both: Any) -> Heap:
        nonlocal count
        count += 1
        return merged(*both)

    monkeypatch.setattr(heap, "merged", counted)
    some = ORDERS[order]([step_time(n) for n in range(2_000)])
    most = 2 * log2(len(some) + 1) + 1
    made: Heap | None = None
    for time in some:
        count, made = 0, push(made, time)
        assert count <= most
    while made is not None:
        count, made = 0, pop(made)
        assert count <= most


@pytest.mark.parametrize("order", ORDERS)
def test_a_heap_of_twenty_thousand_stays_within_the_recursion_limit(order: str) -> None:
    made = heap_of(ORDERS[order]([step_time(n) for n in range(20_000)]))
    assert made is not None and made.first == step_time(0)
    rest = pop(made)
    assert rest is not None and rest.first == step_time(1)
