"""Three brokers, each with every message: one is killed under load, and the others continue."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.servers import Servers
from tests.deployment import QUESTION, RULE, Deployment


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    for name in ("HANSARD_KAFKA", "HANSARD_POSTGRES", "HANSARD_POSTGRES_OWNER"):
        monkeypatch.delenv(name, raising=False)
    home = Path(tempfile.mkdtemp(prefix="hansard-three-"))
    home.chmod(0o711)
    with Servers(home) as servers:
        servers.up(brokers=3, model=False)
        yield servers
    servers.erase()


async def test_every_request_is_answered_when_one_of_three_brokers_is_killed(three: Servers, scripted: str) -> None:
    async with Deployment.open(three, scripted, brokers=3) as deployment:
        deployment.serve("all")
        await deployment.ready()
        first = await deployment.ask(*[QUESTION, RULE] * 25)
        await deployment.answered_so_far(10)
        await asyncio.to_thread(three.stop_broker, 1, kill=True)
        second = await deployment.ask(*[QUESTION, RULE] * 25)
        results = await deployment.answered([*first, *second])
        assert {result.kind for result in results.values()} == {"hansard.results.completed.v1"}
        await deployment.at_rest()
        await deployment.is_whole()
