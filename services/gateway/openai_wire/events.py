"""The body of a response while it comes: server-sent events or one JSON text, whatever its media type says. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from services.gateway.openai_wire.tolerant import load

_LINE_END = re.compile(rb"\r\n|\r|\n")
_EVENTS = re.compile(rb"(?:data|event|id|retry)?\s*:")  # how a line of server-sent events begins
_BOM = b"\xef\xbb\xbf"


class TooLarge(Exception):
    """The response is larger than the limit."""


class Event(NamedTuple):
    """`data`: the JSON of its data. `end`: the mark `[DONE]`."""

    data: Any = None
    name: str = ""
    end: bool = False


@dataclass
class ResponseBody:
    """Takes the bytes of a response, at most `largest` of one JSON text or one event.

    `add` gives the events that are complete; `whole` is the JSON text, once all bytes are there.
    """

    largest: int
    streamed: bool | None = None  # None until its beginning shows it
    buffer: bytearray = field(default_factory=bytearray)
    lines: list[bytes] = field(default_factory=list)  # data of the event that is not complete yet
    size: int = 0  # of these lines
    name: str = ""

    def add(self, chunk: bytes) -> Iterator[Event]:
        """Raises TooLarge at the limit, and ValueError for an event that holds broken JSON."""
        ended = self.streamed is None or b"\n" in chunk or b"\r" in chunk
        self.buffer += chunk
        if self.streamed is None:
            self._begin()
        if self.streamed and ended:
            yield from self._events()
        if len(self.buffer) + self.size > self.largest:
            raise TooLarge

    def end(self) -> Iterator[Event]:
        """What is left of the events when no byte follows."""
        if self.streamed:
            self.buffer += b"\n\n"
            yield from self._events()

    def whole(self) -> bytes:
        return bytes(self.buffer)

    def _begin(self) -> None:
        start = bytes(self.buffer[:200]).removeprefix(_BOM).lstrip()
        if b":" in start or len(start) > 20 or start[:1] in (b"{", b"["):
            self.streamed = bool(_EVENTS.match(start))
            if self.streamed and self.buffer.startswith(_BOM):
                del self.buffer[: len(_BOM)]

    def _events(self) -> Iterator[Event]:
        start, held = 0, bytes(self.buffer)
        for end in _LINE_END.finditer(held):
            if end.group() == b"\r" and end.end() == len(held):
                break  # a line feed may follow
            yield from self._line(held[start : end.start()])
            start = end.end()
        if start:
            del self.buffer[:start]

    def _line(self, line: bytes) -> Iterator[Event]:
        if not line:
            lines, name, self.lines, self.size, self.name = self.lines, self.name, [], 0, ""
            yield from _complete(lines, name)
            return
        key, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if key == b"data":
            self.lines.append(value)
            self.size += len(value)
        elif key == b"event":
            self.name = value.decode("utf-8", "replace").strip().lower()


def _complete(lines: list[bytes], name: str) -> Iterator[Event]:
    """Some servers leave out the empty line between events: then each line is one."""
    data = b"\n".join(lines).strip()
    if data.upper() == b"[DONE]":
        yield Event(name=name, end=True)
        return
    if data[:1] not in (b"{", b"["):  # no data, or a word: nothing but a sign of life
        return
    try:
        yield Event(load(data), name)
    except ValueError:
        if len(lines) < 2:
            raise
        for line in lines:
            yield from _complete([line], name)
