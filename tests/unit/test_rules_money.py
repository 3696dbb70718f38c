"""Money is calculated without float errors, and sums add up to the last cent."""

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.router.rules import RULES, Unfit
from services.router.rules.exact import exact

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
