"""The next version is brought in while requests come: half are decided by the old one, half by the new, none by both."""

from contracts.requests import SubmitRequest
from infra.cli.running import services
from infra.servers import Servers
from tests.house import QUESTION, RULE, House

HEARD = "select workflow, policy from inbox where stream = 'router' and kind = $1"


async def test_a_deployment_in_the_middle_decides_no_hearing_twice(servers: Servers, scripted: str) -> None:
    async with House.open(servers, scripted) as house:
        house.serve("router", instance="1", key="old")
        house.serve("planner", "specialists", "gateway", "verifier", key="rest")
        await house.ready()
        first = await house.ask(*[QUESTION, RULE] * 30)
        await house.answered_so_far(15)
        house.serve("tests.chaos.broken:changed_router", instance="2", key="new")
        second = await house.ask(*[QUESTION, RULE] * 30)
        await house.ready("new")
        await house.leave("old")
        third = await house.ask(*[QUESTION, RULE] * 30)
        ids = [*first, *second, *third]
        results = await house.answered(ids)
        assert {result.kind for result in results.values()} == {"hansard.results.completed.v1"}
        await house.at_rest()
        await house.is_whole()

        received = await house.rows(HEARD, SubmitRequest.kind)
        assert sorted(workflow for workflow, _ in received) == sorted(ids), "each request was decided once"
        old = services(house.settings)["router"].decider.policy
        assert len({policy for _, policy in received}) == 2
        by_old = {workflow for workflow, policy in received if policy == old}
        by_new = {workflow for workflow, policy in received if policy != old}
        assert set(first[:5]) <= by_old
        assert set(third) <= by_new

        assert (await house.verified()).differences == [], "each half is decided again by the policy of then"
