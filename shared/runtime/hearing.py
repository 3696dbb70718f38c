"""From a Kafka record to what a stream hears, or to why it cannot be heard. Pure."""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import UUID

from contracts.codec import Invalid, decode
from contracts.control import RedriveDeadLetter
from contracts.dead_letters import DeadReason
from contracts.envelope import TENANT, Envelope, Unreadable, read
from contracts.message import Message, Outcome
from contracts.topics import Topic, Topics
from shared.decider import Context, Woken
from shared.kafka.record import Record
from shared.service import Service
from shared.store.record import NAMESPACE, Door, Stream, uuid5


@dataclass(frozen=True, slots=True)
class Dead:
    """Why something cannot be decided."""

    reason: DeadReason
    detail: str
    attempts: int = 1


@dataclass(slots=True)
class Heard:
    """What one stream hears. Without a `message` it is dead on arrival; `record` is None for what comes from within."""

    stream: Stream
    cause: UUID
    kind: str
    hash: bytes
    source: str = ""
    message_id: str = ""
    at: datetime | None = None  # recorded time of a message of ours; the broker's time at a door counts for nothing
    message: Message | None = None
    record: Record | None = None
    door: Door | None = None
    dead: Dead | None = None
    redrive: bool = False
    traceparent: str = ""

    def context(self, at: datetime, may_perform: bool = True) -> Context:
        """As it is decided at this recorded time."""
        stream = self.stream
        return Context(self.cause, at, stream.workflow, stream.tenant, self.source, self.message_id, may_perform)


@dataclass(frozen=True)
class Ear:
    """Hears for one service."""

    service: Service[Any]
    topics: Topics
    max_request_bytes: int

    @cached_property
    def deaf(self) -> dict[str, frozenset[bytes]]:
        """By internal topic, the types of messages of ours that are there for others: most of what comes, and not read."""
        return {
            topic.name: frozenset(kind.kind.encode() for kind in topic.kinds if kind not in self.service.hears)
            for topic in self.topics.heard_by(self.service.name)
            if not topic.door
        }

    def hear(self, record: Record) -> Heard | None:
        """What a stream of this service hears in this record; None where the record is not for this service."""
        topic = self.topics.by_name[record.topic]
        if record.fault:
            return self._nameless(topic, record, Unreadable(record.fault))
        if (deaf := self.deaf.get(record.topic)) and any(name == "ce_type" and kind in deaf for name, kind in record.headers):
            return None
        try:
            envelope = read(record.value, record.headers)
        except Unreadable as unreadable:
            return self._nameless(topic, record, unreadable)
        cause = _cause(topic, envelope)
        if cause is None:
            return self._nameless(topic, record, Unreadable(f"ce_id of a message of ours must be a UUID: {envelope.id[:80]!r}"))
        stream = Stream(envelope.tenant, envelope.correlationid, self.service.name)
        heard = Heard(
            stream=stream,
            cause=cause,
            kind=envelope.type,
            hash=hashlib.sha256(envelope.data).digest(),
            source=envelope.source,
            message_id=envelope.id,
            at=None if topic.door else envelope.time,
            record=record,
            door=_door(record, stream, cause) if topic.door else None,
            traceparent=envelope.traceparent,
        )
        return self._understood(heard, topic, envelope)

    def _understood(self, heard: Heard, topic: Topic, envelope: Envelope) -> Heard | None:
        kind = self.topics.kinds.get(envelope.type)
        if topic.door and len(envelope.data) > self.max_request_bytes:
            size = f"the body has {len(envelope.data)} bytes; at most {self.max_request_bytes} are taken here"
            return self._first(topic, heard, Dead("too-large", size))
        if kind is None:
            wait = Dead("unknown-kind", f"this version does not know {envelope.type}; redrive it after an upgrade")
            return self._first(topic, heard, wait) if topic.door else _dead(heard, wait)
        if kind not in topic.kinds:
            return self._first(topic, heard, Dead("not-expected", f"{envelope.type} is not said on {topic.name}"))
        if kind not in self.service.hears and kind is not RedriveDeadLetter:
            return None
        try:
            message = decode(kind, envelope.data)
        except Invalid as invalid:
            return self._first(topic, heard, Dead("invalid", str(invalid)))
        if isinstance(message, RedriveDeadLetter):
            return self._redriven(message, heard, topic)
        name = self.service.stream(message)
        if name is None:
            return None
        heard.stream = heard.stream._replace(name=name)
        heard.message = message
        return heard

    def _first(self, topic: Topic, heard: Heard, dead: Dead) -> Heard | None:
        """Of several services that hear a topic, the first says that this is dead."""
        return _dead(heard, dead) if self.service.name == topic.hearers[0] else None

    def _nameless(self, topic: Topic, record: Record, why: Unreadable) -> Heard | None:
        place = f"{record.topic}.{record.partition}.{record.offset}"
        stream, cause = Stream(TENANT, place, self.service.name), uuid5(NAMESPACE, place)
        heard = Heard(
            stream=stream,
            cause=cause,
            kind=why.known.get("ce_type", "")[:512],
            hash=hashlib.sha256(record.value or b"").digest(),
            message_id=why.known.get("ce_id", "")[:512],
            record=record,
            door=_door(record, stream, cause),
        )
        return self._first(topic, heard, Dead("unreadable", str(why)))

    def _redriven(self, asked: RedriveDeadLetter, heard: Heard, topic: Topic) -> Heard | None:
        """The dead message itself, heard as it was; whether it may be heard again is for the stream to know."""
        origin = self.topics.by_name.get(asked.topic)
        if origin is None or asked.service not in origin.hearers or asked.service not in topic.hearers:
            what = f"no service {asked.service[:80]!r} hears a topic {asked.topic[:80]!r}"
            return self._first(topic, heard, Dead("invalid", what))
        if asked.service != self.service.name:
            return None
        try:
            key, body = _bytes(asked.key), _bytes(asked.body)
            headers = tuple((name, _bytes(value)) for name, value in asked.headers)
        except ValueError as broken:
            return _dead(heard, Dead("invalid", f"key, headers and body are base64: {broken}"))
        again = self.hear(Record(asked.topic, asked.partition, asked.offset, asked.timestamp, key, body, headers))
        if again is not None:
            again.redrive = True
        return again


