"""Services of a user's own: loaded from files, in repositories whose folders are called as ours are."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

import hansard.__main__
from contracts.catalog import Topics
from hansard import Decider, PerformTask, Service, Topic, task_topics
from hansard.testing import InMemory, given
from infra import processes
from infra.cli import demos, doctor, operate, running, starters, status, worker
from infra.cli.base import for_children
from infra.cli.loading import load, with_own
from infra.cli.problem import Problem
from infra.cli.running import chosen, services
from services.planner.app import workers_of
from shared.kafka import groups
from shared.settings import Settings

FOLDERS = ("services", "shared", "contracts", "infra")
IMPORTS = "from shared.prices import PRICE\nimport helpers, json\n"
LATE = "import shared.prices\n\ndef price():\n    from contracts.late import MORE\n    return MORE\n"
POISON = "raise RuntimeError('the folder of the user was imported in place of ours')\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A worker called `tasting`, in the current folder."""
    worker.write("tasting", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def poisoned(folder: Path) -> None:
    for name in FOLDERS:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(POISON)


def run(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in this folder, which is also first on PYTHONPATH."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HANSARD_")}
    given = kept | {"PYTHONPATH": str(folder), "HANSARD_HOME": str(folder / "home"), **environment}
    return subprocess.run(processes.command(*words), cwd=folder, env=given, capture_output=True, text=True)


def test_the_command_finds_our_code_where_the_current_folder_has_folders_of_the_same_names(folder: Path) -> None:
    poisoned(folder)
    checked = run(folder, "plans", "validate", "plan.yaml", HANSARD_SERVICES="worker.py:service")
    assert checked.returncode == 0, checked.stderr
    assert "It can be run" in checked.stderr
    unknown = run(folder, "plans", "validate", "plan.yaml")
    assert unknown.returncode == 2 and "tasting" in unknown.stderr


def test_a_spec_passes_under_plain_pytest_beside_folders_of_the_same_names(folder: Path) -> None:
    poisoned(folder)
    own_path = str(hansard.__main__.HERE.parent)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": own_path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "4 passed" in done.stdout, done.stdout + done.stderr


def test_a_users_file_imports_the_users_folders_and_our_code_imports_ours(folder: Path) -> None:
    for name in FOLDERS:
        (folder / name).mkdir()
    (folder / "shared" / "prices.py").write_text("from services import tariffs\nPRICE = tariffs.BASE + 1\n")
    (folder / "services" / "tariffs.py").write_text("BASE = 41\n")
    (folder / "helpers.py").write_text(
        "import shared.prices\n\ndef price():\n    from contracts.late import MORE\n    return MORE\n"
    )
    (folder / "contracts" / "late.py").write_text("MORE = 43\n")
    code = (folder / "worker.py").read_text()
    (folder / "worker.py").write_text(
        f"from shared.prices import PRICE\nimport helpers, json\n{code}\nTOTAL = PRICE, helpers.price()\n"
    )
    found = load("worker.py:service", Settings())
    module = sys.modules[found.decider.decide.__module__]
    assert module.TOTAL == (42, 43) and module.json is json
    assert not hasattr(sys.modules["shared"], "prices") and "contracts.late" not in sys.modules


def test_a_module_in_a_users_own_services_folder_is_loaded_by_its_dotted_name(folder: Path) -> None:
    home = folder / "services" / "wine"
    home.mkdir(parents=True)
    for package in (home, home.parent):
        (package / "__init__.py").touch()
    (home / "names.py").write_text("NAME = 'wine'\n")
    (home / "app.py").write_text((folder / "worker.py").read_text().replace("tasting", "wine") + "\nfrom .names import NAME\n")
    assert load("services.wine.app:service", Settings()).name == load("services/wine/app.py", Settings()).name == "wine"


def test_two_files_of_one_name_are_two_services(folder: Path) -> None:
    worker.write("second", folder / "second")
    settings = with_own(Settings(services=("worker.py:service", "second/worker.py:service")))
    assert [service.name for service in settings.loaded] == ["tasting", "second"]


def test_a_service_brings_its_topics_and_kinds_to_the_catalogue(folder: Path) -> None:
    settings = with_own(Settings(services=("worker.py:service",)))
    topics = settings.topics
    assert {"tasting.commands", "tasting.events", "tasting.facts"} <= topics.by_name.keys()
    assert "tasting.words-counted.v1" in topics.kinds and "tasting.words-counted.v1" not in Settings().topics.kinds
    assert [topic.name for topic in topics.consumed_by("tasting")] == ["control", "tasting.commands"]
    assert "tasting" in topics.by_name["dead-letters"].producers
    assert workers_of(settings)["tasting"] == "tasting" and services(settings)["tasting"] is settings.loaded[0]


def test_what_is_served_brings_its_topics_without_being_listed(folder: Path) -> None:
    [planner, own], settings = chosen(["planner", "worker.py:service"], Settings())
    assert (planner.name, own.name) == ("planner", "tasting")
    assert settings.workers == ("tasting",) and "tasting.facts" in settings.topics.by_name


