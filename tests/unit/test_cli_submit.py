"""`hansard submit`: which requests a file holds, and which message ends which of them."""

import hashlib
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from contracts.dead_letters import DeadLettered
from contracts.requests import SubmitRequest
from hansard.envelope import Envelope
from infra.audit.message import ShownMessage
from infra.cli import app
from infra.cli.asked import Ends, NewRequest, new_request
from infra.cli.problem import Problem
from infra.cli.submitting import lines
from tests.unit.toy import NOON


def read(text: str) -> list[NewRequest]:
    return list(lines(text, "default"))


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\u000b", "\u000c", "\x1c", "\x1d", "\x1e"])
def test_only_newlines_end_a_line(separator: str) -> None:
    inside = separator if separator >= "\x80" else f"\\u{ord(separator):04x}"  # JSON writes the others as escapes
    first, second = read(f'{{"text":"one{inside}two"}}\r\n"three"\n')
    assert (first.body["text"], second.body["text"]) == (f"one{separator}two", "three")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_end_of_line_that_editors_write_is_one(end: str) -> None:
    assert [one.body["text"] for one in read(f'\ufeff"a"{end}{end}"b"{end}"c"')] == ["a", "b", "c"]


@pytest.mark.parametrize("nothing", ['"id": null', '"id": ""', '"correlationid": null', '"id": null, "tenant": null'])
def test_a_null_is_no_name(nothing: str) -> None:
    asked = read(f'{{{nothing}, "text": "a"}}\n{{{nothing}, "text": "b"}}\n"a"')
    assert len({one.id for one in asked}) == 3 and not {"None", "null", ""} & {one.id for one in asked}
    assert [(one.workflow, one.tenant) for one in asked] == [(one.id, "default") for one in asked]
    assert asked[0].body == {"text": "a"}


def test_a_number_is_a_name_as_it_is_written() -> None:
    (asked,) = read('{"id": 7, "correlationId": 8, "text": "a"}')
    assert (asked.id, asked.workflow) == ("7", "8")


REFUSED = {
    '{"id": true, "text": "a"}': "`id` must be a string",
    '{"id": ["a"], "text": "a"}': "`id` must be a string",
    '{"id": 1.5, "text": "a"}': "`id` must be a string",
    '{"tenant": {"a": 1}, "text": "a"}': "`tenant` must be a string",
    '{"id": "two words", "text": "a"}': "without a `correlationid`, the `id` must be of the form",
    '{"id": "a", "correlationid": "w w", "text": "a"}': "`correlationid` must be of the form",
    '{"id": "a", "correlationid": "v", "correlationId": "w", "text": "a"}': "name one",
    '{"tenant": "a/b", "text": "a"}': "`tenant` must be of the form",
    '{"id": "a\\u0007", "text": "a"}': "no control characters",
    '{"text": "a", "text": "b"}': "'text' is there twice",
    '{"text": "\\ud800"}': "half of a surrogate pair",
    '{"type": "t", "data": {"x": 1e400}}': "too large",
    '{"type": "t", "data": {"x": NaN}}': "NaN is no number",
    "[" * 100_000: "nested too deep",
}


@pytest.mark.parametrize(("line", "message"), REFUSED.items(), ids=REFUSED.values())
def test_a_line_that_would_not_arrive_as_it_was_meant_is_refused(line: str, message: str) -> None:
    with pytest.raises(Problem, match="line 2: ") as refused:
        read(f'"good"\n{line}')
    assert message in str(refused.value) and "line 1" not in str(refused.value)


TWICE = {
    '{"id": "a", "text": "1"}\n{"id": "a", "text": "2"}': "line 2: its id 'a' is that of line 1",
    '{"id": "a", "text": "1"}\n\n{"id": "a", "text": "1"}': "line 3: its id 'a' is that of line 1",
    '{"id": 1, "text": "1"}\n{"id": "1", "text": "2"}': "line 2: its id '1' is that of line 1",
    '{"id": "a", "correlationid": "v", "text": "1"}\n{"id": "a", "correlationid": "w", "text": "2"}': "line 2: its id 'a'",
    '{"id": "a", "correlationid": "w", "text": "1"}\n{"id": "b", "correlationid": "w", "text": "2"}': "line 2: its workflow 'w'",
    '{"id": "a", "text": "1"}\n{"id": "b", "correlationid": "a", "text": "2"}': "line 2: its workflow 'a'",
}


@pytest.mark.parametrize(("text", "message"), TWICE.items())
def test_no_line_is_lost_because_another_has_its_name(text: str, message: str) -> None:
    with pytest.raises(Problem) as refused:
        read(text)
    assert message in str(refused.value)


def test_two_tenants_may_have_the_same_names() -> None:
    assert len(read('{"id": "a", "tenant": "one", "text": "1"}\n{"id": "a", "tenant": "two", "text": "2"}')) == 2


