from pathlib import Path

import pytest

from contracts.requests import Architecture
from services.planner.app import workers_of
from services.router import plans
from services.router.selection import GUIDE, TODAY, arrange, choose
from shared.settings import Settings

EVERY: frozenset[Architecture] = frozenset(row.architecture for row in GUIDE)


@pytest.mark.parametrize(
    ("text", "agents"),
    [
        ("Research the latest trends in vector databases and write a summary report", ("research", "analyst", "writer")),
        ("Analyze our API latency data and implement a caching solution", ("analyst", "coder")),
        ("Find best practices for rate limiting and code a middleware", ("research", "coder")),
        ("What is rain", ("research",)),
        ("LOOK  UP\nthe tides", ("research",)),
        ("Hello there", ("research",)),
        ("Scan the barcode and rewrite it", ("research",)),
    ],
)
def test_keywords_name_the_agents_and_research_is_the_default(text: str, agents: tuple[str, ...]) -> None:
    assert choose(text).agents == agents


@pytest.mark.parametrize(
    ("text", "architecture"),
    [
        ("Hello there", "specialist"),
        ("Find the tides and draft a letter", "pipeline"),
        ("Find the tides, analyze the data and draft a letter", "fan-out"),
        ("Draft a letter, and code a form for it", "fan-out"),
        ("Approve the wire transfer", "human"),
        ("Wait for the invoice, then pay it", "event-driven"),
        ("Explore what our rivals do", "agent"),
        ("Move us to the new schema step by step", "plan-and-execute"),
        ("What does our documentation say of leave? Cite it", "rag"),
        ("Should we buy or rent?", "debate"),
        ("Delegate: find a hall, draft the invitation", "hierarchical"),
    ],
)
def test_the_guide_chooses_each_architecture_for_what_it_is_best_for(text: str, architecture: str) -> None:
    assert choose(text, runs=EVERY).architecture == architecture


@pytest.mark.parametrize(
    ("text", "avoided"),
    [
        ("Approve these in bulk, they are low risk", "human"),
        ("Wait for nothing, this is urgent", "event-driven"),
        ("Explore this immediately", "agent"),
        ("Explore this within budget", "agent"),
        ("Tell me briefly of the migration", "plan-and-execute"),
        ("Cite your refund policy", "rag"),
        ("Just tell me, should we buy?", "debate"),
        ("Delegate this", "hierarchical"),
    ],
)
def test_the_guide_avoids_each_architecture_where_a_sign_is_against_it(text: str, avoided: str) -> None:
    assert choose(text, runs=EVERY).architecture != avoided


def test_a_near_deadline_or_a_budget_is_a_reason_against_an_autonomous_agent() -> None:
    assert choose("Explore this", runs=EVERY).architecture == "agent"
    assert choose("Explore this", ["urgent"], EVERY).architecture != "agent"
    assert choose("Explore this", ["thrifty"], EVERY).architecture != "agent"


def test_an_architecture_that_no_service_runs_is_passed_over_and_the_reasoning_says_so() -> None:
    choice = choose("Explore what our rivals do")
    assert choice.architecture == "specialist"
    assert "agent would suit it too, but no service here runs that yet" in choice.reasoning


def test_the_reasoning_names_the_keywords_that_decided() -> None:
    assert "analyst for 'data', 'trend'" in choose("Data and trends").reasoning


def test_every_text_gets_an_architecture_that_runs() -> None:
    for text in ("", "urgent bulk cheap briefly", "approve explore migrate cite debate delegate wait for"):
        assert choose(text).architecture in TODAY


def test_gatherers_work_at_once_and_the_others_wait_for_all_of_them() -> None:
    plan = arrange("fan-out", ("research", "analyst", "writer", "coder"))
    both = ("research", "analyst")
    assert [step.needs for step in plan.steps] == [(), (), both, both]


@pytest.mark.parametrize("name", sorted(plans.load(plans.SHIPPED)))
def test_the_shipped_plans_need_only_steps_before_them(name: str) -> None:
    before: set[str] = set()
    for step in plans.load(plans.SHIPPED)[name].steps:
        assert set(step.needs) <= before
        assert step.worker in workers_of(Settings())
        before.add(step.id)


def test_a_users_folder_adds_plans_and_a_users_plan_wins_over_a_shipped_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from services.router.app import build
    from services.router.decider import router
    from services.router.policy import Policy

    monkeypatch.setattr("services.router.app.entry_points", lambda **_: ())  # rules of packages that are installed here
    (tmp_path / "a.yaml").write_text("name: specialist\nsteps: [{id: mine, worker: writer}]")
    (tmp_path / "b.yml").write_text("name: new\nsteps: [{id: mine, worker: writer}]")
    (tmp_path / "notes.txt").write_text("not a plan")
    own = plans.load(tmp_path)
    assert sorted(own) == ["new", "specialist"]
    expected = Policy(plans=plans.load(plans.SHIPPED) | own)
    assert build(Settings(plans=tmp_path)).decider.policy == router(expected).policy


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("steps: [", "a.yaml"),
        ("- a list", "mapping"),
        ("steps: [{id: a, worker: writer}]", "name"),
        ("name: x\nsteps: []", "steps"),
        ("name: x\nsteps: [{id: a, worker: writer, retry: 3}]", "'retry'"),
        ("name: x\nsteps: [{id: a, worker: writer}]\ndeadline: 5", "'deadline'"),
        ("name: !!python/object/apply:os.getcwd []\nsteps: []", "a.yaml"),
    ],
)
def test_a_file_that_is_not_a_plan_is_refused_with_the_problem(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(plans.BadPlan, match=problem):
        plans.load(tmp_path)


def test_two_plans_with_the_same_name_in_one_folder_are_refused(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text("name: x\nsteps: [{id: a, worker: writer}]")
    with pytest.raises(plans.BadPlan, match="another file"):
        plans.load(tmp_path)
