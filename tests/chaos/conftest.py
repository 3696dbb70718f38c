"""What the chaos tests share: the scripted model. Each has a house of its own."""

from collections.abc import Iterator

import pytest

from infra.servers import Servers, process
from tests import house as houses


@pytest.fixture(scope="session")
def scripted(servers: Servers) -> Iterator[str]:
    """Address of the scripted OpenAI-compatible server."""
    running = houses.model(servers)
    yield running.address
    process.stop(running)