@pytest.mark.parametrize("raw", ['"a"'.encode("utf-16"), '"a"'.encode("utf-16-le"), '"ü"'.encode("cp1252")])
def test_a_file_that_is_not_in_utf_8_is_refused_in_words(raw: bytes, tmp_path: Path) -> None:
    file = tmp_path / "requests.jsonl"
    file.write_bytes(raw)
    for line, given in ((["submit", str(file)], None), (["submit", "-"], raw)):
        done = CliRunner().invoke(app, line, input=given)
        assert isinstance(done.exception, Problem) and done.exception.code == 2
        assert "save it as UTF-8" in str(done.exception) and "codec" not in str(done.exception)


def asked(id_: str = "a", text: str = "mine", **more: str) -> NewRequest:
    return new_request({"text": text}, id_=id_, **more)


def requested(by: NewRequest) -> tuple[ShownMessage, Envelope]:
    return ShownMessage("1", NOON, by.workflow, "", SubmitRequest.kind, "", by.body, "requests", by.tenant), by.envelope


def result(of: NewRequest) -> tuple[ShownMessage, Envelope]:
    message = ShownMessage("2", NOON, of.workflow, "router", "hansard.results.completed.v1", "", {}, "results", of.tenant)
    return message, replace(of.envelope, type=message.kind)


def letter(of: NewRequest, reason: str = "id-reused") -> tuple[ShownMessage, Envelope]:
    data: dict[str, Any] = {
        "topic": "requests",
        "message_id": of.id,
        "reason": reason,
        "hash": hashlib.sha256(of.data).hexdigest(),
    }
    message = ShownMessage("3", NOON, of.workflow, "router", DeadLettered.kind, "", data, "dead-letters", of.tenant)
    return message, replace(of.envelope, type=message.kind)


def ends(mine: list[NewRequest], *received: tuple[ShownMessage, Envelope]) -> list[tuple[str, str]]:
    known = Ends.of(mine)
    return [(one.id, last.topic) for message, envelope in received for one, last in known.process(message, envelope)]


MINE, EARLIER, LATER = asked(), asked(text="another's"), asked(text="a later one's")


def test_a_request_ends_with_its_result_in_whatever_order_the_topics_are_read() -> None:
    assert ends([MINE], requested(MINE), result(MINE)) == ends([MINE], result(MINE), requested(MINE)) == [("a", "results")]
    assert ends([MINE], requested(MINE), requested(MINE), result(MINE), result(MINE)) == [("a", "results")]


def test_the_result_of_an_earlier_request_under_its_id_is_not_its_own() -> None:
    assert ends([MINE], requested(EARLIER), requested(MINE), result(EARLIER)) == []
    assert ends([MINE], result(EARLIER), requested(EARLIER), requested(MINE), letter(MINE)) == [("a", "dead-letters")]


def test_a_refusal_of_another_request_under_its_id_is_not_its_own() -> None:
    assert ends([MINE], requested(MINE), letter(LATER), result(MINE)) == [("a", "results")]
    assert ends([MINE], letter(asked(workflow="w")), requested(MINE), result(MINE)) == [("a", "results")]


def test_a_workflow_of_another_request_ends_it_by_its_refusal() -> None:
    mine, first = asked(workflow="w"), asked("b", workflow="w")
    received = [requested(first), requested(mine), result(first), letter(mine, "correlation-in-use")]
    assert ends([mine], *received) == [("a", "dead-letters")]


def test_a_dead_letter_after_which_there_is_a_result_ends_nothing() -> None:
    assert ends([MINE], requested(MINE), letter(MINE, "invalid")) == []


def test_tenants_and_workflows_are_kept_apart() -> None:
    one, two = asked(tenant="one"), asked(tenant="two")
    assert ends([one, two], requested(two), result(two), requested(one), result(one)) == [("a", "results")] * 2
    assert ends([one], requested(two), result(two), letter(two)) == []
    assert Ends.of([one, two]).waiting.keys() == {("one", "a"), ("two", "a")}
    late = replace(result(two)[0], at=NOON + timedelta(days=1)), result(two)[1]
    assert ends([one], requested(one), late) == []


@pytest.mark.parametrize(
    "line",
    [
        ["cancel", "two words"],
        ["cancel", "w", "--tenant", "a/b"],
        ["ask", "a", "--id", "two words"],
        ["ask", "a", "--tenant", "a/b"],
    ],
)
def test_a_name_that_a_door_would_refuse_is_refused_before_anything_is_published(
    line: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HANSARD_KAFKA", "127.0.0.1:1")
    done = CliRunner().invoke(app, line)
    assert isinstance(done.exception, Problem) and done.exception.code == 2
    assert "must be of the form" in str(done.exception) and "ce_" not in str(done.exception)
