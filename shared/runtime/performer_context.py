"""What a performer may use of the house: streams of its own service, the index of answers, a voice beside the record."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from contracts.catalog import Topics
from hansard.codec import encode
from hansard.message import Message, Outcome
from shared.eventstore.model import StoredMessage, Stream
from shared.eventstore.ports import PerformerStore
from shared.runtime.inbound import internal_message
from shared.runtime.loop import Loop


class PublishesEphemeral(Protocol):
    """What publishes beside the record (shared.kafka.ephemeral)."""

    def publish_ephemeral(self, topic: str, stored: StoredMessage) -> None: ...


@dataclass(frozen=True)
class PerformerContext:
    """`shared.service.Desk` in this process."""

    loop: Loop
    store: PerformerStore
    topics: Topics
    publisher: PublishesEphemeral

    def now(self) -> datetime:
        return self.store.now()

    async def record(self, stream: Stream, fact: Outcome, name: str) -> Any:
        await self.loop.process([internal_message(stream, fact, name)])
        known = self.loop.known(stream)
        return (await self.load([stream]))[0] if known is None else known.state

    async def load(self, streams: Sequence[Stream]) -> list[Any]:
        histories = await self.store.load(streams)
        return [self.loop.processor.recall(histories[stream]).state for stream in streams]

    async def remember(self, answers: Sequence[tuple[bytes, Stream]], keep: float) -> None:
        await self.store.index_answers(answers, keep)

    async def remembered(self, tenant: str, key: bytes, kind: str, unless: str = "") -> StoredMessage | None:
        return await self.store.find_answer(tenant, key, kind, unless)

    def publish_ephemeral(self, stream: Stream, message: Message, id: UUID) -> None:
        topic = next((t.name for t in self.topics.all if type(message) in t.kinds and not t.recorded), None)
        if topic is None:
            raise LookupError(f"{message.kind} is of no topic that is beside the record")
        self.publisher.publish_ephemeral(
            topic, StoredMessage(stream, 0, id, message.kind, topic, id, encode(message), b"", at=self.now())
        )
