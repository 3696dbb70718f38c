"""Turns a Kafka record into the message that one stream processes, or into the reason why it is a dead letter."""

import asyncio
import base64
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import UUID

from contracts.catalog import Topic, Topics
from contracts.control import RedriveDeadLetter
from hansard.codec import Invalid, check_read_again, decode, encode
from hansard.decider import Context, WakeUp
from hansard.envelope import TENANT, Envelope, Unreadable, named, read
from hansard.identity import (
    door_causation_id,
    elsewhere_causation_id,
    forged_causation_id,
    internal_causation_id,
    outcome_name,
    place_of,
    reused_causation_id,
    source_of,
    unreadable_causation_id,
    wake_up_name,
)
from hansard.message import DeadReason, Message, Outcome
from hansard.service import Service
from shared.eventstore.model import Claim, DoorMessage, Stream
from shared.kafka.record import Record
from shared.masking import masked
from shared.runtime.claims import by_stream, claim_of, forged_stream
from shared.runtime.crash_guard import CrashGuard
from shared.task_tokens import NO_TOKENS, TaskTokens

MAX_REDRIVE = 1 << 20  # bytes of a redrive, which carries its message in base64


@dataclass(frozen=True, slots=True)
class DeadCause:
    """Why a message cannot be processed."""

    reason: DeadReason
    detail: str
    attempts: int = 1
    error: str = ""  # the type of what a service's own code raised, and where: for the log
    place: str = ""


@dataclass(slots=True)
class Inbound:
    """A message for one stream. Without a `message` it is a dead letter; without a `record` it comes from within the service."""

    stream: Stream
    causation_id: UUID
    kind: str
    hash: bytes
    source: str = ""
    message_id: str = ""
    at: datetime | None = None  # recorded time of a message of our services; None at a door: no time is proven there
    message: Message | None = None
    record: Record | None = None
    door: DoorMessage | None = None
    dead: DeadCause | None = None
    redrive: bool = False
    traceparent: str = ""
    claim: Claim | None = None  # what a message on an internal topic says of itself: the append checks it
    received: Record | None = None  # the redrive that brought it; None: `record` itself was received
    forged: tuple[Record, ...] = ()  # this is no message: these are not on the record
    outcome: bytes | None = None  # the data of what a performer brought back

    @property
    def received_as(self) -> Record | None:
        """The record that this came by, where it truly was received."""
        return self.received or self.record

    def context(self, at: datetime, may_perform: bool = True) -> Context:
        """The facts that a decision at this recorded time may use."""
        stream, topic = self.stream, self.door.topic if self.door else ""
        return Context(self.causation_id, at, stream.workflow, stream.tenant, self.source, self.message_id, may_perform, topic)


