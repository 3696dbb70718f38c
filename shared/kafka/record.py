"""A Kafka record as it was heard: bytes, undecoded."""

from typing import NamedTuple


class Record(NamedTuple):
    """`topic` is without the prefix; `timestamp` is in milliseconds since the epoch, as the broker has it.

    A header's name is bytes where it is not UTF-8. `fault` says why a record could not be decoded at all (key, value and
    headers are empty then): only its place is known, and it is a dead letter.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str | bytes, bytes | None], ...] = ()
    fault: str = ""
