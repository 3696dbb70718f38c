"""Commands to services under test, as another service would give them: on the record first, then published."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import uuid4

import asyncpg

from contracts.catalog import Topics
from hansard.codec import encode
from hansard.message import Message
from shared.eventstore.model import StoredMessage, Stream

TOPICS = Topics().by_name
INSERT = """insert into messages (at, tenant, workflow, stream, version, id, kind, topic, causation_id, data, hash, traceparent)
    select * from unnest($1::timestamptz[], $2::text[], $3::text[], $4::text[], $5::int[], $6::uuid[], $7::text[], $8::text[],
                         $9::uuid[], $10::json[], $11::bytea[], $12::text[])"""


def stored_as_now(message: Message, topic: str, workflow: str, stream: str = "") -> StoredMessage:
    """A message as a stream of a producer of the topic would store it now: the first one's, unless another is named."""
    data = encode(message)
    stream, at = stream or f"{TOPICS[topic].producers[0]}/call", datetime.now(UTC)
    place = Stream("default", workflow, stream)
    return StoredMessage(place, 1, uuid4(), message.kind, topic, uuid4(), data, hashlib.sha256(data).digest(), at=at)


async def put_on_record(connection: asyncpg.Connection, messages: Sequence[StoredMessage]) -> None:
    """Stores these. The connection's search path is the event store's schema."""
    rows = [
        (m.at, *m.stream, m.version, m.id, m.kind, m.topic, m.causation_id, m.data.decode(), m.hash, m.traceparent)
        for m in messages
    ]
    await connection.execute(INSERT, *map(list, zip(*rows, strict=True)))
