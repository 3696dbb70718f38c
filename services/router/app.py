"""The router as a service: its decider with the rules, plans, roles and prices of the settings."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from contracts.control import CancelWorkflow
from contracts.dead_letters import DeadLettered
from contracts.requests import SubmitRequest
from contracts.results import WorkflowCompleted
from contracts.router import MoveDeadline, RequestRouted
from hansard.codec import Invalid, decode
from hansard.message import Message
from hansard.policy import StoredPolicy
from hansard.service import Service
from services.router import plans
from services.router.decider import WorkflowState, is_request, router, set_aside
from services.router.kinds import MODEL_KINDS
from services.router.policy import Policy, Prices, recorded_policy
from services.router.rules import RULES, Rule
from services.router.statistics import prices, routed_workflows
from shared.eventstore.model import StoredMessage
from shared.eventstore.ports import MessageReader
from shared.roles import catalogue, routings
from shared.settings import Settings

MEASURED = 5_000  # the newest requests and results on the record, from which prices are measured
PRICED: tuple[type[Message], ...] = (RequestRouted, WorkflowCompleted)


class BadRule(ValueError):
    """An entry point in `hansard.rules` that cannot be used. The text names it and says why."""


def build(settings: Settings, measured: Mapping[str, Decimal] | None = None) -> Service[WorkflowState]:
    """`measured`: US dollars for a request, by handler. Raises BadPlan, BadRole, BadRule; OSError where a folder is missing."""
    policy = Policy(
        rules=rules(entry_points(group="hansard.rules")),
        plans=plans.load(plans.SHIPPED) | (plans.load(settings.plans) if settings.plans else {}),
        agents=routings(catalogue(settings.roles)),
        prices=Prices(measured=measured or {}),
        within=timedelta(seconds=settings.workflow_seconds),
    )
    return serving(policy)


def serving(policy: Policy) -> Service[WorkflowState]:
    """The service under this policy. A process that starts measures the prices from the record first."""

    async def prepare(store: MessageReader) -> Service[WorkflowState]:
        return serving(replace(policy, prices=replace(policy.prices, measured=await measured_in(store))))

    return Service(
        name="router",
        decider=router(policy),
        receives={
            SubmitRequest: lambda _: "",
            CancelWorkflow: lambda _: "",
            MoveDeadline: lambda _: "",
            DeadLettered: lambda dead: "" if is_request(dead) else None,
        },
        stored_policy=StoredPolicy(policy.data, lambda version, data: router(recorded_policy(version, data, policy.rules))),
        prepare=prepare,
        set_aside=set_aside,
    )


async def measured_in(store: MessageReader, events: int = MEASURED) -> dict[str, Decimal]:
    """US dollars for a request, by handler, from the last events on the record."""
    newest = await store.read_last([kind.kind for kind in PRICED], events)
    known = ((stored.stream[:2], message) for stored in newest if (message := _read(stored)) is not None)
    return prices(routed_workflows(known))


def _read(stored: StoredMessage) -> Message | None:
    """None for an event of older code that this code cannot read."""
    try:
        return decode(next(kind for kind in PRICED if kind.kind == stored.kind), stored.data)
    except Invalid:
        return None


def rules(added: Iterable[EntryPoint]) -> dict[str, Rule[Any]]:
    """The shipped rules and those of installed packages. Raises BadRule, also for a name that is taken: no two rules compete."""
    found = dict(RULES)
    for point in added:
        rule = point.load()
        if not isinstance(rule, Rule):
            raise BadRule(f"{point.value} is not a Rule")
        if rule.name in found or rule.name in MODEL_KINDS:
            raise BadRule(f"{point.value}: the name {rule.name!r} is taken")
        found[rule.name] = rule
    return found
