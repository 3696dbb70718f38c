"""The budget of retries at one endpoint, for all processes together: one stream an endpoint and hour. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from contracts.gateway import RetriesGranted
from hansard.decider import Context, Decider
from hansard.envelope import TENANT
from hansard.message import Message
from services.gateway.config import Chain, Retries
from services.gateway.facts import RetriesAsked
from shared.eventstore.model import Stream


@dataclass(frozen=True, slots=True)
class RetryBudget:
    """`left`: retries for the next process that asks. `granted`: to each process in this hour."""

    left: float | None = None
    granted: dict[str, int] = field(default_factory=dict)


def retry_budget_stream(endpoint: str, at: datetime) -> Stream:
    """A stream an hour: the budget is an hour's."""
    return Stream(TENANT, f"endpoint.{endpoint}", f"gateway/endpoint/{endpoint}/retries/{at:%Y-%m-%dT%H}")


def retry_budget_decider(chain: Chain) -> Decider[RetryBudget]:
    def decide(budget: RetryBudget, message: Message, _: Context) -> Iterable[Message]:
        return _decide(chain.retries, budget, message)

    return Decider(RetryBudget(), decide, evolve, policy=chain.policy)


def _decide(rule: Retries, budget: RetryBudget, message: Message) -> Iterator[Message]:
    match message:
        case RetriesAsked(endpoint=endpoint, by=by, calls=calls):
            before = rule.reserve if budget.left is None else min(budget.left, rule.reserve)
            left = before + calls * rule.share
            granted = min(int(left), max(1, int(calls * rule.share)))
            yield RetriesGranted(endpoint=endpoint, by=by, calls=calls, granted=granted, left=round(left - granted, 6))
        case _:
            pass


def evolve(budget: RetryBudget, message: Message) -> RetryBudget:
    match message:
        case RetriesGranted(by=by, granted=granted, left=left):
            return RetryBudget(left, budget.granted | {by: budget.granted.get(by, 0) + granted})
        case _:
            return budget