@dataclass(frozen=True)
class InboundParser:
    """Parses the records of one service."""

    service: Service[Any]
    topics: Topics
    max_request_bytes: int
    tokens: TaskTokens = NO_TOKENS

    @cached_property
    def ignored_types(self) -> dict[str, frozenset[bytes]]:
        """By internal topic, the types of messages that are for other services: most records, so they are not parsed."""
        return {
            topic.name: frozenset(kind.kind.encode() for kind in topic.kinds if kind not in self.service.receives)
            for topic in self.topics.consumed_by(self.service.name)
            if not topic.door
        }

    def parse(self, record: Record) -> Inbound | None:
        """The message in this record; None if it is not for this service."""
        topic = self.topics.by_name[record.topic]
        if record.fault:
            return self._unreadable(topic, record, Unreadable(record.fault))
        if (ignored := self.ignored_types.get(record.topic)) and any(
            name == "ce_type" and kind in ignored for name, kind in record.headers
        ):
            return None
        try:
            envelope = read(record.value, record.headers)
        except Unreadable as unreadable:
            return self._unreadable(topic, record, unreadable)
        claim = None if topic.door else claim_of(record, envelope, topic.producers)
        if claim is None and not topic.door:
            return forged(self.service.name, [record])
        causation_id = claim.id if claim else door_causation_id(envelope.tenant, topic.name, envelope.source, envelope.id)
        stream = Stream(envelope.tenant, envelope.correlation_id, self.service.name)
        inbound = Inbound(
            stream=stream,
            causation_id=causation_id,
            kind=envelope.type,
            hash=claim.hash if claim else hashlib.sha256(envelope.data).digest(),
            source=envelope.source,
            message_id=envelope.id,
            at=claim and claim.at,
            record=record,
            door=door_message(record, stream, causation_id) if topic.door else None,
            traceparent=envelope.traceparent,
            claim=claim,
        )
        return self._parse_data(inbound, topic, envelope)

    def _parse_data(self, inbound: Inbound, topic: Topic, envelope: Envelope) -> Inbound | None:
        kind = self.topics.kinds.get(envelope.type)
        if topic.door and (too_large := self._too_large(inbound.record, kind)):
            return self._dead_once(topic, inbound, DeadCause("too-large", too_large))
        if kind is None:
            unknown = DeadCause("unknown-kind", f"this version does not know {envelope.type}; redrive it after an upgrade")
            return self._dead_once(topic, inbound, unknown) if topic.door else as_dead(inbound, unknown)
        if kind not in topic.kinds:
            return self._dead_once(
                topic, inbound, DeadCause("not-expected", f"{envelope.type} is not a kind of the topic {topic.name}")
            )
        if kind not in self.service.receives and kind is not RedriveDeadLetter:
            return None
        try:
            message = decode(kind, envelope.data)
        except Invalid as invalid:
            return self._dead_once(topic, inbound, DeadCause("invalid", str(invalid)))
        if topic.door and inbound.record and (problem := self.tokens.problem(topic.name, envelope, message)):
            return self._by_place(topic, inbound.record, DeadCause("not-expected", problem), inbound.kind, inbound.message_id)
        if isinstance(message, RedriveDeadLetter):
            return self._parse_redriven(message, inbound, topic)
        try:
            name = self.service.stream(message)
        except BaseException as error:  # `receives` is a service's own code: it may raise anything
            return as_dead(inbound, cause_of(error))
        if name is None:
            return None
        inbound.stream = inbound.stream._replace(name=name)
        inbound.message = message
        return inbound

    def _too_large(self, record: Record | None, kind: type[Message] | None) -> str:
        """Why a message from outside is too large; "" if it is not. A redrive carries a whole message, of a service perhaps."""
        size = record.size if record else 0
        limit = MAX_REDRIVE if kind is RedriveDeadLetter else self.max_request_bytes
        if size <= limit:
            return ""
        return f"key, headers and body have {size} bytes together; the limit here is {limit}"

    def _dead_once(self, topic: Topic, inbound: Inbound, dead: DeadCause) -> Inbound | None:
        """Dead-letters the message, if this service is the first consumer of the topic: so it gets one dead letter."""
        return as_dead(inbound, dead) if self.service.name == topic.consumers[0] else None

    def _unreadable(self, topic: Topic, record: Record, why: Unreadable) -> Inbound | None:
        if not topic.door:  # whatever is on the record can be read
            return forged(self.service.name, [record]) if self.service.name == topic.consumers[0] else None
        kind, id = why.known.get("ce_type", "")[:512], why.known.get("ce_id", "")[:512]
        asked = named(why, record.key) if record.topic == "requests" else None  # its sender waits there for the refusal
        return self._by_place(topic, record, DeadCause("unreadable", str(why)), kind, id, asked)

    def _by_place(
        self, topic: Topic, record: Record, dead: DeadCause, kind: str, id: str, asked: tuple[str, str] | None = None
    ) -> Inbound | None:
        """A dead letter in a stream of its own, named by the record's place: whatever id and workflow the record states, they
        stay free for the one to whom they belong. `asked`: tenant and workflow of a request, which are its own."""
        place = place_of(record.topic, record.partition, record.offset)
        tenant, workflow = asked or (TENANT, place)
        stream, causation_id = Stream(tenant, workflow, self.service.name), unreadable_causation_id(place)
        inbound = Inbound(
            stream=stream,
            causation_id=causation_id,
            kind=kind,
            hash=hashlib.sha256(record.value or b"").digest(),
            message_id=id,
            record=record,
            door=door_message(record, stream, causation_id),
        )
        return self._dead_once(topic, inbound, dead)

    def _parse_redriven(self, asked: RedriveDeadLetter, inbound: Inbound, topic: Topic) -> Inbound | None:
        """The dead message itself, as it was received. Its stream decides whether it may be processed again."""
        origin = self.topics.by_name.get(asked.topic)
        if origin is None or asked.service not in origin.consumers or asked.service not in topic.consumers:
            what = f"no service {asked.service[:80]!r} consumes a topic {asked.topic[:80]!r}"
            return self._dead_once(topic, inbound, DeadCause("invalid", what))
        if asked.service != self.service.name:
            return None
        try:
            key, body = _bytes(asked.key), _bytes(asked.body)
            headers = tuple((name, _bytes(value)) for name, value in asked.headers)
        except ValueError as broken:
            return as_dead(inbound, DeadCause("invalid", f"key, headers and body are base64: {broken}"))
        again = self.parse(Record(asked.topic, asked.partition, asked.offset, asked.timestamp, key, body, headers))
        if again is None or again.forged:  # what was never on the record was never processed, and is not dead
            return None
        again.redrive, again.received = True, inbound.record
        return again


