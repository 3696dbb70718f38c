"""Record batches that no outside client can make unreadable.

aiokafka decodes a record inside `getmany`: if one header's name is not UTF-8, or a codec is not installed, it raises,
skips the records that it had already taken from other partitions, and raises again for ever. `internals.survive_any_record` puts
`Records` in the place of aiokafka's `MemoryRecords`: batches go through aiokafka's C parser as before, and a batch at
which it raises is parsed again here, with such a name kept as bytes. A record that still cannot be read is replaced by a
fault, so that it becomes a dead letter and the partition goes on.

A record batch is Kafka's message format 2, https://kafka.apache.org/documentation/#recordbatch.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka import codec
from aiokafka.record.memory_records import MemoryRecords

Name = str | bytes
_LENGTH = struct.Struct(">i")
_OVERHEAD = 12  # base offset and length, which the length does not count
_ATTRIBUTES, _LAST_DELTA, _FIRST_TIME, _MAX_TIME, _COUNT, _BODY = 21, 23, 27, 35, 57, 61
_LOG_APPEND_TIME = 0x08
_CODECS = {1: codec.gzip_decode, 2: codec.snappy_decode, 3: codec.lz4_decode, 4: codec.zstd_decode}


@dataclass(frozen=True, slots=True)
class Decoded:
    """The same fields as aiokafka's record. `checksum`, unused in format 2, carries the fault: why it cannot be read."""

    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None = None
    value: bytes | None = None
    headers: Sequence[tuple[Name, bytes | None]] = ()
    checksum: str | None = None


class Records:
    """Replaces aiokafka's MemoryRecords: iterates over the batches in one fetched buffer."""

    __slots__ = ("_batches", "_buffer", "_position")

    def __init__(self, buffer: bytes) -> None:
        self._batches = MemoryRecords(buffer)
        self._buffer = buffer
        self._position = 0

    def size_in_bytes(self) -> int:
        return int(self._batches.size_in_bytes())

    def has_next(self) -> bool:
        return bool(self._batches.has_next())

    def next_batch(self) -> Any:
        batch = self._batches.next_batch()
        start = self._position
        self._position += _OVERHEAD + _LENGTH.unpack_from(self._buffer, start + 8)[0]
        return batch if batch is None or batch.is_control_batch else _Batch(batch, self._buffer, start, self._position)


class _Batch:
    """One batch of aiokafka's, except that iterating over it never raises."""

    __slots__ = ("_batch", "_buffer", "_end", "_start")

    def __init__(self, batch: Any, buffer: bytes, start: int, end: int) -> None:
        self._batch, self._buffer, self._start, self._end = batch, buffer, start, end

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __iter__(self) -> Iterator[Any]:
        after = self._batch.base_offset - 1
        try:
            for record in self._batch:
                yield record
                after = record.offset
        except Exception as unreadable:  # UnicodeDecodeError, a codec's errors: none may block the records that follow
            yield from decode(self._buffer[self._start : self._end], after, unreadable)


def decode(batch: bytes, after: int, because: Exception) -> Iterator[Decoded]:
    """The records of a batch of format 2 with an offset above `after`; an unreadable one as a fault. Never raises."""
    (base,) = struct.unpack_from(">q", batch)
    (attributes,) = struct.unpack_from(">h", batch, _ATTRIBUTES)
    last = base + struct.unpack_from(">i", batch, _LAST_DELTA)[0]
    first_time, max_time = struct.unpack_from(">qq", batch, _FIRST_TIME)
    kind = int(bool(attributes & _LOG_APPEND_TIME))
    try:
        body = batch[_BODY:]
        if attributes & 0x07:
            body = _CODECS[attributes & 0x07](body)
        position = 0
        for _ in range(struct.unpack_from(">i", batch, _COUNT)[0]):
            (delta, time, key, value, headers), position = _record(body, position)
            if after < base + delta <= last:
                after = base + delta
                yield Decoded(after, max_time if kind else first_time + time, kind, key, value, headers)
    except Exception as bad:  # KeyError, struct.error, ValueError, a codec's errors: an outside client wrote the bytes
        reason = bad if isinstance(because, UnicodeDecodeError) else because
        fault = f"{type(reason).__name__}: {reason}"
        for offset in range(after + 1, last + 1):
            yield Decoded(offset, max_time, kind, checksum=f"the record batch cannot be read: {fault}")


_Fields = tuple[int, int, bytes | None, bytes | None, tuple[tuple[Name, bytes | None], ...]]


def _record(body: bytes, position: int) -> tuple[_Fields, int]:
    length, position = _varint(body, position)
    end = position + length
    position += 1  # attributes: none are defined
    time, position = _varint(body, position)
    delta, position = _varint(body, position)
    key, position = _bytes(body, position)
    value, position = _bytes(body, position)
    count, position = _varint(body, position)
    headers: list[tuple[Name, bytes | None]] = []
    for _ in range(count):
        name, position = _bytes(body, position)
        content, position = _bytes(body, position)
        headers.append((_name(name or b""), content))
    if position != end:
        raise ValueError(f"a record of {length} bytes took {position - end + length}")
    return (delta, time, key, value, tuple(headers)), position


def _name(raw: bytes) -> Name:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _bytes(body: bytes, position: int) -> tuple[bytes | None, int]:
    length, position = _varint(body, position)
    if length < 0:
        return None, position
    if position + length > len(body):
        raise ValueError(f"a field of {length} bytes, but only {len(body) - position} are left")
    return body[position : position + length], position + length


def _varint(body: bytes, position: int) -> tuple[int, int]:
    shift = value = 0
    while True:
        byte = body[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), position
        shift += 7
        if shift > 63:
            raise ValueError("a number is too long")
