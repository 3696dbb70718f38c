"""How the outcome of an attempt is stored beside the messages that answer it: byte for byte, and no long text twice. Pure.

Each value of at least `LEAST` bytes that one of those messages holds too is stored as a reference to it:
`{"$message":[1,44,3021]}` stands for 3021 bytes of the first message of the entry, from its byte 44 on. The hash of the whole
outcome, in its inbox entry, shows whether it comes back as it was.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence

LEAST = 64
_MARK = b'{"$message":['
_REFERENCE = re.compile(rb'\{"\$message":\[(\d{1,9}),(\d{1,9}),(\d{1,9})\]\}')
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]]')


def with_references(outcome: bytes, messages: Sequence[bytes]) -> bytes:
    """The outcome, in compact JSON, as it is stored beside the data of these messages."""
    if len(outcome) < LEAST or not any(len(data) >= LEAST for data in messages) or _MARK in outcome:
        return outcome
    parts: list[bytes] = []
    done = 0
    for start, end in _values(outcome):
        if start < done:
            continue  # within a value that is a reference already
        value = outcome[start:end]
        for n, data in enumerate(messages, 1):
            if (at := data.find(value)) >= 0:
                parts += [outcome[done:start], b"%s%d,%d,%d]}" % (_MARK, n, at, len(value))]
                done = end
                break
    return b"".join([*parts, outcome[done:]])


def whole(stored: bytes, hash: bytes, messages: Sequence[bytes]) -> bytes:
    """The outcome as it came. If something was changed since, its hash is not `hash`."""
    if hashlib.sha256(stored).digest() == hash:
        return stored

    def referred_to(found: re.Match[bytes]) -> bytes:
        n, start, length = map(int, found.groups())
        return messages[n - 1][start : start + length] if 0 < n <= len(messages) else found[0]

    return _REFERENCE.sub(referred_to, stored)


def _values(json: bytes) -> Iterator[tuple[int, int]]:
    """The places of the strings, objects and arrays of at least `LEAST` bytes; an outer one before those within it."""
    found: list[tuple[int, int]] = []
    open_at: list[int] = []
    for token in _TOKEN.finditer(json):
        start, end = token.span()
        match json[start : start + 1]:
            case b"{" | b"[":
                open_at.append(start)
            case b"}" | b"]":
                found.append((open_at.pop(), end))
            case _ if json[end : end + 1] != b":":  # else it is the name of a field
                found.append((start, end))
    return iter(sorted((one for one in found if one[1] - one[0] >= LEAST), key=lambda place: (place[0], -place[1])))
