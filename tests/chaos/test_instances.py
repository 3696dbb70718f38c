"""Several instances of a service are added, terminated and stopped for a while: nothing is lost or done twice."""

import re
import signal
from pathlib import Path

from contracts.planner import RunPlan
from infra.servers import Servers
from tests.deployment import QUESTION, RULE, Deployment
from tests.processes import until

TWO = ("router", "planner", "gateway")
STORED = "select id from messages where stream = 'planner'"
PROCESSED_TWICE = (
    "select workflow, stream, causation_id from inbox group by tenant, workflow, stream, causation_id having count(*) > 1"
)


async def test_an_instance_is_added_and_one_is_terminated_under_load(servers: Servers, scripted: str) -> None:
    async with Deployment.open(servers, scripted, partitions=6) as deployment:
        deployment.serve(*TWO, instance="1", key="one")
        deployment.serve(*TWO, instance="2", key="two")
        deployment.serve("specialists", "verifier", key="rest")
        await deployment.ready()
        first = await deployment.ask(*[QUESTION, RULE] * 50)
        await deployment.answered_so_far(20)
        deployment.serve(*TWO, instance="3", key="three")
        second = await deployment.ask(*[QUESTION, RULE] * 50)
        await deployment.ready("three")
        await deployment.terminate("one")
        third = await deployment.ask(*[QUESTION, RULE] * 50)
        results = await deployment.answered([*first, *second, *third])
        assert {result.kind for result in results.values()} == {"hansard.results.completed.v1"}
        await deployment.at_rest()
        await deployment.is_whole()
        assert await deployment.rows(PROCESSED_TWICE) == []
        assert (await deployment.verified()).differences == []


async def test_a_planner_that_was_stopped_beyond_its_session_changes_nothing_afterwards(servers: Servers, scripted: str) -> None:
    async with Deployment.open(servers, scripted, partitions=1) as deployment:
        sleeper = deployment.serve("tests.chaos.broken:sleeping_planner", instance="1", key="sleeper")
        deployment.serve("router", "specialists", "gateway", "verifier", key="rest")
        await deployment.ready()
        warm = await deployment.ask(QUESTION)
        await deployment.answered(warm)
        ids = await deployment.ask(QUESTION, {"text": "What is sleep?"}, QUESTION)
        await until(lambda: (deployment.folder / "asleep").exists() and stopped(sleeper.running.pid), "the planner has stopped")
        deployment.serve("planner", instance="2", key="other")
        later = await deployment.ask(QUESTION)
        await deployment.answered([*ids, *later])  # the session of the sleeper is over: the other instance processed everything
        before = await deployment.rows(STORED + " order by id")

        sleeper.signal(signal.SIGCONT)
        await deployment.ready("sleeper")
        await deployment.at_rest()
        after = await deployment.rows(STORED + " and workflow = any($1) order by id", [*warm, *ids, *later])
        assert after == before
        counted = re.findall(
            rf'hansard_messages_processed_total{{.*kind="{RunPlan.kind}".*}} (\S+)', sleeper.health("metrics")[1]
        )
        assert sum(map(float, counted)) == len(warm), "what it had decided before it stopped was refused"
        assert await deployment.rows(PROCESSED_TWICE) == []
        await deployment.is_whole()
        assert (await deployment.verified()).differences == []


def stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
