"""Records of the toy service, for tests of audits."""

from dataclasses import replace
from typing import Any, TypeVar

from hansard.envelope import headers
from hansard.service import Service
from infra.audit import replay
from shared.eventstore.memory import InMemoryEventStore
from shared.eventstore.model import StoredMessage, Stream
from shared.eventstore.ports import EventStore
from shared.kafka.record import Record
from tests.unit.toy import NOON, Count, parser, processor, service

S = TypeVar("S", bound=EventStore)
STREAM = Stream("default", "w1", "router")


async def recorded(*records: Record) -> InMemoryEventStore:
    """A store in memory in which the toy service has processed these records, one append each."""
    return await record(InMemoryEventStore(lambda: NOON), *records)


async def record(store: S, *records: Record) -> S:
    """The same, in the given store."""
    for record in records:
        inbound = parser.parse(record)
        assert inbound is not None
        history = (await store.load([inbound.stream]))[inbound.stream]
        pending = processor.begin(inbound.stream, processor.fold(history), store.now())
        processor.process(pending, inbound)
        assert inbound.stream in (await store.append([pending])).accepted
    return store


def published(one: StoredMessage) -> Record:
    envelope = replace(replay.envelope(one, NOON), replayed="")
    return Record(one.topic, 0, one.version, 0, b"w1", envelope.data, tuple(headers(envelope)))


def with_decide(decide: Any, **more: Any) -> Service[Count]:
    """The toy service with another decision."""
    return replace(service, decider=replace(service.decider, decide=decide, **more))
