"""Conversion of units of measure, calculated in Decimal."""

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


def convert_units(given: Measure) -> Data:
    """To 15 significant digits."""
    with localcontext(_PRECISE):
        import pint

        try:
            units = {name: _registry().parse_units(name) for name in (given.source, given.target)}
            found = _registry().Quantity(given.value, units[given.source]).to(units[given.target])
        except pint.DimensionalityError:
            raise Unfit(f"to: {given.source} and {given.target} do not measure the same thing") from None
        except (pint.PintError, AttributeError, TypeError, AssertionError):
            raise Unfit("from, to: is not a unit such as km or mile/hour") from None
        magnitude = Decimal(found.magnitude)
    return {
        "value": plain(given.value),
        "from": str(units[given.source]),
        "converted": plain(_SHOWN.normalize(magnitude)),
        "to": str(units[given.target]),
        "method": "unit_definition",
    }


CONVERT_UNITS = Rule(
    "convert_units",
    Measure,
    convert_units,
    lambda d: f"{d['value']} {d['from']} is {d['converted']} {d['to']}.",
)
