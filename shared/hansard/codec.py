"""A message as bytes and back: compact JSON in UTF-8, Decimals as strings.

If an object names a field twice, the last one counts, as in most JSON readers.
"""

from typing import TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from hansard.envelope import shown
from hansard.message import JSON_DEPTH, Message

Kind = TypeVar("Kind", bound=Message)

_SHOWN = 3  # errors of one body; a plan of 5,000 steps can have 10,000
_BOM = b"\xef\xbb\xbf"


class Invalid(ValueError):
    """The data does not match the schema of its kind. The text tells its sender which field and why."""


def encode(message: Message) -> bytes:
    """Encodes a message. Raises ValueError for a string that UTF-8 cannot encode: one with a lone surrogate."""
    try:
        return message.__pydantic_serializer__.to_json(message)
    except ValueError as bad:
        raise ValueError(f"{message.kind} cannot be written as JSON in UTF-8: {shown(str(bad), 200)}") from None


def decode(kind: type[Kind], data: bytes) -> Kind:
    """Decodes a message of this kind; ignores unknown fields. Raises Invalid, and no other error, for any bytes."""
    try:
        return kind.__pydantic_validator__.validate_json(data)  # type: ignore[no-any-return]
    except ValidationError as bad:
        raise Invalid(_in_short(bad, data)) from None


def check_read_again(message: Message, data: bytes) -> None:
    """Raises ValueError if its JSON is not the message that was encoded. A float that is NaN: JSON has none."""
    try:
        same = decode(type(message), data) == message
    except Invalid as invalid:
        raise ValueError(f"{message.kind} cannot be read again from its JSON: {invalid}") from None
    if not same:
        raise ValueError(f"{message.kind} comes back from its JSON as another message")


def _in_short(bad: ValidationError, data: bytes) -> str:
    if data.startswith(_BOM):
        return "the body begins with a byte order mark: send JSON in UTF-8 without one"
    if not data.strip():
        return "the body is empty: send a JSON object"
    errors = bad.errors(include_url=False, include_context=False)
    more = f"; and {len(errors) - _SHOWN} more" if len(errors) > _SHOWN else ""
    return "; ".join(_one(error) for error in errors[:_SHOWN]) + more


def _one(error: ErrorDetails) -> str:
    text = error["msg"].removeprefix("Value error, ").replace("Input should", "should", 1)
    if error["type"] == "json_invalid" and "recursion limit" in text:
        return f"the body is nested too deep: at most {JSON_DEPTH} levels of lists and objects in one value"
    if error["type"] == "json_invalid":
        return f"the body is not JSON: {text.removeprefix('Invalid JSON: ')}"
    at = "".join(_step(part) for part in error["loc"]).lstrip(".")
    given = error["input"]
    what = f", not {shown(repr(given), 80)}" if isinstance(given, str | int | float | bool | None) else ""
    return f"{at or 'the body'}: {shown(text, 300)}{what if error['type'] != 'missing' else ''}"


def _step(part: str | int) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    return "" if part.startswith("<") else f".{shown(part, 40)}"  # `<plan>`: pydantic's name of one of several types
