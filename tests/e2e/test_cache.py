"""The gateway's cache answers with what the verifier passed, and never with what it rejected."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from contracts.catalog import SERVICES
from infra.servers import Servers, process
from tests import processes
from tests.deployment import QUESTION, Deployment
from tests.processes import until
from tests.published import Json

CACHE_FIRST: Json = {"order": ["cache", "scripted", "rules"]}
REPLIED = """select data from messages where kind = 'hansard.gateway.model-replied.v1' and workflow = $1
              and stream like 'gateway/specialists/%' order by position"""


@pytest.fixture
async def frugal(servers: Servers) -> AsyncIterator[Deployment]:
    """A deployment whose cache comes before its model. The model repeats itself at its first task, and answers the others."""
    model = await asyncio.to_thread(processes.model, servers)
    try:
        async with Deployment.open(servers, model.address, script="loops+ok", gateway=CACHE_FIRST) as deployment:
            deployment.serve(*SERVICES)
            await deployment.ready()
            yield deployment
    finally:
        await asyncio.to_thread(process.stop, model)


async def test_a_rejected_answer_is_not_served_from_the_cache_and_a_passed_one_is(frugal: Deployment) -> None:
    first = await answered(frugal)
    assert [(reply["tier"], loops(reply)) for reply in first] == [("scripted", True), ("scripted", False)]
    await noted(frugal, first[0], first[1])
    await marked(frugal, 1)

    second = await answered(frugal)
    assert [(reply["tier"], loops(reply)) for reply in second] == [("scripted", False)]
    await noted(frugal, second[0])

    third = await answered(frugal)
    assert [(reply["tier"], reply["text"]) for reply in third] == [("cache", second[0]["text"])]
    assert third[0]["learned"]["workflow"] == second[0]["workflow"]
    await marked(frugal, 1)
    assert (await frugal.verified()).differences == []


async def answered(deployment: Deployment) -> list[dict[str, Any]]:
    """The replies to the task of a new request, in order, once it is answered."""
    [workflow] = await deployment.ask(QUESTION)
    result = (await deployment.answered([workflow]))[workflow]
    assert result.kind == "hansard.results.completed.v1", result.data
    assert not loops(result.data)
    await deployment.at_rest()
    return [json.loads(data) | {"workflow": workflow} for (data,) in await deployment.rows(REPLIED, workflow)]


def loops(reply: dict[str, Any]) -> bool:
    return "again and again and" in str(reply["text"])


async def noted(deployment: Deployment, *replies: dict[str, Any]) -> None:
    """Waits until the index of answers names these replies."""

    async def there() -> bool:
        known = await deployment.rows("select workflow, stream from answers")
        return all((reply["workflow"], f"gateway/{reply['call']}") in known for reply in replies)

    await until(there, "the gateway has indexed the answers")


async def marked(deployment: Deployment, replies: int) -> None:
    assert await deployment.rows("select count(*) from messages where kind = 'hansard.gateway.reply-rejected.v1'") == [(replies,)]
