"""The SQL statements, one a file in `sql/`. Parts that they share with the code, such as lists of columns, are put in here.

`:schema` is the schema; `:message(m)` are the columns of a message under the alias m; the other names are in `_parts`.
"""

import re
from collections.abc import Callable, Mapping, Set
from functools import cache
from itertools import combinations
from pathlib import Path

from shared.eventstore.model import STALE
from shared.eventstore.postgres.columns import (
    APPEND,
    APPEND_PARTS,
    CLAIM,
    DOOR,
    ENTRY,
    ENTRY_LOADED,
    MESSAGE,
    STATE,
    STREAM,
    Packed,
    append_arguments,
    unnested,
)

LOADED = Packed.by_type(MESSAGE, ENTRY_LOADED, STATE)  # the rows of load.sql

_PART = re.compile(r"(?<!:):([a-z_]+)(?:\((\w+)\))?")
_COMMENT = re.compile(r" *-- .*\n")
_BLOCK = re.compile(r" *-- if ([a-z ]+)\n(.*?) *-- end if\n", re.DOTALL)

_STREAMS_ASKED = "unnest($1::text[], $2::text[], $3::text[]) with ordinality"
_STREAMS_OF_WORKFLOW = (
    "(select tenant, workflow, stream, row_number() over (order by stream)"
    " from :schema.streams where tenant = $1 and workflow = $2)"
)


def statements(schema: str) -> Mapping[str, str]:
    """Every statement by its name, for this schema. An append is one statement for each choice of its parts: `append_name`."""
    files = _files()
    load = files["load"]
    given = {
        **{name: sql for name, sql in files.items() if name != "append"},
        "load": load.replace(":asked", _STREAMS_ASKED),
        "load_workflow": load.replace(":asked", _STREAMS_OF_WORKFLOW),
    }
    parts = _parts(schema)
    made = {name: _put_in(sql, parts) for name, sql in given.items()}
    for chosen in (frozenset(some) for n in range(len(APPEND_PARTS) + 1) for some in combinations(APPEND_PARTS, n)):
        made[append_name(chosen)] = _put_in(_with_blocks(files["append"], chosen), parts | _arguments(chosen))
    return made


def append_name(parts: Set[str]) -> str:
    """The name of the append statement with these parts: `append`, `append_claims_door_messages`."""
    return "_".join(("append", *sorted(parts)))


def _put_in(sql: str, parts: Mapping[str, Callable[[str], str]]) -> str:
    return _PART.sub(lambda found: parts[found[1]](found[2] or ""), sql)


@cache
def _files() -> dict[str, str]:
    """The text of each file, by its name (`append`, `rebuild/inbox`); without comments, but for the marks of blocks."""
    folder = Path(__file__).parent / "sql"
    return {
        file.relative_to(folder).with_suffix("").as_posix(): _without_comments(file.read_text("utf-8"))
        for file in folder.rglob("*.sql")
    }


def _without_comments(sql: str) -> str:
    return _COMMENT.sub(lambda found: found[0] if found[0].lstrip().startswith(("-- if ", "-- end if")) else "\n", sql)


def _with_blocks(sql: str, parts: Set[str]) -> str:
    """The statement with its blocks `-- if PART … -- end if` for these parts, and its `-- if no PART` for all others."""

    def chosen(found: re.Match[str]) -> str:
        part = found[1].removeprefix("no ").replace(" ", "_")
        return found[2] if (part in parts) is not found[1].startswith("no ") else ""

    return _BLOCK.sub(chosen, sql)


def _always(text: str) -> Callable[[str], str]:
    return lambda alias: text


def _arguments(parts: Set[str]) -> dict[str, Callable[[str], str]]:
    return {f"{name}_arrays": _always(sql) for name, sql in append_arguments(parts).items()}


def _parts(schema: str) -> dict[str, Callable[[str], str]]:
    """The SQL that replaces each name, as a function of an alias (or '')."""
    return {
        "schema": _always(f'"{schema}"'),
        "stale": _always(f"{STALE}"),
        "state": STATE.names,
        "entry": ENTRY.names,
        "message": lambda alias: f"{STREAM.names(alias)}, {MESSAGE.names(alias)}",
        "message_only": MESSAGE.names,
        "door": DOOR.names,
        "append_columns": APPEND.sent.names,
        "entry_columns": ENTRY.sent.names,
        "message_columns": MESSAGE.sent.names,
        "door_columns": DOOR.sent.names,
        "claim_columns": CLAIM.names,
        "claim_types": _always(unnested(1, CLAIM.types())),
        # `offset 0` keeps it a probe of an index for each claim: as a join it takes three times as long
        "has_claim": lambda claim: (
            f'exists (select from "{schema}".messages m where '
            + " and ".join(f"m.{column.quoted} = {claim}.{column.quoted}" for column in CLAIM.all)
            + " offset 0)"
        ),
        "part_message": lambda alias: LOADED.select(0, MESSAGE, alias),
        "part_entry": lambda alias: LOADED.select(1, ENTRY_LOADED, alias),
        "part_stream": lambda alias: LOADED.select(2, STATE, alias),
    }
