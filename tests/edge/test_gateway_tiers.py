"""The tiers together, and the settings and files that they are made of."""

from pathlib import Path
from typing import Any

import pytest

import services.gateway as gateway_package
from contracts.gateway import ModelReplied
from contracts.verifier import Passage
from services.gateway.app import build, keys
from services.gateway.config import chain
from shared.settings import Settings
from tests.edge.test_gateway_openai_client import CALL, SCHEMA, answer, asks, at, server, tiers
from tests.scripted import Scripted

__all__ = ["server"]


SEED = chain(Settings()).answers  # as it is shipped


# The eight questions of the reference, the faults of the first and the second endpoint, and the tier that answers.
QUESTIONS = [
    ("What are your business hours", "ok", "ok", "primary"),
    ("Explain the differences between your enterprise plans", "ok", "ok", "primary"),
    ("How do I reset my password", "reset", "500", "cache"),
    ("Can you help me with a complex integration issue?", "500", "ok", "secondary"),
    ("What is the price of your premium tier?", "timeout", "429@60s", "rules"),
    ("Tell me about your security certifications and compliance", "garbage", "ok", "secondary"),
    ("How do I configure SSO for my organization?", "401", "half", "rules"),
    ("What is your refund policy", "drip@20ms", "empty", "cache"),
]
EXPECTED = {"primary": 0.92, "secondary": 0.78, "cache": 0.95, "rules": 0.4}


@pytest.mark.parametrize(("question", "first", "second", "tier"), QUESTIONS)
async def test_each_question_of_the_reference_is_answered_by_the_best_available_tier(
    server: Scripted, question: str, first: str, second: str, tier: str
) -> None:
    silent = ("timeout", "drip@20ms")
    primary = at(server, first, name="primary", timeout=0.3 if first in silent else 20)
    secondary = at(server, second, name="secondary", timeout=20)
    table = tiers(primary, secondary, answers=SEED)
    reply = (await answer(table, asks(question)))[-1]
    assert isinstance(reply, ModelReplied)
    assert (reply.tier, reply.confidence) == (tier, EXPECTED[tier])
    fallen = {fall.tier for fall in reply.falls}
    better = ["primary", "secondary", "cache", "extractive", "rules"]
    assert fallen == set(better[: better.index(tier)])
    if tier == "rules":
        assert reply.text.startswith("No model answered")


async def test_the_fixed_replies_of_the_reference_are_chosen_by_their_words() -> None:
    table = tiers(answers=SEED)
    stored = {}
    for question in ("What does it cost?", "I need support", "Is there an office in Rome?"):
        reply = (await answer(table, asks(question)))[-1]
        assert isinstance(reply, ModelReplied)
        stored[question] = reply.text
    assert ["pricing page" in text for text in stored.values()] == [True, False, False]
    assert ["details" in text for text in stored.values()] == [False, True, False]
    assert ["specialists" in text for text in stored.values()] == [False, False, True]


async def test_the_given_passages_come_after_models_and_before_fixed_replies(server: Scripted) -> None:
    passages = (Passage(source="sso.md", text="To configure SSO, open Organization and choose Identity. Cats purr."),)
    question = "How do I configure SSO for my organization?"
    reply = (await answer(tiers(at(server, "500", max_retries=0), answers=SEED), asks(question, passages=passages)))[-1]
    assert isinstance(reply, ModelReplied)
    assert (reply.tier, reply.sources) == ("extractive", ("sso.md",))


async def test_after_a_model_of_low_confidence_the_next_one_is_tried(server: Scripted) -> None:
    table = tiers(at(server, "unsure"), at(server, "ok", name="second"))
    reply = (await answer(table, asks(response_schema=SCHEMA, minimum_confidence=0.7)))[-1]
    assert isinstance(reply, ModelReplied)
    assert (reply.tier, [fall.reason for fall in reply.falls]) == ("second", ["low-confidence"])


# Settings and files


def test_without_settings_the_tiers_are_those_without_a_model() -> None:
    service = build(Settings(model_url=""))
    assert service.name == "gateway"
    assert service.stream(asks()) == f"gateway/{CALL}"
    assert chain(Settings(model_url="")).order == ("cache", "extractive", "rules")


def test_two_settings_make_an_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(model_url="http://127.0.0.1:1/v1", model_name="m", model_key="sk-1")
    (endpoint,) = chain(settings).endpoints
    assert (endpoint.name, endpoint.model, endpoint.provider, endpoint.own) == ("primary", "m", "local", True)
    assert keys(chain(settings), settings) == {"primary": "sk-1"}
    assert "sk-1" not in chain(settings).model_dump_json()


def test_a_file_makes_any_number_of_tiers(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-2")
    file = tmp_path / "tiers.yaml"
    (tmp_path / "mine.yaml").write_text("known: [{question: 'Who?', answer: Me.}]")
    file.write_text(
        """
        answers: mine.yaml
        endpoints:
          - {name: best, url: "https://api.openai.com/v1", model: gpt-4o, key_env: MY_KEY, classes: [capable]}
          - {name: local, url: "http://model.internal/v1", model: m, price: {input: 0.1, output: 0.2}}
        order: [best, local, cache]
        priors: {cache: 0.5}
        """
    )
    settings = Settings(gateway=file)
    found = chain(settings)
    assert found.order == ("best", "local", "cache")
    assert [(e.provider, e.own, found.prior(e.name)) for e in found.endpoints] == [("openai", False, 0.92), ("local", True, 0.78)]
    assert [e.name for e in found.serving("fast")] == ["local", "best"]
    assert found.prior("cache") == 0.5
    assert found.answers.known[0].answer == "Me."
    assert keys(found, settings) == {"best": "sk-2"}


def test_the_example_file_is_valid() -> None:
    found = chain(Settings(gateway=Path(gateway_package.__file__).with_name("example.yaml")))
    assert found.order == ("primary", "secondary", "local", "cache", "extractive", "rules")
    assert [e.name for e in found.serving("fast")] == ["secondary", "local", "primary"]


@pytest.mark.parametrize(
    "mistake",
    [
        "endpoints: [{name: a, url: 'http://x/v1', modle: m}]",
        "order: [nobody]",
        "order: [cache, cache]",
        "endpoints: [{name: a, url: 'http://x/v1'}, {name: a, url: 'http://y/v1'}]",
        "endpoints: [{name: cache, url: 'http://x/v1'}]",
        "endpoints: [{name: a, url: 'x'}]",
        "- nothing",
        "endpoints: [{",
    ],
)
def test_a_mistake_in_the_file_is_an_error_at_start_up(tmp_path: Any, mistake: str) -> None:
    file = tmp_path / "tiers.yaml"
    file.write_text(mistake)
    with pytest.raises(ValueError, match=r".+"):
        chain(Settings(gateway=file))


def test_a_small_model_has_a_low_prior_by_its_name() -> None:
    found = chain(Settings(model_url="http://127.0.0.1:1/v1", model_name="smollm2-135m-instruct"))
    assert found.prior("primary") == 0.3
