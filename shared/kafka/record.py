"""A Kafka record as it was consumed: bytes, undecoded."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from aiokafka import ConsumerRecord

LAST = 253_402_300_799_999  # milliseconds at the end of the calendar; a client may write any number


class Record(NamedTuple):
    """`topic` is without the prefix; `timestamp` is in milliseconds since the epoch, as the broker has it.

    A header's name is bytes if it is not UTF-8. `fault` says why a record could not be decoded at all (key, value and
    headers are empty then): only its topic, partition and offset are known, and it becomes a dead letter.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str | bytes, bytes | None], ...] = ()
    fault: str = ""

    @property
    def size(self) -> int:
        """Bytes of key, headers and body together."""
        headers = sum(len(name) + len(value or b"") for name, value in self.headers)
        return len(self.key or b"") + len(self.value or b"") + headers

    @property
    def at(self) -> datetime:
        """The timestamp as a time. One that no calendar has becomes the nearest possible one."""
        return datetime.fromtimestamp(min(max(self.timestamp, 0), LAST) / 1000, UTC)


def record_from(consumed: "ConsumerRecord", topic: str) -> Record:
    """Makes a Record from aiokafka's. `topic` is the name without the prefix."""
    return Record(
        topic,
        consumed.partition,
        consumed.offset,
        consumed.timestamp,
        consumed.key,
        consumed.value,
        tuple(consumed.headers),
        consumed.checksum if isinstance(consumed.checksum, str) else "",  # see record_batches.Decoded
    )
