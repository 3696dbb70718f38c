"""Locales and currencies by their standard codes."""

from typing import Annotated

from babel import Locale, UnknownLocaleError
from babel.numbers import get_currency_precision, is_currency
from pydantic import AfterValidator, Field


def _locale(code: str) -> str:
    try:
        return str(Locale.parse(code.replace("-", "_")))
    except (UnknownLocaleError, ValueError):
        raise ValueError("is not a known locale such as en_US") from None


def _currency(code: str) -> str:
    if not is_currency(code.upper()):
        raise ValueError("is not an ISO 4217 code such as USD")
    return code.upper()


LocaleCode = Annotated[str, Field(pattern=r"^[A-Za-z]{2,3}([_-][A-Za-z0-9]{2,8}){0,3}$"), AfterValidator(_locale)]
Currency = Annotated[str, Field(pattern=r"^[A-Za-z]{3}$"), AfterValidator(_currency)]
places = get_currency_precision  # of a currency, by CLDR: 2 for USD, 0 for JPY, 3 for KWD
