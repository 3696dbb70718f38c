"""The `hansard` command, as far as it goes without a server."""

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
from typer.testing import CliRunner

from contracts.catalog import Topics
from contracts.dead_letters import DeadLettered
from contracts.requests import SubmitRequest
from infra import processes
from infra.audit import projections
from infra.audit.words import Minutes, Word, dollars, gist, money, one_line
from infra.cli import app, doctor, told
from infra.cli.base import Problem
from infra.cli.demo import Course, Told, pieces
from infra.cli.operate import chosen
from infra.cli.requests import asked, concerns, is_end
from infra.cli.running import ended_by_signal, load
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
    for name in ("HANSARD_KAFKA", "HANSARD_POSTGRES", "HANSARD_MODEL_URL"):
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
def test_every_command_teaches_by_an_example(command: str) -> None:
    shown = runner.invoke(app, [*command.split(), "--help"])
    example = " ".join(shown.output.split()).partition("Example: ")[2]
    assert shown.exit_code == 0 and f"hansard {command}" in example


@pytest.mark.parametrize(
    "line", ["ask hi", "results", "watch", "cancel x", "stats", "audit show x", "effects", "topics", "migrate", "serve router"]
)
def test_where_nothing_runs_a_sentence_says_what_to_type(line: str) -> None:
    done = runner.invoke(app, line.split())
    assert done.exit_code == 1 and isinstance(done.exception, Problem) and "hansard up" in str(done.exception)


def test_an_error_is_one_sentence_and_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert (told(Problem("Mend it.", code=2)), told(ServerError("No port.")), told(ValueError("odd"))) == (2, 1, 1)
    assert "Traceback" not in capsys.readouterr().err


def test_a_request_that_is_none_is_refused_before_anything_is_sent() -> None:
    for body in ({}, {"text": "a", "type": "b"}, {"text": ""}, {"text": "a", "data": {"b": 1}}):
        with pytest.raises(Problem):
            asked(body)


def ids(text: str, **more: Any) -> list[str]:
    return [put.id for put in lines(text, "default", **more)]


def test_the_same_file_is_the_same_requests() -> None:
    text = '"a"\n{"text": "b"}\n\n{"type": "t", "data": {"x": 1}}\n'
    assert ids(text) == ids(text) and len(set(ids(text))) == 3


def test_the_order_of_fields_does_not_make_another_request() -> None:
    assert ids('{"type": "t", "data": {"x": 1, "y": 2}}') == ids('{"data": {"y": 2, "x": 1}, "type": "t"}')


def test_a_line_that_is_there_twice_is_two_requests() -> None:
    assert len(set(ids('"a"\n"a"\n'))) == 2


def test_fresh_requests_are_new_ones_every_time() -> None:
    assert ids('"a"', fresh=True) != ids('"a"', fresh=True)


def test_a_line_may_bring_its_own_id_workflow_and_tenant() -> None:
    (put,) = lines('{"text": "a", "id": "i", "correlationid": "w", "tenant": "t"}', "default")
    assert (put.id, put.workflow, put.tenant, dict(put.body)) == ("i", "w", "t", {"text": "a"})


def test_another_tenants_line_is_another_request() -> None:
    assert [put.id for put in lines('"a"', "one")] != [put.id for put in lines('"a"', "two")]


def test_nothing_is_sent_of_a_file_with_a_bad_line_and_every_bad_line_is_named() -> None:
    with pytest.raises(Problem) as refused:
        list(lines('"good"\n{"text": \n{}\n17\n', "default"))
    assert all(f"line {n}:" in str(refused.value) for n in (2, 3, 4)) and "line 1:" not in str(refused.value)


def heard(kind: str, workflow: str = "w", **data: Any) -> Word:
    return Word("1", NOON, workflow, "router", kind, "", data)


def test_a_request_ends_with_the_result_of_its_own_workflow() -> None:
    put = asked({"text": "a"}, id_="i", workflow="w")
    assert is_end(heard("hansard.results.failed.v1"), put)
    assert not is_end(heard("hansard.results.completed.v1", workflow="other"), put)
    assert not is_end(heard("hansard.router.request-routed.v1"), put)


def test_a_request_that_was_turned_away_ends_with_its_dead_letter() -> None:
    put = asked({"text": "a"}, id_="i", workflow="w")
    dead = heard(DeadLettered.kind, "w", topic="requests", message_id="i", reason="correlation-in-use")
    other = heard(DeadLettered.kind, "w", topic="requests", message_id="other", reason="correlation-in-use")
    assert is_end(dead, put) and concerns(dead, put) and not is_end(other, put)


