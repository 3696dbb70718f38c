"""Numbers exactly as they were written. Nothing here calculates with a float."""

import math
import re
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

WIDE = Context(prec=60)  # exact for every product of two bounded numbers
_WRITTEN = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_CENTS_END = 10.0**13  # from here on a float cannot represent every cent


def exact(value: object) -> Decimal:
    """A number from JSON, or a string of one, digit for digit. Raises ValueError."""
    if isinstance(value, Decimal):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        if value.bit_length() > 128:
            raise ValueError("is too large")
        return Decimal(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("must be a finite number")
        if abs(value) >= _CENTS_END:
            raise ValueError("is too large for a JSON number to be exact: send it as a string")
        return Decimal(repr(value))
    if isinstance(value, str) and len(value) <= 64 and _WRITTEN.fullmatch(value.strip()):
        return Decimal(value.strip())
    raise ValueError("must be a number, or a string such as '1234.56'")


def bounded(value: Decimal) -> Decimal:
    if value and not -13 < value.adjusted() < 15:
        raise ValueError("must lie under 10^15 and, where it is not 0, over 10^-13")
    if len(value.as_tuple().digits) > 28:
        raise ValueError("has more than 28 digits")
    return value


def whole(value: object) -> int:
    number = bounded(exact(value))
    if number != number.to_integral_value():
        raise ValueError("must be a whole number")
    return int(number)


def rounded(value: Decimal, places: int) -> Decimal:
    """To so many decimal places; half rounds away from zero, as tills do. What is rounded to nothing has no sign."""
    found = value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP, WIDE)
    return found if found else abs(found)


def plain(value: Decimal) -> str:
    """Written without an exponent; zero without a sign."""
    return format(value if value else abs(value), "f")


Number = Annotated[Decimal, BeforeValidator(exact), AfterValidator(bounded)]
NotNegative = Annotated[Number, Field(ge=0)]
Count = Annotated[int, BeforeValidator(whole), Field(ge=0)]
Hour = Annotated[int, BeforeValidator(whole), Field(ge=0, le=24)]
