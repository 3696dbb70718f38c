"""Checks that every store makes before it stores appends."""

from collections.abc import Sequence
from typing import Any

from shared.eventstore.model import DoorMessage, StoreRefused, StreamAppend


def checked(appends: Sequence[StreamAppend]) -> list[StreamAppend]:
    """Sorts the appends by stream. Leaves out an append whose message from outside has the id of another one before it, which is
    of another workflow or has another body.

    Raises ValueError if one stream has two appends, or if an append's numbers do not continue the stream that it builds
    upon; StoreRefused if the only append was left out.
    """
    ordered = sorted(appends, key=lambda append: append.stream)
    if len({append.stream for append in ordered}) != len(ordered):
        raise ValueError("one stream has two appends")
    for append in ordered:
        _check_numbers(append)
    left = _without_conflicts(ordered)
    if len(ordered) == 1 and not left:
        raise StoreRefused("two messages from outside with one id have different bodies")
    return left


def _check_numbers(append: StreamAppend) -> None:
    if append.entries and (append.entries[0].sequence, append.entries[-1].sequence) != (
        append.processed + 1,
        append.processed + len(append.entries),
    ):
        raise ValueError(f"{append.stream}: inbox entries are not numbered from {append.processed + 1}")
    if append.messages and (append.messages[0].version, append.messages[-1].version) != (
        append.version + 1,
        append.version + len(append.messages),
    ):
        raise ValueError(f"{append.stream}: versions do not follow version {append.version}")


def _without_conflicts(appends: Sequence[StreamAppend]) -> list[StreamAppend]:
    seen: dict[Any, DoorMessage] = {}

    def agrees(door: DoorMessage) -> bool:
        known = seen.setdefault((door.tenant, door.causation_id), door)
        return (known.workflow, known.body) == (door.workflow, door.body)

    return [append for append in appends if not append.door_messages or all(agrees(door) for door in append.door_messages)]
