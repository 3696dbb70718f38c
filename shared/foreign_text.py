"""Text that others wrote, made safe for a terminal: no character of it moves a cursor, changes the order of letters or is unseen.

`printable` is the one way by which such text reaches a terminal, a pipe or a log for people: `infra/cli/screen.py` and
`shared/telemetry/logs.py` put everything through it. `as_json` is the same for programs, and loses nothing.
"""

import json
import re
from collections.abc import MutableMapping
from typing import Any

# Control characters (ESC, BEL and the 8-bit forms of C1 among them) except newline and tab; marks, embeddings, overrides and
# isolates of direction (those of "Trojan Source"); separators that only some programs take for the end of a line; characters
# that take no room (not the joiners of Persian, Hindi and emoji); halves of surrogate pairs.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)


def printable(text: str) -> str:
    r"""The text on any number of lines, with what is not safe in it written out: `\x1b`, `\r`, `\u202e`."""
    if _UNSAFE.search(text) is None:
        return text
    return _UNSAFE.sub(lambda found: repr(found[0])[1:-1], text.replace("\r\n", "\n"))


def printable_event(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: the same for every text of a line, before it is coloured."""
    return {printable(name): printable(value) if isinstance(value, str) else value for name, value in event.items()}


def as_json(value: object, *, ascii_only: bool = False, indent: int | None = None) -> str:
    """JSON that reads back as the same value, and in which nothing is unsafe on a terminal."""
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent, default=str)
    return _UNSAFE.sub(lambda found: json.dumps(found[0])[1:-1].replace("\x7f", "\\u007f"), text)
