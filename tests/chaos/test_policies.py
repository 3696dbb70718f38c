"""Prices, plans, tiers, roles and workers change between requests, and the record still holds: each inbox entry is decided
again by the policy of then, made from the record alone."""

from pathlib import Path

import yaml

from contracts.router import RequestRouted
from infra.servers import Servers
from services.router.statistics import ENOUGH
from tests.deployment import RULE, Deployment
from tests.published import Json

PLANNED: Json = {"text": "What is a quorum?", "plan": "mine"}
TYPED: Json = {"type": "classify_intent", "data": {"text": "Where is my parcel?"}}
DECIDED_BY = ("router", "planner", "specialists", "gateway")
NAMED = "select distinct split_part(stream, '/', 1), policy from inbox where split_part(stream, '/', 1) = any($1)"
FORGE = "update policies set data = replace(data::text, '0.003', '0.004')::json where service = 'router'"
KEPT = "select service, version from policies"
ROUTED = "select data->>'cost_estimate', data->>'reasoning', data->>'policy' from messages where workflow = $1 and kind = $2"


def version_settings(deployment: Deployment, name: str, *, price: int, **roles: str) -> dict[str, str]:
    """The settings of a version with this name: a plan, the price of the model, roles."""
    folder = deployment.folder / name
    for part in ("plans", "roles"):
        (folder / part).mkdir(parents=True)
    (folder / "plans" / "mine.yaml").write_text(f"name: mine\nsteps: [{{id: only, worker: writer, instructions: {name}}}]")
    for role, prompt in roles.items():
        (folder / "roles" / f"{role}.yaml").write_text(f"prompt: {prompt}")
    tiers = yaml.safe_load(Path(deployment.environment["HANSARD_GATEWAY"]).read_text())
    tiers["endpoints"][0] |= {"price": {"input": price, "output": price}, "max_retries": price}
    (folder / "tiers.yaml").write_text(yaml.safe_dump(tiers))
    return {
        "HANSARD_PLANS": str(folder / "plans"),
        "HANSARD_ROLES": str(folder / "roles"),
        "HANSARD_GATEWAY": str(folder / "tiers.yaml"),
    }


async def start(deployment: Deployment, key: str, settings: dict[str, str]) -> None:
    deployment.serve("router", key=f"router-{key}", instance=key, **settings)
    deployment.serve(*DECIDED_BY[1:], "verifier", key=key, instance=key, **settings)
    await deployment.ready(f"router-{key}", key)


async def asked(deployment: Deployment, *bodies: Json) -> list[str]:
    ids = await deployment.ask(*bodies)
    results = await deployment.answered(ids)
    assert {result.kind for result in results.values()} == {"hansard.results.completed.v1"}
    await deployment.at_rest()
    return ids


async def change(deployment: Deployment, sql: str) -> None:
    """Changes an append-only table, which only its owner can, by disabling the trigger."""
    await deployment.rows("alter table policies disable trigger append_only")
    await deployment.rows(sql)
    await deployment.rows("alter table policies enable always trigger append_only")


async def test_each_inbox_entry_is_decided_again_by_the_policy_of_then(servers: Servers, scripted: str) -> None:
    async with Deployment.open(servers, scripted) as deployment:
        await start(deployment, "old", version_settings(deployment, "old", price=1000, writer="You write."))
        first, *_ = await asked(deployment, TYPED, PLANNED, RULE, *[TYPED] * ENOUGH)
        for key in ("old", "router-old"):
            await deployment.terminate(key)
        await start(deployment, "new", version_settings(deployment, "new", price=2000, writer="You scribble.", poet="You sing."))
        second, *_ = await asked(deployment, TYPED, PLANNED, RULE)

        [(expected, reason_before, of_old)] = await deployment.rows(ROUTED, first, RequestRouted.kind)
        [(measured, reason_after, of_new)] = await deployment.rows(ROUTED, second, RequestRouted.kind)
        assert (expected, of_old != of_new) == ("0.003", True)
        assert float(measured) > 0 and measured != expected
        assert reason_before.endswith("expected cost") and reason_after.endswith("measured cost")

        named = sorted(await deployment.rows(NAMED, DECIDED_BY))
        assert [service for service, _ in named] == sorted(DECIDED_BY * 2)
        assert sorted(await deployment.rows(KEPT)) == named
        assert "No differences" in await deployment.hansard("audit", "verify")

        await change(deployment, FORGE)
        found = await deployment.hansard("audit", "verify", code=1)
        assert f"the data on the record of policy '{of_old}' does not match its version" in " ".join(found.split())
        await change(deployment, "delete from policies where service = 'router'")
        found = await deployment.hansard("audit", "verify", code=1)
        assert f"policy '{of_new}' cannot be made again" in " ".join(found.split())
