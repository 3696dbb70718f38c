"""Only the store's clock counts: each process an hour off, then Postgres itself, then the broker, under load (rule 8).

Real processes under libfaketime (Debian's package `faketime`); without it these tests are skipped. `make chaos` tries every
service both ways.
"""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from contracts.catalog import SERVICES
from infra.servers import Servers
from tests.chaos.conftest import LARGE
from tests.house import QUESTION, RULE, House, Json, StoredMessage, _environment

HOUR = 3600
SLOW = {"text": "Implement a function that counts words."}  # a coder's: a call of the class `capable`
COMPLETED, FAILED = "hansard.results.completed.v1", "hansard.results.failed.v1"
EVERY = [(name, off) for name in SERVICES for off in (HOUR, -HOUR)]
FEW = [("gateway", HOUR), ("planner", -HOUR)]
RECORDED = "select at, data->>'reason', now() from messages where workflow = $1 and topic = 'results'"
BACKWARDS = """select workflow, stream from (select workflow, stream, at, lag(at) over (
                 partition by tenant, workflow, stream order by sequence) as before from inbox) h where at < before"""


def faked(seconds: int) -> dict[str, str]:
    """The environment of a process whose wall clock is so many seconds ahead."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")) + sorted(Path("/usr/lib/faketime").glob("*MT.so.1"))
    if not found:
        pytest.skip("libfaketime is not here: apt install faketime")
    only_the_wall = {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_FORCE_MONOTONIC_FIX": "0"}  # else Java's waits spin
    return {"LD_PRELOAD": str(found[0]), "FAKETIME": f"{seconds:+d}", **only_the_wall}


def ids() -> list[str]:
    return [f"{name} {'ahead' if off > 0 else 'behind'}" for name, off in (EVERY if LARGE else FEW)]


@pytest.mark.parametrize(("name", "off"), EVERY if LARGE else FEW, ids=ids())
async def test_a_service_whose_clock_is_an_hour_off_answers_as_the_others_do(
    servers: Servers, scripted: str, name: str, off: int
) -> None:
    async with House.open(servers, scripted, capable="ok@60s") as house:
        one = house.serve(name, **faked(off))
        house.serve(*(other for other in SERVICES if other != name), key="rest")
        await house.ready()
        told = json.loads(one.health()[1])[name]["clock"]
        assert ("ahead of" if off > 0 else "behind") in told and "36" in told, told
        assert "clock" not in json.loads(house.processes["rest"].health()[1])[next(s for s in SERVICES if s != name)]
        await answers_as_ever(house)


@contextmanager
def clock(own: Servers, server: str, off: int) -> Iterator[None]:
    """This server is started again under such a clock, and afterwards under the right one."""

    def again(environment: dict[str, str]) -> None:
        own.stop(server)
        with _environment(environment):
            own.start(server)

    again(faked(off))
    try:
        yield
    finally:
        again({})


@pytest.mark.parametrize("off", [HOUR, -HOUR] if LARGE else [HOUR], ids=["ahead", "behind"][: 2 if LARGE else 1])
@pytest.mark.parametrize("server", ["postgres", "kafka-1"])
async def test_a_server_whose_clock_jumps_an_hour_and_back_under_load_keeps_nobody_waiting(
    own: Servers, scripted: str, server: str, off: int
) -> None:
    async with House.open(own, scripted, capable="ok@60s") as house:
        house.serve("router", key="router")
        house.serve("planner", "specialists", "gateway", "verifier", key="rest")
        await house.ready()
        before = await house.ask(*[await patient(house), RULE] * 20)
        await house.answered_so_far(5)
        jump = clock(own, server, off)
        await asyncio.to_thread(jump.__enter__)
        try:
            await completed(house, before)
            await house.ready()
            await answers_as_ever(house)
            during = await house.ask(*[await patient(house), RULE] * 20)
            await house.answered_so_far(len(before) + 10)
        finally:
            await asyncio.to_thread(jump.__exit__, None, None, None)
        await completed(house, during)
        await house.ready()
        await answers_as_ever(house)


async def patient(house: House) -> Json:
    """A question whose deadline no jump of an hour passes."""
    [(now,)] = await house.rows("select now()")
    return QUESTION | {"deadline": (now + timedelta(days=1)).isoformat()}


async def answers_as_ever(house: House) -> None:
    """Questions by a model, requests by rule, a deadline by the store's clock; then the record is whole."""
    [(now,)] = await house.rows("select now()")
    deadline = now + timedelta(seconds=4)
    [late] = await house.ask(SLOW | {"deadline": deadline.isoformat()})
    done = await completed(house, await house.ask(*[QUESTION, RULE] * 10))
    by_model = [one.data["contributions"] for one in done if one.data["contributions"]]
    assert len(by_model) == 10
    assert {part["tier"] for parts in by_model for part in parts} == {"scripted"}, "nobody fell back to a lower tier"
    assert (await house.answered([late]))[late].kind == FAILED
    [(at, reason, _)] = await house.rows(RECORDED, late)
    assert reason == "deadline"
    assert deadline <= at < deadline + timedelta(minutes=2), "by the store's clock, and not an hour later"
    await house.at_rest()
    await house.is_whole()
    assert await house.rows(BACKWARDS) == []
    assert (await house.verified()).differences == []


async def completed(house: House, asked: list[str]) -> list[StoredMessage]:
    results = await house.answered(asked)
    assert {one.kind for one in results.values()} == {COMPLETED}
    return list(results.values())
