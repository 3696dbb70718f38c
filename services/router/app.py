"""What runs: the decider with its rules, plans and prices."""

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
from contracts.router import RequestRouted
from hansard.codec import Invalid, decode
from hansard.message import Message
from services.router import plans
from services.router.decider import RequestState, ends, router
from services.router.kinds import MODEL_KINDS
from services.router.policy import Policy, Prices, policy_of_then
from services.router.rules import RULES, Rule
from services.router.statistics import cases, prices
from shared.eventstore.model import StoredMessage
from shared.eventstore.ports import MessageReader
from shared.policy import Basis
from shared.service import Service
from shared.settings import Settings

MEASURED = 50_000  # events at the end of the record that prices are measured by
PRICED: tuple[type[Message], ...] = (RequestRouted, WorkflowCompleted)


class BadRule(ValueError):
    """An entry point in `hansard.rules` that cannot be used. The text names it and says why."""


def build(settings: Settings, measured: Mapping[str, Decimal] | None = None) -> Service[RequestState]:
    """`measured`: US dollars by handler; where a process starts, from the record. Raises BadPlan, BadRule, OSError."""
    known = plans.load(plans.SHIPPED) | (plans.load(settings.plans) if settings.plans else {})
    policy = Policy(
        rules=rules(entry_points(group="hansard.rules")),
        plans=known,
        prices=Prices(measured=measured or {}),
        within=timedelta(seconds=settings.workflow_seconds),
    )
    return serving(policy)


def serving(policy: Policy) -> Service[RequestState]:
    async def informed(store: MessageReader) -> Service[RequestState]:
        return serving(replace(policy, prices=replace(policy.prices, measured=await measured_in(store))))

    return Service(
        name="router",
        decider=router(policy),
        receives={
            SubmitRequest: lambda _: "",
            CancelWorkflow: lambda _: "",
            DeadLettered: lambda dead: "" if ends(dead) else None,
        },
        basis=Basis(policy.data, lambda version, data: router(policy_of_then(version, data, policy.rules))),
        informed=informed,
    )


async def measured_in(store: MessageReader, events: int = MEASURED) -> dict[str, Decimal]:
    """US dollars for a request, by handler, from the last events of the record."""
    emitted = await store.read_last([kind.kind for kind in PRICED], events)
    return prices(cases((one.stream[:2], message) for one in emitted if (message := _read(one)) is not None))


def _read(message: StoredMessage) -> Message | None:
    """None for what an older code said and this one does not understand."""
    try:
        return decode(next(kind for kind in PRICED if kind.kind == message.kind), message.data)
    except Invalid:
        return None


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
