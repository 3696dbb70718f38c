"""Degraded answers on the terminal: by their colour, in a line, in the counts, as an exit code of their own."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
import typer

from contracts.results import WorkflowCompleted, WorkflowFailed
from contracts.verifier import ClaimPassed
from hansard.client import Client
from hansard.codec import encode
from hansard.message import Message
from infra.audit import projections
from infra.audit.message import ShownMessage
from infra.audit.summaries import summary
from infra.audit.text import degraded
from infra.cli import base, screen, submitting
from infra.cli.asked import new_request
from infra.cli.requests import Answer, conclude
from infra.cli.statistics import rows
from infra.cli.watching import print_result
from shared.eventstore.model import StoredMessage, Stream
from shared.settings import Settings
from tests.unit.test_client import received
from tests.unit.toy import NOON

REFUSED = "primary: 401, the key was refused"
whole = WorkflowCompleted(text="Yes.", answered_by="plan", handler="p")
worse = whole.model_copy(update={"degraded": (REFUSED,)})
failed = WorkflowFailed(reason="deadline", detail="too late")
ASKED = new_request({"text": "?"}, id_="ask-1")


def answered(message: Message) -> Answer:
    return Answer(message.kind, message.model_dump(mode="json"), 0.1)


@contextmanager
def exits(code: int) -> Iterator[None]:
    if not code:
        yield
        return
    with pytest.raises(typer.Exit) as left:
        yield
    assert left.value.exit_code == code


@pytest.mark.parametrize(("message", "code"), [(whole, 0), (failed, 1), (worse, 3)])
@pytest.mark.parametrize("json_", [False, True])
def test_a_degraded_answer_has_an_exit_code_of_its_own(
    message: Message, code: int, json_: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    with exits(code):
        conclude(ASKED, answered(message), json_=json_)
    printed = capsys.readouterr().out
    assert (REFUSED in printed) == (code == 3)
    if json_:
        assert json.loads(printed)["data"].get("degraded", []) == ([REFUSED] if code == 3 else [])
    else:
        assert ("completed, degraded" in printed) == (code == 3)


@pytest.mark.parametrize(
    ("messages", "code", "note"),
    [
        ([whole, whole], 0, "2 answered (0 of them degraded), 0 not answered, 0 without a result"),
        ([whole, worse], 3, "2 answered (1 of them degraded), 0 not answered, 0 without a result"),
        ([failed, worse], 1, "1 answered (1 of them degraded), 1 not answered, 0 without a result"),
        ([worse], 1, "1 answered (1 of them degraded), 0 not answered, 1 without a result"),
        ([], 1, "0 answered (0 of them degraded), 0 not answered, 2 without a result"),
    ],
)
def test_submit_counts_degraded_answers(
    messages: list[Message],
    code: int,
    note: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Any,
) -> None:
    async def submitted(*_: object, **__: object) -> dict[tuple[str, str], Answer]:
        return {("default", f"w{n}"): answered(message) for n, message in enumerate(messages)}

    file = tmp_path / "requests.jsonl"
    file.write_text('{"id": "w0", "text": "a"}\n{"id": "w1", "text": "b"}\n')
    monkeypatch.setattr(submitting, "_submit", submitted)
    monkeypatch.setattr(base, "running", lambda **_: Settings())
    with exits(code):
        submitting.submit(str(file), wait=True, fresh=False, seconds=1, tenant="default", json_=False)
    assert note in " ".join(capsys.readouterr().err.split())


def shown(message: Message) -> ShownMessage:
    data = message.model_dump(mode="json")
    return ShownMessage("1", datetime.now(UTC), "w1", "planner", message.kind, "", data, "results")


def test_a_line_of_results_begins_with_what_is_worse(capsys: pytest.CaptureFixture[str]) -> None:
    long = worse.model_copy(update={"text": "word " * 1_000})
    for message, there in ((whole, False), (long, True)):
        print_result(shown(message), json_=False)
        assert (f"degraded ({REFUSED})" in capsys.readouterr().out) == there
    assert [screen.grade(m.kind, m.model_dump()) for m in (whole, worse, failed)] == ["green", "yellow", "red"]


@pytest.mark.parametrize(
    "kind",
    ["results.completed", "planner.step-answered", "planner.step-passed", "specialists.task-answered", "verifier.claim-passed"],
)
def test_the_record_shows_where_an_answer_fell_back(kind: str) -> None:
    data: dict[str, Any] = {"text": "Yes.", "step": "draft", "attempt": 1, "check": "draft.1", "by": ["code"]}
    assert f"degraded ({REFUSED})" in summary(f"hansard.{kind}.v1", data | {"degraded": [REFUSED]})
    assert "degraded" not in summary(f"hansard.{kind}.v1", data)


@pytest.mark.parametrize("given", [None, "text", 5, {}, []])
def test_what_is_not_a_list_of_reasons_is_none(given: object) -> None:
    assert degraded({"degraded": given}) == ()


def test_a_reason_is_one_printable_line() -> None:
    assert degraded({"degraded": ["a\x1b[2J\nb", 7]}) == ("a [2J b", "7")


def test_statistics_count_degraded_results_and_their_reasons() -> None:
    totals = projections.Totals()
    verdict = ClaimPassed(check="a.1", by=(), policy="1", degraded=("judge: no-answer",))  # counted with its result
    for n, message in enumerate((whole, worse, worse, failed, verdict)):
        topic = "results" if message.kind.startswith("hansard.results") else "verifier.events"
        data = encode(message)
        stored = StoredMessage(
            Stream("default", f"w{n}", "planner"), 1, UUID(int=n + 1), message.kind, topic, UUID(int=n + 1), data, b"", at=NOON
        )
        totals.add(stored, message)
    table = dict(rows(totals, {"router": {}, "gateway": {}}))
    assert (table["results: completed"], table["results: completed, degraded"], table[f"degraded by {REFUSED}"]) == (3, 2, 2)
    assert totals.as_json()["degraded"] == {"results": 2, "reasons": {REFUSED: 2}}


def test_the_clients_result_says_why_it_is_degraded() -> None:
    found = [Client("unused:9092")._end(received(message), "r-1") for message in (whole, worse)]
    assert [(one.ok, one.degraded) for one in found if one is not None] == [(True, ()), (True, (REFUSED,))]
