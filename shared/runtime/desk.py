"""What a performer may use of the house: streams of its own service, the index of answers, a voice beside the record."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from contracts.codec import encode
from contracts.message import Message, Outcome
from contracts.topics import Topics
from shared.runtime.hearing import brought
from shared.runtime.loop import Loop
from shared.store.record import Said, Store, Stream


class Whispers(Protocol):
    """What publishes beside the record (shared.kafka.whisperer)."""

    def whisper(self, topic: str, said: Said) -> None: ...


@dataclass(frozen=True)
class Desk:
    """`shared.service.Desk` in this process."""

    loop: Loop
    store: Store
    topics: Topics
    voice: Whispers

    def now(self) -> datetime:
        return self.store.now()

    async def bring(self, stream: Stream, fact: Outcome, name: str) -> Any:
        await self.loop.hear([brought(stream, fact, name)])
        live = self.loop.known(stream)
        return (await self.look([stream]))[0] if live is None else live.state

    async def look(self, streams: Sequence[Stream]) -> list[Any]:
        histories = await self.store.load(streams)
        return [self.loop.floor.recall(histories[stream]).state for stream in streams]

    async def remember(self, answers: Sequence[tuple[bytes, Stream]], keep: float) -> None:
        await self.store.remember(answers, keep)

    async def remembered(self, tenant: str, key: bytes, kind: str, unless: str = "") -> Said | None:
        return await self.store.remembered(tenant, key, kind, unless)

    def whisper(self, stream: Stream, message: Message, id: UUID) -> None:
        topic = next((t.name for t in self.topics.all if type(message) in t.kinds and not t.recorded), None)
        if topic is None:
            raise LookupError(f"{message.kind} is of no topic that is beside the record")
        self.voice.whisper(topic, Said(stream, 0, id, message.kind, topic, id, encode(message), b"", at=self.now()))
