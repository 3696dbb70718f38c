"""Records of the toy service, for tests of audits."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, TypeVar

from contracts.gateway import CallModel, ChatMessage, ModelReplied
from hansard.decider import Context
from hansard.envelope import headers
from hansard.message import Message, Outcome
from hansard.service import Service
from infra.audit import replay
from services.gateway.app import build
from services.gateway.config import Chain
from services.gateway.decider import gateway as gateway_decider
from shared.eventstore.memory import InMemoryEventStore
from shared.eventstore.model import StoredMessage, Stream
from shared.eventstore.ports import EventStore
from shared.kafka.record import Record
from shared.runtime.inbound import Inbound, InboundParser, outcome_message, wake_up
from shared.runtime.processor import Processor
from shared.settings import Settings
from tests.unit.toy import NOON, Count, parser, processor, request, service, topics

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
    return Record(one.topic, 0, one.version, 0, one.stream.workflow.encode(), envelope.data, tuple(headers(envelope)))


def with_decide(decide: Any, **more: Any) -> Service[Count]:
    """The toy service with another decision."""
    return replace(service, decider=replace(service.decider, decide=decide, **more))


def calling(count: Count, message: Message, context: Context) -> Iterable[Message]:
    """A model call for every request."""
    question = (ChatMessage(role="user", content="?"),)
    yield CallModel(call="specialists/1", messages=question, deadline=context.at + timedelta(days=1))


CALLER = replace(with_decide(calling), name="specialists")
CALL = Stream("default", "w1", "gateway/specialists/1")
TEXT = "A quorum is the least number of members that must be there. " * 40


def gateway(confidence: float = 0.9) -> Service[Any]:
    tier = {"name": "one", "url": "http://127.0.0.1:1/v1", "model": "m", "confidence": confidence}
    chain = Chain.model_validate({"endpoints": [tier]})
    return replace(build(Settings(model_url="http://127.0.0.1:1/v1")), decider=gateway_decider(chain), stored_policy=None)


def replied(**more: Any) -> ModelReplied:
    fields = {"call": "specialists/1", "attempt": 1, "tier": "one", "text": TEXT, "latency_ms": 1, "cost": Decimal("0.01")}
    return ModelReplied.model_validate(fields | {"data": {"passages": [TEXT[:200], "short"]}} | more)


async def with_a_call(store: S, today: Service[Any], *outcomes: Outcome) -> S:
    """The caller's request in `w1`, and its model call: it waits for a slot, gets one, and these outcomes come back."""
    caller = replace(processor, service=CALLER)
    inbound = replace(parser, service=CALLER).parse(request("call", id="call"))
    assert inbound is not None
    await process(store, caller, inbound)
    (asked,) = [m for m in (await store.load([inbound.stream]))[inbound.stream].messages if m.kind == CallModel.kind]
    received = InboundParser(today, topics, 2000).parse(published(asked))
    assert received is not None
    of_gateway = Processor(today, topics, 100_000)
    await process(store, of_gateway, received, may_perform=False)
    await process(store, of_gateway, wake_up(CALL, 1))
    for outcome in outcomes:
        await process(store, of_gateway, outcome_message(CALL, outcome))
    return store


async def process(store: EventStore, by: Processor[Any], inbound: Inbound, may_perform: bool = True) -> None:
    history = (await store.load([inbound.stream]))[inbound.stream]
    not_before = inbound.at or history.at
    pending = by.begin(inbound.stream, by.fold(history), max(store.now(), not_before, history.at), max(not_before, history.at))
    by.process(pending, inbound, may_perform=may_perform)
    if pending.entries:
        assert inbound.stream in (await store.append([pending])).accepted
