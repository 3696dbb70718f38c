"""Money is calculated without float errors, and sums add up to the last cent."""

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest
from babel.numbers import get_currency_precision, get_currency_symbol, is_currency
from hypothesis import given
from hypothesis import strategies as st

from services.router.rules import RULES, Unfit
from services.router.rules.exact import exact
from services.router.rules.locales import MINOR_UNITS, places

amounts = st.decimals(0, 10**12, places=2)
rates = st.decimals(0, 1, places=4)


def answer(rule: str, /, **data: Any) -> dict[str, Any]:
    return RULES[rule].apply(data)[0]


@given(amounts, rates)
def test_the_total_is_the_subtotal_and_the_tax(amount: Decimal, rate: Decimal) -> None:
    found = answer("calculate_tax", amount=str(amount), tax_rate=str(rate))
    assert Decimal(found["total"]) == Decimal(found["subtotal"]) + Decimal(found["tax"])
    assert Decimal(found["tax"]) == (amount * rate).quantize(Decimal("0.01"), ROUND_HALF_UP)


@given(amounts, rates)
def test_a_json_number_is_taxed_like_the_same_number_in_a_string(amount: Decimal, rate: Decimal) -> None:
    written = answer("calculate_tax", amount=str(amount), tax_rate=str(rate))
    assert answer("calculate_tax", amount=float(amount), tax_rate=float(rate)) == written | {
        "tax_rate": answer("calculate_tax", amount=0, tax_rate=float(rate))["tax_rate"]
    }


@pytest.mark.parametrize(
    ("amount", "rate", "tax"),
    [
        (100, None, "8.00"),
        (1.005, 1, "1.01"),  # as binary it lies under the half
        ("0.0625", 0.08, "0.00"),
        (2.5, 0.01, "0.03"),
        (0, 0.08, "0.00"),
        ("-0", 0.08, "0.00"),
    ],
)
def test_tax_is_eight_percent_by_default_and_rounds_half_up(amount: Any, rate: Any, tax: str) -> None:
    data = {"amount": amount} | ({} if rate is None else {"tax_rate": rate})
    assert answer("calculate_tax", **data)["tax"] == tax


@pytest.mark.parametrize(("currency", "tax"), [("JPY", "8"), ("KWD", "8.000"), ("usd", "8.00")])
def test_tax_has_the_places_of_its_currency(currency: str, tax: str) -> None:
    assert answer("calculate_tax", amount=100, currency=currency)["tax"] == tax


@pytest.mark.parametrize(
    ("data", "formatted"),
    [
        ({"amount": 1234567.89}, "$1,234,567.89"),
        ({"amount": "1234567.89", "currency": "EUR"}, "€1,234,567.89"),
        ({"amount": 1234567.89, "currency": "GBP"}, "£1,234,567.89"),
        ({"amount": 1234567.5, "currency": "JPY"}, "¥1,234,568"),
        ({"amount": 1234567.89, "currency": "CHF"}, "CHF1,234,567.89"),
        ({"amount": -5}, "-$5.00"),
        ({"amount": 0.005}, "$0.01"),
        ({"amount": 1.015}, "$1.02"),
        ({"amount": 1234.5, "currency": "EUR", "locale": "de_DE"}, "1.234,50\xa0€"),
    ],
)
def test_amounts_are_formatted_by_their_locale(data: dict[str, Any], formatted: str) -> None:
    assert answer("format_currency", **data)["formatted"] == formatted


def test_an_amount_is_converted_at_the_given_rate() -> None:
    found = answer("convert_currency", amount="10.005", rate="1", **{"from": "USD", "to": "EUR"})
    assert found["converted"] == "10.01"
    assert answer("convert_currency", amount=100, rate=149.835, **{"from": "USD", "to": "JPY"})["converted"] == "14984"
    with pytest.raises(Unfit, match="rate"):
        answer("convert_currency", amount=100, **{"from": "USD", "to": "JPY"})
    with pytest.raises(Unfit, match="rate"):
        answer("convert_currency", amount=100, rate=0, **{"from": "USD", "to": "JPY"})


@given(st.integers(-(10**12), 10**12), st.integers(0, 4))
def test_a_number_is_read_digit_by_digit(units: int, places: int) -> None:
    written = Decimal(units).scaleb(-places)
    assert exact(str(written)) == exact(float(written)) == written


@pytest.mark.parametrize("amount", [12345678901234567.89, 10.0**13])
def test_a_json_number_too_large_for_exact_cents_is_refused_and_a_string_is_not(amount: float) -> None:
    with pytest.raises(Unfit, match="as a string"):
        answer("format_currency", amount=amount)
    assert answer("format_currency", amount="12345678901234.89")["formatted"] == "$12,345,678,901,234.89"


@pytest.mark.parametrize("data", [{"amount": -1}, {"tax_rate": 8.25}, {"tax_rate": -0.1}, {"currency": "XYZ"}])
def test_an_impossible_amount_or_rate_of_tax_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(Unfit, match=next(iter(data))):
        answer("calculate_tax", **({"amount": 1} | data))


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        (True, "must be a number"),
        ("9" * 65, "must be a number"),
        ("1_000", "must be a number"),
        ("٣", "must be a number"),
        ("NaN", "must be a number"),
        (float("inf"), "finite"),
        (2**128, "too large"),
        ("1e999", "10^15"),
        ("1e-999", "10^15"),
        ("1." + "1" * 28, "28 digits"),
    ],
)
def test_a_text_that_is_not_a_number_or_is_too_large_is_refused(amount: Any, words: str) -> None:
    with pytest.raises(Unfit) as problem:
        answer("calculate_tax", amount=amount)
    assert str(problem.value).startswith("amount: ")
    assert words in str(problem.value)


