"""One file adds a role to every service that knows roles."""

import shutil
from pathlib import Path

import pytest

from contracts.gateway import CallModel
from contracts.planner import RunPlan
from contracts.plans import Plan, Step
from contracts.requests import SubmitRequest
from contracts.router import RequestRouted
from contracts.specialists import PerformTask
from hansard.message import Message
from infra.cli.running import services
from services.router.selection import AGENTS, DEFAULT_AGENT
from shared import roles
from shared.roles import SHIPPED, BadRole, Role, catalogue, read, routings
from shared.settings import Settings
from tests.decisions import NOON, decided

LAWYER = """\
prompt: You are a lawyer.
routing:
  keywords: [contract, sue]
  part: Name the clauses.
"""


def decide(settings: Settings, service: str, message: Message) -> list[Message]:
    return decided(services(settings)[service].decider, [], message)


def knows_the_lawyer(settings: Settings) -> None:
    routed, run = decide(settings, "router", SubmitRequest(text="Find the contract and sue them"))
    assert isinstance(routed, RequestRouted) and routed.agents == ("research", "lawyer")
    assert isinstance(run, RunPlan) and [step.instructions for step in run.plan.steps][1] == "Name the clauses."
    plan = Plan(steps=(Step(id="a", worker="lawyer"),))
    *_, task = decide(settings, "planner", RunPlan(request="r", goal="Sue.", plan=plan, deadline=run.deadline))
    assert isinstance(task, PerformTask) and (task.role, task.service) == ("lawyer", "specialists")
    (call,) = decide(settings, "specialists", task)
    assert isinstance(call, CallModel) and call.messages[0].content == "You are a lawyer."


def test_a_users_file_adds_a_role_to_router_planner_and_specialists(tmp_path: Path) -> None:
    (tmp_path / "lawyer.yaml").write_text(LAWYER)
    knows_the_lawyer(Settings(roles=tmp_path))


def test_a_file_in_the_shipped_folder_adds_a_role_to_router_planner_and_specialists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in roles.FOLDER.glob("*.yaml"):
        shutil.copy(file, tmp_path)
    (tmp_path / "lawyer.yaml").write_text(LAWYER)
    monkeypatch.setattr(roles, "FOLDER", tmp_path)
    knows_the_lawyer(Settings())


def test_a_role_changes_the_policy_of_every_service_that_knows_it(tmp_path: Path) -> None:
    (tmp_path / "lawyer.yaml").write_text(LAWYER)
    shipped, added = services(Settings()), services(Settings(roles=tmp_path))
    changed = {name for name in shipped if shipped[name].decider.policy != added[name].decider.policy}
    assert changed == {"router", "planner", "specialists"}


def test_a_role_without_routing_is_used_only_by_plans_that_name_it(tmp_path: Path) -> None:
    (tmp_path / "lawyer.yaml").write_text("prompt: You are a lawyer.")
    settings = Settings(roles=tmp_path)
    routed, _ = decide(settings, "router", SubmitRequest(text="The lawyer shall sue them"))
    assert isinstance(routed, RequestRouted) and routed.agents == (DEFAULT_AGENT,)
    assert isinstance(
        decide(settings, "specialists", PerformTask(task="a.1", role="lawyer", goal="x", deadline=NOON))[0], CallModel
    )


def test_a_users_role_in_place_of_a_shipped_one_keeps_its_routing_unless_it_has_its_own(tmp_path: Path) -> None:
    (tmp_path / "writer.yaml").write_text("prompt: Write like a pirate.")
    writer = catalogue(tmp_path)["writer"]
    assert (writer.prompt, writer.routing) == ("Write like a pirate.", SHIPPED["writer"].routing)
    (tmp_path / "writer.yaml").write_text("prompt: x\nrouting: {keywords: [arr]}")
    assert routings(catalogue(tmp_path))["writer"].keywords == ("arr",)


def test_shipped_roles_stand_in_the_order_of_a_pipeline() -> None:
    pipeline = ["research", "analyst", "writer", "coder"]
    assert [name for name in AGENTS if name in pipeline] == pipeline
    assert [name for name, routing in AGENTS.items() if routing.gathers] == ["research", "analyst"]


@pytest.mark.parametrize("routing", ["{keywords: []}", "{keywords: [' ']}", "{keyword: [a]}", "yes"])
def test_a_role_with_an_impossible_routing_is_refused(routing: str) -> None:
    with pytest.raises(BadRole, match="routing"):
        read("legal", f"prompt: x\nrouting: {routing}", "legal.yaml")


def test_every_shipped_role_tells_what_it_is_about() -> None:
    assert all(isinstance(role, Role) and role.about for role in SHIPPED.values())