def woken(stream: Stream, heard: int) -> Heard:
    """The stream's waking, as its hearing number `heard` + 1."""
    return brought(stream, Woken(), _waking(heard))


def waking(stream: Stream, heard: int) -> UUID:
    """The cause id of that waking."""
    return _cause_within(stream, _waking(heard))


def _waking(heard: int) -> str:
    return f"woken/{heard + 1}"


def returned(stream: Stream, outcome: Outcome) -> Heard:
    """What an attempt brought back."""
    return brought(stream, outcome, f"attempt/{outcome.attempt}")


def brought(stream: Stream, fact: Message, name: str) -> Heard:
    """What comes to a stream from within its service. Once under one name: the first is heard."""
    cause, digest = _cause_within(stream, name), hashlib.sha256(name.encode()).digest()
    return Heard(stream, cause, fact.kind, digest, f"/hansard/{stream.service}", str(cause), message=fact)


def _cause_within(stream: Stream, name: str) -> UUID:
    return uuid5(NAMESPACE, f"{stream}/{name}")


def another(heard: Heard) -> Heard:
    """The same id with another body: a hearing of its own, dead from the start."""
    cause = uuid5(heard.cause, heard.hash.hex())
    dead = Dead("id-reused", f"{heard.message_id} was heard before with another body; send this under a new id")
    door = replace(heard.door, cause=cause) if heard.door else None
    return replace(heard, cause=cause, message=None, dead=dead, door=door)


def _dead(heard: Heard, dead: Dead) -> Heard:
    heard.dead = dead
    return heard


def _cause(topic: Topic, envelope: Envelope) -> UUID | None:
    if topic.door:
        return uuid5(NAMESPACE, f"{envelope.tenant}/{topic.name}/{envelope.source}/{envelope.id}")
    try:
        return UUID(envelope.id)
    except ValueError:
        return None


def _door(record: Record, stream: Stream, cause: UUID) -> Door:
    return Door(
        stream.tenant,
        stream.workflow,
        cause,
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
