"""Prices, plans, tiers, roles and workers change between requests, and the record still holds: each hearing is decided again
by the policy of then, made of what is on the record alone."""

from pathlib import Path

import yaml

from contracts.router import RequestRouted
from infra.servers import Servers
from services.router.statistics import ENOUGH
from tests.house import RULE, House, Json

PLANNED: Json = {"text": "What is a quorum?", "plan": "mine"}
TYPED: Json = {"type": "classify_intent", "data": {"text": "Where is my parcel?"}}
DECIDED_BY = ("router", "planner", "specialists", "gateway")
NAMED = "select distinct split_part(stream, '/', 1), policy from inbox where split_part(stream, '/', 1) = any($1)"
KEPT = "select service, version from policies"
ROUTED = "select data->>'cost_estimate', data->>'reasoning', data->>'policy' from messages where workflow = $1 and kind = $2"


def customs(house: House, name: str, *, price: int, **roles: str) -> dict[str, str]:
    """Settings of this name: a plan, the price of the model, roles."""
    folder = house.folder / name
    for part in ("plans", "roles"):
        (folder / part).mkdir(parents=True)
    (folder / "plans" / "mine.yaml").write_text(f"name: mine\nsteps: [{{id: only, worker: writer, instructions: {name}}}]")
    for role, prompt in roles.items():
        (folder / "roles" / f"{role}.yaml").write_text(f"prompt: {prompt}")
    tiers = yaml.safe_load(Path(house.environment["HANSARD_GATEWAY"]).read_text())
    tiers["endpoints"][0] |= {"price": {"input": price, "output": price}, "max_retries": price}
    (folder / "tiers.yaml").write_text(yaml.safe_dump(tiers))
    return {
        "HANSARD_PLANS": str(folder / "plans"),
        "HANSARD_ROLES": str(folder / "roles"),
        "HANSARD_GATEWAY": str(folder / "tiers.yaml"),
    }


async def serving(house: House, key: str, settings: dict[str, str]) -> None:
    house.serve("router", key=f"router-{key}", instance=key, **settings)
    house.serve(*DECIDED_BY[1:], "verifier", key=key, instance=key, **settings)
    await house.ready(f"router-{key}", key)


async def asked(house: House, *bodies: Json) -> list[str]:
    ids = await house.ask(*bodies)
    results = await house.answered(ids)
    assert {result.kind for result in results.values()} == {"hansard.results.completed.v1"}
    await house.at_rest()
    return ids


async def change(house: House, sql: str) -> None:
    """What only the tables' owner can do, by force."""
    await house.rows("alter table policies disable trigger append_only")
    await house.rows(sql)
    await house.rows("alter table policies enable always trigger append_only")


async def test_each_hearing_is_decided_again_by_the_policy_of_then(servers: Servers, scripted: str) -> None:
    async with House.open(servers, scripted) as house:
        await serving(house, "old", customs(house, "old", price=1000, writer="You write."))
        first, *_ = await asked(house, TYPED, PLANNED, RULE, *[TYPED] * ENOUGH)
        for key in ("old", "router-old"):
            await house.leave(key)
        await serving(house, "new", customs(house, "new", price=2000, writer="You scribble.", poet="You sing."))
        second, *_ = await asked(house, TYPED, PLANNED, RULE)

        [(expected, told_before, of_old)] = await house.rows(ROUTED, first, RequestRouted.kind)
        [(measured, told_after, of_new)] = await house.rows(ROUTED, second, RequestRouted.kind)
        assert (expected, of_old != of_new) == ("0.003", True)
        assert float(measured) > 0 and measured != expected
        assert told_before.endswith("expected cost") and told_after.endswith("measured cost")

        named = sorted(await house.rows(NAMED, DECIDED_BY))
        assert [service for service, _ in named] == sorted(DECIDED_BY * 2)
        assert sorted(await house.rows(KEPT)) == named
        assert "the record holds" in await house.hansard("audit", "verify")

        await change(house, "update policies set data = replace(data::text, '0.003', '0.004')::json where service = 'router'")
        found = await house.hansard("audit", "verify", code=1)
        assert f"what is on the record of policy '{of_old}' is not what it is named after" in " ".join(found.split())
        await change(house, "delete from policies where service = 'router'")
        found = await house.hansard("audit", "verify", code=1)
        assert f"policy '{of_new}' is not here any more" in " ".join(found.split())
