"""The `hansard.PerformerContext` of a process."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from contracts.catalog import Topics
from hansard.actions import Approval, Recorded, check_decision, decision_id
from hansard.codec import encode
from hansard.message import Message, Outcome
from hansard.references import V, whole
from hansard.values import ContentReference
from shared.content.ports import ContentStore
from shared.eventstore.api_keys import ApiKeyStore
from shared.eventstore.model import StoredMessage, Stream
from shared.eventstore.ports import AnswerIndex, MessagesById, RecentMessages, StreamStore
from shared.runtime.inbound import internal_message
from shared.runtime.loop import Loop


class EphemeralPublisher(Protocol):
    """Publishes ephemeral messages (shared.kafka.ephemeral)."""

    def publish_ephemeral(self, topic: str, stored: StoredMessage) -> None: ...


@dataclass(frozen=True)
class RuntimePerformerContext:
    loop: Loop
    store: StreamStore
    topics: Topics
    publisher: EphemeralPublisher
    answers: AnswerIndex
    contents: ContentStore
    recent: RecentMessages
    api_keys: ApiKeyStore
    decisions: MessagesById

    def now(self) -> datetime:
        return self.store.now()

    async def record(self, stream: Stream, fact: Outcome, name: str) -> Any:
        await self.loop.process([internal_message(stream, fact, name)])
        cached = self.loop.cached(stream)
        return (await self.load([stream]))[0] if cached is None or cached.dead else cached.state

    async def load(self, streams: Sequence[Stream]) -> list[Any]:
        histories = await self.store.load(streams)
        return [self.loop.processor.fold(histories[stream]).state for stream in streams]

    async def content(self, stream: Stream, reference: ContentReference) -> bytes:
        return await self.contents.get(stream.tenant, reference)

    async def approved(self, stream: Stream, approval: Approval) -> None:
        id = decision_id(approval)
        found = (await self.decisions.find_messages([id])).get(id)
        check_decision(approval, stream, Recorded(found.stream, found.kind, found.data) if found else None)

    async def whole(self, stream: Stream, value: V) -> V:
        return await whole(value, lambda reference: self.content(stream, reference))

    def publish_ephemeral(self, stream: Stream, message: Message, id: UUID) -> None:
        topic = next((t.name for t in self.topics.all if type(message) in t.kinds and not t.recorded), None)
        if topic is None:
            raise LookupError(f"{message.kind} is a kind of no ephemeral topic")
        self.publisher.publish_ephemeral(
            topic, StoredMessage(stream, 0, id, message.kind, topic, id, encode(message), b"", at=self.now())
        )
