"""From a Kafka record to what a stream hears, or to why it cannot be heard. Pure."""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import UUID

from contracts.catalog import Topic, Topics
from contracts.control import RedriveDeadLetter
from hansard.codec import Invalid, decode
from hansard.decider import Context, WakeUp
from hansard.envelope import TENANT, Envelope, Unreadable, read
from hansard.identity import (
    door_causation_id,
    internal_causation_id,
    outcome_name,
    place_of,
    reused_causation_id,
    source_of,
    unreadable_causation_id,
    wake_up_name,
)
from hansard.message import DeadReason, Message, Outcome
from shared.eventstore.model import DoorMessage, Stream
from shared.kafka.record import Record
from shared.service import Service


@dataclass(frozen=True, slots=True)
class DeadCause:
    """Why something cannot be decided."""

    reason: DeadReason
    detail: str
    attempts: int = 1


@dataclass(slots=True)
class Inbound:
    """What one stream hears. Without a `message` it is dead on arrival; `record` is None for what comes from within."""

    stream: Stream
    causation_id: UUID
    kind: str
    hash: bytes
    source: str = ""
    message_id: str = ""
    at: datetime | None = None  # recorded time of a message of ours; the broker's time at a door counts for nothing
    message: Message | None = None
    record: Record | None = None
    door: DoorMessage | None = None
    dead: DeadCause | None = None
    redrive: bool = False
    traceparent: str = ""

    def context(self, at: datetime, may_perform: bool = True) -> Context:
        """As it is decided at this recorded time."""
        stream = self.stream
        return Context(self.causation_id, at, stream.workflow, stream.tenant, self.source, self.message_id, may_perform)


@dataclass(frozen=True)
class InboundParser:
    """Hears for one service."""

    service: Service[Any]
    topics: Topics
    max_request_bytes: int

    @cached_property
    def deaf(self) -> dict[str, frozenset[bytes]]:
        """By internal topic, the types of messages of ours that are there for others: most of what comes, and not read."""
        return {
            topic.name: frozenset(kind.kind.encode() for kind in topic.kinds if kind not in self.service.receives)
            for topic in self.topics.consumed_by(self.service.name)
            if not topic.door
        }

    def parse(self, record: Record) -> Inbound | None:
        """What a stream of this service hears in this record; None where the record is not for this service."""
        topic = self.topics.by_name[record.topic]
        if record.fault:
            return self._nameless(topic, record, Unreadable(record.fault))
        if (ignored := self.deaf.get(record.topic)) and any(
            name == "ce_type" and kind in ignored for name, kind in record.headers
        ):
            return None
        try:
            envelope = read(record.value, record.headers)
        except Unreadable as unreadable:
            return self._nameless(topic, record, unreadable)
        causation_id = _cause(topic, envelope)
        if causation_id is None:
            return self._nameless(topic, record, Unreadable(f"ce_id of a message of ours must be a UUID: {envelope.id[:80]!r}"))
        stream = Stream(envelope.tenant, envelope.correlation_id, self.service.name)
        inbound = Inbound(
            stream=stream,
            causation_id=causation_id,
            kind=envelope.type,
            hash=hashlib.sha256(envelope.data).digest(),
            source=envelope.source,
            message_id=envelope.id,
            at=None if topic.door else envelope.time,
            record=record,
            door=_door(record, stream, causation_id) if topic.door else None,
            traceparent=envelope.traceparent,
        )
        return self._understood(inbound, topic, envelope)

    def _understood(self, inbound: Inbound, topic: Topic, envelope: Envelope) -> Inbound | None:
        kind = self.topics.kinds.get(envelope.type)
        if topic.door and len(envelope.data) > self.max_request_bytes:
            size = f"the body has {len(envelope.data)} bytes; at most {self.max_request_bytes} are taken here"
            return self._first(topic, inbound, DeadCause("too-large", size))
        if kind is None:
            wait = DeadCause("unknown-kind", f"this version does not know {envelope.type}; redrive it after an upgrade")
            return self._first(topic, inbound, wait) if topic.door else _dead(inbound, wait)
        if kind not in topic.kinds:
            return self._first(topic, inbound, DeadCause("not-expected", f"{envelope.type} is not said on {topic.name}"))
        if kind not in self.service.receives and kind is not RedriveDeadLetter:
            return None
        try:
            message = decode(kind, envelope.data)
        except Invalid as invalid:
            return self._first(topic, inbound, DeadCause("invalid", str(invalid)))
        if isinstance(message, RedriveDeadLetter):
            return self._redriven(message, inbound, topic)
        name = self.service.stream(message)
        if name is None:
            return None
        inbound.stream = inbound.stream._replace(name=name)
        inbound.message = message
        return inbound

    def _first(self, topic: Topic, inbound: Inbound, dead: DeadCause) -> Inbound | None:
        """Of several services that hear a topic, the first says that this is dead."""
        return _dead(inbound, dead) if self.service.name == topic.consumers[0] else None

    def _nameless(self, topic: Topic, record: Record, why: Unreadable) -> Inbound | None:
        place = place_of(record.topic, record.partition, record.offset)
        stream, causation_id = Stream(TENANT, place, self.service.name), unreadable_causation_id(place)
        inbound = Inbound(
            stream=stream,
            causation_id=causation_id,
            kind=why.known.get("ce_type", "")[:512],
            hash=hashlib.sha256(record.value or b"").digest(),
            message_id=why.known.get("ce_id", "")[:512],
            record=record,
            door=_door(record, stream, causation_id),
        )
        return self._first(topic, inbound, DeadCause("unreadable", str(why)))

    def _redriven(self, asked: RedriveDeadLetter, inbound: Inbound, topic: Topic) -> Inbound | None:
        """The dead message itself, heard as it was; whether it may be heard again is for the stream to know."""
        origin = self.topics.by_name.get(asked.topic)
        if origin is None or asked.service not in origin.consumers or asked.service not in topic.consumers:
            what = f"no service {asked.service[:80]!r} hears a topic {asked.topic[:80]!r}"
            return self._first(topic, inbound, DeadCause("invalid", what))
        if asked.service != self.service.name:
            return None
        try:
            key, body = _bytes(asked.key), _bytes(asked.body)
            headers = tuple((name, _bytes(value)) for name, value in asked.headers)
        except ValueError as broken:
            return _dead(inbound, DeadCause("invalid", f"key, headers and body are base64: {broken}"))
        again = self.parse(Record(asked.topic, asked.partition, asked.offset, asked.timestamp, key, body, headers))
        if again is not None:
            again.redrive = True
        return again


