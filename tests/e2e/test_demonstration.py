"""`hansard demo approval` on real services: what a person signs and agents propose comes to the figures of the reference."""

from decimal import Decimal

from pydantic import SecretStr

from infra.cli.approvals import recorded
from infra.cli.demos.approval import AGENT, figures, play
from infra.servers import Servers
from tests.deployment import Deployment

NO_MODEL = "http://127.0.0.1:1/v1"


async def test_the_demonstration_shows_the_figures_of_the_reference(servers: Servers) -> None:
    async with Deployment.open(servers, NO_MODEL) as deployment:
        deployment.serve("router", "planner", "approval", "ledger", key="all")
        await deployment.ready()
        settings = deployment.settings.model_copy(update={"postgres_owner": SecretStr(deployment.owner)})
        conclude = await play(settings)
        conclude()
        every = [*await recorded(settings)]
        shown = dict(figures(every))
        assert (shown["decisions"], shown["auto approved"], shown["pending review"], shown["escalated"]) == (8, 3, 1, 2)
        assert (shown["human approved"], shown["automation rate"]) == (2, f"{Decimal('37.5')} %")
        asked_by = {case.assessed.requester for case in every if case.assessed}
        assert {(one.name, one.proof) for one in asked_by if one} == {(AGENT, "signature")}
        await deployment.at_rest()
        assert (await deployment.verified()).differences == []
