"""The book: an SQLite file with one row for each decision that was carried out. Blocking: the performer calls it in a thread."""

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

from contracts.ledger import Entry
from services.ledger.posting import Posting

PATIENCE = 5.0  # seconds to wait while another process writes
_TABLE = """create table if not exists entries (
    number integer primary key autoincrement,
    tenant text not null,
    decision text not null,
    sha256 text not null,
    amount text not null,
    currency text not null,
    recipient text not null,
    about text not null,
    arguments text not null,
    at text not null,
    unique (tenant, decision)
)"""
_COLUMNS = "number, decision, sha256, amount, currency, recipient, about, arguments, at"
_INSERT = """insert into entries (tenant, decision, sha256, amount, currency, recipient, about, arguments, at)
    values (?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict (tenant, decision) do nothing"""


def create(path: Path) -> None:
    """Makes the book where there is none: a file that its user alone can read. Raises OSError, sqlite3.Error."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    with _opened(path) as book:
        book.execute("pragma journal_mode = wal")
        book.execute(_TABLE)


def post(path: Path, tenant: str, decision: str, sha256: str, posting: Posting, at: datetime) -> Entry:
    """Makes the entry, unless this decision has one. Returns the entry that is there then. Raises sqlite3.Error."""
    row = (tenant, decision, sha256, str(posting.amount), posting.currency, posting.recipient, posting.about)
    with _opened(path) as book:
        book.execute(_INSERT, (*row, json.dumps(posting.arguments), at.isoformat()))
        sql = f"select {_COLUMNS} from entries where tenant = ? and decision = ?"
        return _entry(book.execute(sql, (tenant, decision)).fetchone())


def entries(path: Path) -> list[Entry]:
    """All entries of all tenants, in order; none where there is no book. Raises sqlite3.Error."""
    if not path.exists():
        return []
    with _opened(path) as book:
        return [_entry(row) for row in book.execute(f"select {_COLUMNS} from entries order by number")]


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Each statement commits by itself, and is on the disk when it has."""
    with closing(sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)) as book:
        book.execute("pragma synchronous = full")
        yield book


def _entry(row: tuple[object, ...]) -> Entry:
    fields = dict(zip(_COLUMNS.split(", "), row, strict=True))
    return Entry.model_validate(fields | {"arguments": json.loads(str(fields["arguments"]))})
