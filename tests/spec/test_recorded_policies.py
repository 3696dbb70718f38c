"""What is recorded of a policy is enough to decide by it again later, and holds no secret."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from contracts.gateway import CallModel, ChatMessage
from contracts.planner import RunPlan
from contracts.plans import Plan, Step
from contracts.requests import SubmitRequest
from contracts.router import RequestRouted
from contracts.specialists import PerformTask
from hansard.decider import Decider, WakeUp
from hansard.message import Message
from hansard.policy import canonical_json, matches_version, version_of
from hansard.service import Service
from infra.cli.running import services
from services.gateway import config
from services.gateway.config import Chain, Price, chain
from services.router import app as router_app
from services.router.policy import Policy, Prices, recorded_policy
from services.router.rules import RULES
from shared.settings import Settings
from tests.decisions import HERE, NOON, decided

THEN = "1-of-then"
LATER = NOON + timedelta(hours=1)
ASKED: dict[str, list[Message]] = {
    "router": [
        SubmitRequest(text="Rain", plan="wet"),
        SubmitRequest(text="Rain", plan="dry"),
        SubmitRequest(text="Write a poem about rain"),
        SubmitRequest(type="calculate_tax", data={"amount": 5}),
    ],
    "planner": [
        RunPlan(request="r", goal="Rain", plan=Plan(steps=(Step(id="a", worker=worker),)), deadline=LATER)
        for worker in ("writer", "own")
    ],
    "specialists": [PerformTask(task="a.1", role=role, goal="Rain", deadline=LATER) for role in ("writer", "poet")],
}
OVER = replace(HERE, at=LATER)
CALL = CallModel(call="specialists/a.1/1", messages=(ChatMessage(role="user", content="Prices?"),), deadline=LATER)


@pytest.fixture
def then(tmp_path: Path) -> Settings:
    """All settings that are part of a policy."""
    for folder in ("plans", "roles"):
        (tmp_path / folder).mkdir()
    (tmp_path / "plans" / "wet.yaml").write_text("name: wet\nsteps: [{id: a, worker: writer, input: {ä: [1.5, null]}}]")
    (tmp_path / "roles" / "poet.yaml").write_text("prompt: You are a poet.\ntemperature: 0.7")
    (tmp_path / "tiers.yaml").write_text(
        "endpoints:\n"
        " - {name: one, url: 'https://ada:hunter2@api.openai.com/v1', model: m, key_env: MY_KEY, price: {input: 1, output: 2}}\n"
        " - {name: two, url: 'http://10.0.0.1/v1', model: smollm2-135m}\n"
        "order: [rules, one, two]\nanswers: {fixed: [{words: [rain], answer: Wet.}]}\n"
    )
    return Settings(
        plans=tmp_path / "plans",
        roles=tmp_path / "roles",
        gateway=tmp_path / "tiers.yaml",
        workers=("own",),
        workflow_seconds=7.5,
        model_key=SecretStr("hunter2"),
    )


def again(service: Service[Any], version: str) -> Decider[Any]:
    """A decider made from the recorded bytes, as an audit makes it."""
    assert service.stored_policy is not None
    return service.stored_policy.decider(version, json.loads(canonical_json(service.stored_policy.data)))


@pytest.mark.parametrize("name", ASKED)
def test_a_decider_made_from_its_recorded_policy_decides_as_before(then: Settings, name: str) -> None:
    """The decider is made by a service with other settings, which itself decides otherwise."""
    old, new = services(then)[name], services(Settings())[name]
    assert old.stored_policy is not None and new.stored_policy is not None
    made = new.stored_policy.decider(old.decider.policy, json.loads(canonical_json(old.stored_policy.data)))
    assert made.policy == old.decider.policy != new.decider.policy

    def decisions(decider: Decider[Any]) -> list[list[Message]]:
        return [decided(decider, [], message) for message in ASKED[name]]

    assert decisions(made) == decisions(old.decider) != decisions(new.decider)


def test_a_chain_of_tiers_made_from_its_recorded_policy_decides_as_before(then: Settings) -> None:
    old, new = services(then)["gateway"], services(Settings(model_url="http://127.0.0.1:1/v1"))["gateway"]
    assert old.stored_policy is not None and new.stored_policy is not None
    made = new.stored_policy.decider(old.decider.policy, json.loads(canonical_json(old.stored_policy.data)))
    (accepted,) = decided(old.decider, [], CALL)

    def decisions(decider: Decider[Any]) -> list[Message]:
        given = [*decided(decider, [], CALL)]
        return [*given, *decided(decider, given, WakeUp())]

    assert decisions(made) == decisions(old.decider) != decisions(new.decider)
    assert decisions(made)[0] == accepted
    tiers = Chain.of_then("then", old.stored_policy.data)  # type: ignore[arg-type]
    assert [(e.name, e.provider, e.model, tiers.prior(e.name)) for e in tiers.endpoints] == [
        ("one", "openai", "m", 0.92),
        ("two", "local", "smollm2-135m", 0.3),
    ]
    assert tiers.endpoints[0].price == Price(input=Decimal(1), output=Decimal(2))


def test_a_later_table_of_priors_does_not_change_a_recorded_policy(then: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = chain(then).data
    monkeypatch.setattr(config, "PRIORS", (0.5,))
    monkeypatch.setattr(config, "MODEL_PRIORS", {})
    assert [Chain.of_then("then", kept).prior(tier) for tier in ("one", "two")] == [0.92, 0.3]
    assert [chain(then).prior(tier) for tier in ("one", "two")] == [0.5, 0.5]


@pytest.mark.parametrize("name", ["router", "planner", "specialists", "gateway"])
def test_messages_name_the_recorded_policy_and_not_that_of_todays_code(name: str) -> None:
    service = services(Settings(model_url="http://127.0.0.1:1/v1"))[name]
    decider = again(service, THEN)
    assert decider.policy == THEN
    given = decided(decider, [], CALL) if name == "gateway" else []
    context = OVER if given else HERE
    messages = [message for received in ASKED.get(name, [WakeUp()]) for message in decided(decider, given, received, context)]
    assert {message.policy for message in messages if hasattr(message, "policy")} == ({THEN} if name != "specialists" else set())


def test_no_secret_is_recorded(then: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "hunter2")
    for service in services(then).values():
        kept = canonical_json(service.stored_policy.data) if service.stored_policy else b""
        assert b"hunter2" not in kept and b"MY_KEY" not in kept and b"10.0.0.1" not in kept


def test_a_service_that_decides_by_code_alone_records_no_policy() -> None:
    assert services(Settings())["verifier"].stored_policy is None


def test_a_version_is_made_from_the_data_and_a_service_cannot_have_another(then: Settings) -> None:
    service = services(then)["router"]
    assert service.stored_policy is not None
    assert matches_version(canonical_json(service.stored_policy.data), service.decider.policy)
    assert not matches_version(canonical_json([service.stored_policy.data]), service.decider.policy)
    with pytest.raises(ValueError, match="the policy version must be"):
        replace(service, decider=replace(service.decider, policy="2"))
    assert version_of("1", {"a": 1, "b": 2}) == version_of("1", {"b": 2, "a": 1}) != version_of("1", {"a": 1})
    with pytest.raises(ValueError):
        canonical_json(float("nan"))


def routed(policy: Policy, kept: Policy, rules: Mapping[str, Any]) -> RequestRouted:
    made = router_app.serving(replace(policy, rules=rules)).stored_policy
    assert made is not None
    decider = made.decider(kept.version, json.loads(canonical_json(kept.data)))
    message, *_ = decider.decide(decider.initial, SubmitRequest(type="calculate_tax", data={"amount": 5}), HERE)
    assert isinstance(message, RequestRouted)
    return message


def test_a_rule_that_was_added_later_answers_nothing_under_a_recorded_policy() -> None:
    without = Policy(rules={name: rule for name, rule in RULES.items() if name != "calculate_tax"})
    assert routed(Policy(), without, RULES).path == "llm"
    assert routed(without, Policy(), RULES).path == "deterministic"
    assert routed(Policy(), Policy(), without.rules).path == "llm", "a rule is code: one that is gone answers nothing"


def test_measured_prices_are_part_of_the_policy() -> None:
    measured = Policy(prices=Prices(measured={"generate_response": Decimal("0.0120")}))
    without = Policy(rules={})
    assert measured.version != Policy().version
    kept = replace(measured, rules={})
    assert routed(without, kept, {}).cost_estimate == Decimal("0.0120")
    assert routed(without, kept, {}).reasoning.endswith("measured cost")
    assert routed(without, without, {}).reasoning.endswith("expected cost")


def test_times_in_a_recorded_policy_are_exact() -> None:
    odd = Policy(within=timedelta(days=3, microseconds=1), farthest=timedelta(days=9), hurry=timedelta(milliseconds=1))
    made = recorded_policy("x", json.loads(canonical_json(odd.data)), RULES)
    assert (made.within, made.farthest, made.hurry) == (odd.within, odd.farthest, odd.hurry)
    assert replace(made, recorded_version="").version == odd.version
