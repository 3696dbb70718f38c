"""Conversion of units of measure, calculated in Decimal."""

import re
from collections.abc import Iterator, Mapping
from decimal import Context, Decimal, localcontext
from functools import cache
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from services.router.rules.exact import Number, plain
from services.router.rules.rule import Data, Input, Rule, Unfit

_PRECISE = Context(prec=34)
_SHOWN = Context(prec=15)

# Bounded on purpose: pint evaluates a unit as an expression, and would calculate 10**10**9.
Unit = Annotated[
    str,
    Field(pattern=r"^[A-Za-zµμΩ°Å_]{1,40}([\^²³][123]?)?([*/][A-Za-zµμΩ°Å_]{1,40}([\^²³][123]?)?){0,3}$"),
]
SEVERAL: Mapping[str, str] = {  # what is not the same everywhere: its other names, which are
    "ton": "short_ton, long_ton or metric_ton",
    "hundredweight": "US_hundredweight or UK_hundredweight",
    "gallon": "US_liquid_gallon or imperial_gallon",
    "quart": "US_liquid_quart or imperial_quart",
    "pint": "US_pint or imperial_pint",
    "gill": "US_liquid_gill or imperial_gill",
    "fluid_ounce": "US_fluid_ounce or imperial_fluid_ounce",
    "cup": "imperial_cup or milliliter",
    "tablespoon": "milliliter",
    "teaspoon": "milliliter",
    "barrel": "oil_barrel or imperial_barrel",
    "bushel": "imperial_bushel or liter",
    "peck": "imperial_peck or liter",
    "horsepower": "UK_horsepower or metric_horsepower",
}
_QUALIFIED = re.compile(r"(US|UK|imperial|short|long)_")
CALENDAR = frozenset({"month", "year", "century", "millennium"})  # have no fixed number of days
_SCALES = {"degree_Celsius", "degree_Fahrenheit", "degree_Reaumur"}


@cache
def _registry() -> Any:
    """Loaded when the first request needs it: loading takes half a second."""
    import pint

    return pint.UnitRegistry(non_int_type=Decimal)


class Measure(Input):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=False)
    value: Number
    source: Unit = Field(alias="from")
    target: Unit = Field(alias="to")


def _names(unit: str) -> Iterator[str]:
    """The names of its parts. Raises Unfit for one that could mean several units."""
    for written in re.split(r"[*/]", re.sub(r"[\^²³123]", "", unit)):
        prefix, name, _ = _registry().parse_unit_name(written)[0]
        if name in SEVERAL and not _QUALIFIED.match(written.removeprefix(prefix)):
            raise Unfit(f"from, to: {written} means several units, write {SEVERAL[name]}")
        by_letter = prefix and not written.startswith(prefix) and name != _registry().get_symbol(name)
        if by_letter and written.removesuffix("s").endswith(name):  # a pinch is no picoinch
            raise Unfit(f"from, to: {written} would be {prefix}{name}, write that if it is meant")
        yield name


def _shown(written: str, unit: Any) -> str:
    """A unit that means several is shown as it was written: that says which is meant."""
    return written if _QUALIFIED.search(written) else str(unit)


def _check(given: Measure) -> None:
    source, target = (bool(CALENDAR.intersection(_names(unit))) for unit in (given.source, given.target))
    if source is not target:
        raise Unfit("from, to: months and years have no fixed number of days")


def convert_units(given: Measure) -> Data:
    """To 15 significant digits."""
    with localcontext(_PRECISE):
        import pint

        try:
            _check(given)
            units = {name: _registry().parse_units(name) for name in (given.source, given.target)}
            found = _registry().Quantity(given.value, units[given.source]).to(units[given.target])
        except pint.DimensionalityError:
            raise Unfit(f"to: {given.source} and {given.target} do not measure the same thing") from None
        except (pint.PintError, AttributeError, TypeError, AssertionError, LookupError):
            raise Unfit("from, to: is not a unit such as km or mile/hour") from None
        if _SCALES.intersection(map(str, units.values())) and found.to("kelvin").magnitude < 0:
            raise Unfit("value: lies below absolute zero")
        magnitude = Decimal(found.magnitude)
    return {
        "value": plain(given.value),
        "from": _shown(given.source, units[given.source]),
        "converted": plain(_SHOWN.normalize(magnitude)),
        "to": _shown(given.target, units[given.target]),
        "method": "unit_definition",
    }


CONVERT_UNITS = Rule(
    "convert_units",
    Measure,
    convert_units,
    lambda d: f"{d['value']} {d['from']} is {d['converted']} {d['to']}.",
    version="2",
)
