"""Model calls, when the gateway that makes them is terminated, killed or stopped."""

import json
import signal

from contracts.gateway import AttemptStarted
from infra.servers import Servers
from tests.deployment import Deployment
from tests.processes import until

SLOW = {"text": "Implement a function that counts words."}  # for a coder: a call of the class `capable`
REST = ("router", "planner", "specialists", "verifier")
ATTEMPTS = f"select data->>'attempt' from messages where kind = '{AttemptStarted.kind}' and workflow = $1 order by 1"
COUNTED = f"select count(*), max(data->>'attempt') from messages where kind = '{AttemptStarted.kind}'"
ENDED = "select ended is not null from instances where service = 'gateway' and instance = '1'"


async def test_a_terminated_gateway_finishes_short_calls_and_hands_over_long_ones(servers: Servers, scripted: str) -> None:
    async with Deployment.open(servers, scripted, script="ok@3s", capable="ok@60s+ok") as deployment:
        deployment.serve("gateway", instance="1", key="leaving")
        deployment.serve(*REST, key="rest")
        await deployment.ready()
        short, long = await deployment.ask({"text": "What is a quorum?"}, SLOW)
        await deployment.listen()
        await until(lambda: calling(deployment, short) and calling(deployment, long), "both calls have been made")
        deployment.serve("gateway", instance="2", key="staying")
        await deployment.ready("staying")
        await deployment.terminate("leaving")
        results = await deployment.answered([short, long], 30)
        assert {result.kind for result in results.values()} == {"hansard.results.completed.v1"}
        assert await deployment.rows(ATTEMPTS, short) == [("1",)]
        assert await deployment.rows(ATTEMPTS, long) == [("1",), ("2",)]
        assert await deployment.rows(ENDED) == [(True,)]
        restarted = deployment.restart("leaving")
        await deployment.ready("leaving")
        assert '"after_unclean_end": false' in restarted.log_text
        await deployment.at_rest()
        await deployment.is_whole()


async def test_a_killed_gateways_calls_are_taken_over_and_the_lost_attempts_are_listed(servers: Servers, scripted: str) -> None:
    async with Deployment.open(servers, scripted, capable="ok@60s+ok", HANSARD_LEASE_SECONDS="3") as deployment:
        deployment.serve("gateway", instance="1", key="killed")
        deployment.serve(*REST, key="rest")
        await deployment.ready()
        [id_] = await deployment.ask(SLOW)
        await deployment.listen()
        await until(lambda: calling(deployment, id_), "the call has been made")
        deployment.serve("gateway", instance="2", key="other")
        await deployment.ready("other")
        await deployment.kill("killed")
        result = (await deployment.answered([id_], 30))[id_]
        assert result.kind == "hansard.results.completed.v1"
        assert await deployment.rows(ATTEMPTS, id_) == [("1",), ("2",)]
        listed = [json.loads(line) for line in (await deployment.hansard("effects", "--in-doubt", "--json")).splitlines()]
        assert [(one["intent"]["attempt"], one["status"]) for one in listed] == [(1, "in doubt")]
        assert id_ in listed[0]["stream"]
        await deployment.at_rest()
        await deployment.is_whole()
        assert (await deployment.verified()).differences == []


async def test_a_gateway_that_was_stopped_for_a_while_keeps_the_calls_that_it_makes_afterwards(
    servers: Servers, scripted: str
) -> None:
    async with Deployment.open(servers, scripted, script="ok@4s", HANSARD_LEASE_SECONDS="1", partitions=2) as deployment:
        sleeper = deployment.serve("gateway", instance="1", key="sleeper")
        deployment.serve("gateway", instance="2", key="other")
        deployment.serve(*REST, key="rest")
        await deployment.ready()
        sleeper.signal(signal.SIGSTOP)
        await until(lambda: ended(deployment), "the other gateway has found it silent")
        sleeper.signal(signal.SIGCONT)
        await until(lambda: ended(deployment, is_so=False), "it has sent a heartbeat again")
        await deployment.ready()
        asked = await deployment.ask(*({"text": f"What is sleep number {n}?"} for n in range(12)))
        await deployment.answered(asked)
        assert await deployment.rows(COUNTED) == [(len(asked), "1")], "no call was taken from it or made twice"
        await deployment.at_rest()
        await deployment.is_whole()


async def ended(deployment: Deployment, is_so: bool = True) -> bool:
    return await deployment.rows(ENDED) == [(is_so,)]


def calling(deployment: Deployment, workflow: str) -> bool:
    return any(one.kind == AttemptStarted.kind and one.workflow == workflow for one in deployment.published)
