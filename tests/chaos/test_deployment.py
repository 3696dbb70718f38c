"""The next version is deployed under load: each request is decided by the old version or by the new, never by both."""

from contracts.requests import SubmitRequest
from infra.cli.running import services
from infra.servers import Servers
from tests.deployment import QUESTION, RULE, Deployment

PROCESSED = "select workflow, policy from inbox where stream = 'router' and kind = $1"


async def test_a_deployment_under_load_decides_no_message_twice(servers: Servers, scripted: str) -> None:
    async with Deployment.open(servers, scripted) as deployment:
        deployment.serve("router", instance="1", key="old")
        deployment.serve("planner", "specialists", "gateway", "verifier", key="rest")
        await deployment.ready()
        first = await deployment.ask(*[QUESTION, RULE] * 30)
        await deployment.answered_so_far(15)
        deployment.serve("tests.chaos.broken:changed_router", instance="2", key="new")
        second = await deployment.ask(*[QUESTION, RULE] * 30)
        await deployment.ready("new")
        await deployment.terminate("old")
        third = await deployment.ask(*[QUESTION, RULE] * 30)
        ids = [*first, *second, *third]
        results = await deployment.answered(ids)
        assert {result.kind for result in results.values()} == {"hansard.results.completed.v1"}
        await deployment.at_rest()
        await deployment.is_whole()

        received = await deployment.rows(PROCESSED, SubmitRequest.kind)
        assert sorted(workflow for workflow, _ in received) == sorted(ids), "each request was decided once"
        old = services(deployment.settings)["router"].decider.policy
        assert len({policy for _, policy in received}) == 2
        by_old = {workflow for workflow, policy in received if policy == old}
        by_new = {workflow for workflow, policy in received if policy != old}
        assert set(first[:5]) <= by_old
        assert set(third) <= by_new

        assert (await deployment.verified()).differences == [], "each request is decided again by the policy of then"
