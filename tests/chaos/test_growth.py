"""Under load, processes are added and removed one after the other, and topics get more partitions."""

from contracts.catalog import SERVICES
from infra.servers import Servers
from shared.kafka.admin import apply
from shared.settings import Settings
from tests.chaos.conftest import LARGE
from tests.deployment import QUESTION, RULE, Deployment
from tests.processes import until

ROUNDS = 5 if LARGE else 1
PROCESSED = "hansard_messages_processed_total{"  # a line of the metrics, once a message was processed
RESULTS = "select kind, count(*) from messages where topic = 'results' group by kind"
PROCESSED_TWICE = (
    "select workflow, stream, causation_id from inbox group by tenant, workflow, stream, causation_id having count(*) > 1"
)


async def test_processes_are_added_and_removed_under_load_and_every_request_is_answered(servers: Servers, scripted: str) -> None:
    """From one process to three, and back to a different one: each step under load."""
    async with Deployment.open(servers, scripted, partitions=3) as deployment:
        deployment.serve(*SERVICES, instance="a", key="a")
        await deployment.ready()
        asked = await deployment.ask(*[QUESTION, RULE] * 20)
        for n in range(ROUNDS):
            steps = [("add", f"b{n}"), ("add", f"c{n}"), ("terminate", "a" if n == 0 else f"c{n - 1}"), ("kill", f"b{n}")]
            for what, name in steps:
                if what == "add":
                    deployment.serve(*SERVICES, instance=name, key=name)
                    await deployment.ready(name)
                elif what == "terminate":
                    await deployment.terminate(name)
                else:
                    await deployment.kill(name)
                asked += await deployment.ask(*[QUESTION, RULE] * 20)
        results = await deployment.answered(asked, 180)
        assert {result.kind for result in results.values()} == {"hansard.results.completed.v1"}
        await deployment.at_rest()
        await deployment.is_whole()
        assert await deployment.rows(PROCESSED_TWICE) == []
        assert (await deployment.verified()).differences == []


async def test_topics_get_more_partitions_under_load_and_a_second_process_gets_its_share(servers: Servers, scripted: str) -> None:
    """As with `HANSARD_PARTITIONS=2 hansard topics`: a workflow continues on whichever partition its next message is."""
    async with Deployment.open(servers, scripted, partitions=1) as deployment:
        deployment.serve(*SERVICES, instance="1", key="one")
        await deployment.ready()
        asked = await deployment.ask(*[QUESTION, RULE] * 40)
        more = Settings.model_validate(deployment.settings.model_dump() | {"partitions": 2})
        assert not [change for change in await apply(more) if change.error]
        await (await deployment.producer()).stop()
        deployment._producer = None  # a new client learns of them at once; others do within minutes
        asked += await deployment.ask(*[QUESTION, RULE] * 40)
        deployment.serve(*SERVICES, instance="2", key="two")
        await deployment.ready("two")
        asked += await deployment.ask(*[QUESTION, RULE] * 40)
        two = deployment.processes["two"]
        await until(lambda: PROCESSED in two.health("metrics")[1], "the second process has its share")

        async def answered() -> bool:
            return await deployment.rows(RESULTS) == [("hansard.results.completed.v1", len(asked))]

        await until(answered, "every request has its one result", 180)
        await deployment.at_rest()
        assert await deployment.rows(PROCESSED_TWICE) == []
        assert (await deployment.verified()).differences == []
