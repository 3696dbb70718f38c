"""Streams, appends and messages to try an event store with, and how its tests read it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import count
from typing import TypeVar
from uuid import UUID, uuid4

from shared.eventstore.model import LONG_AGO, Cursor, DoorMessage, History, InboxEntry, StoredMessage, Stream, StreamAppend
from shared.eventstore.ports import EventStore

T = TypeVar("T")

EARLIER = datetime(2025, 1, 2, 3, 4, 5, 678901, UTC)
FAR = timedelta(days=1000)
_numbers = count(1)


def a_stream(name: str = "planner", *, workflow: str = "", tenant: str = "default") -> Stream:
    """A stream that no other test knows."""
    return Stream(tenant, workflow or f"wf-{next(_numbers):06}-{uuid4().hex[:8]}", name)


def an_append(
    to: Stream | History,
    *data: bytes,
    entries: int = 1,
    ids: Sequence[UUID] = (),
    causation_id: UUID | None = None,
    doors: Sequence[DoorMessage] = (),
    wake_at: datetime | None = None,
    holder: str = "",
    at: datetime | None = None,
    not_before: datetime = LONG_AGO,
) -> StreamAppend:
    """The stream processes so many messages and stores each of `data`, now if no other time is given."""
    at = at or datetime.now(UTC)
    known = to if isinstance(to, History) else History(to)
    causation_ids = [causation_id or uuid4(), *(uuid4() for _ in range(entries - 1))]
    inbox = [
        InboxEntry(
            id_, known.processed + n, known.version, "hansard.test.received.v1", at, sha256(b"received").digest(), "c0de", "1"
        )
        for n, id_ in enumerate(causation_ids[:entries], 1)
    ]
    messages = [
        StoredMessage(
            known.stream,
            known.version + n,
            ids[n - 1] if ids else uuid4(),
            "hansard.test.stored.v1",
            f"{known.stream.service}.events",
            causation_ids[0],
            body,
            sha256(body).digest(),
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            at,
        )
        for n, body in enumerate(data, 1)
    ]
    return StreamAppend(
        known.stream, known.processed, known.version, at, not_before, inbox, messages, list(doors), wake_at, holder
    )


def door(stream: Stream, causation_id: UUID, body: bytes | None = b"{}", topic: str = "requests") -> DoorMessage:
    headers = (("ce_id", b"17"), ("ce_id", b""), ("odd", b"\xff\x00"))
    return DoorMessage(stream.tenant, stream.workflow, causation_id, topic, 3, 2**40, EARLIER, b"\x00key", headers, body)


async def current(store: EventStore, stream: Stream) -> History:
    return (await store.load([stream]))[stream]


async def messages_in(store: EventStore, since: Cursor | None = None, *, batch: int = 1000) -> list[StoredMessage]:
    return [message async for part in store.read_all(since, batch=batch) for message in part]


async def until(ask: Callable[[], Awaitable[T]], *, seconds: float = 20) -> T:
    """Asks until the answer is not empty."""
    end = time.monotonic() + seconds
    while not (answer := await ask()):
        assert time.monotonic() < end, "it never came"
        await asyncio.sleep(0.005)
    return answer


async def only(answer: Awaitable[Sequence[T]]) -> T:
    [one] = await answer
    return one