def wake_up(stream: Stream, inbound: int) -> Inbound:
    """The stream's waking, as its hearing number `heard` + 1."""
    return internal_message(stream, WakeUp(), wake_up_name(inbound))


def outcome_message(stream: Stream, outcome: Outcome) -> Inbound:
    """What an attempt brought back."""
    return internal_message(stream, outcome, outcome_name(outcome.attempt))


def internal_message(stream: Stream, fact: Message, name: str) -> Inbound:
    """What comes to a stream from within its service. Once under one name: the first is heard."""
    causation_id, digest = internal_causation_id(stream, name), hashlib.sha256(name.encode()).digest()
    return Inbound(stream, causation_id, fact.kind, digest, source_of(stream.service), str(causation_id), message=fact)


def with_reused_id(inbound: Inbound) -> Inbound:
    """The same id with another body: a hearing of its own, dead from the start."""
    causation_id = reused_causation_id(inbound.causation_id, inbound.hash)
    dead = DeadCause("id-reused", f"{inbound.message_id} was heard before with another body; send this under a new id")
    door = replace(inbound.door, causation_id=causation_id) if inbound.door else None
    return replace(inbound, causation_id=causation_id, message=None, dead=dead, door=door)


def _dead(inbound: Inbound, dead: DeadCause) -> Inbound:
    inbound.dead = dead
    return inbound


def _cause(topic: Topic, envelope: Envelope) -> UUID | None:
    if topic.door:
        return door_causation_id(envelope.tenant, topic.name, envelope.source, envelope.id)
    try:
        return UUID(envelope.id)
    except ValueError:
        return None


def _door(record: Record, stream: Stream, causation_id: UUID) -> DoorMessage:
    return DoorMessage(
        stream.tenant,
        stream.workflow,
        causation_id,
        record.topic,
        record.partition,
        record.offset,
        record.at,
        record.key,
        tuple(_raw(record)),
        record.value,
    )


def _raw(record: Record) -> Iterator[tuple[str, bytes]]:
    for name, value in record.headers:
        yield (name if isinstance(name, str) else name.decode("utf-8", "backslashreplace")), value or b""


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text, validate=True)
