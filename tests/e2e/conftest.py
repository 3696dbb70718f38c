"""One deployment for all tests of this folder: every service, each in its own process, and a scripted model."""

import asyncio
import os
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from infra.servers import Servers, process
from tests import processes
from tests.deployment import Deployment


def in_own_loop(work: Coroutine[Any, Any, Any]) -> Any:
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


@pytest.fixture(scope="package")
def e2e_deployment(servers: Servers) -> Iterator[Deployment]:
    """On a broker that the tests start, its topics have no prefix: foreign clients find them by their names."""
    model = processes.model(servers)
    prefix = None if os.environ.get("HANSARD_KAFKA") else ""
    deployment = in_own_loop(Deployment.build(servers, model.address, prefix=prefix, capable="ok@5s"))
    try:
        deployment.serve_all()
        in_own_loop(deployment.ready())
        yield deployment
    finally:
        deployment.stop()
        in_own_loop(deployment.drop_schema())
        process.stop(model)


@pytest.fixture
async def deployment(e2e_deployment: Deployment) -> AsyncIterator[Deployment]:
    yield e2e_deployment
    await e2e_deployment.close()
