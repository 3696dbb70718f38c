"""A small service on an internal topic, in a process that may end at any append, and messages forged for it."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from contracts.dead_letters import DeadLettered
from contracts.planner import ExpireWorkflow, PlanCancelNoted, RunPlan
from hansard.codec import decode
from hansard.decider import Context, Decider
from hansard.message import Message
from hansard.service import Service
from shared.eventstore.memory import InMemoryEventStore
from shared.eventstore.model import Appended, History, StoredMessage, Stream, StreamAppend
from shared.kafka.record import Record
from shared.runtime.inbound import DeadCause, InboundParser, as_dead
from shared.runtime.loop import Loop
from shared.runtime.processor import Processor
from tests.unit.internal import stored_message
from tests.unit.loop_kit import Publisher
from tests.unit.toy import NOON, topics

T = "planner.commands"


def decide(count: int, received: Message, context: Context) -> Iterable[Message]:
    assert isinstance(received, RunPlan | ExpireWorkflow)
    if received.request == "poison":
        raise ZeroDivisionError("asked for it")
    if received.request != "silence":
        yield PlanCancelNoted(by=f"{type(received).__name__} {count}", reason=received.request)


toy = Service(
    "planner", Decider(0, decide, lambda count, _: count + 1), receives={RunPlan: lambda _: "", ExpireWorkflow: lambda _: ""}
)
parser = InboundParser(toy, topics, 2000)


def expire(request: str = "r", workflow: str = "w1", **more: Any) -> StoredMessage:
    message = ExpireWorkflow(request=request, deadline=NOON)
    return stored_message(message, Stream("default", workflow, "router"), T, **more)


class Stopped(BaseException):
    pass


class Stopping(InMemoryEventStore):
    """Ends the process at some appends, before or after their commit."""

    chance = 0.0
    dice = random.Random(0)

    async def append(self, appends: Sequence[StreamAppend]) -> Appended:
        if self.dice.random() < self.chance:
            raise Stopped
        appended = await super().append(appends)
        if self.dice.random() < self.chance:
            raise Stopped
        return appended


@dataclass
class Process:
    """A process of the toy, or of another service, on a store."""

    store: InMemoryEventStore = field(default_factory=lambda: Stopping(lambda: NOON))
    service: Service[Any] = toy

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.loop = Loop(Processor(self.service, topics, 1 << 20), self.store, Publisher(self.store))

    async def receive(self, *records: Record, dead: DeadCause | None = None) -> None:
        parse = InboundParser(self.service, topics, 2000).parse
        inbounds = [inbound for inbound in map(parse, records) if inbound is not None]
        await self.loop.process([as_dead(inbound, dead) for inbound in inbounds] if dead else inbounds)

    async def history(self, workflow: str = "w1") -> History:
        stream = Stream("default", workflow, self.service.name)
        return (await self.store.load([stream]))[stream]

    async def notes(self, workflow: str = "w1") -> list[str]:
        """What the toy noted of each message."""
        kinds = topics.kinds
        return [getattr(decode(kinds[m.kind], m.data), "reason", "") for m in (await self.history(workflow)).messages]

    async def letters(self) -> list[DeadLettered]:
        """The dead letters about forged messages, in the order in which they were stored."""
        found = [decode(DeadLettered, m.data) for part in [await self.all()] for m in part if m.kind == DeadLettered.kind]
        return [letter for letter in found if letter.reason == "not-on-the-record"]

    async def all(self) -> list[StoredMessage]:
        return [message async for part in self.store.read_all() for message in part]

    async def workflows(self) -> set[str]:
        """Those in which this service stored anything."""
        return {message.stream.workflow for message in await self.all() if message.stream.service == self.service.name}


def changed(record: Record, **to: str | None) -> Record:
    """The record with other headers; None leaves one out."""
    given = dict(record.headers) | {f"ce_{name}": value.encode() for name, value in to.items() if value is not None}
    return record._replace(headers=tuple((name, value) for name, value in given.items() if to.get(str(name)[3:], "") is not None))
