"""While requests come: more processes and fewer, one after the other; and more partitions."""

from contracts.catalog import SERVICES
from infra.servers import Servers
from infra.topics import apply
from shared.settings import Settings
from tests.chaos.conftest import LARGE
from tests.house import QUESTION, RULE, House, until

ROUNDS = 5 if LARGE else 1
HEARD = "hansard_messages_processed_total{"  # a line of the metrics, once something was heard
RESULTS = "select kind, count(*) from messages where topic = 'results' group by kind"
HEARD_TWICE = (
    "select workflow, stream, causation_id from inbox group by tenant, workflow, stream, causation_id having count(*) > 1"
)


async def test_processes_come_and_go_one_after_the_other_and_nobody_waits_for_ever(servers: Servers, scripted: str) -> None:
    """From one of each service to three, and back to another one: each step under load, none of them announced."""
    async with House.open(servers, scripted, partitions=3) as house:
        house.serve(*SERVICES, instance="a", key="a")
        await house.ready()
        asked = await house.ask(*[QUESTION, RULE] * 20)
        for n in range(ROUNDS):
            steps = [("come", f"b{n}"), ("come", f"c{n}"), ("leave", "a" if n == 0 else f"c{n - 1}"), ("kill", f"b{n}")]
            for what, name in steps:
                if what == "come":
                    house.serve(*SERVICES, instance=name, key=name)
                    await house.ready(name)
                elif what == "leave":
                    await house.leave(name)
                else:
                    await house.kill(name)
                asked += await house.ask(*[QUESTION, RULE] * 20)
        results = await house.answered(asked, 180)
        assert {result.kind for result in results.values()} == {"hansard.results.completed.v1"}
        await house.at_rest()
        await house.is_whole()
        assert await house.rows(HEARD_TWICE) == []
        assert (await house.verified()).differences == []


async def test_topics_get_more_partitions_under_load_and_a_second_process_its_share(servers: Servers, scripted: str) -> None:
    """As `HANSARD_PARTITIONS=2 hansard topics` does it: what is under way goes on, wherever its next message lies."""
    async with House.open(servers, scripted, partitions=1) as house:
        house.serve(*SERVICES, instance="1", key="one")
        await house.ready()
        asked = await house.ask(*[QUESTION, RULE] * 40)
        more = Settings.model_validate(house.settings.model_dump() | {"partitions": 2})
        assert not [change for change in await apply(more) if change.error]
        await (await house.producer()).stop()
        house._producer = None  # a client that learns of them at once; others do within minutes
        asked += await house.ask(*[QUESTION, RULE] * 40)
        house.serve(*SERVICES, instance="2", key="two")
        await house.ready("two")
        asked += await house.ask(*[QUESTION, RULE] * 40)
        two = house.processes["two"]
        await until(lambda: HEARD in two.health("metrics")[1], "the second process has its share")

        async def answered() -> bool:
            return await house.rows(RESULTS) == [("hansard.results.completed.v1", len(asked))]

        await until(answered, "every request has its one result", 180)
        await house.at_rest()
        assert await house.rows(HEARD_TWICE) == []
        assert (await house.verified()).differences == []
