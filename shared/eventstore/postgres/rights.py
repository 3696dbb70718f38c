"""What a service may do in Postgres: with which tables, columns and rows (decision 0025).

Data alone: `hansard migrate` grants it, `doctor` compares a login with it, and a test tries every cell. A row that a service may
write is one of its own: of its streams, or under its name. Rights to insert and to update name their columns, so nobody can give
a message a transaction of its choice, move a row to another stream, or lock such a table against others.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from contracts.catalog import OURS, Topics
from shared.eventstore.postgres.columns import DOOR, ENTRY, MESSAGE, STREAM
from shared.task_tokens import gives_tasks_outside

LONGEST = 63  # bytes of a name in Postgres, which cuts off the rest
ALL = "*"  # a right to the whole row
OF_ITS_STREAMS = "split_part(stream, '/', 1) = :service"
UNDER_ITS_NAME = "service = :service"
OF_ITS_COUNTERS = "split_part(service, '/', 1) = :service"  # `router/alone` counts records that are tried one by one
FROM_ITS_DOORS = "topic = :door"


@dataclass(frozen=True)
class Table:
    """The rights to one table. `insert` and `update` are columns; `rows`: which rows may be written, as SQL, "": all; `new`: what
    a new row must be besides.

    Postgres adds `rows` to every update and delete, and may choose an index by it that reads far too much: a test compares plans.
    """

    select: bool = True
    insert: tuple[str, ...] = ()
    update: tuple[str, ...] = ()
    delete: bool = False
    rows: str = ""
    new: str = "true"

    def granted(self) -> Iterator[tuple[str, str]]:
        """Each right and its column: ("insert", "at"), ("delete", ALL)."""
        yield from (("select", ALL),) if self.select else ()
        yield from (("insert", column) for column in self.insert)
        yield from (("update", column) for column in self.update)
        yield from (("delete", ALL),) if self.delete else ()


_PLACE = ("at", *STREAM.sent_names)
EVERY_SERVICE: Mapping[str, Table] = {
    "streams": Table(
        insert=(*_PLACE, "processed_before", "version_before", "processed", "version", "published"),
        update=("at", "processed_before", "version_before", "processed", "version", "published"),
        rows=OF_ITS_STREAMS,
    ),
    "inbox": Table(insert=(*_PLACE, *ENTRY.sent_names), rows=OF_ITS_STREAMS),
    "messages": Table(insert=(*_PLACE, *MESSAGE.sent_names), rows=OF_ITS_STREAMS),
    "wake_ups": Table(
        insert=(*_PLACE, "wanted", "service", "holder"),
        update=("at", "wanted", "holder"),
        delete=True,
        rows=OF_ITS_STREAMS,
        new=UNDER_ITS_NAME,
    ),
    "attempts": Table(
        insert=("at", "attempts", "service", "topic", "partition", "offset"), update=("attempts", "at"), rows=OF_ITS_COUNTERS
    ),
    "instances": Table(
        insert=("service", "instance", "process", "began", "seen"), update=("seen", "ended"), delete=True, rows=UNDER_ITS_NAME
    ),
    "policies": Table(insert=("service", "version", "data"), rows=UNDER_ITS_NAME),
    "content": Table(insert=("tenant", "sha256", "media_type", "data"), update=("at",)),
    "epochs": Table(insert=("epoch", "identity"), update=("identity", "compared")),
    "migrations": Table(),
}
DOORS: Mapping[str, Table] = {
    "door_messages": Table(select=False, insert=("at", *DOOR.sent_names), rows=FROM_ITS_DOORS),
    "door_identities": Table(insert=("tenant", "causation_id", "hash", "workflow")),
}
TOKENS: Mapping[str, Table] = {"task_key": Table()}
OF_ONE: Mapping[str, Mapping[str, Table]] = {  # what one service alone needs
    "gateway": {
        "answers": Table(insert=("at", "tenant", "key", "workflow", "stream"), update=("at", "workflow", "stream"), delete=True)
    },
    "edge": {"api_keys": Table(update=("last_used_at",))},
}
GUARDED = tuple(name for name, table in {**EVERY_SERVICE, **DOORS}.items() if table.rows)  # tables whose rows have a service each


def with_roles(topics: Topics) -> tuple[str, ...]:
    """The services that have a role in Postgres: ours, and those of your own that store what they publish."""
    return tuple(dict.fromkeys((*OURS, *(name for name in topics.added if name not in topics.outside))))


def doors_of(service: str, topics: Topics) -> tuple[str, ...]:
    """The doors whose messages this service records."""
    return tuple(topic.name for topic in topics.consumed_by(service) if topic.door)


def rights(service: str, topics: Topics) -> dict[str, Table]:
    """What this service needs, by table, and no more."""
    return {
        **EVERY_SERVICE,
        **(DOORS if doors_of(service, topics) else {}),
        **(TOKENS if gives_tasks_outside(service) else {}),
        **OF_ONE.get(service, {}),
    }


def role_of(schema: str, service: str) -> str:
    """The role of a service. No name of a schema has a hyphen, so no two schemas share one."""
    return _short(f"{schema}-{service}")


def writer_of(schema: str) -> str:
    """The role with the rights of all services, as the first migration makes it."""
    return f"{schema[:56]}_writer"


@dataclass(frozen=True)
class Policy:
    """Whose rows a role may write: `rows` and `new` are SQL without parameters."""

    table: str
    name: str
    role: str
    rows: str
    new: str = "true"

    @property
    def comment(self) -> str:
        """What was asked for; Postgres keeps it in other words."""
        return self.rows if self.new == "true" else f"{self.rows}; new: {self.new}"

    def sql(self, *, again: bool) -> str:
        """Makes it, or changes what is there under its name."""
        place = f"policy {quoted(self.name)} on {self.table}"
        return (
            f"{'alter' if again else 'create'} {place} to {quoted(self.role)} using ({self.rows})"
            f" with check ({self.rows} and {self.new}); comment on {place} is {literal(self.comment)}"
        )


def policies(schema: str, service: str, topics: Topics) -> Iterator[Policy]:
    """The policies of a service: one a table, and one a door."""
    role = role_of(schema, service)
    for table, right in rights(service, topics).items():
        if right.rows == FROM_ITS_DOORS:
            for door in doors_of(service, topics):
                yield Policy(table, _short(f"{role} {door}"), role, right.rows.replace(":door", literal(door)))
        elif right.rows:
            yield Policy(table, role, role, *(sql.replace(":service", literal(service)) for sql in (right.rows, right.new)))


def shared_policies(schema: str) -> Iterator[Policy]:
    """Those of the role with the rights of all."""
    return (Policy(table, "all services", writer_of(schema), "true") for table in GUARDED)


def grants(table: str, given: Sequence[tuple[str, str]], role: str) -> str:
    """The statement that grants these rights, as `Table.granted` gives them."""
    by_right: dict[str, list[str]] = {}
    for right, column in given:
        by_right.setdefault(right, []).append(column)
    parts = (
        right if columns == [ALL] else f"{right} ({', '.join(quoted(name) for name in columns)})"
        for right, columns in by_right.items()
    )
    return f"grant {', '.join(parts)} on {table} to {quoted(role)}"


def quoted(name: str) -> str:
    """A name as SQL has it."""
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def literal(text: str) -> str:
    """A text as SQL has it, whatever `standard_conforming_strings` is, since ours have no backslash. Raises ValueError."""
    if "\\" in text or "\0" in text:
        raise ValueError(f"{text!r} cannot stand in a policy")
    doubled = text.replace("'", "''")
    return f"'{doubled}'"


def _short(name: str) -> str:
    """The name, or its beginning and a hash of all of it where Postgres would cut it off."""
    if len(name.encode()) <= LONGEST:
        return name
    return f"{name.encode()[:46].decode(errors='ignore')}-{sha256(name.encode()).hexdigest()[:16]}"
