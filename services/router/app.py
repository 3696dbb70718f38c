"""What runs: the decider with its rules, plans and prices."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from decimal import Decimal
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from contracts.control import CancelWorkflow
from contracts.dead_letters import DeadLettered
from contracts.requests import SubmitRequest
from services.router import plans
from services.router.decider import Case, ends, router
from services.router.kinds import MODEL_KINDS
from services.router.policy import Policy, Prices
from services.router.rules import RULES, Rule
from shared.service import Service
from shared.settings import Settings


class BadRule(ValueError):
    """An entry point in `hansard.rules` that cannot be used. The text names it and says why."""


def build(settings: Settings, measured: Mapping[str, Decimal] | None = None) -> Service[Case]:
    """`measured`: US dollars by handler, from `statistics.prices`. Raises BadPlan, BadRule, OSError."""
    known = plans.load(plans.SHIPPED) | (plans.load(settings.plans) if settings.plans else {})
    policy = Policy(
        rules=rules(entry_points(group="hansard.rules")),
        plans=known,
        prices=Prices(measured=measured or {}),
        within=timedelta(seconds=settings.workflow_seconds),
    )
    return Service(
        name="router",
        decider=router(policy),
        hears={
            SubmitRequest: lambda _: "",
            CancelWorkflow: lambda _: "",
            DeadLettered: lambda dead: "" if ends(dead) else None,
        },
    )


def rules(added: Iterable[EntryPoint]) -> dict[str, Rule[Any]]:
    """Ours and those of installed packages. A name that is taken is refused: two rules never compete."""
    found = dict(RULES)
    for point in added:
        rule = point.load()
        if not isinstance(rule, Rule):
            raise BadRule(f"{point.value} is not a Rule")
        if rule.name in found or rule.name in MODEL_KINDS:
            raise BadRule(f"{point.value}: the name {rule.name!r} is taken")
        found[rule.name] = rule
    return found
