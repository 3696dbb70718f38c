"""A persistent priority queue: a leftist heap (C. A. Crane, 1972; C. Okasaki, Purely Functional Data Structures, 3.1).

`push` and `pop` visit as many nodes as the logarithm of the heap's size. They return a new heap and leave the old one as it is.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple


class StepTime(NamedTuple):
    """A time and the step that waits for it."""

    at: datetime
    step: str


class Heap(NamedTuple):
    """`first` is the earliest. `rank`: the nodes on the right side, which is the shorter one. None is the empty heap."""

    first: StepTime
    rank: int = 1
    left: Heap | None = None
    right: Heap | None = None


def push(heap: Heap | None, time: StepTime) -> Heap:
    return merged(Heap(time), heap)


def pop(heap: Heap) -> Heap | None:
    """All but the first."""
    return merged(heap.left, heap.right) if heap.left else None


def merged(one: Heap, other: Heap | None) -> Heap:
    if other is None:
        return one
    if other.first < one.first:
        one, other = other, one
    longer, shorter = one.left, merged(other, one.right)
    if longer is None:
        return Heap(one.first, 1, shorter)
    if longer.rank < shorter.rank:
        longer, shorter = shorter, longer
    return Heap(one.first, shorter.rank + 1, longer, shorter)
