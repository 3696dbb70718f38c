"""Text that others wrote, made safe for a terminal: no character of it moves a cursor, changes the order of letters or is unseen.

`printable` is the one way by which such text reaches a terminal, a pipe or a log for people: `infra/cli/screen.py` and
`shared/telemetry/logs.py` put everything through it. `on_one_line` is the same where a line means something. `as_json` is the
same for programs, and loses nothing.
"""

import json
import re
from collections.abc import MutableMapping
from typing import Any

# Control characters (ESC, BEL and the 8-bit forms of C1 among them) except newline and tab; marks, embeddings, overrides and
# isolates of direction (those of "Trojan Source"); separators that only some programs take for the end of a line; halves of
# surrogate pairs; all that Unicode calls default-ignorable, such as joiners, fillers and selectors of variants: most
# terminals draw nothing for them; and other blanks that are no spaces.
_UNSAFE = (
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u2800\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U00016fe4\U0001bca0-\U0001bca3\U0001d159\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
# Where a joiner or a selector is seen: inside an emoji, and between letters from Arabic to Sinhala.
_EMOJI = "[©®‼⁉™ℹ\u2190-\u21ff\u231a-\u27bf\u2934\u2935\u2b00-\u2bff〰〽㊗㊙\U0001f000-\U0001faff]"
_LETTER = "[\u0620-\u0dff]"
_SEEN = (
    f"(?P<seen>(?<={_EMOJI})[\ufe0e\ufe0f]|(?<=[0-9#*])\ufe0f(?=\u20e3)"
    f"|(?<={_EMOJI})\u200d(?={_EMOJI})|(?<={_EMOJI}\ufe0f)\u200d(?={_EMOJI})|(?<={_LETTER})[\u200c\u200d](?={_LETTER}))"
)
_FOUND = re.compile(f"{_SEEN}|{_UNSAFE}")

_PLAIN = re.compile(r"[\w.@+-]+", re.ASCII)


def printable(text: str) -> str:
    r"""The text on any number of lines, with what is not safe in it written out: `\x1b`, `\r`, `\u202e`, `\u3164`."""
    if _FOUND.search(text) is None:
        return text
    return _FOUND.sub(_written, text.replace("\r\n", "\n"))


def on_one_line(text: str) -> str:
    r"""The same on a single line: a newline in it is written `\n`, a tab `\t`."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def with_twins_seen(text: str) -> str:
    r"""On one line; where letters are not of ASCII, also with their codes, for a name can look like another one:
    `аcct-9 (not ASCII: '\u0430cct-9')`."""
    return on_one_line(text) if text.isascii() else f"{on_one_line(text)} (not ASCII: {text!a})"


def plain_name(text: str) -> str:
    """A name in a sentence of ours: between quotation marks where it could hold words of that sentence."""
    return text if _PLAIN.fullmatch(text) else as_json(text)


def printable_event(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: the same for every text of a line, before it is coloured."""
    return {printable(name): printable(value) if isinstance(value, str) else value for name, value in event.items()}


def as_json(value: object, *, ascii_only: bool = False, indent: int | None = None) -> str:
    """JSON that reads back as the same value, and in which nothing is unsafe on a terminal."""
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent, default=str)
    return _FOUND.sub(lambda found: found["seen"] or json.dumps(found[0])[1:-1].replace("\x7f", "\\u007f"), text)


def _written(found: re.Match[str]) -> str:
    return found["seen"] or ascii(found[0])[1:-1]
