"""`hansard signal`, without a server: every error says what to do."""

import pytest
from typer.testing import CliRunner

from infra.cli import app
from infra.cli.problem import Problem
from tests.unit.test_cli_plans import nothing_runs as nothing_runs


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["w", "paid", "--data", "{oops"], '--data must be JSON, as "paid" or'),
        (["w", "two words"], "No workflow can be told that: name: String should match pattern"),
        (["two words", "paid"], "Nobody was told: "),
    ],
)
def test_what_cannot_be_told_is_refused(line: list[str], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANSARD_KAFKA", "127.0.0.1:1")
    done = CliRunner().invoke(app, ["signal", *line])
    assert isinstance(done.exception, Problem), done.output
    assert done.exception.code == 2
    assert message in str(done.exception)
