"""What cannot be heard is dead, its workflow is told, its neighbours are answered, and it can be heard again."""

import asyncio
import json

from infra.servers import Servers
from tests.house import QUESTION, RULE, House, until

BROKEN = "tests.chaos.broken"


async def test_a_decision_that_fails_is_dead_and_heard_again_by_that_service_alone(servers: Servers, scripted: str) -> None:
    async with House.open(servers, scripted) as house:
        house.serve(f"{BROKEN}:poisoned_planner", key="planner/1")
        house.serve("router", "specialists", "gateway", "verifier", key="rest/1")
        await house.ready()
        before, poison, after = await house.ask(QUESTION, {"text": "What is poison?"}, QUESTION)
        results = await house.answered([before, poison, after])
        assert [results[w].kind for w in (before, after)] == ["hansard.results.completed.v1"] * 2
        assert (results[poison].kind, results[poison].data["reason"]) == ("hansard.results.failed.v1", "dead-letter")
        [letter] = house.letters()
        assert (letter.data["service"], letter.data["reason"]) == ("planner", "poison")
        assert "ZeroDivisionError" in letter.data["detail"]

        await house.leave("planner/1")
        house.serve("planner", key="planner/2", instance="2")
        await house.ready("planner/2")
        await house.hansard("dead-letters", "redrive", letter.id)
        again = "select stream, attempt, dead from inbox where causation_id = $1 order by attempt"

        async def heard_again() -> bool:
            return len(await house.rows(again, letter.data["causation_id"])) == 2

        await until(heard_again, "the planner heard it again")
        assert await house.rows(again, letter.data["causation_id"]) == [("planner", 1, True), ("planner", 2, False)]
        await house.at_rest()
        await house.is_whole()
        assert (await house.verified()).differences == []


async def test_a_kind_that_is_not_known_yet_waits_for_the_upgrade_and_is_answered_after_it(
    servers: Servers, scripted: str
) -> None:
    async with House.open(servers, scripted) as house:
        house.serve(f"{BROKEN}:ignorant_router", key="router/1")
        await house.ready()
        [early] = await house.ask(RULE)
        await house.listen()
        await until(lambda: bool(house.letters(reason="unknown-kind")), "it is a dead letter")
        assert house.results == {}
        await house.leave("router/1")
        house.serve("router", key="router/new")
        await house.ready("router/new")
        [letter] = house.letters()
        await house.hansard("dead-letters", "redrive", letter.id)
        result = (await house.answered([early]))[early]
        assert result.kind == "hansard.results.completed.v1"
        listed = await house.hansard("dead-letters", "list", "--all", "--json")
        assert [json.loads(line)["dead"] for line in listed.splitlines()] == [False]
        await house.at_rest()
        await house.is_whole()
        assert (await house.verified()).differences == []


async def test_what_ends_the_process_is_found_alone_and_its_neighbours_are_answered(servers: Servers, scripted: str) -> None:
    async with House.open(servers, scripted, partitions=1) as house:
        ids = await house.ask(*[RULE] * 10, {"text": "please crash"}, *[RULE] * 10)
        router = house.serve(f"{BROKEN}:crashing_router", key="router/1")
        await house.listen()
        ends = 0
        while not house.results.keys() >= set(ids) and ends < 12:
            if not router.alive:
                ends += 1
                router = house.again("router/1")
            await asyncio.sleep(0.05)
        results = await house.answered(ids)
        crash = ids[10]
        assert (results[crash].kind, results[crash].data["reason"]) == ("hansard.results.failed.v1", "dead-letter")
        assert {results[id_].kind for id_ in ids if id_ != crash} == {"hansard.results.completed.v1"}
        assert [letter.data["reason"] for letter in house.letters()] == ["crashed"]
        assert ends <= 6
        await house.at_rest()
        await house.is_whole()
