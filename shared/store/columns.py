"""The record as parallel arrays: a few wide arguments travel and unnest faster than many rows."""

import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from shared.store.record import Door, Stream, Turn

Column = list[Any]


def of_turns(turns: Sequence[Turn]) -> list[Column]:
    """The first 32 arguments of the append. A turn's hearings and events name its number, counted from 1.

    Raises ValueError where a turn's numbers do not follow from what it builds upon.
    """
    for turn in turns:
        _check(turn)
    numbered = list(enumerate(turns, 1))
    hearings = [(n, heard) for n, turn in numbered for heard in turn.hearings]
    said = [(n, event) for n, turn in numbered for event in turn.said]
    return [
        [turn.stream.tenant for turn in turns],
        [turn.stream.workflow for turn in turns],
        [turn.stream.name for turn in turns],
        [turn.heard for turn in turns],
        [turn.version for turn in turns],
        [turn.heard + len(turn.hearings) for turn in turns],
        [turn.version + len(turn.said) for turn in turns],
        [turn.at for turn in turns],
        [turn.floor for turn in turns],
        [turn.due for turn in turns],
        [turn.holder for turn in turns],
        [turn.keep for turn in turns],
        [turn.published for turn in turns],
        [n for n, _ in hearings],
        [heard.cause for _, heard in hearings],
        [heard.sequence for _, heard in hearings],
        [heard.before for _, heard in hearings],
        [heard.kind for _, heard in hearings],
        [heard.hash for _, heard in hearings],
        [heard.code for _, heard in hearings],
        [heard.policy for _, heard in hearings],
        [heard.dead for _, heard in hearings],
        [heard.attempt for _, heard in hearings],
        [n for n, _ in said],
        [event.version for _, event in said],
        [event.id for _, event in said],
        [event.kind for _, event in said],
        [event.topic for _, event in said],
        [event.cause for _, event in said],
        [event.data for _, event in said],
        [event.hash for _, event in said],
        [event.traceparent for _, event in said],
    ]


def _check(turn: Turn) -> None:
    if turn.hearings and (turn.hearings[0].sequence, turn.hearings[-1].sequence) != (
        turn.heard + 1,
        turn.heard + len(turn.hearings),
    ):
        raise ValueError(f"{turn.stream}: hearings are not numbered from {turn.heard + 1}")
    if turn.said and (turn.said[0].version, turn.said[-1].version) != (
        turn.version + 1,
        turn.version + len(turn.said),
    ):
        raise ValueError(f"{turn.stream}: versions do not go on from {turn.version}")


def without_contradictions(turns: Sequence[Turn]) -> list[Turn]:
    """Leaves out a turn that brings another body under the id of a door that it or an earlier one brings."""
    brought: dict[Any, Door] = {}

    def agrees(door: Door) -> bool:
        known = brought.setdefault((door.tenant, door.workflow, door.cause), door)
        return (known.topic, known.body) == (door.topic, door.body)

    return [turn for turn in turns if not turn.doors or all(agrees(door) for door in turn.doors)]


def of_streams(streams: Iterable[Stream]) -> list[Column]:
    """tenants, workflows, names"""
    return [list(column) for column in zip(*streams, strict=True)] or [[], [], []]


def of_versions(versions: Mapping[Stream, int]) -> list[Column]:
    """tenants, workflows, names, versions"""
    return [*of_streams(versions), list(versions.values())]


def of_doors(doors: Sequence[tuple[int, Door]]) -> list[Column]:
    """Each with the number of the turn that brings it."""
    return [
        [n for n, _ in doors],
        [door.tenant for _, door in doors],
        [door.workflow for _, door in doors],
        [door.cause for _, door in doors],
        [door.topic for _, door in doors],
        [door.partition for _, door in doors],
        [door.offset for _, door in doors],
        [door.at for _, door in doors],
        [door.key for _, door in doors],
        [of_headers(door.headers) for _, door in doors],
        [door.body for _, door in doors],
    ]


def of_headers(headers: Iterable[tuple[str, bytes]]) -> bytes:
    """Headers as JSON that a person can read: [["ce_id", "17"], ["odd", {"base64": "/w=="}]]."""
    return json.dumps([[name, _text(value)] for name, value in headers]).encode()


def to_headers(data: bytes) -> tuple[tuple[str, bytes], ...]:
    return tuple(
        (name, b64decode(value["base64"]) if isinstance(value, dict) else value.encode()) for name, value in json.loads(data)
    )


def _text(value: bytes) -> str | dict[str, str]:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": b64encode(value).decode()}
