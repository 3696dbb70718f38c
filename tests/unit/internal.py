"""Messages of services on internal topics: on the record of a store in memory, and as Kafka brings them."""

import hashlib
from datetime import timedelta
from uuid import UUID, uuid4

from hansard.codec import encode
from hansard.message import Message
from shared.eventstore.memory import InMemoryEventStore
from shared.eventstore.model import StoredMessage, Stream
from shared.kafka.producer import headers
from shared.kafka.record import Record
from tests.unit.toy import NOON


def stored_message(message: Message, stream: Stream, topic: str, *, version: int = 1, id: UUID | None = None) -> StoredMessage:
    """A message as its stream stores it, a day before noon."""
    data = encode(message)
    digest, at = hashlib.sha256(data).digest(), NOON - timedelta(days=1)
    return StoredMessage(stream, version, id or uuid4(), message.kind, topic, UUID(int=9), data, digest, at=at)


def put_on_record(store: InMemoryEventStore, *messages: StoredMessage) -> None:
    """Stores these as if their services had, whatever the store's clock says."""
    for message in messages:
        key = (message.stream.tenant, message.stream.workflow, message.id)
        if key not in store._ids:
            store._ids[key] = message
            store._log.append(message)
            store._messages.setdefault(message.stream, []).append(message)


def published(message: StoredMessage, offset: int = 0, partition: int = 0) -> Record:
    """The record that the producer makes of it."""
    key = message.stream.workflow.encode()
    return Record(message.topic, partition, offset, 1_700_000_000_000, key, message.data, tuple(headers(message)))
