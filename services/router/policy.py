"""What the router decides by: data, with a version that every decision names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any

from pydantic import JsonValue

from contracts.plans import Plan
from contracts.requests import Architecture
from services.router.rules import RULES, Rule
from services.router.selection import TODAY
from shared.policy import version_of

VERSION = "3"  # of what the code decides: raise it with any change of a rule, a table or a text that goes out


@dataclass(frozen=True)
class Prices:
    """US dollars for a model's step: what is expected before, and what `statistics.prices` measured since."""

    known: Decimal = Decimal("0.003")
    unknown: Decimal = Decimal("0.005")
    measured: Mapping[str, Decimal] = field(default_factory=dict)

    def basis(self, handler: str) -> str:
        return "measured" if handler in self.measured else "expected"

    def of(self, handler: str, steps: int = 1, *, unknown: bool = False) -> Decimal:
        return self.measured.get(handler, (self.unknown if unknown else self.known) * steps)


@dataclass(frozen=True)
class Policy:
    rules: Mapping[str, Rule[Any]] = field(default_factory=lambda: RULES)
    plans: Mapping[str, Plan] = field(default_factory=dict)
    runs: frozenset[Architecture] = TODAY
    prices: Prices = field(default_factory=Prices)
    within: timedelta = timedelta(seconds=600)  # where the caller gives no deadline
    farthest: timedelta = timedelta(days=366)
    hurry: timedelta = timedelta(seconds=60)  # a deadline nearer than this makes a request urgent

    of_then: str = ""  # the version, where it is one of the past

    @cached_property
    def data(self) -> dict[str, JsonValue]:
        """All that settings, plans, users' rules and prices add to the code. What a rule does is code: its version is here."""
        return {
            "rules": {name: rule.version for name, rule in self.rules.items()},
            "plans": {name: plan.model_dump(mode="json") for name, plan in self.plans.items()},
            "runs": [*sorted(self.runs)],
            "prices": {
                "known": str(self.prices.known),
                "unknown": str(self.prices.unknown),
                "measured": {handler: str(price) for handler, price in self.prices.measured.items()},
            },
            "seconds": {name: getattr(self, name).total_seconds() for name in TIMES},
        }

    @cached_property
    def version(self) -> str:
        """The code's version, and a hash of the data."""
        return self.of_then or version_of(VERSION, self.data)


TIMES = ("within", "farthest", "hurry")


def policy_of_then(version: str, data: Mapping[str, Any], rules: Mapping[str, Rule[Any]]) -> Policy:
    """A policy from its data. Its rules are today's of the same names; one that is gone answers no more.

    Raises ValueError or LookupError for what is no policy today.
    """
    prices = data["prices"]
    return Policy(
        rules={name: rules[name] for name in data["rules"] if name in rules},
        plans={name: Plan.model_validate(plan) for name, plan in data["plans"].items()},
        runs=frozenset(data["runs"]),
        prices=Prices(
            Decimal(prices["known"]),
            Decimal(prices["unknown"]),
            {handler: Decimal(price) for handler, price in prices["measured"].items()},
        ),
        **{name: timedelta(seconds=data["seconds"][name]) for name in TIMES},
        of_then=version,
    )
