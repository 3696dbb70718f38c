"""What the router decides by: data, with a version that every decision names."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any

from contracts.plans import Plan
from contracts.requests import Architecture
from services.router.rules import RULES, Rule
from services.router.selection import TODAY

VERSION = "1"  # of what the code decides: raise it with any change of a rule, a table or a text that goes out


@dataclass(frozen=True)
class Prices:
    """US dollars for a model's step: what is expected before, and what `statistics.prices` measured since."""

    known: Decimal = Decimal("0.003")
    unknown: Decimal = Decimal("0.005")
    measured: Mapping[str, Decimal] = field(default_factory=dict)

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

    @cached_property
    def version(self) -> str:
        """The code's version, and a hash of all that settings, plans and users' rules add to it."""
        data = {
            "rules": {name: rule.version for name, rule in self.rules.items()},
            "plans": {name: plan.model_dump(mode="json") for name, plan in self.plans.items()},
            "runs": sorted(self.runs),
            "prices": [self.prices.known, self.prices.unknown, sorted(self.prices.measured.items())],
            "times": [self.within, self.farthest, self.hurry],
        }
        canonical = json.dumps(data, sort_keys=True, default=str).encode()
        return f"{VERSION}-{hashlib.sha256(canonical).hexdigest()[:12]}"
