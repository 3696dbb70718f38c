"""A message that cannot be processed is dead-lettered and fails its own workflow only; it can be redriven."""

import asyncio
import json

from infra.servers import Servers
from tests.deployment import QUESTION, RULE, Deployment
from tests.processes import until

BROKEN = "tests.chaos.broken"


async def test_a_message_whose_decision_fails_is_dead_lettered_and_redriven_by_that_service_alone(
    servers: Servers, scripted: str
) -> None:
    async with Deployment.open(servers, scripted) as deployment:
        deployment.serve(f"{BROKEN}:poisoned_planner", key="planner/1")
        deployment.serve("router", "specialists", "gateway", "verifier", key="rest/1")
        await deployment.ready()
        before, poison, after = await deployment.ask(QUESTION, {"text": "What is poison?"}, QUESTION)
        results = await deployment.answered([before, poison, after])
        assert [results[w].kind for w in (before, after)] == ["hansard.results.completed.v1"] * 2
        assert (results[poison].kind, results[poison].data["reason"]) == ("hansard.results.failed.v1", "dead-letter")
        [letter] = deployment.dead_letters()
        assert (letter.data["service"], letter.data["reason"]) == ("planner", "poison")
        assert "ZeroDivisionError" in letter.data["detail"]

        await deployment.terminate("planner/1")
        deployment.serve("planner", key="planner/2", instance="2")
        await deployment.ready("planner/2")
        await deployment.hansard("dead-letters", "redrive", letter.id)
        again = "select stream, attempt, dead from inbox where causation_id = $1 order by attempt"

        async def processed_again() -> bool:
            return len(await deployment.rows(again, letter.data["causation_id"])) == 2

        await until(processed_again, "the planner processed it again")
        assert await deployment.rows(again, letter.data["causation_id"]) == [("planner", 1, True), ("planner", 2, False)]
        await deployment.at_rest()
        await deployment.is_whole()
        assert (await deployment.verified()).differences == []


async def test_an_unknown_kind_is_dead_lettered_and_answered_after_the_upgrade(servers: Servers, scripted: str) -> None:
    async with Deployment.open(servers, scripted) as deployment:
        deployment.serve(f"{BROKEN}:ignorant_router", key="router/1")
        await deployment.ready()
        [early] = await deployment.ask(RULE)
        await deployment.listen()
        await until(lambda: bool(deployment.dead_letters(reason="unknown-kind")), "it is a dead letter")
        assert deployment.results == {}
        await deployment.terminate("router/1")
        deployment.serve("router", key="router/new")
        await deployment.ready("router/new")
        [letter] = deployment.dead_letters()
        await deployment.hansard("dead-letters", "redrive", letter.id)
        result = (await deployment.answered([early]))[early]
        assert result.kind == "hansard.results.completed.v1"
        listed = await deployment.hansard("dead-letters", "list", "--all", "--json")
        assert [json.loads(line)["dead"] for line in listed.splitlines()] == [False]
        await deployment.at_rest()
        await deployment.is_whole()
        assert (await deployment.verified()).differences == []


async def test_a_message_that_ends_the_process_is_dead_lettered_and_all_others_are_answered(
    servers: Servers, scripted: str
) -> None:
    async with Deployment.open(servers, scripted, partitions=1) as deployment:
        ids = await deployment.ask(*[RULE] * 10, {"text": "please crash"}, *[RULE] * 10)
        router = deployment.serve(f"{BROKEN}:crashing_router", key="router/1")
        await deployment.listen()
        ends = 0
        while not deployment.results.keys() >= set(ids) and ends < 12:
            if not router.alive:
                ends += 1
                router = deployment.restart("router/1")
            await asyncio.sleep(0.05)
        results = await deployment.answered(ids)
        crash = ids[10]
        assert (results[crash].kind, results[crash].data["reason"]) == ("hansard.results.failed.v1", "dead-letter")
        assert {results[id_].kind for id_ in ids if id_ != crash} == {"hansard.results.completed.v1"}
        assert [letter.data["reason"] for letter in deployment.dead_letters()] == ["crashed"]
        assert ends <= 6
        await deployment.at_rest()
        await deployment.is_whole()
