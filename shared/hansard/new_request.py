"""What a request must be before it is sent: its fields checked, its body written. Each error is one sentence."""

import json
import math
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from pydantic import BaseModel

LIMIT = 256 * 1024  # bytes of a body, unless the deployment has another limit
_ID = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,512}\Z")


def valid_id(id: object) -> str:
    """The id. Raises ValueError."""
    if not isinstance(id, str) or not _ID.match(id):
        raise ValueError("`id` must be a string of 1 to 512 characters, with no control characters and no lone surrogates.")
    return id


def body(
    *,
    text: str | None,
    type: str | None,
    data: Mapping[str, Any] | None,
    plan: str | Mapping[str, Any] | BaseModel | None,
    architecture: str | None,
    deadline: datetime | timedelta | float | None,
    budget: Decimal | str | int | None,
) -> bytes:
    """The body of a request, as JSON. Raises ValueError."""
    if (text is None) == (type is None):
        raise ValueError("Give either `text` (a free request) or `type` with `data` (a typed one).")
    if data is not None and type is None:
        raise ValueError("`data` goes with `type`.")
    for name, value in (("text", text), ("type", type), ("architecture", architecture)):
        if value is not None and not isinstance(value, str):
            raise ValueError(f"`{name}` must be a string, not {_kind(value)}.")
    if data is not None and not isinstance(data, Mapping):
        raise ValueError(f"`data` must be a mapping, not {_kind(data)}.")
    given = {
        "text": text,
        "type": type,
        "data": None if data is None else dict(data),
        "plan": _plan(plan),
        "architecture": architecture,
        "deadline": _time(deadline),
        "budget": _money(budget),
    }
    written = {name: _written(name, value) for name, value in given.items() if value is not None}
    found = f"{{{', '.join(f'{json.dumps(name)}: {value}' for name, value in written.items())}}}".encode()
    if len(found) > (limit := _limit()):
        raise ValueError(
            f"The request has {len(found)} bytes; the limit is {limit}. "
            "Where the deployment has another limit, set HANSARD_MAX_REQUEST_BYTES here too."
        )
    return found


def _written(name: str, value: Any) -> str:
    """This field as JSON. Raises ValueError."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as refused:
        raise ValueError(f"`{name}` cannot be written as JSON: {refused}.") from None
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"`{name}` holds a lone surrogate, which is not text: UTF-8 cannot encode it.") from None
    return text


def _plan(given: object) -> Any:
    if given is None or isinstance(given, str):
        return given
    if isinstance(given, BaseModel):
        return given.model_dump(mode="json")
    if isinstance(given, Mapping):
        return dict(given)
    raise ValueError(f"`plan` is a name or a plan of your own, not {_kind(given)}.")


def _time(given: object) -> str | None:
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, datetime | timedelta | float | int):
        raise ValueError(f"`deadline` is a time, or the seconds from now, not {_kind(given)}.")
    if isinstance(given, datetime) and given.tzinfo is None:
        raise ValueError("`deadline` needs a time zone: datetime.now(UTC) + timedelta(minutes=5), or the seconds from now.")
    try:
        if isinstance(given, datetime):
            return _in_utc(given)
        if isinstance(given, float) and not math.isfinite(given):
            raise OverflowError
        later = given if isinstance(given, timedelta) else timedelta(seconds=given)
        return _in_utc(datetime.now(UTC) + later)
    except OverflowError:
        what = "in UTC" if isinstance(given, datetime) else "seconds from now"
        raise ValueError(f"`deadline` is no time that can be written: {given} {what}.") from None


def _in_utc(at: datetime) -> str:
    """As services write it, so that it can be signed. Raises OverflowError."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _money(given: object) -> str | None:
    if given is None:
        return None
    if isinstance(given, float | bool):
        raise ValueError("`budget` is a Decimal or a string: money is never a float.")
    if not isinstance(given, Decimal | str | int):
        raise ValueError(f"`budget` is a Decimal or a string, not {_kind(given)}.")
    try:
        fine = Decimal(given).is_finite() and Decimal(given) >= 0
    except InvalidOperation:
        fine = False
    if not fine:
        raise ValueError(f"`budget` must be an amount of US dollars, not {str(given)[:80]!r}.")
    return str(given)


def _kind(value: object) -> str:
    return f"{type(value).__name__}"


def _limit() -> int:
    """Bytes that a body may have, as the environment names it."""
    given = os.environ.get("HANSARD_MAX_REQUEST_BYTES", "")
    return int(given) if given.isdecimal() else LIMIT
