"""The rules: handlers that need no model. They are pure, cost nothing and always give the same answer to the same data.

To add a rule of your own, make a `Rule` in your package (see `services.router.rules.rule`) and name it in its `pyproject.toml`.
The router finds it when it starts, and the rule answers every request of that `type`:

    [project.entry-points."hansard.rules"]
    loyalty_points = "my_package.rules:LOYALTY_POINTS"
"""

from collections.abc import Mapping
from typing import Any

from services.router.rules.access import CHECK_ACCESS
from services.router.rules.choice import MENU_CHOICE, ROUTE_BY_KEYWORD
from services.router.rules.contact import VALIDATE_EMAIL, VALIDATE_PHONE
from services.router.rules.dates import FORMAT_DATE
from services.router.rules.hours import CHECK_BUSINESS_HOURS
from services.router.rules.inventory import COUNT_INVENTORY
from services.router.rules.money import CALCULATE_TAX, CONVERT_CURRENCY, FORMAT_CURRENCY
from services.router.rules.records import DETECT_DUPLICATE, JSON_TO_CSV, REQUIRED_FIELDS
from services.router.rules.rule import Rule, Unfit
from services.router.rules.units import CONVERT_UNITS

RULES: Mapping[str, Rule[Any]] = {
    rule.name: rule
    for rule in (
        VALIDATE_EMAIL,
        CALCULATE_TAX,
        FORMAT_CURRENCY,
        CHECK_BUSINESS_HOURS,
        ROUTE_BY_KEYWORD,
        VALIDATE_PHONE,
        REQUIRED_FIELDS,
        MENU_CHOICE,
        CONVERT_UNITS,
        FORMAT_DATE,
        CONVERT_CURRENCY,
        CHECK_ACCESS,
        DETECT_DUPLICATE,
        JSON_TO_CSV,
        COUNT_INVENTORY,
    )
}

__all__ = ["RULES", "Rule", "Unfit"]
