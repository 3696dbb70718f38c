"""Where a loop publishes to, and a small performer's service to run it with."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from contracts.gateway import AttemptStarted, CallAccepted, CallCancelled, CallModel, CancelCall, ChatMessage, ReplyDiscarded
from hansard.decider import Context, Decider, WakeUp
from hansard.message import Message
from hansard.service import Service
from services.gateway.facts import AttemptReturned
from shared.eventstore.memory import InMemoryEventStore
from shared.eventstore.model import StoredMessage, Stream
from shared.kafka.record import Record
from shared.runtime.inbound import Inbound, InboundParser
from shared.runtime.loop import Loop
from shared.runtime.performer import AttemptRunner
from shared.runtime.processor import Processor
from tests.unit.internal import published, put_on_record, stored_message
from tests.unit.toy import NOON, parser, topics


@dataclass
class Publisher:
    """Keeps what is published, once, and checks that it was stored by then."""

    store: InMemoryEventStore
    messages: list[StoredMessage] = field(default_factory=list)

    async def publish(self, messages: Sequence[StoredMessage]) -> None:
        on_record = await self.store.find_messages([stored.id for stored in messages])
        assert all(stored.id in on_record for stored in messages), "published before it was stored"
        self.messages.extend(stored for stored in messages if stored.id not in {known.id for known in self.messages})

    def acknowledged_version(self, stream: Stream) -> int:
        return 0

    def marked_published(self, stream: Stream, version: int) -> None: ...


def parsed(*records: Record) -> list[Inbound]:
    return [inbound for inbound in map(parser.parse, records) if inbound is not None]


@dataclass(frozen=True)
class Call:
    ready: datetime | None = None
    attempt: int = 0
    over: bool = False


CALL = CallModel(call="t/1", messages=(ChatMessage(role="user", content="?"),), deadline=NOON)


def decide(call: Call, message: Message, context: Context) -> Iterable[Message]:
    match message:
        case CallModel() if call == Call() and not context.may_perform:
            yield CallAccepted(request=message, at=context.at)
        case CallModel() | WakeUp() if not call.over:
            yield AttemptStarted(
                attempt=call.attempt + 1, safety="safe", key="k", deadline=context.at + timedelta(seconds=30), call="t/1",
                tier="one", provider="", model="", endpoint="",
            )  # fmt: skip
        case AttemptReturned(attempt=attempt) if not call.over and attempt == call.attempt:
            yield CallCancelled(call="t/1")
        case AttemptReturned(attempt=attempt):
            yield ReplyDiscarded(call="t/1", attempt=attempt, because="superseded", cost=0)
        case _:
            return


def evolve(call: Call, message: Message) -> Call:
    match message:
        case CallAccepted():
            return replace(call, ready=NOON)
        case AttemptStarted(attempt=attempt, deadline=deadline):
            return replace(call, ready=deadline, attempt=attempt)
        case CallCancelled():
            return replace(call, ready=None, over=True)
    return call


gateway = Service(
    "gateway",
    Decider(Call(), decide, evolve, wake_at=lambda call: call.ready),
    receives={CallModel: lambda m: m.call, CancelCall: lambda m: m.call},
)
CALLS = Stream("default", "w1", "gateway/t/1")


def call_message(store: InMemoryEventStore) -> list[Inbound]:
    """The call, as it comes once its service has put it on the record."""
    return [on_record(store, gateway, CALL, 1)]


def cancel_message(store: InMemoryEventStore) -> list[Inbound]:
    return [on_record(store, gateway, CancelCall(call="t/1"), 2)]


def on_record(store: InMemoryEventStore, service: Service[Any], message: Message, version: int = 1) -> Inbound:
    """A command for the gateway that a service has stored, parsed."""
    id = UUID(f"6a0f5f0e-5f5a-5b1e-9d5e-{version:012}")
    stored = stored_message(message, Stream("default", "w1", "specialists/t"), "gateway.commands", version=version, id=id)
    put_on_record(store, stored)
    found = InboundParser(service, topics, 2000).parse(published(stored))
    assert found is not None
    return found


async def until(true: Any) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.001)


async def kinds(store: InMemoryEventStore) -> list[str]:
    return [stored.kind.split(".")[2] for stored in (await store.load([CALLS]))[CALLS].messages]


def performing(store: InMemoryEventStore, perform: Any, limit: int = 2) -> tuple[Loop, AttemptRunner]:
    loop = Loop(Processor(gateway, topics, 9000), store, Publisher(store), process_id="mine")
    loop.attempt_runner = AttemptRunner(perform, limit, loop.process)
    return loop, loop.attempt_runner


def two_processes(store: InMemoryEventStore) -> tuple[Loop, Loop]:
    """Of one service, on one store. They make no attempts."""
    (one, _), (other, _) = performing(store, None), performing(store, None)
    one.attempt_runner = other.attempt_runner = None
    return one, other
