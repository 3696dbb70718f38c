"""The SQL statements, one a file in `sql/`. Parts that they share with the code, such as lists of columns, are put in here.

`:schema` is the schema; `:message(m)` are the columns of a message under the alias m; the other names are in `_parts`.
"""

import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from shared.eventstore.model import STALE
from shared.eventstore.postgres.columns import APPEND, DOOR, ENTRY, ENTRY_LOADED, MESSAGE, STATE, STREAM, Packed, append_arguments

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
    """Every statement by its name, for this schema. An append with messages from outside is a statement of its own."""
    files = _files()
    load = files["load"]
    given = {
        **files,
        "append": _with_blocks(files["append"], "none"),
        "append_door_messages": _with_blocks(files["append"], "door messages"),
        "load": load.replace(":asked", _STREAMS_ASKED),
        "load_workflow": load.replace(":asked", _STREAMS_OF_WORKFLOW),
    }
    parts = _parts(schema)
    return {name: _PART.sub(lambda found: parts[found[1]](found[2] or ""), sql) for name, sql in given.items()}


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


def _with_blocks(sql: str, kept: str) -> str:
    """The statement with its blocks `-- if KEPT … -- end if`, and without all others."""
    return _BLOCK.sub(lambda found: found[2] if found[1] == kept else "", sql)


def _parts(schema: str) -> dict[str, Callable[[str], str]]:
    """The SQL that replaces each name, as a function of an alias (or '')."""

    def always(text: str) -> Callable[[str], str]:
        return lambda alias: text

    return {
        "schema": always(f'"{schema}"'),
        "stale": always(f"{STALE}"),
        "state": STATE.names,
        "entry": ENTRY.names,
        "message": lambda alias: f"{STREAM.names(alias)}, {MESSAGE.names(alias)}",
        "message_only": MESSAGE.names,
        "door": DOOR.names,
        "append_columns": APPEND.sent.names,
        "entry_columns": ENTRY.sent.names,
        "message_columns": MESSAGE.sent.names,
        "door_columns": DOOR.sent.names,
        **{f"{name}_arrays": always(sql) for name, sql in append_arguments().items()},
        "part_message": lambda alias: LOADED.select(0, MESSAGE, alias),
        "part_entry": lambda alias: LOADED.select(1, ENTRY_LOADED, alias),
        "part_stream": lambda alias: LOADED.select(2, STATE, alias),
    }