CONTRACTS = Path(__file__).parents[2] / "contracts"


@pytest.mark.parametrize("file", sorted(CONTRACTS.glob("*/examples/*.json")), ids=lambda file: file.stem)
def test_every_kind_has_something_to_tell_in_short(file: Path) -> None:
    golden = json.loads(file.read_text())
    stored = gist(golden["kind"], json.loads(golden["body"]))
    assert "None" not in stored and "\n" not in stored


KINDS = sorted(Topics().kinds)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
ANY = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
NAMES = st.sampled_from(["text", "plan", "messages", "fall", "falls", "by", "cost", "step", "confidence", "request", "reasons"])


@given(st.sampled_from(KINDS), st.dictionaries(NAMES, ANY))
def test_whatever_is_in_a_message_it_can_be_told(kind: str, data: dict[str, Any]) -> None:
    assert len(gist(kind, data)) <= 160
    assert money(data.get("cost")) is not None


def test_control_characters_never_reach_a_terminal() -> None:
    assert one_line("a\x1b[31mb\nc\x07") == "a [31mb c"


def test_money_is_told_without_a_float() -> None:
    assert (dollars(money("0.000015")), dollars(money("0")), dollars(money("nonsense"))) == ("$0.000015", "", "")


def test_a_cause_is_named_by_its_number_or_as_the_streams_own() -> None:
    minutes = Minutes()
    stream = Stream("default", "w", "planner")
    first = Word("a", NOON, "w", "router", "k", "", {})
    minutes.number(first)
    assert minutes.causation_id(Word("b", NOON, "w", "planner", "k", "a", {})) == "← 1"
    for heard in (2, 32):
        name = str(wake_up(stream, heard).causation_id)
        assert minutes.causation_id(Word("c", NOON, "w", stream.name, "k", name, {})) == "← wake-up"


def test_times_that_have_come_and_times_to_come_are_told() -> None:
    retried = {"step": "draft", "attempt": 1, "reasons": ["no-answer"], "resume_at": "2026-01-05T09:00:02Z"}
    assert gist("hansard.planner.step-retried.v1", retried) == "draft.1 · no-answer · again at 2026-01-05T09:00:02Z"
    assert gist("hansard.planner.step-retried.v1", retried | {"resume_at": None}) == "draft.1 · no-answer"
    expire = {"request": "r", "deadline": "2026-01-05T09:05:00Z"}
    assert gist("hansard.planner.expire.v1", expire) == "the deadline 2026-01-05T09:05:00Z has passed"


def letter(id_: str, *, message_id: str = "m", workflow: str = "w") -> projections.Letter:
    dead = DeadLettered(
        service="router", reason="invalid", detail="d", attempts=1, door=True, message_id=message_id, causation_id="c" + id_,
        topic="requests", partition=0, offset=0, timestamp=0, hash="",
    )  # fmt: skip
    stream = Stream("default", workflow, "router")
    return projections.Letter(StoredMessage(stream, 1, UUID(id_ * 8), "k", "dead-letters", UUID(int=1), b"", b""), dead)


def test_a_dead_letter_is_chosen_by_any_of_its_names_and_never_by_guess() -> None:
    both = [(letter("aaaa"), True), (letter("aaab", message_id="n", workflow="v"), False)]
    assert chosen(both, "n") == both[1] == chosen(both, "v") == chosen(both, "aaab")
    for unclear in ("aaa", "zzz"):
        with pytest.raises(Problem):
            chosen(both, unclear)


def test_what_init_writes_can_be_used_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert runner.invoke(app, ["init", str(tmp_path)]).exit_code == 0
    assert "proofreader" in roles.load(tmp_path / "roles")
    (plan,) = plans.load(tmp_path / "plans").values()
    assert len(list(lines((tmp_path / "requests.jsonl").read_text(), "default"))) == 3
    monkeypatch.setenv("HANSARD_ROLES", str(tmp_path / "roles"))
    assert {step.worker for step in plan.steps} <= workers_of(Settings()).keys()
    assert runner.invoke(app, ["plans", "validate", str(tmp_path / "plans" / "draft-and-proofread.yaml")]).exit_code == 0


def test_init_leaves_alone_what_is_there(tmp_path: Path) -> None:
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
def test_a_plan_that_the_planner_would_refuse_is_refused_here(tmp_path: Path, plan: str) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(plan)
    done = runner.invoke(app, ["plans", "validate", str(file)])
    assert done.exit_code != 0 and isinstance(done.exception, Problem)


