"""What the verifier turned away is not answered again by the gateway's cache; what it passed is."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from contracts.catalog import SERVICES
from infra.servers import Servers, process
from tests import house as houses
from tests.house import QUESTION, House, Json, until

CACHE_FIRST: Json = {"order": ["cache", "scripted", "rules"]}
REPLIED = """select data from messages where kind = 'hansard.gateway.model-replied.v1' and workflow = $1
              and stream like 'gateway/specialists/%' order by position"""


@pytest.fixture
async def frugal(servers: Servers) -> AsyncIterator[House]:
    """A house that asks its cache before its model; the model loops at its first task, and does the others."""
    model = await asyncio.to_thread(houses.model, servers)
    try:
        async with House.open(servers, model.address, script="loops+ok", gateway=CACHE_FIRST) as house:
            house.serve(*SERVICES)
            await house.ready()
            yield house
    finally:
        await asyncio.to_thread(process.stop, model)


async def test_a_rejected_answer_is_not_served_from_the_cache_and_one_that_passed_is(frugal: House) -> None:
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


async def answered(house: House) -> list[dict[str, Any]]:
    """The replies that its task got on the way to the answer, in order."""
    [workflow] = await house.ask(QUESTION)
    result = (await house.answered([workflow]))[workflow]
    assert result.kind == "hansard.results.completed.v1", result.data
    assert not loops(result.data)
    await house.at_rest()
    return [json.loads(data) | {"workflow": workflow} for (data,) in await house.rows(REPLIED, workflow)]


def loops(stored: dict[str, Any]) -> bool:
    return "again and again and" in str(stored["text"])


async def noted(house: House, *replies: dict[str, Any]) -> None:
    """Until the index of answers leads to these."""

    async def there() -> bool:
        known = await house.rows("select workflow, stream from answers")
        return all((reply["workflow"], f"gateway/{reply['call']}") in known for reply in replies)

    await until(there, "the gateway has noted what was answered")


async def marked(house: House, replies: int) -> None:
    assert await house.rows("select count(*) from messages where kind = 'hansard.gateway.reply-rejected.v1'") == [(replies,)]
