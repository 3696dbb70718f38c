"""Tax, formats and conversions of amounts of money."""

from copy import copy
from decimal import Decimal, localcontext
from typing import Annotated, Self

from babel import Locale
from pydantic import ConfigDict, Field, model_validator

from services.router.rules.exact import WIDE, NotNegative, Number, plain, rounded
from services.router.rules.locales import AnyCurrency, Currency, LocaleCode, places
from services.router.rules.rule import Data, Input, Rule


class Tax(Input):
    amount: NotNegative
    tax_rate: Annotated[NotNegative, Field(le=1, description="a fraction: 0.0825 is 8.25 %")] = Decimal("0.08")
    currency: Currency = "USD"


def calculate_tax(given: Tax) -> Data:
    """The tax on the amount as rounded to the currency's places, so that subtotal + tax is exactly the total."""
    digits = places(given.currency)
    subtotal = rounded(given.amount, digits)
    tax = rounded(WIDE.multiply(subtotal, given.tax_rate), digits)
    return {
        "subtotal": plain(subtotal),
        "tax": plain(tax),
        "total": plain(WIDE.add(subtotal, tax)),
        "tax_rate": plain(given.tax_rate),
        "currency": given.currency,
        "method": "arithmetic",
    }


class Amount(Input):
    amount: Number
    currency: Currency = "USD"
    locale: LocaleCode = "en_US"


def format_currency(given: Amount) -> Data:
    locale, digits = Locale.parse(given.locale), places(given.currency)
    pattern = copy(locale.currency_formats["standard"])
    pattern.frac_prec = (digits, digits)
    with localcontext(WIDE):
        text = pattern.apply(rounded(given.amount, digits), locale, currency=given.currency, currency_digits=False)
    return {
        "formatted": text,
        "currency": given.currency,
        "method": "locale_format",
    }


class Exchange(Input):
    """The request brings the rate: a rule does not know today's."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=False)
    amount: Number
    rate: Annotated[Number, Field(gt=0, description="units of the target for one of the source")]
    source: AnyCurrency = Field(alias="from")
    target: Currency = Field(alias="to")

    @model_validator(mode="after")
    def _one_for_one(self) -> Self:
        if self.source == self.target and self.rate != 1:
            raise ValueError(f"rate: {self.source} to {self.source} is one for one")
        return self


def convert_currency(given: Exchange) -> Data:
    value = rounded(WIDE.multiply(given.amount, given.rate), places(given.target))
    return {
        "amount": plain(given.amount),
        "from": given.source,
        "converted": plain(value),
        "to": given.target,
        "rate": plain(given.rate),
        "method": "arithmetic",
    }


CALCULATE_TAX = Rule(
    "calculate_tax",
    Tax,
    calculate_tax,
    lambda d: f"Subtotal {d['subtotal']} {d['currency']}, tax {d['tax']}, total {d['total']}.",
    version="2",
)
FORMAT_CURRENCY = Rule("format_currency", Amount, format_currency, lambda d: d["formatted"], version="2")
CONVERT_CURRENCY = Rule(
    "convert_currency",
    Exchange,
    convert_currency,
    lambda d: f"{d['amount']} {d['from']} is {d['converted']} {d['to']} at {d['rate']}.",
    version="2",
)
