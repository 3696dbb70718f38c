"""A deployment for the examples that need one: a real Kafka and Postgres, the router and the planner."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from infra.servers import Servers
from tests.deployment import Deployment


def _in_own_loop(work: Coroutine[Any, Any, Any]) -> Any:
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


@pytest.fixture(scope="package")
def deployed(servers: Servers) -> Iterator[Deployment]:
    """It knows a worker called `sommelier` that is a program of its own; no model is asked."""
    deployment = _in_own_loop(Deployment.build(servers, "http://127.0.0.1:1/v1", HANSARD_OUTSIDE_WORKERS="sommelier"))
    try:
        deployment.serve("router", "planner")
        _in_own_loop(deployment.ready())
        yield deployment
    finally:
        deployment.stop()
        _in_own_loop(deployment.drop_schema())


@pytest.fixture
async def deployment(deployed: Deployment, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Deployment]:
    """The same, with the environment as a shell would have it."""
    for name, value in deployed.environment.items():
        if name.startswith("HANSARD_"):
            monkeypatch.setenv(name, value)
    yield deployed
    await deployed.close()
