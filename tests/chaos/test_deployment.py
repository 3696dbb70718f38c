"""The next version is brought in while requests come: half are decided by the old one, half by the new, none by both."""

import json

from contracts.requests import SubmitRequest
from infra.audit.verify import verify, workflows
from infra.cli.running import services
from infra.servers import Servers
from tests.chaos.broken import changed_router
from tests.house import QUESTION, RULE, House

ROUTED = "select workflow, convert_from(data::text::bytea, 'utf8')::json->>'policy' from events where kind = 'hansard.router.routed.v1'"


async def test_a_deployment_in_the_middle_decides_no_hearing_twice(servers: Servers, scripted: str) -> None:
    async with House.open(servers, scripted) as house:
        house.serve("router", instance="1", key="old")
        house.serve("planner", "specialists", "gateway", "verifier", "timers", key="rest")
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

        heard = await house.rows("select workflow, policy from hearings where stream = 'router' and kind = $1", SubmitRequest.kind)
        assert sorted(workflow for workflow, _ in heard) == sorted(ids), "each request was decided once"
        old, new = services(house.settings)["router"], changed_router(house.settings)
        by = {policy: {workflow for workflow, one in heard if one == policy} for policy in (old.decider.policy, new.decider.policy)}
        assert len(by[old.decider.policy]) + len(by[new.decider.policy]) == len(ids)
        assert set(first[:15]) <= by[old.decider.policy]
        assert set(third) <= by[new.decider.policy]

        wrong = (await house.verified()).differences
        assert {one.stream.workflow for one in wrong} == by[new.decider.policy], "the old code knows nothing of the new policy"
        assert all("policy" in one.what for one in wrong)
        from dataclasses import replace

        both = {**services(house.settings), "router": replace(new, policies={old.decider.policy: old.decider})}
        store = await house.store()
        for tenant, workflow in await workflows(store):
            report = await verify(store, both, house.settings.topics, tenant, workflow)
            assert report.differences == [], "a code that has both policies decides both halves again"
