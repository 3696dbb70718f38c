"""What the chaos tests share: the scripted model, and servers that may be killed. Each has a house of its own."""

import os
from collections.abc import Iterator

import pytest

from infra.servers import Servers, process
from tests import house as houses

LARGE = os.environ.get("HANSARD_CHAOS") == "large"  # `make chaos`: every case and the large counts


@pytest.fixture(scope="session")
def scripted(servers: Servers) -> Iterator[str]:
    """Address of the scripted OpenAI-compatible server."""
    running = houses.model(servers)
    yield running.address
    process.stop(running)


@pytest.fixture
def own(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> Servers:
    """Servers that we start ourselves, whatever addresses were given: those of others are not killed."""
    for name in ("HANSARD_KAFKA", "HANSARD_POSTGRES"):
        monkeypatch.delenv(name, raising=False)
    return servers
