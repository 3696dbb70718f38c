"""Fixtures of the chaos tests: the scripted model, and servers that may be killed. Each test has its own deployment."""

import os
from collections.abc import Iterator

import pytest

from infra.servers import Servers, process
from tests import processes

LARGE = os.environ.get("HANSARD_CHAOS") == "large"  # `make chaos`: every case and the large counts


@pytest.fixture(scope="session")
def scripted(servers: Servers) -> Iterator[str]:
    """The address of the scripted OpenAI-compatible server."""
    running = processes.model(servers)
    yield running.address
    process.stop(running)


@pytest.fixture
def own(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> Servers:
    """Servers that this session starts itself, whatever addresses were given: a user's servers are never killed."""
    for name in ("HANSARD_KAFKA", "HANSARD_POSTGRES", "HANSARD_POSTGRES_OWNER"):
        monkeypatch.delenv(name, raising=False)
    return servers
