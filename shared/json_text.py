"""JSON that a person wrote, read strictly: what would be lost or changed on the way is refused, in words."""

import json
import math
from collections.abc import Sequence
from typing import Any


class BadJson(ValueError):
    """The text is no JSON, or not such as we take. One sentence, which names no file."""


def parsed(text: str) -> Any:
    """The value of a JSON text. Raises BadJson, and no other error: also for a key that an object has twice, for a number that
    no float holds (1e400, NaN), for half a surrogate pair, and for what is nested too deep."""
    try:
        value = _DECODER.decode(text.removeprefix("\ufeff"))
        json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as bad:
        raise BadJson(f"it is not JSON: {bad.msg}, at line {bad.lineno}, column {bad.colno}") from None
    except UnicodeEncodeError:
        raise BadJson("it holds half of a surrogate pair, which is no character") from None
    except RecursionError:
        raise BadJson("it is nested too deep") from None
    except ValueError as bad:  # an integer of thousands of digits, which Python refuses
        raise bad if isinstance(bad, BadJson) else BadJson(f"it is not JSON that can be read: {bad}") from None
    return value


def _object(members: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in members:
        if name in found:
            raise BadJson(f"the key {name!r} is there twice: an object has each key once")
        found[name] = value
    return found


def finite(text: str) -> float:
    """A number as it is written. Raises BadJson where no float holds it."""
    if math.isinf(number := float(text)):
        raise BadJson(f"the number {text[:40]} is too large")
    return number


def _no_number(constant: str) -> None:
    raise BadJson(f"{constant} is no number of JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=finite, parse_constant=_no_number)
