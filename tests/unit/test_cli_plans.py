"""`hansard plans` and `--plan`, without a server: every error says what to do."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from infra.cli import app
from infra.cli.problem import Problem
from shared.roles import SHIPPED

runner = CliRunner()
GOOD = "name: two\nsteps: [{id: a, worker: writer}, {id: b, worker: coder, needs: [a]}]"
STEPS = "name: p\nsteps: [{id: a, worker: writer"
BAD = {
    "name: p\nsteps: [{id: a, worker: writer, needs: [b]}, {id: b, worker: writer, needs: [a]}]": "wait for each other",
    "name: p\nsteps: [{id: a, worker: poet}]": "no worker is named 'poet'; there are " + ", ".join(sorted([*SHIPPED, "ledger"])),
    f"{STEPS}, needs: [z]}}]": "needs 'z', which is no step of this plan",
    f"{STEPS}}}, {{id: a, worker: writer}}]": "two steps have the id 'a'",
    "": "is empty. A plan is a `name` and `steps`, each with an `id` and a `worker`; `hansard init` writes one",
    "just words": "does not hold a plan. A plan is a `name` and `steps`",
    "- a\n- b": "does not hold a plan.",
    "name: [oops\n  steps: {{{": "is not valid YAML: line 2, column 8: expected ',' or ']', but got ':'",
    "name: p\nstepz: []": "stepz: no such field, perhaps steps; steps: is missing",
    f"{STEPS}, needs_: [a]}}]": "steps.0.needs_: no such field, perhaps needs",
    "name: p\nsteps: []": "steps: at least 1 needed",
    "name: p\nsteps: [{worker: writer}]": "steps.0.id: is missing. A plan",
    f"{STEPS}, verify: sometimes}}]": "steps.0.verify: Input should be 'code', 'judge' or 'none'. A plan",
    f"{STEPS}, gate: {{actoin: {{}}}}}}]": "steps.0.gate.actoin: no such field, perhaps action",
    f"{STEPS}, gate: {{action: {{tool: t, amount: 5.5}}}}}}]": "step 'a': its action: amount: money travels as a string",
    f"{STEPS}, gate: {{action: {{tol: t}}}}}}]": "step 'a': its action: no action has a field 'tol', perhaps 'tool'",
    f"{STEPS}, gate: {{approval: never}}}}]": "steps.0.gate.approval: Input should be 'policy' or 'always'",
    f"{STEPS}, wait: {{seconds: 5}}}}]": "step 'a': `wait` goes with the worker 'wait'",
    "name: p\nsteps: [{id: a, worker: wait}]": "step 'a': the worker 'wait' needs `wait`, which says what for",
    "name: p\nsteps: [{id: a, worker: wait, wait: {events: paid}}]": "steps.0.wait.events: no such field, perhaps event",
    "name: p\nsteps: [{id: a, worker: wait, wait: {}}]": "steps.0.wait: give one of `question`, `event`, `until` and `seconds`",
    "name: p\nsteps: [{id: a, worker: wait, wait: {event: e, seconds: 5}}]": "not event and seconds",
    "name: p\nsteps: [{id: a, worker: wait, wait: {until: tomorrow}}]": "steps.0.wait.until: Input should be a valid datetime",
    "steps: [{id: a, worker: writer}]": "a plan in a file needs a `name`",
    "a: &a [*a]": "an alias is inside of what it names",
}


@pytest.fixture(autouse=True)
def nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANSARD_HOME", str(tmp_path / "home"))
    for name in ("KAFKA", "POSTGRES", "POSTGRES_OWNER", "MODEL_URL", "ROLES", "WORKERS"):
        monkeypatch.delenv(f"HANSARD_{name}", raising=False)


def refused(*line: str) -> str:
    """The error, on one line, with the exit code for what a person can correct."""
    done = runner.invoke(app, list(line))
    assert isinstance(done.exception, Problem), done.output
    assert done.exception.code == 2
    assert "\n" not in str(done.exception)
    return str(done.exception)


@pytest.mark.parametrize(("text", "message"), BAD.items())
def test_the_error_of_an_invalid_plan_says_why_and_what_to_do(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(text)
    for line in (("plans", "validate", str(file)), ("plans", "run", str(file), "x")):
        assert message in refused(*line)
        assert str(file) in refused(*line)


def test_a_file_that_cannot_be_read_is_reported_in_a_sentence(tmp_path: Path) -> None:
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    assert "cannot be read: it is in UTF-16" in refused("plans", "validate", str(binary))
    assert refused("plans", "validate", str(tmp_path / "none.yaml")) == f"There is no file {tmp_path / 'none.yaml'}."
    assert "is a folder" in refused("plans", "run", str(tmp_path), "x")
    assert "--plan specialist` runs a plan by its name" in refused("plans", "run", "specialist", "x")


def test_a_plan_file_without_a_plan_is_refused(tmp_path: Path) -> None:
    for text, message in (
        ("", "is empty"),
        ("words", "does not hold a plan"),
        ("name: p\nstep: []", "step: no such field, perhaps steps"),
    ):
        file = tmp_path / "plan.yaml"
        file.write_text(text)
        assert message in refused("ask", "x", "--plan", str(file))
    assert "is a folder" in refused("ask", "x", "--plan", str(tmp_path))


def test_a_valid_plan_is_printed_with_the_command_to_run_it(tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(GOOD)
    done = runner.invoke(app, ["plans", "validate", str(file)])
    assert done.exit_code == 0
    assert "coder" in done.output
    assert f"hansardplansrun{file}" in "".join(done.output.split()), "a long path is broken at the edge of the screen"


def test_what_each_step_waits_for_is_shown(tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    waits = ["{question: Who is it}", "{event: paid}", "{until: 2026-07-01T09:00:00+02:00}", "{seconds: 90}"]
    steps = [f"{{id: w{n}, worker: wait, wait: {what}}}" for n, what in enumerate(waits)]
    file.write_text(f"name: p\nsteps: [{', '.join(steps)}, {{id: g, worker: ledger, gate: {{action: {{tool: ledger}}}}}}]")
    done = runner.invoke(app, ["plans", "validate", str(file)], terminal_width=200)
    assert done.exit_code == 0, done.exception
    for text in ("an answer of a reviewer", "the event paid", "2026-07-01 07:00 UTC", "90 seconds", "an approval"):
        assert text in done.output


def test_the_shipped_plan_of_a_refund_can_be_run() -> None:
    done = runner.invoke(app, ["plans", "validate", "services/router/plans/refund.yaml"])
    assert done.exit_code == 0, done.exception


def test_json_output_says_whether_a_plan_is_valid(tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    for text, valid in ((GOOD, True), ("name: p\nsteps: []", False)):
        file.write_text(text)
        done = runner.invoke(app, ["plans", "validate", str(file), "--json"])
        (answer,) = map(json.loads, done.stdout.splitlines())
        assert (done.exit_code, answer["valid"]) == (0 if valid else 2, valid)
        assert ("at least 1 needed" in answer["problem"]) if not valid else (answer["plan"]["steps"][1]["needs"] == ["a"])


def test_a_valid_plan_is_not_run_where_nothing_runs(tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(GOOD)
    done = runner.invoke(app, ["plans", "run", str(file), "x"])
    assert isinstance(done.exception, Problem)
    assert (done.exception.code, "hansard up" in str(done.exception)) == (1, True)
