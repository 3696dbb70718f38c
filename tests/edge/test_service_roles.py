"""What each service's role may do in Postgres: every cell of the table role x table x operation, tried on the real server.

A cell of a write is `own`: rows of the service's own alone; `any`: every row; `no`: none.
"""

from collections.abc import AsyncIterator, Mapping
from itertools import product

import pytest

from contracts.catalog import OURS
from tests.edge.roles_kit import Roles, roles

OPERATIONS = ("select", "insert", "update", "delete", "truncate")
ROWS = ("own", "another's")
EXPECTED: Mapping[str, tuple[str, ...]] = {
    #                   select  insert  update  delete  truncate
    "streams":         ("any",  "own",  "own",  "no",   "no"),
    "inbox":           ("any",  "own",  "no",   "no",   "no"),
    "messages":        ("any",  "own",  "no",   "no",   "no"),
    "wake_ups":        ("any",  "own",  "own",  "own",  "no"),
    "attempts":        ("any",  "own",  "own",  "no",   "no"),
    "instances":       ("any",  "own",  "own",  "own",  "no"),
    "policies":        ("any",  "own",  "no",   "no",   "no"),
    "door_messages":   ("no",   "own",  "no",   "no",   "no"),
    "door_identities": ("any",  "any",  "no",   "no",   "no"),
    "content":         ("any",  "any",  "any",  "no",   "no"),
    "epochs":          ("any",  "any",  "any",  "no",   "no"),
    "migrations":      ("any",  "no",   "no",   "no",   "no"),
    "task_key":        ("no",   "no",   "no",   "no",   "no"),
    "answers":         ("no",   "no",   "no",   "no",   "no"),
    "api_keys":        ("no",   "no",   "no",   "no",   "no"),
}  # fmt: skip
OF_ONE_ALONE = {
    ("planner", "task_key"): ("any", "no", "no", "no", "no"),
    ("gateway", "answers"): ("any", "any", "any", "any", "no"),
    ("edge", "api_keys"): ("any", "no", "any", "no", "no"),  # it notes when a key was used, and nothing else
}
ALL = ("any", "any", "any", "any", "no")
WRITER: Mapping[str, tuple[str, ...]] = {  # as release 0.2.0 has it
    **dict.fromkeys(("messages", "inbox", "door_messages", "door_identities", "policies"), ("any", "any", "no", "no", "no")),
    **dict.fromkeys(("streams", "attempts", "content", "epochs"), ("any", "any", "any", "no", "no")),
    **dict.fromkeys(("wake_ups", "instances", "answers"), ALL),
    **dict.fromkeys(("migrations", "task_key"), ("any", "no", "no", "no", "no")),
    "api_keys": ("any", "no", "any", "no", "no"),
}


def expected(service: str, table: str, operation: str) -> str:
    row = WRITER[table] if not service else OF_ONE_ALONE.get((service, table), EXPECTED[table])
    return row[OPERATIONS.index(operation)]


@pytest.fixture
async def roles_(postgres_dsn: str, service_dsn: str) -> AsyncIterator[Roles]:
    async with roles(postgres_dsn, service_dsn) as made:
        yield made


def wanted(cell: str, of: str) -> set[str]:
    """What a cell of the table means for a try: rows of another's are refused, or not reached."""
    return {"done"} if cell == "any" or (cell == "own" and of == "own") else {"refused", "nothing"}


async def test_every_role_does_on_every_table_what_the_table_tells(roles_: Roles) -> None:
    wrong, cells = [], 0
    for service, table, operation, of in product((*OURS, ""), EXPECTED, OPERATIONS, ROWS):
        other = "planner" if service == "router" else "router"
        done = await roles_.try_(service, table, operation, service or "planner" if of == "own" else other)
        cell = expected(service, table, operation)
        cells += 1
        if done not in wanted(cell, of):
            wrong.append((service, table, operation, of, cell, done))
    assert wrong == []
    tables = await roles_.owner.fetch(
        "select relname from pg_class where relnamespace = current_schema()::regnamespace and relkind = 'r'"
    )
    assert {table for (table,) in tables} == EXPECTED.keys(), "a new table: who may do what with it? (rights.py, and above)"
    assert cells == (len(OURS) + 1) * len(EXPECTED) * len(OPERATIONS) * len(ROWS)
