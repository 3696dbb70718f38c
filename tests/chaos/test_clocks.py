"""Only the store's clock counts: each process is an hour off, then Postgres itself, then the broker, under load (rule 8).

Real processes under libfaketime (Debian's package `faketime`); without it these tests are skipped. `make chaos` tries every
service both ways.
"""

import asyncio
import json
from datetime import timedelta

import pytest

from contracts.catalog import SERVICES
from infra.servers import Servers
from tests.chaos.clocks import HOUR, faked, needs_faketime, wrong_clock
from tests.chaos.conftest import LARGE
from tests.deployment import QUESTION, RULE, Deployment
from tests.published import Json, PublishedMessage

pytestmark = needs_faketime

SLOW = {"text": "Implement a function that counts words."}  # for a coder: a call of the class `capable`
COMPLETED, FAILED = "hansard.results.completed.v1", "hansard.results.failed.v1"
EVERY = [(name, off) for name in SERVICES for off in (HOUR, -HOUR)]
FEW = [("gateway", HOUR), ("planner", -HOUR)]
RECORDED = "select at, data->>'reason', now() from messages where workflow = $1 and topic = 'results'"
EARLIER = """select workflow, stream from (select workflow, stream, at, lag(at) over (
                 partition by tenant, workflow, stream order by sequence) as before from inbox) h where at < before"""


def ids() -> list[str]:
    return [f"{name} {'ahead' if off > 0 else 'behind'}" for name, off in (EVERY if LARGE else FEW)]


@pytest.mark.parametrize(("name", "off"), EVERY if LARGE else FEW, ids=ids())
async def test_a_service_with_a_clock_an_hour_off_answers_like_the_others(
    servers: Servers, scripted: str, name: str, off: int
) -> None:
    async with Deployment.open(servers, scripted, capable="ok@60s") as deployment:
        one = deployment.serve(name, **faked(off))
        deployment.serve(*(other for other in SERVICES if other != name), key="rest")
        await deployment.ready()
        clock = json.loads(one.health()[1])[name]["clock"]
        assert ("ahead of" if off > 0 else "behind") in clock and "36" in clock, clock
        assert "clock" not in json.loads(deployment.processes["rest"].health()[1])[next(s for s in SERVICES if s != name)]
        await answers_as_usual(deployment)


@pytest.mark.parametrize("off", [HOUR, -HOUR] if LARGE else [HOUR], ids=["ahead", "behind"][: 2 if LARGE else 1])
@pytest.mark.parametrize("server", ["postgres", "kafka-1"])
async def test_a_server_whose_clock_jumps_an_hour_and_back_under_load_delays_no_request(
    own: Servers, scripted: str, server: str, off: int
) -> None:
    async with Deployment.open(own, scripted, capable="ok@60s") as deployment:
        deployment.serve("router", key="router")
        deployment.serve("planner", "specialists", "gateway", "verifier", key="rest")
        await deployment.ready()
        before = await deployment.ask(*[await patient(deployment), RULE] * 20)
        await deployment.answered_so_far(5)
        jump = wrong_clock(own, server, off)
        await asyncio.to_thread(jump.__enter__)
        try:
            await completed(deployment, before)
            await deployment.ready()
            await answers_as_usual(deployment)
            during = await deployment.ask(*[await patient(deployment), RULE] * 20)
            await deployment.answered_so_far(len(before) + 10)
        finally:
            await asyncio.to_thread(jump.__exit__, None, None, None)
        await completed(deployment, during)
        await deployment.ready()
        await answers_as_usual(deployment)


async def patient(deployment: Deployment) -> Json:
    """A question whose deadline is more than an hour away."""
    [(now,)] = await deployment.rows("select now()")
    return QUESTION | {"deadline": (now + timedelta(days=1)).isoformat()}


async def answers_as_usual(deployment: Deployment) -> None:
    """Models and rules answer, a deadline passes by the store's clock, and the record is sound."""
    [(now,)] = await deployment.rows("select now()")
    deadline = now + timedelta(seconds=4)
    [late] = await deployment.ask(SLOW | {"deadline": deadline.isoformat()})
    done = await completed(deployment, await deployment.ask(*[QUESTION, RULE] * 10))
    by_model = [one.data["contributions"] for one in done if one.data["contributions"]]
    assert len(by_model) == 10
    assert {part["tier"] for parts in by_model for part in parts} == {"scripted"}, "no call fell back to a lower tier"
    assert (await deployment.answered([late]))[late].kind == FAILED
    [(at, reason, _)] = await deployment.rows(RECORDED, late)
    assert reason == "deadline"
    assert deadline <= at < deadline + timedelta(minutes=2), "by the store's clock, and not an hour later"
    await deployment.at_rest()
    await deployment.is_whole()
    assert await deployment.rows(EARLIER) == []
    assert (await deployment.verified()).differences == []


async def completed(deployment: Deployment, asked: list[str]) -> list[PublishedMessage]:
    results = await deployment.answered(asked)
    assert {one.kind for one in results.values()} == {COMPLETED}
    return list(results.values())
