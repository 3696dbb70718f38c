"""`hansard content` without servers: what it says where it cannot be done, and requests that are made small enough."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from contracts.requests import SubmitRequest
from hansard.references import reference_to, references
from infra.cli import app, contents, doctor
from infra.cli.asked import NewRequest, new_request
from infra.cli.problem import Problem
from shared.settings import Settings

LONG = "word " * 100_000


def asked(**body: Any) -> NewRequest:
    return new_request(body, id_="r1")


@pytest.mark.parametrize("command", ["put", "get", "stat", "verify", "collect"])
def test_each_command_teaches_by_an_example(command: str) -> None:
    shown = CliRunner().invoke(app, ["content", command, "--help"])
    assert (shown.exit_code, "Example: hansard content" in shown.output) == (0, True)


def test_a_collector_leaves_alone_what_may_be_on_its_way() -> None:
    refused = CliRunner().invoke(app, ["content", "collect", "--older-than", "1"])
    assert refused.exit_code == 2


def test_a_file_that_is_not_there_is_one_sentence() -> None:
    failed = CliRunner().invoke(app, ["content", "put", "no-such-file"])
    assert isinstance(failed.exception, Problem)
    assert "no-such-file cannot be read" in str(failed.exception)


async def test_a_request_that_fits_is_published_as_it_is_and_needs_no_postgres() -> None:
    one = asked(text="short")
    assert await contents.small_enough(Settings(), [one]) == [one]


async def test_a_long_request_needs_the_content_store_and_says_so() -> None:
    with pytest.raises(Problem, match="HANSARD_POSTGRES"):
        await contents.small_enough(Settings(postgres=""), [asked(text=LONG)])


async def test_a_result_that_cannot_be_read_whole_is_shown_with_a_note(capsys: pytest.CaptureFixture[str]) -> None:
    data = {"text": "word …", "text_ref": reference_to(LONG.encode()).model_dump()}
    assert await contents.whole_result(Settings(postgres=""), "default", "hansard.results.completed.v1", data) == data
    assert "hansard content get" in capsys.readouterr().err


def test_a_reference_that_content_put_prints_is_one_that_a_request_takes() -> None:
    printed = reference_to(LONG.encode(), "text/plain", "terms.txt").model_dump_json()
    request = SubmitRequest.model_validate_json(f'{{"text": "word …", "text_ref": {printed}}}')
    assert [one.name for one in references(request)] == ["terms.txt"]


async def test_doctor_says_whether_the_place_of_large_contents_answers(tmp_path: Path) -> None:
    [alone] = await doctor.content(Settings())
    [folder] = await doctor.content(Settings(content=str(tmp_path / "contents")))
    (tmp_path / "file").write_text("")
    [wrong] = await doctor.content(Settings(content=str(tmp_path / "file")))
    assert (alone.ok, folder.ok, wrong.ok) == (True, True, False)
    assert "HANSARD_CONTENT" in wrong.fix


def test_a_place_that_cannot_be_one_is_refused_at_the_start() -> None:
    with pytest.raises(ValidationError, match="neither an absolute path"):
        Settings(content="contents")