@dataclass(frozen=True)
class Intake:
    """Takes each batch of the consumer: gives it to `process`, then reports the offsets to commit.

    `process` returns when the messages are stored. `done` is given the next offset to read, by (topic, partition).
    """

    parser: InboundParser
    process: Callable[[Sequence[Inbound]], Awaitable[None]]
    done: Callable[[Mapping[tuple[str, int], int]], None]
    crash_guard: CrashGuard | None = None  # after an unclean end
    crash_attempts: int = 1  # ends of the process after which the record that it processed alone is dead

    async def receive(self, records: Sequence[Record]) -> None:
        if self.crash_guard is None:
            return await self._take(records)
        for group in await self.crash_guard.count_and_group(records):
            crashes = await self.crash_guard.crashes(group)
            crashed = DeadCause("crashed", f"the process ended {crashes} times while it processed this", crashes)
            await self._take(group, crashed if crashes >= self.crash_attempts else None)
            self.crash_guard.passed(group)

    async def _take(self, records: Sequence[Record], dead: DeadCause | None = None) -> None:
        async with watched(self.crash_guard, records):
            inbounds = [inbound for inbound in map(self.parser.parse, records) if inbound is not None]
        await self.process([as_dead(inbound, dead) for inbound in inbounds] if dead else inbounds)
        self.done({(record.topic, record.partition): record.offset + 1 for record in records})


def watched(guard: CrashGuard | None, records: Iterable[Record]) -> AbstractAsyncContextManager[None]:
    """`guard.watch`, where there is a guard."""
    return guard.watch(records) if guard is not None else nullcontext()


def wake_up(stream: Stream, processed: int) -> Inbound:
    """The wake-up of a stream that has `processed` inbox entries."""
    return internal_message(stream, WakeUp(), wake_up_name(processed))


def outcome_message(stream: Stream, outcome: Outcome) -> Inbound:
    """The outcome of an attempt, as a message to its stream."""
    return internal_message(stream, outcome, outcome_name(outcome.attempt))


def internal_message(stream: Stream, fact: Message, name: str) -> Inbound:
    """A message to a stream from within its service. If several have one name, only the first is processed.

    Raises ValueError for an outcome that does not come back from its JSON as it was: an audit could not decide on it.
    """
    causation_id, data = internal_causation_id(stream, name), encode(fact)
    if is_outcome := isinstance(fact, Outcome):
        check_read_again(fact, data)
    return Inbound(
        stream=stream,
        causation_id=causation_id,
        kind=fact.kind,
        hash=hashlib.sha256(data).digest(),
        source=source_of(stream.service),
        message_id=str(causation_id),
        message=fact,
        outcome=data if is_outcome else None,
    )


