"""One house for all tests of this folder: five services, each a process of its own, and a scripted model."""

import asyncio
import os
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from infra.servers import Servers, process
from tests import house as houses
from tests.house import House


def in_own_loop(work: Coroutine[Any, Any, Any]) -> Any:
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


@pytest.fixture(scope="session")
def e2e_house(servers: Servers) -> Iterator[House]:
    """On a broker of our own its topics have no prefix: outsiders find them under their names."""
    model = houses.model(servers)
    prefix = None if os.environ.get("HANSARD_KAFKA") else ""
    house = in_own_loop(House.build(servers, model.address, prefix=prefix, capable="ok@5s"))
    try:
        house.serve_all()
        in_own_loop(house.ready())
        yield house
    finally:
        house.end()
        in_own_loop(house.forget())
        process.stop(model)


@pytest.fixture
async def house(e2e_house: House) -> AsyncIterator[House]:
    yield e2e_house
    await e2e_house.close()
