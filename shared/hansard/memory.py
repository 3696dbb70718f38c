"""Runs whole services in one process, with an event store in memory: for tests and notebooks, without servers."""

import json
import uuid
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from hansard.actions import APPROVED, DECIDER, Approval, Recorded, check_decision, decision_id
from hansard.checked import checked
from hansard.codec import decode, encode
from hansard.decider import CannotProcess, Context, WakeUp
from hansard.identity import (
    Stream,
    door_causation_id,
    internal_causation_id,
    outcome_name,
    source_of,
    stored_message_id,
    stream_name,
    wake_up_causation_id,
)
from hansard.message import DeadReason, Intent, Message, Outcome
from hansard.references import declared_wholes, whole
from hansard.service import AnyValue, Service
from hansard.values import ContentReference

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MOST = 10_000  # messages that may follow from one: a limit for services that answer each other for ever


@dataclass(frozen=True)
class DeadMessage:
    """A message that a stream could not process, and why."""

    stream: Stream
    message: Message
    reason: DeadReason
    detail: str


@dataclass
class _Stream:
    state: Any
    messages: list[Message] = field(default_factory=list)
    inbox: set[UUID] = field(default_factory=set)
    entries: int = 0


@dataclass(frozen=True)
class _Inbound:
    stream: Stream
    id: UUID
    message: Message
    source: str
    topic: str = ""


