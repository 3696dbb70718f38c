"""The record as parallel arrays: a few wide arguments travel and unnest faster than many rows."""

import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from shared.eventstore.model import DoorMessage, Stream, StreamAppend

Column = list[Any]


def of_turns(appends: Sequence[StreamAppend]) -> list[Column]:
    """The first 32 arguments of the append. A turn's hearings and events name its number, counted from 1.

    Raises ValueError where a turn's numbers do not follow from what it builds upon.
    """
    for append in appends:
        _check(append)
    numbered = list(enumerate(appends, 1))
    entries = [(n, entry) for n, append in numbered for entry in append.entries]
    stored = [(n, event) for n, append in numbered for event in append.messages]
    return [
        [append.stream.tenant for append in appends],
        [append.stream.workflow for append in appends],
        [append.stream.name for append in appends],
        [append.processed for append in appends],
        [append.version for append in appends],
        [append.processed + len(append.entries) for append in appends],
        [append.version + len(append.messages) for append in appends],
        [append.at for append in appends],
        [append.not_before for append in appends],
        [append.wake_at for append in appends],
        [append.holder for append in appends],
        [append.keep_wake_up for append in appends],
        [append.published for append in appends],
        [n for n, _ in entries],
        [entry.causation_id for _, entry in entries],
        [entry.sequence for _, entry in entries],
        [entry.version_before for _, entry in entries],
        [entry.kind for _, entry in entries],
        [entry.hash for _, entry in entries],
        [entry.code for _, entry in entries],
        [entry.policy for _, entry in entries],
        [entry.dead for _, entry in entries],
        [entry.attempt for _, entry in entries],
        [n for n, _ in stored],
        [event.version for _, event in stored],
        [event.id for _, event in stored],
        [event.kind for _, event in stored],
        [event.topic for _, event in stored],
        [event.causation_id for _, event in stored],
        [event.data for _, event in stored],
        [event.hash for _, event in stored],
        [event.traceparent for _, event in stored],
    ]


def _check(append: StreamAppend) -> None:
    if append.entries and (append.entries[0].sequence, append.entries[-1].sequence) != (
        append.processed + 1,
        append.processed + len(append.entries),
    ):
        raise ValueError(f"{append.stream}: hearings are not numbered from {append.processed + 1}")
    if append.messages and (append.messages[0].version, append.messages[-1].version) != (
        append.version + 1,
        append.version + len(append.messages),
    ):
        raise ValueError(f"{append.stream}: versions do not go on from {append.version}")


def without_contradictions(appends: Sequence[StreamAppend]) -> list[StreamAppend]:
    """Leaves out a turn that brings another body under the id of a door that it or an earlier one brings."""
    brought: dict[Any, DoorMessage] = {}

    def agrees(door: DoorMessage) -> bool:
        known = brought.setdefault((door.tenant, door.workflow, door.causation_id), door)
        return (known.topic, known.body) == (door.topic, door.body)

    return [append for append in appends if not append.door_messages or all(agrees(door) for door in append.door_messages)]


def of_streams(streams: Iterable[Stream]) -> list[Column]:
    """tenants, workflows, names"""
    return [list(column) for column in zip(*streams, strict=True)] or [[], [], []]


def of_versions(versions: Mapping[Stream, int]) -> list[Column]:
    """tenants, workflows, names, versions"""
    return [*of_streams(versions), list(versions.values())]


def of_doors(doors: Sequence[tuple[int, DoorMessage]]) -> list[Column]:
    """Each with the number of the turn that brings it."""
    return [
        [n for n, _ in doors],
        [door.tenant for _, door in doors],
        [door.workflow for _, door in doors],
        [door.causation_id for _, door in doors],
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
