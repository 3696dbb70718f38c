"""Locales and currencies by their standard codes."""

from typing import Annotated

from babel import Locale, UnknownLocaleError, parse_locale
from iso4217 import raw_table
from pydantic import AfterValidator, Field


def _locale(code: str) -> str:
    try:
        language, territory, *_ = parse_locale(code.replace("-", "_"))
        found = Locale.parse(code.replace("-", "_"))
    except (UnknownLocaleError, ValueError):
        raise ValueError("is not a known locale such as en_US") from None
    if language == "und" or (territory and territory != found.territory):  # Babel takes the likeliest one instead
        raise ValueError("is not a known locale such as en_US")
    return str(found)


def _currency(code: str) -> str:
    if code.upper() not in MINOR_UNITS:
        raise ValueError("is not a current ISO 4217 code such as USD")
    return code.upper()


def _with_minor_units(code: str) -> str:
    if not MINOR_UNITS[code].isdigit():
        raise ValueError("has no minor unit in ISO 4217, so that an amount of it cannot be rounded")
    return code


def places(currency: str) -> int:
    """Decimal places of an amount, by ISO 4217: 2 for USD, 0 for JPY, 3 for IQD. Those of CLDR are for display, and differ."""
    return int(MINOR_UNITS[currency])


MINOR_UNITS = {str(code): str(row["CcyMnrUnts"]) for code, row in raw_table.items() if code}
LocaleCode = Annotated[str, Field(pattern=r"^[A-Za-z]{2,3}([_-][A-Za-z0-9]{2,8}){0,3}$"), AfterValidator(_locale)]
AnyCurrency = Annotated[str, Field(pattern=r"^[A-Za-z]{3}$"), AfterValidator(_currency)]
Currency = Annotated[AnyCurrency, AfterValidator(_with_minor_units)]