def test_processes_of_ours_know_a_users_service_by_name_and_import_none_of_its_code(folder: Path) -> None:
    given = for_children(with_own(Settings(services=("worker.py:service",))))
    assert given["HANSARD_SERVICES"] == "[]" and json.loads(given["HANSARD_WORKERS"]) == ["tasting"]


def test_an_outside_worker_answers_at_a_door(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANSARD_OUTSIDE_WORKERS", "sommelier")
    monkeypatch.setenv("HANSARD_WORKERS", '["inside"]')
    settings = Settings()
    assert settings.topics.by_name["sommelier.events"].door and not settings.topics.by_name["sommelier.commands"].door
    assert not settings.topics.by_name["inside.events"].door
    assert {"sommelier", "inside"} <= workers_of(settings).keys()


def test_a_service_may_receive_a_topic_of_ours_and_adds_no_kind_to_it() -> None:
    def own(*topics: Topic) -> Topics:
        return Topics(
            services=(Service("own", Decider(None, lambda *_: (), lambda *_: None), {PerformTask: lambda _: ""}, topics=topics),)
        )

    there = Topics().by_name["results"]
    assert own(Topic("results", "", (), consumers=("own",))).by_name["results"].consumers == (*there.consumers, "own")
    with pytest.raises(ValueError, match="topic of your own"):
        _ = own(Topic("requests", "", (PerformTask,))).all
    with pytest.raises(ValueError, match="is there already, as PerformTask"):
        _ = own(Topic("own.facts", "", (type("Other", (PerformTask,), {}),))).all


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("absent.py:service", "There is no file absent.py"),
        ("worker.py:nothing", "has no `nothing`"),
        ("worker.py:State", "is no service"),
        ("broken.py:service", "ZeroDivisionError"),
        ("no_such_package.module:service", "No module named 'no_such_package'"),
    ],
)
def test_what_cannot_be_loaded_is_told_in_a_sentence(folder: Path, spec: str, sentence: str) -> None:
    (folder / "broken.py").write_text("1 / 0\n")
    with pytest.raises(Problem, match=sentence):
        load(spec, Settings())


OWN = "from hansard import *\nD = Decider(None, lambda *_: (), lambda *_: None)\nstream = lambda _: ''\n"
NAMELESS = "class Noted(Event):\n    pass\n"
SPACED = "class Noted(Event):\n    kind = 'noted by me'\n"
FACTS = "service = Service('own', D, {PerformTask: stream}, topics=task_topics('own', facts=(Noted,)))"


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("\nimport sys\nsys.exit('no licence')", r"SystemExit in bad\.py, line 3: no licence"),
        ("raise KeyboardInterrupt", r"KeyboardInterrupt in bad\.py, line 1\."),
        ("import json\njson.loads('[')", r"JSONDecodeError in bad\.py, line 2: Expecting value"),
        ("def service(:", r"SyntaxError in bad\.py, line 1: invalid syntax"),
        ("\nimport no_such_package.part", r"imports no_such_package in bad\.py, line 2, .* pip install no_such_package"),
        ("from shared.nothing import more", r"it imports shared\.nothing in bad\.py, line 1, which is not there"),
        ("def service(settings):\n    return 1 / 0", r"ZeroDivisionError in bad\.py, line 2: division by zero"),
        ("def service():\n    pass", "a function that makes one of settings; it cannot be called with them: too many"),
        (f"{OWN}service = Service('own', D, {{PerformTask: stream}}, topics=('a', 'b'))", "`topics` holds 'a', which is no"),
        (
            f"{OWN}service = Service('own', D, {{PerformTask: stream}}, topics='a')",
            "`topics` is a tuple of hansard.Topic, not str",
        ),
        (f"{OWN}service = Service('own', D, {{}}, topics=(Topic('a', '', PerformTask),))", "`kinds` of the topic a is a tuple"),
        (f"{OWN}service = Service('own', D, {{}}, topics=(Topic('a b', '', ()),))", "Kafka accepts no topic called 'a b'"),
        (f"{OWN}service = Service('own', D, {{}}, topics=(Topic('..', '', ()),))", "Kafka accepts no topic called"),
        (f"{OWN}{NAMELESS}{FACTS}", "the message Noted has no `kind`"),
        (f"{OWN}{SPACED}{FACTS}", "the `kind` of Noted is 'noted by me'"),
        (f"{OWN}service = Service('own', D, [PerformTask])", "`receives` is a mapping .*, not list"),
        (f"{OWN}service = Service('own', D, {{'task': stream}})", "`receives` names 'task', which is no class"),
        (f"{OWN}service = Service('own', D, {{PerformTask: ''}})", "finds the stream of PerformTask, not str"),
        (f"{OWN}service = Service(None, D, {{PerformTask: stream}})", "its name is None"),
        (f"{OWN}service = Service('own', None, {{PerformTask: stream}})", "`decider` is a hansard.Decider, not NoneType"),
        (f"{OWN}service = Service('own', Decider(None, None, D.evolve), {{}})", "`decide` of its decider is a function"),
    ],
)
def test_a_file_with_an_error_is_one_sentence_that_names_file_and_line(folder: Path, code: str, sentence: str) -> None:
    (folder / "shared").mkdir()
    (folder / "bad.py").write_text(f"{code}\n")
    with pytest.raises(Problem, match=rf"^bad\.py:service .*{sentence}") as told:
        load("bad.py:service", Settings())
    assert told.value.code == 2 and "\n" not in str(told.value) and str(told.value).endswith(".")


