"""The router's policy: the data that it decides by, under a version that every decision names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any

from pydantic import JsonValue

from contracts.plans import Plan
from contracts.requests import Architecture
from hansard.policy import version_of
from services.router.rules import RULES, Rule
from services.router.selection import AGENTS, TODAY
from shared.roles import Routing, Routings

VERSION = "5"  # of what the code decides: raise it with any change of a rule, a table or a text that goes out


@dataclass(frozen=True)
class Prices:
    """US dollars. `known`, `unknown`: expected for a model's step, where the type names its handler and where it does not.
    `measured`: for a request, by handler, from `statistics.prices`."""

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
    agents: Routings = field(default_factory=lambda: AGENTS)
    runs: frozenset[Architecture] = TODAY
    prices: Prices = field(default_factory=Prices)
    within: timedelta = timedelta(seconds=600)  # where the caller gives no deadline
    farthest: timedelta = timedelta(days=366)
    hurry: timedelta = timedelta(seconds=60)  # a deadline nearer than this makes a request urgent
    recorded_version: str = ""  # set where the policy was made from recorded data

    @cached_property
    def data(self) -> dict[str, JsonValue]:
        """All that settings, plans, roles, users' rules and prices add to the code. A rule is code: here is its version."""
        return {
            "rules": {name: rule.version for name, rule in self.rules.items()},
            "plans": {name: plan.model_dump(mode="json") for name, plan in self.plans.items()},
            "agents": [[name, agent.model_dump(mode="json")] for name, agent in self.agents.items()],  # their order counts
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
        return self.recorded_version or version_of(VERSION, self.data)


TIMES = ("within", "farthest", "hurry")


def recorded_policy(version: str, data: Mapping[str, Any], rules: Mapping[str, Rule[Any]]) -> Policy:
    """A policy from its recorded data. Its rules are today's of the same names; a rule that is gone answers nothing.

    Raises ValueError or LookupError for data that this code cannot decide by.
    """
    prices = data["prices"]
    return Policy(
        rules={name: rules[name] for name in data["rules"] if name in rules},
        plans={name: Plan.model_validate(plan) for name, plan in data["plans"].items()},
        agents={name: Routing.model_validate(agent) for name, agent in data["agents"]},
        runs=frozenset(data["runs"]),
        prices=Prices(
            Decimal(prices["known"]),
            Decimal(prices["unknown"]),
            {handler: Decimal(price) for handler, price in prices["measured"].items()},
        ),
        **{name: timedelta(seconds=data["seconds"][name]) for name in TIMES},
        recorded_version=version,
    )
