"""The dead letter of a message. It always fits: it carries what there is room for, and says where the rest is."""

import base64
from typing import Any

from contracts.dead_letters import DeadLettered
from hansard.codec import encode
from shared.kafka.record import Record
from shared.masking import masked
from shared.runtime.inbound import DeadCause, Inbound

MAX_CARRIED = 256 * 1024  # bytes of key, headers and body together that a dead letter carries
DETAIL = 2000  # characters
SHORT = 512  # characters of a kind and an id


def dead_letter(service: str, inbound: Inbound, dead: DeadCause, max_bytes: int) -> DeadLettered:
    """`max_bytes`: of the dead letter as JSON, at least `shared.settings.SMALLEST_MESSAGE`."""
    record = inbound.record
    letter = DeadLettered(
        service=service,
        reason=dead.reason,
        detail=printable(masked(dead.detail))[:DETAIL],
        attempts=dead.attempts,
        door=inbound.door is not None,
        message_kind=printable(inbound.kind)[:SHORT],
        message_id=printable(inbound.message_id)[:SHORT],
        causation_id=str(inbound.causation_id),
        topic=record.topic if record else "",
        partition=record.partition if record else 0,
        offset=record.offset if record else 0,
        timestamp=record.timestamp if record else 0,
        hash=inbound.hash.hex(),
    )
    return _with_content(letter, record, max_bytes) if record else letter


def _with_content(letter: DeadLettered, record: Record, max_bytes: int) -> DeadLettered:
    """The same with the record's key, headers and body: the smaller ones first, as long as they fit."""
    room = min(MAX_CARRIED * 4 // 3, max_bytes - len(encode(letter)))
    whole, carried = content(record), {}
    for part in sorted(whole, key=lambda part: _size(whole[part])):
        if (size := _size(whole[part])) <= room:
            room -= size
            carried[part] = whole[part]
    return letter.model_copy(update={**carried, "omitted": tuple(part for part in whole if part not in carried)})


def content(record: Record) -> dict[str, Any]:
    """The fields of `hansard.values.RecordContent`, with which a record can be processed again."""
    headers = tuple((printable(_name(name)), _base64(value) or "") for name, value in record.headers)
    return {"key": _base64(record.key), "headers": headers, "body": _base64(record.value)}


def _size(part: str | tuple[tuple[str, str], ...] | None) -> int:
    """Bytes of this part in JSON, at most."""
    if isinstance(part, tuple):
        return sum(6 * len(name.encode()) + len(value) + 8 for name, value in part)
    return len(part or "") + 16


def printable(text: str) -> str:
    """The text in a form that a store can hold: no NUL, no lone surrogate."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")


def _name(name: str | bytes) -> str:
    return name if isinstance(name, str) else name.decode("utf-8", "backslashreplace")


def _base64(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()
