"""Real servers for the tests that need them. An address in the environment wins over starting one.

With HANSARD_TEST_CONTAINERS=1 Kafka and Postgres are those of docker-compose.yml, in containers, by testcontainers.
"""

import logging
import os
import secrets
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from hypothesis import HealthCheck, settings

from infra.migrations import migrate
from infra.servers import Servers
from shared import masking
from shared.eventstore.postgres import PostgresEventStore
from shared.eventstore.postgres.logins import Login
from tests import containers

# pytest-xdist gives its processes the size of a small terminal, and commands would wrap what they print.
for name in ("COLUMNS", "LINES"):
    os.environ.pop(name, None)

pytest.register_assert_rewrite("tests.edge.store_kit", "tests.edge.store_suite", "tests.unit.loop_kit", "tests.unit.envelope_kit")

settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")  # a busy machine is no failure


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """What a test has made a known secret is hidden in no other's texts, and a command that it ran silences no other's log."""
    known, silenced = set(masking._known), logging.root.manager.disable
    yield
    logging.disable(silenced)
    if masking._known != known:
        masking._known.clear()
        masking._known.update(known)
        masking._pattern.cache_clear()


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """Starts nothing by itself. Its home lies in a short path that an unprivileged Postgres can enter."""
    home = Path(tempfile.mkdtemp(prefix="hansard-tests-"))
    home.chmod(0o711)
    with containers.given(), Servers(home) as servers:
        yield servers
    servers.erase()


@pytest.fixture(scope="session")
def secure_servers() -> Iterator[Servers]:
    """Servers of their own, whatever addresses were given: a Kafka with TLS, passwords and access rules is started there."""
    home = Path(tempfile.mkdtemp(prefix="hansard-secure-"))
    home.chmod(0o711)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HANSARD_KAFKA", "HANSARD_POSTGRES", "HANSARD_POSTGRES_OWNER"):
            patch.delenv(name, raising=False)
        with Servers(home) as servers:
            yield servers
    servers.erase()


@pytest.fixture(scope="session")
def postgres_dsn(servers: Servers) -> str:
    """DSN of a Postgres in which schemas and roles may be made."""
    return servers.up(kafka=False, model=False).owner


@pytest.fixture(scope="session")
def service_dsn(servers: Servers) -> str:
    """The same for services: their login owns nothing, and `migrate` lets it in."""
    return servers.up(kafka=False, model=False).postgres


@pytest.fixture(scope="session")
def kafka(servers: Servers) -> str:
    """Bootstrap servers of a broker."""
    return servers.up(postgres=False, model=False).kafka


@pytest.fixture
async def schema(postgres_dsn: str, service_dsn: str) -> AsyncIterator[str]:
    """Name of a schema that is migrated and empty, and gone after the test."""
    name = f"test_{secrets.token_hex(6)}"
    await migrate(postgres_dsn, name, service=service_dsn)
    yield name
    await _drop(postgres_dsn, name)


@pytest.fixture
async def store(service_dsn: str, schema: str) -> AsyncIterator[PostgresEventStore]:
    """An empty record in Postgres, as services see it."""
    store = await PostgresEventStore.open(service_dsn, schema=schema)
    yield store
    await store.close()


async def _drop(dsn: str, schema: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("set client_min_messages to warning")
        await connection.execute(f'drop schema "{schema}" cascade')
        for [role] in await connection.fetch("select rolname from pg_roles where rolname ~ $1", f"^{schema}(_writer$|-)"):
            quoted = Login(role).quoted
            await connection.execute(f"drop owned by {quoted}; drop role {quoted}")
    finally:
        await connection.close()
