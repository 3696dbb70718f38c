"""Units are converted exactly, and only where a name means one unit."""

from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.router.rules import RULES, Unfit

EXACT = {  # in metres, kilograms, cubic metres, seconds, joules: as defined in 1959 and 1985, and by the SI
    "length": {"m": "1", "km": "1000", "mm": "0.001", "inch": "0.0254", "foot": "0.3048", "yard": "0.9144", "mile": "1609.344"},
    "mass": {"kg": "1", "g": "0.001", "metric_ton": "1000", "pound": "0.45359237", "ounce": "0.028349523125", "mg": "0.000001"},
    "volume": {"liter": "0.001", "mL": "0.000001", "imperial_gallon": "0.00454609", "US_liquid_gallon": "0.003785411784"},
    "time": {"second": "1", "minute": "60", "hour": "3600", "day": "86400", "week": "604800", "ms": "0.001"},
    "energy": {"joule": "1", "kWh": "3600000", "kcal": "4184", "kJ": "1000"},
}


def answer(**data: Any) -> dict[str, Any]:
    return RULES["convert_units"].apply(data)[0]


def unfit(**data: Any) -> str:
    with pytest.raises(Unfit) as problem:
        answer(**data)
    return str(problem.value)


@pytest.mark.parametrize(
    ("value", "source", "target", "converted"),
    [
        (5, "km", "mile", "3.10685596118667"),
        ("100", "degC", "degF", "212"),
        (-40, "degF", "degC", "-40"),
        (1, "inch", "cm", "2.54"),
        (1, "US_liquid_gallon", "liter", "3.785411784"),
        ("60", "mile/hour", "km/hour", "96.5606400".rstrip("0")),
        (1, "m^2", "cm^2", "10000"),
        (0.1, "m", "mm", "100"),
    ],
)
def test_units_are_converted_in_decimal(value: Any, source: str, target: str, converted: str) -> None:
    given = answer(value=value, **{"from": source, "to": target})
    assert given["converted"] == converted


def test_a_conversion_does_not_depend_on_who_calls() -> None:
    with localcontext(prec=4):
        assert answer(value="12345.678", **{"from": "km", "to": "m"})["converted"] == "12345678"


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("kg", "m"),
        ("blorp", "m"),
        ("m**9", "m"),
        ("10**10**9", "m"),
        ("m", ""),
        ("__import__", "m"),
        ("degC", "degC/m"),
        ("_", "m"),
    ],
)
def test_an_unknown_unit_and_a_unit_of_another_measure_are_refused(source: str, target: str) -> None:
    assert unfit(value=1, **{"from": source, "to": target})


@given(st.decimals(-(10**6), 10**6, places=3), st.data())
def test_a_conversion_is_that_of_exact_fractions(value: Decimal, data: st.DataObject) -> None:
    units = EXACT[data.draw(st.sampled_from(sorted(EXACT)))]
    source, target = (data.draw(st.sampled_from(sorted(units))) for _ in "ab")
    exact = Fraction(value) * Fraction(units[source]) / Fraction(units[target])
    found = Fraction(answer(value=str(value), **{"from": source, "to": target})["converted"])
    assert abs(found - exact) <= abs(exact) * Fraction(5, 10**15)


@given(st.decimals(-273, 10**6, places=2))
def test_degrees_are_those_of_the_formula(celsius: Decimal) -> None:
    found = answer(value=str(celsius), **{"from": "degC", "to": "degF"})["converted"]
    assert Fraction(found) == Fraction(celsius) * 9 / 5 + 32


@pytest.mark.parametrize(
    "name",
    [
        *(
            "ton",
            "tons",
            "kton",
            "gallon",
            "gal",
            "quart",
            "qt",
            "pint",
            "pt",
            "fluid_ounce",
            "floz",
            "cup",
            "gill",
            "barrel",
            "bbl",
        ),
        *("hundredweight", "cwt", "bushel", "peck", "tablespoon", "tbsp", "teaspoon", "tsp", "horsepower", "hp"),
    ],
)
def test_a_unit_that_is_not_the_same_everywhere_is_refused_with_the_names_of_those_it_could_be(name: str) -> None:
    other = {"ton": "kg", "kton": "kg", "tons": "kg", "cwt": "kg", "hundredweight": "kg", "hp": "W", "horsepower": "W"}.get(
        name, "l"
    )
    problem = unfit(value=1, **{"from": name, "to": other})
    for meant in problem.partition("write ")[2].replace(",", " or ").split(" or "):
        assert answer(value=1, **{"from": meant.strip(), "to": other})["from"]


@pytest.mark.parametrize(
    ("name", "other", "converted"),
    [
        ("short_ton", "kg", "907.18474"),
        ("long_ton", "kg", "1016.0469088"),
        ("metric_ton", "kg", "1000"),
        ("US_liquid_gallon", "l", "3.785411784"),
        ("imperial_gallon", "l", "4.54609"),
        ("imperial_pint", "ml", "568.26125"),
        ("oil_barrel", "l", "158.987294928"),
        ("metric_horsepower", "W", "735.49875"),
    ],
)
def test_a_name_that_says_which_unit_is_meant_is_shown_with_the_answer(name: str, other: str, converted: str) -> None:
    found = answer(value=1, **{"from": name, "to": other})
    assert (found["from"], found["converted"]) == (name, converted)


@pytest.mark.parametrize(("source", "target"), [("month", "day"), ("year", "hour"), ("km/year", "m/s"), ("day", "century")])
def test_months_and_years_have_no_fixed_number_of_days(source: str, target: str) -> None:
    assert "no fixed number of days" in unfit(value=1, **{"from": source, "to": target})
    assert answer(value=5, **{"from": "year", "to": "month"})["converted"] == "60"


@pytest.mark.parametrize("name", ["pinch", "kfoot", "mmile"])
def test_a_word_that_begins_with_the_letter_of_a_prefix_is_no_unit(name: str) -> None:
    assert unfit(value=1, **{"from": name, "to": "m"}).startswith("from, to: ")


@pytest.mark.parametrize(
    ("value", "source", "target"), [(-300, "degC", "degF"), (-300, "degC", "degC"), ("-459.68", "degF", "K"), (-1, "K", "degC")]
)
def test_no_temperature_lies_below_absolute_zero(value: Any, source: str, target: str) -> None:
    assert unfit(value=value, **{"from": source, "to": target}) == "value: lies below absolute zero"


def test_a_difference_of_temperatures_may_be_negative() -> None:
    assert answer(value=-300, **{"from": "delta_degC", "to": "delta_degF"})["converted"] == "-540"


def test_zero_has_no_sign() -> None:
    found = answer(value="-0.0", **{"from": "m", "to": "km"})
    assert not found["converted"].startswith("-") and not found["value"].startswith("-")
