"""One list of columns drives both sides of a statement: the arguments, the SQL, and what is made of its rows."""

import re
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from shared.eventstore import postgres
from shared.eventstore.model import DoorMessage, InboxEntry, StoredMessage, Stream, StreamAppend
from shared.eventstore.postgres import columns
from shared.eventstore.postgres.columns import CLAIM, DOOR, ENTRY, ENTRY_LOADED, MESSAGE, STATE, Columns
from shared.eventstore.postgres.statements import LOADED, append_name, statements

FOLDER = Path(postgres.__file__).parent
SQL = statements("acme")
AT, ID = datetime(2026, 1, 2, tzinfo=UTC), UUID(int=1)
STREAM = Stream("default", "w1", "router")
COLUMN_OF = {"transaction": "xact"}  # a field, and its column where that is called otherwise


def append(*doors: DoorMessage) -> StreamAppend:
    entry = InboxEntry(ID, 1, 0, "k", AT, b"h", "c", "p")
    message = StoredMessage(STREAM, 1, ID, "k", "t", ID, b"{}", b"h")
    return StreamAppend(STREAM, 0, 0, AT, entries=[entry], messages=[message], door_messages=list(doors))


def names(made: type[Any]) -> list[str]:
    return [COLUMN_OF.get(field.name, field.name) for field in fields(made)]


def parameters(sql: str) -> list[int]:
    return sorted({int(n) for n in re.findall(r"\$(\d+)", sql)})


def test_rows_are_read_in_the_order_of_the_fields() -> None:
    assert [column.name for column in ENTRY.all] == names(InboxEntry)
    assert ["stream", *(column.name for column in MESSAGE.all)] == names(StoredMessage)
    renamed = {"broker_at": "at", "at": "recorded_at"}
    assert [renamed.get(column.name, column.name) for column in DOOR.all] == names(DoorMessage)
    assert ENTRY.all[: len(ENTRY_LOADED.all)] == ENTRY_LOADED.all


@pytest.mark.parametrize("statement", SQL)
def test_every_statement_is_complete_and_numbers_its_arguments_from_one(statement: str) -> None:
    sql = SQL[statement]
    assert not re.search(r"(?<!:):[a-z_]|--", sql), "a part that was not put in, or a comment"
    assert parameters(sql) == list(range(1, len(parameters(sql)) + 1))


@pytest.mark.parametrize("doors", [False, True])
@pytest.mark.parametrize("claims", [False, True])
def test_an_append_sends_an_array_for_every_argument_of_its_statement(claims: bool, doors: bool) -> None:
    outside = DoorMessage("default", "w1", ID, "requests", 0, 7, AT, None, (("ce_id", b"1"),), b"{}")
    given = [append(), append(*[outside] * doors)]
    given[1].claims = [given[1].messages[0].claim] * claims
    arguments, sql = columns.appends(given), SQL[append_name(columns.append_parts(given))]
    assert len(arguments) == len(parameters(sql))
    assert [len(array) for array in arguments if len(array) not in (1, 2)] == []
    assert ("door_messages" in sql, "forged" in sql) == (doors, claims)


def test_a_claim_is_compared_with_every_column_of_a_message_that_is_published() -> None:
    published = {"stream", "tenant", "workflow", *names(StoredMessage)} - {"data", "position", "xact"}
    assert {column.name for column in CLAIM.all} == published
    for sql in (SQL["append_claims"], SQL["not_on_record"]):
        assert [column.name for column in CLAIM.all if f"m.{column.name} = c.{column.name}" not in sql] == []


@pytest.mark.parametrize(("n", "listed"), list(enumerate([MESSAGE, ENTRY_LOADED, STATE])))
def test_a_loaded_row_has_each_column_at_its_place_and_null_elsewhere(n: int, listed: Columns[Any]) -> None:
    selected = LOADED.select(n, listed, "x").split(", ")
    assert [selected[place] for place in LOADED.places[n]] == [f"x.{column.name}" for column in listed.all]
    assert [LOADED.types[place] for place in LOADED.places[n]] == listed.types()
    others = [sql for place, sql in enumerate(selected) if place not in LOADED.places[n]]
    assert len(selected) == len(LOADED.types) and all(sql.startswith("null::") for sql in others)


def test_a_message_is_read_from_places_that_follow_one_another() -> None:
    assert list(LOADED.places[0]) == list(range(len(MESSAGE.all)))


@pytest.mark.parametrize("file", sorted(FOLDER.rglob("*.sql")), ids=lambda file: file.stem)
def test_every_file_of_sql_is_asked_by_name(file: Path) -> None:
    source = "".join(module.read_text("utf-8") for module in FOLDER.glob("*.py"))
    assert f'"{file.stem}"' in source or f'/{file.stem}"' in source


def test_headers_are_json_that_a_person_can_read_and_come_back_as_they_were() -> None:
    headers = (("ce_id", b"17"), ("ce_id", b""), ("odd", b"\xff\x00"))
    stored = columns.to_headers(headers)
    assert stored == b'[["ce_id", "17"], ["ce_id", ""], ["odd", {"base64": "/wA="}]]'
    assert columns.from_headers(stored) == headers