ISO_4217 = {  # those without two decimal places, from the standard's list one
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
NO_MINOR_UNIT = "XAG XAU XBA XBB XBC XBD XDR XPD XPT XSU XTS XUA XXX"
DISPLAYED_WITHOUT = "AFN ALL IRR KPW LAK LBP MGA MMK RSD SOS SYP YER"  # by CLDR: their small coins are gone
PLACES = {currency: places for places, currencies in ISO_4217.items() for currency in currencies.split()}


def test_the_places_of_every_currency_are_those_of_iso_4217() -> None:
    """Against CLDR's, an independent list, and the standard's own exceptions."""
    money = {currency: places(currency) for currency in MINOR_UNITS if currency not in NO_MINOR_UNIT.split()}
    assert {currency: found for currency, found in money.items() if found != 2} == PLACES
    differ = {currency for currency, found in money.items() if found != get_currency_precision(currency)}
    assert differ == {*DISPLAYED_WITHOUT.split(), "IQD"}
    assert {currency for currency in money if not is_currency(currency)} == {"XAD"}
    assert {currency for currency, units in MINOR_UNITS.items() if units == "N.A."} == {*NO_MINOR_UNIT.split()}


@pytest.mark.parametrize(
    ("amount", "rate", "currency", "subtotal", "tax", "total"),
    [
        ("10.555", "0.05", "IQD", "10.555", "0.528", "11.083"),
        ("99.50", "0.20", "RSD", "99.50", "19.90", "119.40"),
        ("99.99", "0.1", "MGA", "99.99", "10.00", "109.99"),
        ("99.99", "0.1", "LBP", "99.99", "10.00", "109.99"),
        ("99.5", "0.1", "ISK", "100", "10", "110"),
        ("1.00005", "0.5", "CLF", "1.0001", "0.5001", "1.5002"),
        ("12.3456", "0.22", "UYW", "12.3456", "2.7160", "15.0616"),
        ("10.005", "0.1", "CHE", "10.01", "1.00", "11.01"),
        ("10", "0.1", "BOV", "10.00", "1.00", "11.00"),
        ("10.005", "0.07", "TND", "10.005", "0.700", "10.705"),
    ],
)
def test_tax_is_rounded_to_minor_units(amount: str, rate: str, currency: str, subtotal: str, tax: str, total: str) -> None:
    found = answer("calculate_tax", amount=amount, tax_rate=rate, currency=currency)
    assert (found["subtotal"], found["tax"], found["total"]) == (subtotal, tax, total)


@pytest.mark.parametrize(
    ("amount", "currency", "locale", "formatted"),
    [
        ("1234.5", "RSD", "en_US", "RSD1,234.50"),
        ("1234.5678", "IQD", "en_US", "IQD1,234.568"),
        ("1234.5", "CLF", "en_US", "CLF1,234.5000"),
        ("1234.5", "MGA", "fr_FR", "1\u202f234,50\xa0MGA"),
        ("1234.5", "ISK", "de_DE", "1.235\xa0ISK"),
        ("-1234.5", "CHF", "de_CH", "CHF-1’234.50"),
    ],
)
def test_an_amount_is_shown_with_the_minor_units_of_its_currency(amount: str, currency: str, locale: str, formatted: str) -> None:
    assert answer("format_currency", amount=amount, currency=currency, locale=locale)["formatted"] == formatted


@given(st.sampled_from(sorted({*MINOR_UNITS} - {*NO_MINOR_UNIT.split()})), st.decimals(-(10**9), 10**9, places=6))
def test_the_digits_that_are_shown_are_those_of_the_rounded_amount(currency: str, amount: Decimal) -> None:
    shown = answer("format_currency", amount=str(amount), currency=currency)["formatted"]
    number = shown.replace(get_currency_symbol(currency, "en_US"), "")
    digits = "".join(char for char in number if char.isdigit() or char in ".-")
    expected = amount.quantize(Decimal(1).scaleb(-places(currency)), ROUND_HALF_UP)
    assert digits == (f"{expected:f}" if expected else f"{abs(expected):f}")


@pytest.mark.parametrize("amount", ["-0.004", "-0.00", "-0", -0.0, -0.001])
def test_what_is_rounded_to_nothing_has_no_sign(amount: Any) -> None:
    assert answer("format_currency", amount=amount)["formatted"] == "$0.00"
    assert answer("format_currency", amount=amount, currency="JPY", locale="de_DE")["formatted"] == "0\xa0¥"
    converted = answer("convert_currency", amount=amount, rate="0.9", **{"from": "USD", "to": "EUR"})
    assert converted["converted"] == "0.00"
    if exact(amount) == 0:
        assert answer("calculate_tax", amount=amount)["total"] == "0.00"


@pytest.mark.parametrize("currency", [*NO_MINOR_UNIT.split(), "DEM", "XYZ", "US", "USDT", "ÜSD"])
def test_an_amount_of_what_has_no_minor_unit_is_not_rounded(currency: str) -> None:
    for rule in ("calculate_tax", "format_currency"):
        with pytest.raises(Unfit, match=r"^currency: "):
            answer(rule, amount=1, currency=currency)
    with pytest.raises(Unfit, match=r"^to: "):
        answer("convert_currency", amount=1, rate=1, **{"from": "USD", "to": currency})


def test_a_rate_from_a_currency_to_itself_is_one() -> None:
    assert answer("convert_currency", amount=1, rate="1.0", **{"from": "USD", "to": "usd"})["converted"] == "1.00"
    with pytest.raises(Unfit, match="one for one"):
        answer("convert_currency", amount=1, rate="1.1", **{"from": "USD", "to": "USD"})
    assert answer("convert_currency", amount=2, rate="2000", **{"from": "XAU", "to": "USD"})["converted"] == "4000.00"