def test_a_service_that_is_not_there_is_a_sentence() -> None:
    for name in ("nobody", "no.such.module:build", "json:dumps", "json:nothing"):
        with pytest.raises((Problem, TypeError)):
            load(name, Settings())


def test_a_service_of_a_users_own_is_loaded_by_its_path() -> None:
    assert load("tests.unit.toy:service", Settings()).name == "router"


@pytest.mark.parametrize(("fetch", "enough"), [((0, 16), False), ((0, 17), True), ((4, 17), True), ((4, 18), True)])
def test_the_age_of_a_kafka_is_known_by_what_it_speaks(fetch: tuple[int, int], enough: bool) -> None:
    assert doctor.kafka_version({doctor.FETCH: fetch})[1] is enough


def test_a_clock_that_is_off_is_found_but_a_slow_answer_is_no_wrong_clock() -> None:
    second = timedelta(seconds=1)
    assert doctor.skew("c", NOON, NOON + 0.01 * second, NOON + 0.02 * second).well
    assert not doctor.skew("c", NOON, NOON + 5 * second, NOON + 0.02 * second).well
    assert doctor.skew("c", NOON, NOON + 5 * second, NOON + 10 * second).well


def test_the_demonstration_has_requests_for_rules_models_and_refusals() -> None:
    bodies = {piece.name: piece.body for piece in pieces(NOON)}
    good = [SubmitRequest.model_validate_json(body) for name, body in bodies.items() if name != "broken"]
    assert {one.type is None for one in good} == {True, False} and len(bodies) == 8
    with pytest.raises(ValueError, match="JSON"):
        SubmitRequest.model_validate_json(bodies["broken"])


def test_the_demonstration_knows_which_requests_lack_their_result() -> None:
    one = pieces(NOON)[0]
    course = Course({"w": Told(one, asked({"text": "a"}, id_="w").envelope, 10.0)})
    assert course.open and not course.process(heard("hansard.results.completed.v1", "other"), 11.0)
    assert course.process(heard("hansard.results.completed.v1", "w"), 12.0) and not course.open
    assert course.told["w"].seconds == 2.0


def test_the_first_signal_is_noted_and_the_second_insists() -> None:
    with ended_by_signal() as ended:
        assert not ended()
        os.kill(os.getpid(), signal.SIGTERM)
        assert ended()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[processes.Supervisor]:
    """Looks after two processes that do nothing."""
    sleeping = [sys.executable, "-c", "import signal; signal.pause()"]
    made = processes.Supervisor(tmp_path, ["a", "b"], command=lambda name, http: sleeping)
    made.start()
    yield made
    made.stop()


def pid(supervisor: processes.Supervisor, name: str) -> int:
    return next(one.pid for one in supervisor.statuses() if one.name == name)


def test_a_service_that_dies_is_started_again_and_the_others_are_let_be(supervisor: processes.Supervisor) -> None:
    a, b = pid(supervisor, "a"), pid(supervisor, "b")
    os.kill(a, signal.SIGKILL)

    def back() -> bool:
        supervisor.restart_ended()
        return pid(supervisor, "a") != a

    assert process.wait_for(back, seconds=10) and pid(supervisor, "b") == b
    assert next(one for one in supervisor.statuses() if one.name == "a").restarts == 1


def test_one_that_dies_again_and_again_is_waited_for(supervisor: processes.Supervisor) -> None:
    supervisor.command = lambda name, http: [sys.executable, "-c", "raise SystemExit(1)"]
    os.kill(pid(supervisor, "a"), signal.SIGKILL)

    def fell(times: int) -> bool:
        supervisor.restart_ended()
        return next(one.restarts for one in supervisor.statuses() if one.name == "a") >= times

    assert process.wait_for(lambda: fell(3), seconds=20)
    assert supervisor._again["a"] > 0


def test_whoever_looks_finds_what_runs_until_it_is_stopped(supervisor: processes.Supervisor) -> None:
    state = processes.read(supervisor.home)
    assert state is not None and {one.name for one in state.services} == {"a", "b"} and all(one.alive for one in state.services)
    supervisor.stop()
    assert processes.read(supervisor.home) is None and not any(one.alive for one in state.services)


def test_what_a_dead_supervisor_left_behind_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "services.json").write_text(json.dumps({"pid": os.getpid(), "born": "another", "services": []}))
    assert processes.read(tmp_path) is None
    (tmp_path / "services.json").write_text("{")
    assert processes.read(tmp_path) is None
