"""Model calls, when the gateway that makes them leaves or dies."""

import json
import signal

from contracts.gateway import AttemptStarted
from infra.servers import Servers
from tests.house import House, until

SLOW = {"text": "Implement a function that counts words."}  # a coder's: a call of the class `capable`
REST = ("router", "planner", "specialists", "verifier")
ATTEMPTS = f"select data->>'attempt' from messages where kind = '{AttemptStarted.kind}' and workflow = $1 order by 1"
ENDED = "select ended is not null from instances where service = 'gateway' and instance = '1'"


async def test_a_gateway_that_leaves_finishes_short_calls_and_hands_over_long_ones(servers: Servers, scripted: str) -> None:
    async with House.open(servers, scripted, script="ok@3s", capable="ok@60s+ok") as house:
        house.serve("gateway", instance="1", key="leaving")
        house.serve(*REST, key="rest")
        await house.ready()
        short, long = await house.ask({"text": "What is a quorum?"}, SLOW)
        await house.listen()
        await until(lambda: calling(house, short) and calling(house, long), "both calls are on their way")
        house.serve("gateway", instance="2", key="staying")
        await house.ready("staying")
        await house.leave("leaving")
        results = await house.answered([short, long], 30)
        assert {result.kind for result in results.values()} == {"hansard.results.completed.v1"}
        assert await house.rows(ATTEMPTS, short) == [("1",)]
        assert await house.rows(ATTEMPTS, long) == [("1",), ("2",)]
        assert await house.rows(ENDED) == [(True,)]
        again = house.again("leaving")
        await house.ready("leaving")
        assert '"unclean": false' in again.messages
        await house.at_rest()
        await house.is_whole()


async def test_a_killed_gateways_calls_are_taken_over_and_the_lost_attempts_are_listed(servers: Servers, scripted: str) -> None:
    async with House.open(servers, scripted, capable="ok@60s+ok", HANSARD_LEASE_SECONDS="3") as house:
        house.serve("gateway", instance="1", key="killed")
        house.serve(*REST, key="rest")
        await house.ready()
        [id_] = await house.ask(SLOW)
        await house.listen()
        await until(lambda: calling(house, id_), "the call is on its way")
        house.serve("gateway", instance="2", key="other")
        await house.ready("other")
        await house.kill("killed")
        result = (await house.answered([id_], 30))[id_]
        assert result.kind == "hansard.results.completed.v1"
        assert await house.rows(ATTEMPTS, id_) == [("1",), ("2",)]
        listed = [json.loads(line) for line in (await house.hansard("effects", "--in-doubt", "--json")).splitlines()]
        assert [(one["intent"]["attempt"], one["status"]) for one in listed] == [(1, "in doubt")]
        assert id_ in listed[0]["stream"]
        await house.at_rest()
        await house.is_whole()
        assert (await house.verified()).differences == []


async def test_a_gateway_that_slept_and_comes_back_keeps_the_calls_that_it_makes_from_then_on(
    servers: Servers, scripted: str
) -> None:
    async with House.open(servers, scripted, script="ok@4s", HANSARD_LEASE_SECONDS="1", partitions=2) as house:
        sleeper = house.serve("gateway", instance="1", key="sleeper")
        house.serve("gateway", instance="2", key="other")
        house.serve(*REST, key="rest")
        await house.ready()
        sleeper.signal(signal.SIGSTOP)
        await until(lambda: ended(house), "the other one has found it silent")
        sleeper.signal(signal.SIGCONT)
        await until(lambda: ended(house, is_so=False), "it has given a sign again")
        await house.ready()
        asked = await house.ask(*({"text": f"What is sleep number {n}?"} for n in range(12)))
        await house.answered(asked)
        attempts = await house.rows(f"select count(*), max(data->>'attempt') from messages where kind = '{AttemptStarted.kind}'")
        assert attempts == [(len(asked), "1")], "none was taken from it, none was made twice"
        await house.at_rest()
        await house.is_whole()


async def ended(house: House, is_so: bool = True) -> bool:
    return await house.rows("select ended is not null from instances where service = 'gateway' and instance = '1'") == [(is_so,)]


def calling(house: House, workflow: str) -> bool:
    return any(one.kind == AttemptStarted.kind and one.workflow == workflow for one in house.processed)