def with_reused_id(inbound: Inbound) -> Inbound:
    """A dead letter, under an id of its own, for a message that has the id of an earlier one and another body."""
    causation_id = reused_causation_id(inbound.causation_id, inbound.hash)
    dead = DeadCause("id-reused", f"{inbound.message_id} was received before with another body; send this under a new id")
    door = replace(inbound.door, causation_id=causation_id) if inbound.door else None
    return replace(inbound, causation_id=causation_id, message=None, dead=dead, door=door)


def with_taken_id(inbound: Inbound, workflow: str) -> Inbound:
    """A dead letter, under an id of its own, for a message that has the id of one that is processed in `workflow`."""
    if workflow == inbound.stream.workflow:
        return with_reused_id(inbound)
    causation_id = elsewhere_causation_id(inbound.causation_id, inbound.stream.workflow)
    detail = f"{inbound.message_id} was received before and is processed in the workflow {workflow}: its result is there"
    door = replace(inbound.door, causation_id=causation_id) if inbound.door else None
    dead = DeadCause("id-reused", f"{detail}; to have it processed again, send it under a new id")
    return replace(inbound, causation_id=causation_id, message=None, dead=dead, door=door)


def forged(service: str, records: Sequence[Record]) -> Inbound:
    """The dead letter about records, near each other on one partition, that are not on the record. No workflow is told."""
    first = records[0]
    causation_id = forged_causation_id(place_of(first.topic, first.partition, first.offset))
    digest = hashlib.sha256(first.value or b"").digest()
    stream = forged_stream(service, first.topic, first.partition, first.offset)
    return Inbound(stream, causation_id, "", digest, record=first, forged=tuple(records))


def letters(service: str, inbounds: Iterable[Inbound]) -> list[Inbound]:
    """One dead letter for the forged messages of each partition."""
    records = [record for inbound in inbounds for record in (inbound.forged or (inbound.received_as,)) if record]
    return [forged(service, mine) for mine in by_stream(service, records).values()]


def cause_of(error: BaseException, reason: DeadReason = "poison") -> DeadCause:
    """Why a message is dead whose service's own code raised this. Raises it again where it asks the process to stop."""
    if isinstance(error, KeyboardInterrupt | asyncio.CancelledError):
        raise error
    try:
        text = str(error)
    except Exception:  # the text of an error is a service's own code too
        text = "(its text cannot be shown)"
    name, place, trace = type(error).__name__, "", error.__traceback__
    while trace is not None:
        place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
        trace = trace.tb_next
    return DeadCause(reason, masked(f"{name}: {text}")[:2000], error=name, place=place)


def as_dead(inbound: Inbound, dead: DeadCause) -> Inbound:
    """The same message, marked as dead."""
    return replace(inbound, dead=dead)


def without_content(inbound: Inbound, dead: DeadCause) -> Inbound:
    """The same message, marked as dead, without anything that its sender wrote but its id and kind, which are printable."""
    record = inbound.record and inbound.record._replace(key=None, value=None, headers=())
    return replace(inbound, dead=dead, record=record, door=None)


def door_message(record: Record, stream: Stream, causation_id: UUID) -> DoorMessage:
    """The copy that the event store keeps of a record at a door."""
    return DoorMessage(
        stream.tenant,
        stream.workflow,
        causation_id,
        record.topic,
        record.partition,
        record.offset,
        record.at,
        record.key,
        tuple(_raw_headers(record)),
        record.value,
    )


def _raw_headers(record: Record) -> Iterator[tuple[str, bytes]]:
    for name, value in record.headers:
        yield (name if isinstance(name, str) else name.decode("utf-8", "backslashreplace")), value or b""


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text, validate=True)