@pytest.mark.parametrize(
    "spec", ["", "/", ".", "..", "worker.py:", "worker.py::service", "worker.py:service:x", ":service", "a b:c"]
)
def test_what_names_no_service_is_refused_in_a_sentence(folder: Path, spec: str) -> None:
    with pytest.raises(Problem, match=r"names no service: write worker\.py:service"):
        load(spec, Settings())
    with pytest.raises(Problem, match="service"):
        chosen([spec], Settings())


def test_a_function_that_makes_no_service_is_refused_in_a_sentence(folder: Path) -> None:
    with pytest.raises(Problem, match=r"os\.path:join cannot be loaded: TypeError.*expected str"):
        load("os.path:join", Settings())


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("[", "HANSARD_SERVICES is not valid: it begins as a JSON list and is none"),
        ('["worker.py", 5]', "HANSARD_SERVICES, item 2 is not valid: Input should be a valid string"),
        ("[[]]", "HANSARD_SERVICES, item 1 is not valid"),
    ],
)
def test_a_setting_that_is_not_valid_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch, given: str, sentence: str) -> None:
    monkeypatch.setenv("HANSARD_SERVICES", given)
    with pytest.raises(Problem, match=f"^{re.escape(sentence)}") as told:
        starters.read("plan.yaml")
    assert told.value.code == 2


def test_a_service_that_could_not_be_served_is_refused_by_its_tests_too() -> None:
    broken: Any = Service("own", Decider(None, lambda *_: (), lambda *_: None), [PerformTask])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`receives` is a mapping"):
        given(broken)
    with pytest.raises(ValueError, match="`receives` is a mapping"):
        InMemory(broken)


def test_access_rules_are_printed_for_the_topics_of_a_users_service(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HANSARD_SERVICES", "worker.py:service")
    operate.topics(acls=True)
    assert "tasting.facts" in capsys.readouterr().out


def test_a_listed_service_has_a_name_of_its_own(folder: Path) -> None:
    code = (folder / "worker.py").read_text()
    (folder / "planner.py").write_text(code.replace('"tasting"', '"planner"'))
    (folder / "spaced.py").write_text(code.replace('    "tasting",', '    "wine tasting",'))
    with pytest.raises(Problem, match="as another service is"):
        with_own(Settings(services=("planner.py:service",)))
    with pytest.raises(Problem, match="as another service is"):
        with_own(Settings(services=("worker.py:service", "./worker.py:service")))
    with pytest.raises(Problem, match="letters, digits"):
        with_own(Settings(services=("spaced.py:service",)))


def test_the_doctor_says_what_a_users_service_receives_or_why_it_is_not_loaded(folder: Path) -> None:
    settings, found = doctor.own_services(Settings(services=("worker.py:service", "absent.py:service")))
    assert [one.ok for one in found] == [True, False] and "absent.py" in found[1].check
    assert "tasting.commands" in found[0].found and settings.topics.by_name["tasting.facts"]


def test_the_topics_of_a_worker_are_those_that_its_starter_brings(folder: Path) -> None:
    assert load("worker.py", Settings()).topics[:2] == task_topics("tasting")


def test_status_shows_the_lag_of_a_users_service(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def lag(_: Settings, service: str) -> int:
        return 1234 if service == "tasting" else 0

    monkeypatch.setattr(groups, "lag", lag)
    monkeypatch.setenv("HANSARD_HOME", str(folder / "home"))
    monkeypatch.setenv("HANSARD_KAFKA", "unused:9092")
    monkeypatch.setenv("HANSARD_SERVICES", "worker.py:service")
    with pytest.raises(typer.Exit):  # nothing runs here
        status.status()
    assert "tasting" in (shown := capsys.readouterr()).out and "1234" in shown.out
    monkeypatch.setenv("HANSARD_SERVICES", "absent.py")
    with pytest.raises(typer.Exit):
        status.status()
    assert "planner" in (shown := capsys.readouterr()).out and "There is no file absent.py" in shown.err


@pytest.mark.parametrize("command", [running.up, demos.demo])
def test_a_service_that_cannot_be_loaded_is_found_before_anything_is_started(
    command: Callable[[], None], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "Servers", None)
    monkeypatch.setattr(running, "down_ours", None)
    monkeypatch.setenv("HANSARD_HOME", str(folder / "home"))
    monkeypatch.setenv("HANSARD_SERVICES", "absent.py")
    with pytest.raises(Problem, match=r"There is no file absent\.py"):
        command()
