"""The event store, in memory and in Postgres: one suite for both."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg
import pytest

from shared.eventstore.memory import InMemoryEventStore
from shared.eventstore.postgres import PostgresEventStore
from tests.edge.store_suite import StoreSuite


class TestMemory(StoreSuite):
    @pytest.fixture
    def store(self) -> InMemoryEventStore:
        return InMemoryEventStore()

    @pytest.fixture
    def owned(self, store: InMemoryEventStore) -> InMemoryEventStore:
        return store


class TestPostgres(StoreSuite):
    """`store` is the one of conftest."""


class TestPostgresAsAServiceBehindAPooler(StoreSuite):
    """With the grants of a service and no more, and with nothing kept in a session."""

    @pytest.fixture
    async def store(self, postgres_dsn: str, schema: str) -> AsyncIterator[PostgresEventStore]:
        async with a_service(postgres_dsn, schema) as dsn:
            store = await PostgresEventStore.open(dsn, schema=schema, pooler=True)
            yield store
            await store.close()


@asynccontextmanager
async def a_service(dsn: str, schema: str) -> AsyncIterator[str]:
    """DSN of a member of the services' role; skips the test where there is no right to create one."""
    name, password = f"{schema}_service", secrets.token_hex(8)
    owner = await asyncpg.connect(dsn)
    try:
        if not await owner.fetchval("select count(*) from pg_roles where rolname = $1", f"{schema}_writer"):
            pytest.skip("no right to make roles")
        await owner.execute(f"create role {name} login password '{password}' in role {schema}_writer")
        host = urlsplit(dsn).netloc.rpartition("@")[2]
        yield urlsplit(dsn)._replace(netloc=f"{name}:{password}@{host}").geturl()
        await owner.execute(f"drop role {name}")
    finally:
        await owner.close()