class InMemory:
    """`InMemory(service, another)`: each receives the messages of the others. Each stream processes a message once.

    The clock stands still at `now` until `advance` moves it. Raises ValueError for a service that could not be served.
    """

    def __init__(self, *services: Service[Any], at: datetime = NOON) -> None:
        self.services = {service.name: service for service in map(checked, services)}
        self.now = at
        self.dead: list[DeadMessage] = []
        self.ephemeral: list[Message] = []
        self.contents: dict[tuple[str, str], bytes] = {}  # by tenant and SHA-256
        self._streams: dict[Stream, _Stream] = {}
        self._record: dict[UUID, Recorded] = {}
        self._intents: deque[tuple[Stream, Intent]] = deque()

    def send(
        self,
        message: Message,
        *,
        workflow: str = "wf-1",
        tenant: str = "default",
        id: str | UUID | None = None,
        topic: str = "",
    ) -> tuple[Message, ...]:
        """Publishes a message to these services. Returns the messages that they stored because of it, in order.

        A message with the same `id` is the same message and changes nothing. Without an `id` it is a new message. `topic`: the
        door at which it is received.
        """
        name = uuid.uuid4() if id is None else id if isinstance(id, UUID) else door_causation_id(tenant, topic, "/test", id)
        return self._run(self._receivers(message, name, workflow, tenant, "/test", sender="", topic=topic))

    def advance(self, by: timedelta | None = None, *, to: datetime | None = None) -> tuple[Message, ...]:
        """Moves the clock. Streams whose time has come receive their wake-ups, in the order of their times."""
        until = to or self.now + (by or timedelta())
        stored: list[Message] = []
        while due := [(at, stream) for stream in self._streams if (at := self.wake_at(stream)) is not None and at <= until]:
            at, stream = min(due)
            self.now = max(self.now, at)
            wake_up = _Inbound(stream, wake_up_causation_id(stream, self._streams[stream].entries), WakeUp(), "")
            stored += self._run([wake_up])
            if (again := self.wake_at(stream)) is not None and again <= self.now:
                raise AssertionError(f"{stream}, at its wake-up at {self.now}, asks for a wake-up at {again}, which is no later")
        self.now = max(self.now, until)
        return tuple(stored)

    async def perform(self) -> tuple[Message, ...]:
        """Makes the attempts of stored intents one after the other until none is left. Returns the messages stored then."""
        stored: list[Message] = []
        while self._intents:
            stream, intent = self._intents.popleft()
            performer = self.services[stream.service].performer
            if performer is None or not isinstance(intent, performer.intent):
                raise LookupError(f"{stream.service} has no performer for {type(intent).__name__}")
            async with performer.open(_PerformerContext(self)) as perform:
                outcome = await perform(self._streams[stream].state, intent, stream)
            stored += self.fact(stream, outcome, outcome_name(outcome.attempt))
        return tuple(stored)

    def messages(self, name: str, workflow: str = "wf-1", tenant: str = "default") -> tuple[Message, ...]:
        """The messages that a stream has stored: `messages("specialists/draft.1")`."""
        found = self._streams.get(Stream(tenant, workflow, name))
        return tuple(found.messages) if found else ()

    def state(self, name: str, workflow: str = "wf-1", tenant: str = "default") -> Any:
        """A stream's state, folded from its stored messages."""
        stream = Stream(tenant, workflow, name)
        return self.services[stream.service].decider.fold(self.messages(name, workflow, tenant))

    def wake_at(self, stream: Stream) -> datetime | None:
        """When a stream wants its next wake-up."""
        return self.services[stream.service].decider.next_wake_up(self._streams[stream].state)

    def fact(self, stream: Stream, fact: Message, name: str) -> tuple[Message, ...]:
        """Delivers an outcome to a stream, as it is read from its JSON; a repeated name is ignored."""
        fact = decode(type(fact), encode(fact))
        return self._run([_Inbound(stream, internal_causation_id(stream, name), fact, source_of(stream.service))])

    def approve(self, approval: Approval, *, workflow: str = "wf-1", tenant: str = "default") -> None:
        """Puts the decision that the approval names on the record, as the approval service stores one."""
        reference = approval.action.model_dump(mode="json")
        decided = approval.model_dump(mode="json") | {"sha256": approval.action.sha256, "action_ref": reference}
        place = Stream(tenant, workflow, stream_name(DECIDER, "action"))
        self._record[decision_id(approval)] = Recorded(place, APPROVED, json.dumps(decided).encode())

    def _receivers(
        self, message: Message, id: UUID, workflow: str, tenant: str, source: str, sender: str, topic: str = ""
    ) -> Iterable[_Inbound]:
        for service in self.services.values():
            name = None if service.name == sender else service.stream(message)
            if name is not None:
                yield _Inbound(Stream(tenant, workflow, name), id, message, source, topic)

    def _run(self, first: Iterable[_Inbound]) -> tuple[Message, ...]:
        waiting, stored = deque(first), list[Message]()
        while waiting:
            inbound = waiting.popleft()
            stream = inbound.stream
            for n, message in enumerate(self._process(inbound), 1):
                stored.append(message)
                if len(stored) > MOST:
                    raise AssertionError(f"more than {MOST} messages followed from one: services answer each other for ever")
                id = stored_message_id(message, stream, inbound.id, n)
                self._record[id] = Recorded(stream, message.kind, encode(message))
                source = source_of(stream.service)
                waiting.extend(self._receivers(message, id, stream.workflow, stream.tenant, source, sender=stream.service))
        return tuple(stored)

    def _process(self, inbound: _Inbound) -> tuple[Message, ...]:
        stream, decider = inbound.stream, self.services[inbound.stream.service].decider
        known = self._streams.setdefault(stream, _Stream(decider.initial))
        if inbound.id in known.inbox:
            return ()
        known.inbox.add(inbound.id)
        known.entries += 1
        name, topic = str(inbound.id), inbound.topic
        context = Context(inbound.id, self.now, stream.workflow, stream.tenant, inbound.source, name, topic=topic)
        try:
            decided = tuple(decider.decide(known.state, inbound.message, context))
            self._check(stream.service, decided)
            state = decider.fold(decided, known.state)
            decider.next_wake_up(state)  # a spec fails where this is no time
        except CannotProcess as refused:
            self.dead.append(DeadMessage(stream, inbound.message, refused.reason, refused.detail))
            return ()
        for message in decided:
            self.contents |= {(stream.tenant, one.sha256): data for one, data in declared_wholes(message).items()}
        known.state = state
        known.messages.extend(decode(type(message), encode(message)) for message in decided)
        self._intents.extend((stream, message) for message in decided if isinstance(message, Intent))
        return decided

    def _check(self, name: str, decided: Iterable[Message]) -> None:
        """Raises LookupError for a message without a topic, if the service names its topics."""
        topics = [topic for topic in self.services[name].topics if name in topic.producers]
        for message in decided:
            if topics and not any(type(message) in topic.kinds for topic in topics):
                raise LookupError(f"{name} has no topic to publish {message.kind} to: name one in Service(topics=…)")


@dataclass(frozen=True)
class _PerformerContext:
    """A `PerformerContext` in memory."""

    there: InMemory

    def now(self) -> datetime:
        return self.there.now

    async def record(self, stream: Stream, fact: Outcome, name: str) -> Any:
        self.there.fact(stream, fact, name)
        return await self._one(stream)

    async def load(self, streams: Sequence[Stream]) -> list[Any]:
        return [await self._one(stream) for stream in streams]

    async def content(self, stream: Stream, reference: ContentReference) -> bytes:
        return self.there.contents[stream.tenant, reference.sha256]

    async def approved(self, stream: Stream, approval: Approval) -> None:
        check_decision(approval, stream, self.there._record.get(decision_id(approval)))

    async def whole(self, stream: Stream, value: AnyValue) -> AnyValue:
        return await whole(value, lambda reference: self.content(stream, reference))

    async def _one(self, stream: Stream) -> Any:
        return self.there.state(stream.name, stream.workflow, stream.tenant)

    def publish_ephemeral(self, stream: Stream, message: Message, id: UUID) -> None:
        self.there.ephemeral.append(message)
