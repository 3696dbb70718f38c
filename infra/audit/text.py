"""Values of messages as text for a person."""

import base64
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any


def short(kind: str) -> str:
    """A kind without its owner and version: `model-replied` for `hansard.gateway.model-replied.v1`."""
    parts = kind.split(".")
    return parts[-2] if len(parts) > 2 else kind


def money(value: object) -> Decimal:
    """Reads a cost, which messages carry as a string; 0 if there is none."""
    try:
        return Decimal(str(value or 0))
    except InvalidOperation:
        return Decimal(0)


def dollars(amount: Decimal) -> str:
    """`$0.0042`; empty for zero."""
    if not amount:
        return ""
    return f"${amount.quantize(Decimal('0.000001')).normalize():f}"


def counted(count: int, one: str, many: str = "") -> str:
    """`1 stream`, `2 streams`; `many` where the plural is not the word and an s."""
    return f"{count} {one if count == 1 else many or f'{one}s'}"


def one_line(text: object, width: int = 160) -> str:
    """Text of any length on one line, without control characters."""
    flat = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return flat if len(flat) <= width else flat[: width - 1] + "…"


def degraded(data: Mapping[str, Any]) -> tuple[str, ...]:
    """Why the answer in this message's data is worse than it should be, each reason on one line; empty where it is not."""
    reasons = data.get("degraded")
    return tuple(one_line(reason) for reason in reasons) if isinstance(reasons, list | tuple) else ()


def percent(value: object) -> str:
    """`85%` for 0.85; empty if it is not a number."""
    return f"{float(value):.0%}" if isinstance(value, int | float) else ""


def text_of(value: bytes | None) -> str:
    """Bytes as text if they are UTF-8, else in base64."""
    if value is None:
        return ""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return "base64:" + base64.b64encode(value).decode()
