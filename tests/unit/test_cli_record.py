"""What the command line prints of a record, here one in memory."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from infra.audit.projections import Totals, dead_letters
from infra.cli import app, base
from infra.cli.dead_letters import redrivable
from infra.cli.problem import Problem
from infra.cli.statistics import rows
from shared.eventstore.memory import InMemoryEventStore
from shared.settings import Settings
from tests.unit.recorded import STREAM, recorded, with_decide
from tests.unit.toy import NOON, parser, processor, request, topics

POISON = request("poison")


@pytest.fixture(autouse=True)
def no_server_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANSARD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HANSARD_POSTGRES", "postgresql://nobody@127.0.0.1:1/none")


def printed(monkeypatch: pytest.MonkeyPatch, store: InMemoryEventStore, *words: str) -> str:
    @asynccontextmanager
    async def record(_: Settings) -> AsyncIterator[InMemoryEventStore]:
        yield store

    monkeypatch.setattr(base, "record", record)
    done = CliRunner().invoke(app, list(words), env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    return done.output


async def redriven(store: InMemoryEventStore, *, dead: bool) -> None:
    """Has the poison processed again, by code that still fails or by code that answers nothing."""
    inbound = parser.parse(POISON)
    assert inbound is not None
    there = processor if dead else replace(processor, service=with_decide(lambda *_: ()))
    pending = there.begin(STREAM, there.fold((await store.load([STREAM]))[STREAM]), NOON)
    assert there.process(pending, replace(inbound, redrive=True))
    assert STREAM in (await store.append([pending])).accepted


def dead_letter_ids(store: InMemoryEventStore) -> list[str]:
    return [str(one.id) for one in asyncio.run(store.load([STREAM]))[STREAM].messages]


def test_a_dead_letter_that_was_redriven_and_is_dead_again_names_the_later_one(monkeypatch: pytest.MonkeyPatch) -> None:
    store = asyncio.run(recorded(POISON))
    [only] = dead_letter_ids(store)
    assert json.loads(printed(monkeypatch, store, "dead-letters", "show", only, "--json"))["dead_again_as"] is None

    asyncio.run(redriven(store, dead=True))
    _, later = dead_letter_ids(store)
    assert f"was redriven, and is dead again as {later}" in printed(monkeypatch, store, "dead-letters", "show", only)
    assert json.loads(printed(monkeypatch, store, "dead-letters", "show", only, "--json"))["dead_again_as"] == later
    assert json.loads(printed(monkeypatch, store, "dead-letters", "show", "w1", "--json"))["id"] == later
    [listed] = printed(monkeypatch, store, "dead-letters", "list", "--json").splitlines()
    assert json.loads(listed)["id"] == later

    asyncio.run(redriven(store, dead=False))
    for one in (only, later):
        assert "was redriven, and processed" in printed(monkeypatch, store, "dead-letters", "show", one)
    assert "There are no dead letters." in printed(monkeypatch, store, "dead-letters", "list")


def test_a_redrive_of_an_earlier_dead_letter_is_refused_with_the_later_one() -> None:
    store = asyncio.run(recorded(POISON))
    asyncio.run(redriven(store, dead=True))
    messages = asyncio.run(store.load([STREAM]))[STREAM].messages
    earlier, later = dead_letters(messages, topics)
    with pytest.raises(Problem, match=f"hansard dead-letters redrive {later.stored.id}"):
        redrivable(earlier, dead=True)
    with pytest.raises(Problem, match="nothing to redrive"):
        redrivable(later, dead=False)
    redrivable(later, dead=True)


def test_statistics_are_in_words_and_leave_out_what_there_is_none_of(monkeypatch: pytest.MonkeyPatch) -> None:
    store = asyncio.run(recorded(request("hello"), request("poison", workflow="w2", id="r2")))
    lines = printed(monkeypatch, store, "stats").splitlines()
    assert [line.split()[:2] for line in lines if line.strip().startswith(("messages", "workflows"))] == [
        ["messages", "2"],
        ["workflows", "2"],
    ]
    assert not [line for line in lines if "None" in line or "_" in line or "tier" in line or line.rstrip().endswith(" 0")]
    empty = printed(monkeypatch, InMemoryEventStore(), "stats")
    assert [line.split() for line in empty.splitlines() if line.strip()] == [["messages", "0"], ["workflows", "0"]]


def test_the_gateways_statistics_have_names_for_a_person() -> None:
    known = {"tiers": {"local": 0.75, "rules": 0.25}, "primary_success_rate": 0.0, "mean_ms": 12.5, "failed": {}, "cost": "0"}
    assert list(rows(Totals(messages=3), {"router": {}, "gateway": known}))[2:] == [
        ("calls answered, by tier", "local 75%, rules 25%"),
        ("calls answered by the first tier that was tried", "0%"),
        ("mean time until an answer", "12.5 ms"),
    ]
