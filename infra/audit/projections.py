"""What the record adds up to: folds over everything that was said. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from contracts.catalog import Topics
from contracts.dead_letters import DeadLettered
from contracts.gateway import AttemptFailed, AttemptStarted, ModelFailed, ModelReplied, ReplyDiscarded
from contracts.results import Result, WorkflowCompleted
from contracts.router import RequestRouted
from hansard.codec import Invalid, decode
from hansard.identity import outcome_causation_id
from hansard.message import Intent, Message
from shared.eventstore.model import StoredMessage, Stream


def read(stored: StoredMessage, topics: Topics) -> Message | None:
    """The message; None for what this code does not know."""
    kind = topics.kinds.get(stored.kind)
    try:
        return decode(kind, stored.data) if kind else None
    except Invalid:
        return None


@dataclass
class Tier:
    """What one tier of the gateway did."""

    answers: int = 0
    attempts: int = 0
    falls: Counter[str] = field(default_factory=Counter)
    cost: Decimal = Decimal(0)
    input_tokens: int = 0
    output_tokens: int = 0
    milliseconds: float = 0.0


@dataclass
class Totals:
    """Everything, added up."""

    events: int = 0
    workflows: set[tuple[str, str]] = field(default_factory=set)
    kinds: Counter[str] = field(default_factory=Counter)
    services: Counter[str] = field(default_factory=Counter)
    paths: Counter[str] = field(default_factory=Counter)
    handlers: Counter[str] = field(default_factory=Counter)
    results: Counter[str] = field(default_factory=Counter)
    dead: Counter[str] = field(default_factory=Counter)
    tiers: dict[str, Tier] = field(default_factory=dict)
    calls: int = 0
    cost: Decimal = Decimal(0)
    routed: list[RequestRouted] = field(default_factory=list)
    first: datetime | None = None
    last: datetime | None = None

    def add(self, stored: StoredMessage, message: Message | None) -> None:
        """One event more."""
        self.events += 1
        self.kinds[stored.kind] += 1
        self.services[stored.stream.service] += 1
        self.first, self.last = self.first or stored.at, stored.at or self.last
        if isinstance(message, RequestRouted | Result):
            self.workflows.add((stored.stream.tenant, stored.stream.workflow))
        match message:
            case RequestRouted(path=path, handler=handler):
                self.paths[path] += 1
                self.handlers[handler] += 1
                self.routed.append(message)
            case DeadLettered(reason=reason):
                self.dead[reason] += 1
            case AttemptStarted(tier=tier):
                self._tier(tier).attempts += 1
            case AttemptFailed(fall=fall):
                self._tier(fall.tier).falls[fall.reason] += 1
            case ModelReplied():
                self._replied(message)
            case ModelFailed(cost=cost) | ReplyDiscarded(cost=cost):
                self.calls += isinstance(message, ModelFailed)
                self.cost += cost
            case _:
                pass
        if stored.topic == "results":
            self.results["completed" if isinstance(message, WorkflowCompleted) else stored.kind.split(".")[-2]] += 1

    def _tier(self, name: str) -> Tier:
        return self.tiers.setdefault(name, Tier())

    def _replied(self, reply: ModelReplied) -> None:
        tier = self._tier(reply.tier)
        tier.answers += 1
        tier.cost += reply.cost
        tier.input_tokens += reply.input_tokens
        tier.output_tokens += reply.output_tokens
        tier.milliseconds += reply.latency_ms
        self.calls += 1
        self.cost += reply.cost

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "events": self.events,
            "workflows": len(self.workflows),
            "paths": dict(self.paths),
            "handlers": dict(self.handlers),
            "results": dict(self.results),
            "dead_letters": dict(self.dead),
            "calls": self.calls,
            "cost": str(self.cost),
            "services": dict(self.services),
            "tiers": {
                name: {
                    "answers": tier.answers,
                    "attempts": tier.attempts,
                    "falls": dict(tier.falls),
                    "cost": str(tier.cost),
                    "input_tokens": tier.input_tokens,
                    "output_tokens": tier.output_tokens,
                    "mean_ms": round(tier.milliseconds / tier.answers, 1) if tier.answers else None,
                }
                for name, tier in self.tiers.items()
            },
        }


@dataclass(frozen=True)
class Effect:
    """An intent on the record, and what is known of it."""

    stream: Stream
    kind: str
    intent: Intent
    at: datetime
    receipt: bool
    superseded: bool  # the stream has gone on to another attempt without this one's receipt

    def status(self, now: datetime) -> str:
        """`done`, `in flight`, or `in doubt`: nobody knows whether it happened."""
        if self.receipt:
            return "done"
        return "in doubt" if self.superseded or now > self.intent.deadline else "in flight"


def effects(stored: Iterable[StoredMessage], topics: Topics, entry: Mapping[Stream, set[UUID]] | None = None) -> list[Effect]:
    """Every intent, in order. A receipt is whatever the stream said under the attempt's cause (or silently heard: `heard`)."""
    intents: list[tuple[StoredMessage, Intent]] = []
    entries: set[tuple[Stream, UUID]] = set()
    last: dict[Stream, int] = {}
    for one in stored:
        entries.add((one.stream, one.causation_id))
        kind = topics.kinds.get(one.kind)
        if kind is not None and issubclass(kind, Intent) and isinstance(message := read(one, topics), Intent):
            intents.append((one, message))
            last[one.stream] = message.attempt
    for stream, ids in (entry or {}).items():
        entries.update((stream, causation_id) for causation_id in ids)
    return [
        Effect(
            one.stream,
            one.kind,
            intent,
            one.at or intent.deadline,
            (one.stream, outcome_causation_id(one.stream, intent.attempt)) in entries,
            last[one.stream] > intent.attempt,
        )
        for one, intent in intents
    ]


@dataclass(frozen=True)
class Letter:
    """A dead letter on the record."""

    stored: StoredMessage
    letter: DeadLettered


def letters(stored: Iterable[StoredMessage], topics: Topics) -> list[Letter]:
    """Every dead letter, in order; of one that was redriven and died again, the last."""
    found = ((one, read(one, topics)) for one in stored if one.kind == DeadLettered.kind)
    last = {(one.stream, one.causation_id): Letter(one, letter) for one, letter in found if isinstance(letter, DeadLettered)}
    return list(last.values())
