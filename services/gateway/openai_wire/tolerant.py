"""What endpoints send, taken for what it means: wrong types, nulls and half characters cost no answer. Pure."""

import json
from collections.abc import Iterator
from math import isfinite
from typing import Any

Json = dict[str, Any]

SENSIBLE = 10**9  # a number of tokens or seconds beyond it means nothing
PARTS = ("", "text", "output_text")  # types of the parts of a content that are the answer; others are reasoning, references, …


def load(raw: bytes) -> Any:
    """The JSON of a body. Raises ValueError if it is none; half a surrogate pair and bytes that are not UTF-8 pass."""
    try:
        return json.loads(raw.decode("utf-8-sig", "replace"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def clean(text: str) -> str:
    """Without what neither the store nor JSON text can hold: NUL and lone surrogates become U+FFFD."""
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")  # halves that belong together meet here


def mapping(given: object) -> Json:
    return given if isinstance(given, dict) else {}


def listed(given: object) -> list[Any]:
    """A list, or the one thing that stands where a list should."""
    return given if isinstance(given, list) else [given] if isinstance(given, dict) else []


def string(given: object) -> str:
    """A text or a number as text; empty for anything else."""
    if isinstance(given, bool) or not isinstance(given, str | int | float):
        return ""
    return str(given)


def whole(given: object) -> int | None:
    """A number of tokens: 20, 20.0 or "20"; None if it is none that makes sense."""
    try:
        number = float(given) if isinstance(given, str | int | float) and not isinstance(given, bool) else -1.0
    except (ValueError, OverflowError):
        return None
    return int(number) if isfinite(number) and 0 <= number <= SENSIBLE else None


def text_of(content: object) -> str:
    """The text of a content: a string, or parts of which those of the answer count."""
    return "".join(_texts(content, 0))


def refusal_of(content: object) -> str:
    return "".join(string(part.get("refusal")) for part in listed(content) if isinstance(part, dict))


def _texts(content: object, depth: int) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif depth < 4:  # a text may be in a part, as an object with a value
        for part in listed(content):
            if isinstance(part, str):
                yield part
            elif isinstance(part, dict) and string(part.get("type")).lower() in PARTS:
                given = part.get("text")
                yield from _texts(given.get("value") if isinstance(given, dict) and "value" in given else given, depth + 1)
