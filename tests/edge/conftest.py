"""Fixtures of the tests of the Postgres event store."""

import secrets
from collections.abc import AsyncIterator

import asyncpg
import pytest
from pydantic import SecretStr

from shared.eventstore.postgres import PostgresEventStore, statements
from shared.kafka.admin import apply
from shared.settings import Settings


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


@pytest.fixture
async def owned(postgres_dsn: str, schema: str) -> AsyncIterator[PostgresEventStore]:
    """The event store as the owner of its tables sees it."""
    store = await PostgresEventStore.open(postgres_dsn, schema=schema)
    yield store
    await store.close()


@pytest.fixture
async def settings(kafka: str, postgres_dsn: str, schema: str) -> Settings:
    """A Kafka with our topics, under a prefix of this test's own."""
    prefix = f"t{secrets.token_hex(4)}."
    made = Settings(kafka=kafka, topic_prefix=prefix, postgres=SecretStr(postgres_dsn), postgres_schema=schema, partitions=2)
    assert not [change for change in await apply(made) if change.error]
    return made
