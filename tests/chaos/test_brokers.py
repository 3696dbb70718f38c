"""Three brokers, each message on all of them: one is killed under load, and the others go on."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.servers import Servers
from tests.house import QUESTION, RULE, House


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    for name in ("HANSARD_KAFKA", "HANSARD_POSTGRES"):
        monkeypatch.delenv(name, raising=False)
    home = Path(tempfile.mkdtemp(prefix="hansard-three-"))
    home.chmod(0o711)
    with Servers(home) as servers:
        servers.up(brokers=3, model=False)
        yield servers
    servers.erase()


async def test_of_three_brokers_one_is_killed_and_all_is_answered(three: Servers, scripted: str) -> None:
    async with House.open(three, scripted, brokers=3) as house:
        house.serve("all")
        await house.ready()
        first = await house.ask(*[QUESTION, RULE] * 25)
        await house.answered_so_far(10)
        await asyncio.to_thread(three.stop_broker, 1, kill=True)
        second = await house.ask(*[QUESTION, RULE] * 25)
        results = await house.answered([*first, *second])
        assert {result.kind for result in results.values()} == {"hansard.results.completed.v1"}
        await house.at_rest()
        await house.is_whole()
