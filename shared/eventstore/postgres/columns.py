"""The columns of each table, once: for the arrays that an append sends, the SQL that takes them, and the rows read back.

A few wide arguments travel and unnest faster than many rows, so the rows of a statement are sent as one array a column.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Generic, TypeVar

import asyncpg

from shared.eventstore.model import Claim, DoorMessage, InboxEntry, StoredMessage, Stream, StreamAppend

T = TypeVar("T")
Array = list[Any]

_RESERVED = {"offset"}  # column names that are reserved words of SQL


@dataclass(frozen=True)
class Column(Generic[T]):
    """A column of a table. `value` takes the value to send from the object; None: the statement itself sets it."""

    name: str
    type: str
    value: Callable[[T], Any] | None = None

    @property
    def quoted(self) -> str:
        return f'"{self.name}"' if self.name in _RESERVED else self.name


@dataclass(frozen=True)
class Columns(Generic[T]):
    """Columns in the order in which rows are read and arrays are sent."""

    all: tuple[Column[T], ...]

    @property
    def sent(self) -> "Columns[T]":
        """The columns whose values come from the object."""
        return Columns(tuple(column for column in self.all if column.value is not None))

    @property
    def sent_names(self) -> list[str]:
        return [column.name for column in self.all if column.value is not None]

    def names(self, alias: str = "") -> str:
        """`a, b`, or with an alias `x.a, x.b`."""
        return ", ".join(f"{alias}.{column.quoted}" if alias else column.quoted for column in self.all)

    def types(self) -> list[str]:
        return [column.type for column in self.all]

    def arrays(self, rows: Sequence[T]) -> list[Array]:
        """One array for each column that is sent."""
        return [list(map(column.value, rows)) for column in self.all if column.value is not None]


def _of(name: str, type_: str, field: str = "") -> Column[Any]:
    """A column whose value is a field of the object, of the same name if no other is given."""
    return Column(name, type_, attrgetter(field or name))


def _text(value: bytes) -> str | dict[str, str]:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": b64encode(value).decode()}


def to_headers(headers: Iterable[tuple[str, bytes]]) -> bytes:
    """Headers as JSON that a person can read: [["ce_id", "17"], ["odd", {"base64": "/w=="}]]."""
    return json.dumps([[name, _text(value)] for name, value in headers]).encode()


def from_headers(data: bytes) -> tuple[tuple[str, bytes], ...]:
    return tuple(
        (name, b64decode(value["base64"]) if isinstance(value, dict) else value.encode()) for name, value in json.loads(data)
    )


STREAM: Columns[Stream] = Columns((_of("tenant", "text"), _of("workflow", "text"), _of("stream", "text", "name")))

# The values that an append checks and stores of each stream.
APPEND: Columns[StreamAppend] = Columns(
    (
        _of("tenant", "text", "stream.tenant"),
        _of("workflow", "text", "stream.workflow"),
        _of("stream", "text", "stream.name"),
        _of("processed_before", "int", "processed"),
        _of("version_before", "int", "version"),
        Column("processed", "int", lambda append: append.processed + len(append.entries)),
        Column("version", "int", lambda append: append.version + len(append.messages)),
        _of("at", "timestamptz"),
        _of("not_before", "timestamptz"),
        _of("wake_at", "timestamptz"),
        _of("holder", "text"),
        _of("keep_wake_up", "bool"),
        _of("published", "int"),
    )
)

# Columns of the table inbox, in the order of InboxEntry's fields. The append sets `at`, and Postgres sets the last two.
ENTRY: Columns[InboxEntry] = Columns(
    (
        _of("causation_id", "uuid"),
        _of("sequence", "int"),
        _of("version_before", "int"),
        _of("kind", "text"),
        Column("at", "timestamptz"),
        _of("hash", "bytea"),
        _of("code", "text"),
        _of("policy", "text"),
        _of("dead", "bool"),
        _of("attempt", "int"),
        _of("outcome", "json"),
        Column("position", "bigint"),
        Column("xact", "xid8"),
    )
)
ENTRY_LOADED: Columns[InboxEntry] = Columns(ENTRY.all[:-3])  # what a service needs of them

# Columns of the table messages, in the order of StoredMessage's fields after its stream. The append sets `at`, and Postgres sets
# the last two.
MESSAGE: Columns[StoredMessage] = Columns(
    (
        _of("version", "int"),
        _of("id", "uuid"),
        _of("kind", "text"),
        _of("topic", "text"),
        _of("causation_id", "uuid"),
        _of("data", "json"),
        _of("hash", "bytea"),
        _of("traceparent", "text"),
        Column("at", "timestamptz"),
        Column("position", "bigint"),
        Column("xact", "xid8"),
    )
)

# The columns of the table messages that a claim must match, each.
CLAIM: Columns[Claim] = Columns(
    (
        _of("tenant", "text", "stream.tenant"),
        _of("workflow", "text", "stream.workflow"),
        _of("stream", "text", "stream.name"),
        _of("version", "int"),
        _of("id", "uuid"),
        _of("kind", "text"),
        _of("topic", "text"),
        _of("causation_id", "uuid"),
        _of("hash", "bytea"),
        _of("traceparent", "text"),
        _of("at", "timestamptz"),
    )
)

# Columns of the table door_messages, in the order of DoorMessage's fields. Its own `at` is the append's.
DOOR: Columns[DoorMessage] = Columns(
    (
        _of("tenant", "text"),
        _of("workflow", "text"),
        _of("causation_id", "uuid"),
        _of("topic", "text"),
        _of("partition", "int"),
        _of("offset", "bigint"),
        _of("broker_at", "timestamptz", "at"),
        _of("key", "bytea"),
        Column("headers", "json", lambda door: to_headers(door.headers)),
        _of("body", "bytea"),
        Column("at", "timestamptz"),
        Column("position", "bigint"),
        Column("xact", "xid8"),
    )
)

# Columns of the table streams, as they are loaded.
STATE: Columns[Any] = Columns(
    (
        *STREAM.all,
        Column("processed", "int"),
        Column("version", "int"),
        Column("published", "int"),
    )
)


APPEND_PARTS = ("claims", "door_messages")


def streams(given: Iterable[Stream]) -> list[Array]:
    """Three arrays: tenants, workflows, names."""
    return [list(column) for column in zip(*given, strict=True)] or [[], [], []]


def versions(given: Mapping[Stream, int]) -> list[Array]:
    """Four arrays: tenants, workflows, names, versions."""
    return [*streams(given), list(given.values())]


def appends(given: Sequence[StreamAppend]) -> list[Array]:
    """The arguments of an append: its streams, their inbox entries, their messages, then their claims and their door messages,
    if there are any.

    Each but the first begins with an array of the numbers of the appends to which they belong, counted from 1.
    """
    numbered = list(enumerate(given, 1))
    arguments = [
        *APPEND.arrays(given),
        [n for n, append in numbered for _ in append.entries],
        *ENTRY.arrays([entry for append in given for entry in append.entries]),
        [n for n, append in numbered for _ in append.messages],
        *MESSAGE.arrays([message for append in given for message in append.messages]),
    ]
    if any(append.claims for append in given):
        arguments += [
            [n for n, append in numbered for _ in append.claims],
            *CLAIM.arrays([claim for append in given for claim in append.claims]),
        ]
    if any(append.door_messages for append in given):
        arguments += [
            [n for n, append in numbered for _ in append.door_messages],
            *DOOR.arrays([door for append in given for door in append.door_messages]),
        ]
    return arguments


def unnested(first: int, types: Iterable[str]) -> str:
    """`$3::int[], $4::text[]` for the arguments from the `first` on."""
    return ", ".join(f"${n}::{type_}[]" for n, type_ in enumerate(types, first))


def append_parts(given: Sequence[StreamAppend]) -> frozenset[str]:
    """The parts of the append statement that not every append needs: those of APPEND_PARTS that these have."""
    return frozenset(part for part in APPEND_PARTS if any(getattr(append, part) for append in given))


def append_arguments(parts: Set[str]) -> dict[str, str]:
    """The arguments of `appends` with these parts, as SQL takes them, by their content."""
    lists = {
        "append": APPEND.sent.types(),
        "entry": ["int", *ENTRY.sent.types()],
        "message": ["int", *MESSAGE.sent.types()],
        "claim": ["int", *CLAIM.sent.types()] if "claims" in parts else [],
        "door": ["int", *DOOR.sent.types()] if "door_messages" in parts else [],
    }
    made, first = {}, 1
    for name, types in lists.items():
        made[name] = unnested(first, types)
        first += len(types)
    return made


@dataclass(frozen=True)
class Packed:
    """Several lists of columns in the rows of one query: columns of one type share a place.

    The first list keeps its order from place 0 on. A row belongs to one of the lists and is null in all other places.
    """

    places: tuple[tuple[int, ...], ...]
    types: tuple[str, ...]

    @classmethod
    def by_type(cls, *lists: Columns[Any]) -> "Packed":
        types: list[str] = []
        places = []
        for columns in lists:
            taken: list[int] = []
            for column in columns.all:
                free = [n for n, type_ in enumerate(types) if type_ == column.type and n not in taken]
                if columns is lists[0] or not free:
                    types.append(column.type)
                    free = [len(types) - 1]
                taken.append(free[0])
            places.append(tuple(taken))
        return cls(tuple(places), tuple(types))

    def select(self, n: int, columns: Columns[Any], alias: str) -> str:
        """The select list for the rows of the list `n`."""
        at = {place: f"{alias}.{column.quoted}" for place, column in zip(self.places[n], columns.all, strict=True)}
        return ", ".join(at.get(place, f"null::{type_}") for place, type_ in enumerate(self.types))


def message(row: asyncpg.Record | tuple[Any, ...]) -> StoredMessage:
    """Makes a StoredMessage from a row that holds a stream and the columns of MESSAGE."""
    return StoredMessage(Stream(*row[:3]), *row[3:])


def door(row: asyncpg.Record) -> DoorMessage:
    """Makes a DoorMessage from a row that holds the columns of DOOR."""
    return DoorMessage(*[*row[:8], from_headers(row[8]), *row[9:]])
