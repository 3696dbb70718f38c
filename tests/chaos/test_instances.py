"""Several instances of a service: they come, they go, they fall asleep, and nothing is lost or doubled."""

import re
import signal
from pathlib import Path

from contracts.planner import RunPlan
from infra.servers import Servers
from tests.house import QUESTION, RULE, House, until

TWO = ("router", "planner", "gateway")
SAID = "select id from messages where stream = 'planner'"
HEARD_TWICE = (
    "select workflow, stream, causation_id from inbox group by tenant, workflow, stream, causation_id having count(*) > 1"
)


async def test_a_third_instance_comes_and_one_goes_in_the_middle_of_the_load(servers: Servers, scripted: str) -> None:
    async with House.open(servers, scripted, partitions=6) as house:
        house.serve(*TWO, instance="1", key="one")
        house.serve(*TWO, instance="2", key="two")
        house.serve("specialists", "verifier", key="rest")
        await house.ready()
        first = await house.ask(*[QUESTION, RULE] * 50)
        await house.answered_so_far(20)
        house.serve(*TWO, instance="3", key="three")
        second = await house.ask(*[QUESTION, RULE] * 50)
        await house.ready("three")
        await house.leave("one")
        third = await house.ask(*[QUESTION, RULE] * 50)
        results = await house.answered([*first, *second, *third])
        assert {result.kind for result in results.values()} == {"hansard.results.completed.v1"}
        await house.at_rest()
        await house.is_whole()
        assert await house.rows(HEARD_TWICE) == []
        assert (await house.verified()).differences == []


async def test_a_planner_that_slept_through_its_session_comes_back_and_changes_nothing(servers: Servers, scripted: str) -> None:
    async with House.open(servers, scripted, partitions=1) as house:
        sleeper = house.serve("tests.chaos.broken:sleeping_planner", instance="1", key="sleeper")
        house.serve("router", "specialists", "gateway", "verifier", key="rest")
        await house.ready()
        warm = await house.ask(QUESTION)
        await house.answered(warm)
        ids = await house.ask(QUESTION, {"text": "What is sleep?"}, QUESTION)
        await until(lambda: (house.folder / "asleep").exists() and stopped(sleeper.running.pid), "the planner fell asleep")
        house.serve("planner", instance="2", key="other")
        later = await house.ask(QUESTION)
        await house.answered([*ids, *later])  # the session of the sleeper is over: the other one heard all of it
        before = await house.rows(SAID + " order by id")

        sleeper.signal(signal.SIGCONT)
        await house.ready("sleeper")
        await house.at_rest()
        after = await house.rows(SAID + " and workflow = any($1) order by id", [*warm, *ids, *later])
        assert after == before
        counted = re.findall(
            rf'hansard_messages_processed_total{{.*kind="{RunPlan.kind}".*}} (\S+)', sleeper.health("metrics")[1]
        )
        assert sum(map(float, counted)) == len(warm), "what it had decided before its sleep was refused"
        assert await house.rows(HEARD_TWICE) == []
        await house.is_whole()
        assert (await house.verified()).differences == []


def stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
