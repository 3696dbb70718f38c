"""Totals of the gateway's own events. Pure: the same in whatever order calls were answered."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from contracts.gateway import (
    AttemptFailed,
    AttemptStarted,
    CircuitOpened,
    ModelFailed,
    ModelReplied,
    ProbeGranted,
    ReplyDiscarded,
    RetriesGranted,
)
from hansard.message import Message


@dataclass
class Mean:
    sum: float = 0.0
    count: int = 0

    def add(self, value: float) -> None:
        self.sum += value
        self.count += 1


@dataclass
class Statistics:
    """Totals of all settled calls. The primary tier of a call is the first that it tried."""

    answers: Counter[str] = field(default_factory=Counter)  # by tier
    failed: Counter[str] = field(default_factory=Counter)  # calls without an answer, by reason
    falls: Counter[tuple[str, str]] = field(default_factory=Counter)  # by tier and reason
    attempts: Counter[str] = field(default_factory=Counter)  # by tier
    primary: int = 0  # calls that the primary answered
    learned: int = 0  # answers of the cache that a model once gave
    openings: Counter[str] = field(default_factory=Counter)  # of circuits, by endpoint
    probes: Counter[str] = field(default_factory=Counter)
    retries: Counter[str] = field(default_factory=Counter)  # granted, by endpoint
    cost: Decimal = Decimal(0)
    estimated: int = 0  # answers whose cost is an estimate
    _milliseconds: dict[str, "Mean"] = field(default_factory=dict)
    _confidences: dict[str, "Mean"] = field(default_factory=dict)

    def add(self, message: Message) -> None:
        """Adds an event. Messages that are not the gateway's change nothing."""
        match message:
            case ModelReplied():
                self._replied(message)
            case ModelFailed(reason=reason, cost=cost):
                self.failed[reason] += 1
                self.cost += cost
            case ReplyDiscarded(cost=cost):
                self.cost += cost
            case AttemptStarted(tier=tier):
                self.attempts[tier] += 1
            case AttemptFailed(fall=fall):
                self.falls[fall.tier, fall.reason] += 1
            case CircuitOpened(endpoint=endpoint, probes=0):
                self.openings[endpoint] += 1
            case ProbeGranted(endpoint=endpoint):
                self.probes[endpoint] += 1
            case RetriesGranted(endpoint=endpoint, granted=granted):
                self.retries[endpoint] += granted
            case _:
                pass

    def _replied(self, reply: ModelReplied) -> None:
        self.answers[reply.tier] += 1
        self.primary += reply.tier == (reply.falls[0].tier if reply.falls else reply.tier)
        self.learned += reply.learned is not None
        self.cost += reply.cost
        self.estimated += reply.estimated
        self._milliseconds.setdefault(reply.tier, Mean()).add(reply.latency_ms)
        if reply.confidence is not None:
            self._confidences.setdefault(reply.tier, Mean()).add(reply.confidence)

    @property
    def calls(self) -> int:
        return self.answers.total() + self.failed.total()

    @property
    def distribution(self) -> dict[str, float]:
        """Share of all calls by the tier that answered. Calls without an answer are missing in the sum."""
        return {tier: count / self.calls for tier, count in self.answers.most_common()}

    @property
    def primary_success_rate(self) -> float | None:
        """None without any call."""
        return self.primary / self.calls if self.calls else None

    def latency_ms(self, tier: str = "") -> float | None:
        """Mean of the attempts that were answered, of one tier or of all."""
        return _mean(self._milliseconds, tier)

    def confidence(self, tier: str = "") -> float | None:
        """Mean of the answers that have one, of one tier or of all."""
        return _mean(self._confidences, tier)

    def as_json(self) -> dict[str, object]:
        """For programs and tables."""
        return {
            "calls": self.calls,
            "tiers": {tier: round(share, 4) for tier, share in self.distribution.items()},
            "primary_success_rate": _rounded(self.primary_success_rate, 4),
            "mean_ms": _rounded(self.latency_ms(), 1),
            "mean_confidence": _rounded(self.confidence(), 3),
            "confidence": {tier: _rounded(self.confidence(tier), 3) for tier in self._confidences},
            "cost": str(self.cost),
            "estimated": self.estimated,
            "learned": self.learned,
            "failed": dict(self.failed),
            "circuits_opened": dict(self.openings),
            "probes": dict(self.probes),
            "retries_granted": dict(self.retries),
        }


def statistics(messages: Iterable[Message]) -> Statistics:
    """Totals of these messages, in any order."""
    made = Statistics()
    for message in messages:
        made.add(message)
    return made


def _mean(by_tier: dict[str, Mean], tier: str) -> float | None:
    means = [mean for name, mean in by_tier.items() if tier in ("", name)]
    count = sum(mean.count for mean in means)
    return sum(mean.sum for mean in means) / count if count else None


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
