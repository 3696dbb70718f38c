"""Totals of the record: folds over all stored messages. Pure."""

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
from contracts.results import WorkflowCompleted
from contracts.router import RequestRouted
from hansard.codec import Invalid, decode
from hansard.identity import outcome_causation_id
from hansard.message import Intent, Message
from shared.eventstore.model import StoredMessage, Stream

ENDPOINT = "gateway/endpoint/"  # begins the names of an endpoint's streams, which belong to no workflow


def read(stored: StoredMessage, topics: Topics) -> Message | None:
    """The decoded message; None for a kind or a form that this code does not know."""
    kind = topics.kinds.get(stored.kind)
    try:
        return decode(kind, stored.data) if kind else None
    except Invalid:
        return None


@dataclass
class Tier:
    """The totals of one tier of the gateway."""

    answers: int = 0
    attempts: int = 0
    falls: Counter[str] = field(default_factory=Counter)
    cost: Decimal = Decimal(0)
    input_tokens: int = 0
    output_tokens: int = 0
    milliseconds: float = 0.0


@dataclass
class Totals:
    """The totals of all messages."""

    messages: int = 0
    workflows: set[tuple[str, str]] = field(default_factory=set)
    kinds: Counter[str] = field(default_factory=Counter)
    services: Counter[str] = field(default_factory=Counter)
    paths: Counter[str] = field(default_factory=Counter)
    handlers: Counter[str] = field(default_factory=Counter)
    results: Counter[str] = field(default_factory=Counter)
    degraded: int = 0  # results that are completed, and worse than they should be
    degraded_by: Counter[str] = field(default_factory=Counter)  # by reason
    dead: Counter[str] = field(default_factory=Counter)
    tiers: dict[str, Tier] = field(default_factory=dict)
    calls: int = 0
    cost: Decimal = Decimal(0)
    routed: list[RequestRouted] = field(default_factory=list)
    first: datetime | None = None
    last: datetime | None = None

    def add(self, stored: StoredMessage, message: Message | None) -> None:
        """Counts one more message."""
        self.messages += 1
        self.kinds[stored.kind] += 1
        self.services[stored.stream.service] += 1
        self.first, self.last = self.first or stored.at, stored.at or self.last
        if not stored.stream.name.startswith(ENDPOINT):
            self.workflows.add((stored.stream.tenant, stored.stream.workflow))
        match message:
            case RequestRouted(path=path, handler=handler):
                self.paths[path] += 1
                self.handlers[handler] += 1
                self.routed.append(message)
            case WorkflowCompleted(degraded=reasons):
                self.degraded += bool(reasons)
                self.degraded_by.update(reasons)
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
        """The totals in a form for programs."""
        return {
            "messages": self.messages,
            "workflows": len(self.workflows),
            "paths": dict(self.paths),
            "handlers": dict(self.handlers),
            "results": dict(self.results),
            "degraded": {"results": self.degraded, "reasons": dict(self.degraded_by.most_common(50))},
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
    """An intent on the record, and whether its outcome is known."""

    stream: Stream
    kind: str
    intent: Intent
    at: datetime
    has_outcome: bool
    superseded: bool  # the stream went on to a later attempt

    def status(self, now: datetime) -> str:
        """`done`, `in flight`, or `in doubt`: nobody knows whether it happened."""
        if self.has_outcome:
            return "done"
        return "in doubt" if self.superseded or now > self.intent.deadline else "in flight"


def effects(
    messages: Iterable[StoredMessage], topics: Topics, processed: Mapping[Stream, set[UUID]] | None = None
) -> list[Effect]:
    """Every intent, in order. An outcome is known by its causation id: a stored message of the stream has it, or one of the ids
    that the stream `processed` without storing a message."""
    intents: list[tuple[StoredMessage, Intent]] = []
    causation_ids: set[tuple[Stream, UUID]] = set()
    last: dict[Stream, int] = {}
    for stored in messages:
        causation_ids.add((stored.stream, stored.causation_id))
        kind = topics.kinds.get(stored.kind)
        if kind is not None and issubclass(kind, Intent) and isinstance(message := read(stored, topics), Intent):
            intents.append((stored, message))
            last[stored.stream] = message.attempt
    for stream, ids in (processed or {}).items():
        causation_ids.update((stream, causation_id) for causation_id in ids)
    return [
        Effect(
            stored.stream,
            stored.kind,
            intent,
            stored.at or intent.deadline,
            (stored.stream, outcome_causation_id(stored.stream, intent.attempt)) in causation_ids,
            last[stored.stream] > intent.attempt,
        )
        for stored, intent in intents
    ]


@dataclass(frozen=True)
class StoredDeadLetter:
    """A dead letter, and the stored message that carries it. `again`: the id of the last dead letter of the same message, where
    that was redriven and dead-lettered again."""

    stored: StoredMessage
    letter: DeadLettered
    again: UUID | None = None


def dead_letters(messages: Iterable[StoredMessage], topics: Topics) -> list[StoredDeadLetter]:
    """Every dead letter, in order."""
    found = [
        (stored, letter)
        for stored in messages
        if stored.kind == DeadLettered.kind and isinstance(letter := read(stored, topics), DeadLettered)
    ]
    last = {(stored.stream, stored.causation_id): stored.id for stored, _ in found}
    return [
        StoredDeadLetter(stored, letter, None if stored.id == latest else latest)
        for stored, letter in found
        for latest in (last[stored.stream, stored.causation_id],)
    ]
