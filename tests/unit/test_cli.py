"""The `hansard` command, without a server."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from contracts.catalog import Topics
from contracts.dead_letters import DeadLettered
from contracts.requests import SubmitRequest
from infra import processes
from infra.audit import projections
from infra.audit.message import Numbering, ShownMessage
from infra.audit.summaries import summary
from infra.audit.text import dollars, money, one_line
from infra.cli import app, doctor, report
from infra.cli.asked import concerns, is_end, new_request
from infra.cli.dead_letters import choose
from infra.cli.demo import Outcome, Run, demo_requests
from infra.cli.problem import Problem
from infra.cli.running import ended_by_signal, hints, load
from infra.cli.submitting import lines
from infra.servers import ServerError, process
from services.planner.app import workers_of
from services.router import plans
from shared import roles
from shared.eventstore.model import StoredMessage, Stream
from shared.runtime.inbound import wake_up
from shared.settings import Settings
from tests.unit.toy import NOON

runner = CliRunner()


@pytest.fixture(autouse=True)
def nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANSARD_HOME", str(tmp_path / "home"))
    for name in ("HANSARD_KAFKA", "HANSARD_POSTGRES", "HANSARD_POSTGRES_OWNER", "HANSARD_MODEL_URL"):
        monkeypatch.delenv(name, raising=False)


COMMANDS = [
    "demo",
    "up",
    "down",
    "status",
    "serve",
    "ask",
    "submit",
    "watch",
    "results",
    "cancel",
    "signal",
    "init",
    "plans validate",
    "plans run",
    "audit show",
    "audit verify",
    "audit rebuild",
    "audit compare",
    "replay",
    "stats",
    "effects",
    "doctor",
    "migrate",
    "topics",
    "dead-letters list",
    "dead-letters show",
    "dead-letters redrive",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_has_an_example(command: str) -> None:
    shown = runner.invoke(app, [*command.split(), "--help"])
    example = " ".join(shown.output.split()).partition("Example: ")[2]
    assert shown.exit_code == 0 and f"hansard {command}" in example


@pytest.mark.parametrize(
    "line",
    [
        "ask hi",
        "results",
        "watch",
        "cancel x",
        "signal x e",
        "stats",
        "audit show x",
        "effects",
        "topics",
        "migrate",
        "serve router",
    ],
)
def test_where_nothing_runs_the_error_says_what_to_type(line: str) -> None:
    done = runner.invoke(app, line.split())
    assert done.exit_code == 1 and isinstance(done.exception, Problem) and "hansard up" in str(done.exception)


def test_an_error_is_one_sentence_and_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert (report(Problem("Mend it.", code=2)), report(ServerError("No port.")), report(ValueError("odd"))) == (2, 1, 1)
    assert "Traceback" not in capsys.readouterr().err


def test_an_invalid_request_is_refused_before_anything_is_published() -> None:
    for body in ({}, {"text": "a", "type": "b"}, {"text": ""}, {"text": "a", "data": {"b": 1}}):
        with pytest.raises(Problem):
            new_request(body)


def ids(text: str, **more: Any) -> list[str]:
    return [asked.id for asked in lines(text, "default", **more)]


def test_the_same_file_is_the_same_requests() -> None:
    text = '"a"\n{"text": "b"}\n\n{"type": "t", "data": {"x": 1}}\n'
    assert ids(text) == ids(text) and len(set(ids(text))) == 3


def test_the_order_of_fields_does_not_make_a_different_request() -> None:
    assert ids('{"type": "t", "data": {"x": 1, "y": 2}}') == ids('{"data": {"y": 2, "x": 1}, "type": "t"}')


def test_a_repeated_line_is_two_requests() -> None:
    assert len(set(ids('"a"\n"a"\n'))) == 2


def test_fresh_requests_are_new_every_time() -> None:
    assert ids('"a"', fresh=True) != ids('"a"', fresh=True)


def test_a_line_may_name_its_id_workflow_and_tenant() -> None:
    (asked,) = lines('{"text": "a", "id": "i", "correlationid": "w", "tenant": "t"}', "default")
    assert (asked.id, asked.workflow, asked.tenant, dict(asked.body)) == ("i", "w", "t", {"text": "a"})


def test_the_same_line_of_two_tenants_is_two_requests() -> None:
    assert [one.id for one in lines('"a"', "one")] != [one.id for one in lines('"a"', "two")]


def test_a_file_with_an_invalid_line_is_refused_and_every_invalid_line_is_named() -> None:
    with pytest.raises(Problem) as refused:
        list(lines('"good"\n{"text": \n{}\n17\n', "default"))
    assert all(f"line {n}:" in str(refused.value) for n in (2, 3, 4)) and "line 1:" not in str(refused.value)


def received(kind: str, workflow: str = "w", **data: Any) -> ShownMessage:
    return ShownMessage("1", NOON, workflow, "router", kind, "", data)


def test_a_request_ends_with_the_result_of_its_own_workflow() -> None:
    asked = new_request({"text": "a"}, id_="i", workflow="w")
    assert is_end(received("hansard.results.failed.v1"), asked)
    assert not is_end(received("hansard.results.completed.v1", workflow="other"), asked)
    assert not is_end(received("hansard.router.request-routed.v1"), asked)


def test_a_refused_request_ends_with_its_dead_letter() -> None:
    asked = new_request({"text": "a"}, id_="i", workflow="w")
    dead = received(DeadLettered.kind, "w", topic="requests", message_id="i", reason="correlation-in-use")
    other = received(DeadLettered.kind, "w", topic="requests", message_id="other", reason="correlation-in-use")
    assert is_end(dead, asked) and concerns(dead, asked) and not is_end(other, asked)


CONTRACTS = Path(__file__).parents[2] / "contracts"


@pytest.mark.parametrize("file", sorted(CONTRACTS.glob("*/examples/*.json")), ids=lambda file: file.stem)
def test_every_kind_has_a_summary_of_one_line(file: Path) -> None:
    golden = json.loads(file.read_text())
    line = summary(golden["kind"], json.loads(golden["body"]))
    assert "None" not in line and "\n" not in line


KINDS = sorted(Topics().kinds)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
ANY = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
NAMES = st.sampled_from(["text", "plan", "messages", "fall", "falls", "by", "cost", "step", "confidence", "request", "reasons"])


@given(st.sampled_from(KINDS), st.dictionaries(NAMES, ANY))
def test_a_summary_never_fails_whatever_is_in_a_message(kind: str, data: dict[str, Any]) -> None:
    assert len(summary(kind, data)) <= 160
    assert money(data.get("cost")) is not None


def test_a_message_of_a_new_kind_is_summed_up_by_its_first_two_scalar_fields() -> None:
    tasted = {"notes": ["oak"], "wine": "x" * 80 + "\n", "paid": False, "glasses": 2}
    assert summary("hansard.tasting.tasted.v1", tasted) == f"wine: {'x' * 59}… · paid: False"
    assert summary("hansard.tasting.tasted.v1", {"text": "oak", "glasses": 2}) == "oak"
    assert summary("hansard.tasting.tasted.v1", {"notes": []}) == ""


def test_control_characters_never_reach_a_terminal() -> None:
    assert one_line("a\x1b[31mb\nc\x07") == "a [31mb c"


def test_money_is_printed_without_a_float() -> None:
    assert (dollars(money("0.000015")), dollars(money("0")), dollars(money("nonsense"))) == ("$0.000015", "", "")


def test_a_cause_is_shown_by_its_number_or_as_a_wake_up() -> None:
    numbering = Numbering()
    stream = Stream("default", "w", "planner")
    numbering.number(ShownMessage("a", NOON, "w", "router", "k", "", {}))
    assert numbering.causation(ShownMessage("b", NOON, "w", "planner", "k", "a", {})) == "← 1"
    for processed in (2, 32):
        id_ = str(wake_up(stream, processed).causation_id)
        assert numbering.causation(ShownMessage("c", NOON, "w", stream.name, "k", id_, {})) == "← wake-up"


def test_deadlines_and_resume_times_are_in_a_summary() -> None:
    retried = {"step": "draft", "attempt": 1, "reasons": ["no-answer"], "resume_at": "2026-01-05T09:00:02Z"}
    assert summary("hansard.planner.step-retried.v1", retried) == "draft.1 · no-answer · again at 2026-01-05T09:00:02Z"
    assert summary("hansard.planner.step-retried.v1", retried | {"resume_at": None}) == "draft.1 · no-answer"
    expire = {"request": "r", "deadline": "2026-01-05T09:05:00Z"}
    assert summary("hansard.planner.expire.v1", expire) == "the deadline 2026-01-05T09:05:00Z has passed"


def dead_letter(id_: str, *, message_id: str = "m", workflow: str = "w") -> projections.StoredDeadLetter:
    dead = DeadLettered(
        service="router", reason="invalid", detail="d", attempts=1, door=True, message_id=message_id, causation_id="c" + id_,
        topic="requests", partition=0, offset=0, timestamp=0, hash="",
    )  # fmt: skip
    stream = Stream("default", workflow, "router")
    stored = StoredMessage(stream, 1, UUID(id_ * 8), "k", "dead-letters", UUID(int=1), b"", b"")
    return projections.StoredDeadLetter(stored, dead)


def test_a_dead_letter_is_chosen_by_any_of_its_ids_and_never_by_guess() -> None:
    both = [(dead_letter("aaaa"), True), (dead_letter("aaab", message_id="n", workflow="v"), False)]
    assert choose(both, "n") == both[1] == choose(both, "v") == choose(both, "aaab")
    for unclear in ("aaa", "zzz"):
        with pytest.raises(Problem):
            choose(both, unclear)


def test_the_hints_give_the_brokers_ready_to_be_pasted() -> None:
    console = Console(width=160)
    with console.capture() as captured:
        console.print(hints(Settings(kafka="127.0.0.1:22873,127.0.0.1:22874")))
    [line] = [line for line in captured.get().splitlines() if "BROKERS" in line]
    assert line.split()[0] == "BROKERS=127.0.0.1:22873,127.0.0.1:22874"


def test_the_files_that_init_writes_can_be_used_unchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert runner.invoke(app, ["init", str(tmp_path)]).exit_code == 0
    assert "proofreader" in roles.load(tmp_path / "roles")
    (plan,) = plans.load(tmp_path / "plans").values()
    assert len(list(lines((tmp_path / "requests.jsonl").read_text(), "default"))) == 3
    monkeypatch.setenv("HANSARD_ROLES", str(tmp_path / "roles"))
    assert {step.worker for step in plan.steps} <= workers_of(Settings()).keys()
    assert runner.invoke(app, ["plans", "validate", str(tmp_path / "plans" / "draft-and-proofread.yaml")]).exit_code == 0


def test_init_does_not_change_existing_files(tmp_path: Path) -> None:
    mine = tmp_path / "requests.jsonl"
    mine.write_text("mine")
    assert runner.invoke(app, ["init", str(tmp_path)]).exit_code == 0 and mine.read_text() == "mine"


@pytest.mark.parametrize(
    "plan",
    [
        "name: p\nsteps: []",
        "name: p\nsteps: [{id: a, worker: nobody}]",
        "name: p\nsteps: [{id: a, worker: writer, needs: [b]}]",
        "name: p\nsteps: [{id: a, worker: writer, needs: [b]}, {id: b, worker: writer, needs: [a]}]",
        "just text",
        ":\n- {",
    ],
)
def test_a_plan_that_the_planner_would_refuse_is_refused_by_the_command(tmp_path: Path, plan: str) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(plan)
    done = runner.invoke(app, ["plans", "validate", str(file)])
    assert done.exit_code != 0 and isinstance(done.exception, Problem)


def test_an_unknown_service_is_reported_in_a_sentence() -> None:
    for name in ("nobody", "no.such.module:build", "json:dumps", "json:nothing"):
        with pytest.raises((Problem, TypeError)):
            load(name, Settings())


def test_a_users_service_is_loaded_by_its_path() -> None:
    assert load("tests.unit.toy:service", Settings()).name == "router"


@pytest.mark.parametrize(("fetch", "enough"), [((0, 16), False), ((0, 17), True), ((4, 17), True), ((4, 18), True)])
def test_the_version_of_kafka_is_known_by_its_api_versions(fetch: tuple[int, int], enough: bool) -> None:
    assert doctor.kafka_version({doctor.FETCH: fetch})[1] is enough


def test_a_wrong_clock_is_found_and_a_slow_answer_is_not_taken_for_one() -> None:
    second = timedelta(seconds=1)
    assert doctor.skew("c", NOON, NOON + 0.01 * second, NOON + 0.02 * second).ok
    assert not doctor.skew("c", NOON, NOON + 5 * second, NOON + 0.02 * second).ok
    assert doctor.skew("c", NOON, NOON + 5 * second, NOON + 10 * second).ok


def test_the_demonstration_has_typed_free_and_invalid_requests() -> None:
    bodies = {asked.name: asked.body for asked in demo_requests(NOON)}
    good = [SubmitRequest.model_validate_json(body) for name, body in bodies.items() if name != "broken"]
    assert {one.type is None for one in good} == {True, False} and len(bodies) == 8
    with pytest.raises(ValueError, match="JSON"):
        SubmitRequest.model_validate_json(bodies["broken"])


def test_the_demonstration_knows_which_requests_have_no_result() -> None:
    first = demo_requests(NOON)[0]
    run = Run({"w": Outcome(first, new_request({"text": "a"}, id_="w").envelope, 10.0)})
    assert run.open and not run.process(received("hansard.results.completed.v1", "other"), 11.0)
    assert run.process(received("hansard.results.completed.v1", "w"), 12.0) and not run.open
    assert run.outcomes["w"].seconds == 2.0


def test_the_first_signal_sets_a_flag_and_the_second_interrupts() -> None:
    with ended_by_signal() as ended:
        assert not ended()
        os.kill(os.getpid(), signal.SIGTERM)
        assert ended()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[processes.Supervisor]:
    """A supervisor of two processes that do nothing."""
    sleeping = [sys.executable, "-c", "import signal; signal.pause()"]
    made = processes.Supervisor(tmp_path, ["a", "b"], command=lambda name, http: sleeping)
    made.start()
    yield made
    made.stop()


def pid(supervisor: processes.Supervisor, name: str) -> int:
    return next(one.pid for one in supervisor.statuses() if one.name == name)


def test_a_killed_service_is_started_again_and_the_others_keep_running(supervisor: processes.Supervisor) -> None:
    a, b = pid(supervisor, "a"), pid(supervisor, "b")
    os.kill(a, signal.SIGKILL)

    def back() -> bool:
        supervisor.restart_ended()
        return pid(supervisor, "a") != a

    assert process.wait_for(back, seconds=10) and pid(supervisor, "b") == b
    assert next(one for one in supervisor.statuses() if one.name == "a").restarts == 1


def test_a_service_that_keeps_failing_is_restarted_after_a_pause(supervisor: processes.Supervisor) -> None:
    supervisor.command = lambda name, http: [sys.executable, "-c", "raise SystemExit(1)"]
    os.kill(pid(supervisor, "a"), signal.SIGKILL)

    def fell(times: int) -> bool:
        supervisor.restart_ended()
        return next(one.restarts for one in supervisor.statuses() if one.name == "a") >= times

    assert process.wait_for(lambda: fell(3), seconds=20)
    assert supervisor._again["a"] > 0


def test_running_services_are_listed_until_they_are_stopped(supervisor: processes.Supervisor) -> None:
    state = processes.read(supervisor.home)
    assert state is not None and {one.name for one in state.services} == {"a", "b"} and all(one.alive for one in state.services)
    supervisor.stop()
    assert processes.read(supervisor.home) is None and not any(one.alive for one in state.services)


def test_the_file_of_a_dead_supervisor_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "services.json").write_text(json.dumps({"pid": os.getpid(), "born": "another", "services": []}))
    assert processes.read(tmp_path) is None
    (tmp_path / "services.json").write_text("{")
    assert processes.read(tmp_path) is None
