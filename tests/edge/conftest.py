"""Fixtures of the tests of the Postgres event store."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from shared.eventstore.postgres import statements


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """An append may wait long for a lock here: on a slow machine too its time must not become stale."""
    monkeypatch.setattr(statements, "STALE", 600.0)


@pytest.fixture
async def raw(postgres_dsn: str, schema: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the tables' owner."""
    connection = await asyncpg.connect(postgres_dsn, server_settings={"search_path": schema})
    yield connection
    await connection.close()
