"""A service is its two folders, `contracts/NAME` and `services/NAME`, and its name in the one list. A small one is added here."""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from contracts.catalog import OPTIONAL, OURS, SERVICES
from infra.cli.running import summaries
from infra.cli.screen import CLIENTS, colour
from tests.copies import ROOT, copied

COPIED = ("contracts", "shared", "services", "infra")

HERALD = {
    "contracts/herald/__init__.py": "from contracts.herald.messages import Greet, Greeted\n\n__all__ = ['Greet', 'Greeted']\n",
    "contracts/herald/messages.py": '''\
from hansard.message import Command, Event


class Greet(Command):
    """Asks for a greeting."""

    kind = "hansard.herald.greet.v1"
    name: str


class Greeted(Event):
    """Somebody was greeted."""

    kind = "hansard.herald.greeted.v1"
    text: str
''',
    "contracts/herald/topics.py": """\
from contracts.herald.messages import Greet, Greeted
from hansard.topics import Topic

TOPICS = (
    Topic("herald.commands", "Whom to greet.", (Greet,), ("planner",), ("herald",)),
    Topic("herald.events", "Who was greeted.", (Greeted,), ("herald",), ("console",)),
)
""",
    "contracts/herald/samples.py": """\
from contracts.herald.messages import Greet, Greeted
from contracts.samples import Samples

COMPLETE: Samples = {Greet: {"name": "Ada"}, Greeted: {"text": "Hello, Ada."}}
""",
    "services/herald/__init__.py": '"""Greets whoever is named, once."""\n',
    "services/herald/decider.py": """\
from hansard.decider import Decider
from contracts.herald import Greet, Greeted


def decide(greeted, message, context):
    if isinstance(message, Greet) and not greeted:
        yield Greeted(text=f"Hello, {message.name}.")


herald = Decider(False, decide, lambda *_: True)
""",
    "services/herald/app.py": """\
from contracts.herald import Greet
from services.herald.decider import herald
from hansard.service import Service


def build(settings):
    return Service("herald", herald, receives={Greet: lambda asked: asked.name})
""",
}

TRIED = """
from contracts.catalog import Topics
from contracts.herald import Greet, Greeted
from hansard.testing import InMemory, given
from infra.cli.running import load, services, summaries
from infra.cli.screen import colour
from infra.access_rules import acls
from shared.settings import Settings

service = load("herald", Settings())
given(service).when(Greet(name="Ada")).then(Greeted(text="Hello, Ada.")).when(Greet(name="Ada")).then()
there = InMemory(service)
assert there.send(Greet(name="Ada"), id="1") == (Greeted(text="Hello, Ada."),) and there.send(Greet(name="Ada"), id="1") == ()
topics = Topics()
assert topics.for_message("herald", Greeted(text="")) == "herald.events"
assert {topic.name for topic in topics.consumed_by("herald")} == {"herald.commands", "control"}
assert "herald" in topics.by_name["dead-letters"].producers
assert list(services(Settings()))[-1] == "herald" and summaries()["herald"] == "Greets whoever is named, once."
assert colour("herald") not in {colour(name) for name in ("router", "planner", "specialists", "verifier", "gateway")}
assert any("User:hansard-herald" in rule for rule in acls(Settings()))
"""


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_a_new_service_is_its_two_folders_and_one_line(tmp_path: Path) -> None:
    copied(COPIED, tmp_path)
    before = hashes(tmp_path)

    for path, text in HERALD.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    add_to_the_list(tmp_path)

    run(tmp_path, "-c", TRIED)
    run(tmp_path, "-m", "contracts.tools.generate", "--new-examples")
    run(tmp_path, "-m", "contracts.tools.generate")
    run(tmp_path, "-m", "contracts.tools.generate", "--check")
    assert "Greets whoever is named, once." in run(tmp_path, "-m", "hansard", "serve", "--help")

    after = hashes(tmp_path)
    touched = {path for path in after if after[path] != before.get(path)}
    own = {path for path in touched if path.startswith(("contracts/herald/", "services/herald/"))}
    assert touched - own == {"contracts/catalog.py", "contracts/asyncapi.json"}, "the second is generated"
    assert not before.keys() - after.keys()


MISTAKES = (
    ("samples.py", ', Greeted: {"text": "Hello, Ada."}', "", "samples.py has no sample of Greeted: add one"),
    ("samples.py", '{"name": "Ada"}', "{}", "samples.py: the sample of Greet lacks name."),
    ("samples.py", '"Hello, Ada."', "5", "samples.py: the sample of Greeted is not valid"),
    (
        "messages.py",
        "hansard.herald.greeted",
        "hansard.term-expired",
        "the kind 'hansard.term-expired.v1' of Greeted",
    ),
    (
        "messages.py",
        "hansard.herald.greeted",
        "hansard.planner.greeted",
        "of the form hansard.herald.NAME.v1: it names",
    ),
    ("messages.py", '    kind = "hansard.herald.greet.v1"\n', "", "messages.py: Greet needs a `kind`"),
    ("messages.py", "name: str", "name: string", "messages.py cannot be imported: NameError"),
    ("topics.py", "TOPICS =", "TOPIC =", "topics.py needs TOPICS, a tuple of Topic"),
    ("topics.py", "(Greet,)", "(Greet)", "each with a tuple of kinds"),
)


def test_a_mistake_in_a_new_contract_is_one_sentence_that_names_the_file(tmp_path: Path) -> None:
    copied(("contracts", "shared"), tmp_path)
    add_to_the_list(tmp_path)
    assert generated(tmp_path).startswith("There is no contracts/herald/topics.py: write it, or correct the names in contracts/")
    (tmp_path / "contracts" / "herald").mkdir()
    for name, right, wrong, sentence in MISTAKES:
        for path in (path for path in HERALD if path.startswith("contracts/")):
            (tmp_path / path).write_text(HERALD[path])
        file = tmp_path / "contracts" / "herald" / name
        assert right in file.read_text()
        file.write_text(file.read_text().replace(right, wrong))
        printed = generated(tmp_path)
        assert printed.startswith(f"contracts/herald/{name}") and sentence in printed


def generated(folder: Path) -> str:
    done = process(folder, "-m", "contracts.tools.generate", "--new-examples")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
    return done.stderr


def add_to_the_list(folder: Path) -> None:
    catalogue = folder / "contracts" / "catalog.py"
    one_line, found = re.subn(r"^(SERVICES = \([^)]*?),?\s*\)", r'\1, "herald")', catalogue.read_text(), flags=re.MULTILINE)
    assert found == 1
    catalogue.write_text(one_line)


def broken_services(folder: Path) -> dict[str, str]:
    done = process(folder, "-m", "hansard", "doctor", "--json")
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    found = {one["check"]: one for one in map(json.loads, done.stdout.splitlines())}
    assert "disk" in found, "the other checks are made all the same"
    assert ("services" in found) == (not any(check.startswith("service ") for check in found))
    return {check.removeprefix("service "): one["found"] for check, one in found.items() if check.startswith("service ")}


def test_the_doctor_names_the_file_of_a_service_that_cannot_be_loaded(tmp_path: Path) -> None:
    copied(COPIED, tmp_path)
    assert broken_services(tmp_path) == {}
    services = tmp_path / "services"
    (services / "verifier" / "checks.py").write_text("x = unknown\n")
    (services / "planner" / "app.py").write_text("def build(:\n")
    (services / "router" / "app.py").write_text("def build(settings):\n    raise ValueError('no rules')\n")
    (services / "gateway" / "app.py").write_text("def build(settings):\n    return None\n")
    found = broken_services(tmp_path)
    at = "services/verifier/checks.py, line 1: NameError: name 'unknown' is not defined"
    assert found["verifier"] == f"services/verifier/app.py cannot be imported: {at}"
    assert found["router"] == "services/router/app.py cannot make it: services/router/app.py, line 2: ValueError: no rules"
    assert found["gateway"] == "services/gateway/app.py: `build` makes no Service that is named 'gateway'"
    assert "specialists" not in found
    assert "SyntaxError" in found["planner"] and "app.py, line 1" in found["planner"]


def run(folder: Path, *words: str) -> str:
    done = process(folder, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def process(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join((str(folder), str(folder / "shared")))
    own = {"PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "200", "HANSARD_HOME": str(folder / "home")}
    return subprocess.run([sys.executable, *words], cwd=folder, env=os.environ | own, capture_output=True, text=True)


def test_every_service_says_in_one_line_what_it_does() -> None:
    for name, about in summaries().items():
        assert about.endswith((".", "?")), name


def test_the_first_services_have_colours_of_their_own_and_every_service_has_one() -> None:
    colours = [colour(name) for name in (*SERVICES, *CLIENTS)]
    assert len(set(colours)) == len(SERVICES) + 1
    assert colour("somebody-elses") == colour("somebody-elses")


def test_every_service_has_a_container_in_compose() -> None:
    containers = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    serving = [name for name, one in containers.items() if (one.get("command") or [""])[0] == "serve"]
    assert tuple(serving) == OURS
    for name in OURS:
        assert containers[name]["command"] == ["serve", name]
        assert ("profiles" in containers[name]) == (name in OPTIONAL)


@pytest.mark.parametrize("name", SERVICES)
def test_the_readme_names_every_service(name: str) -> None:
    [line] = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("services/ ")]
    assert re.search(rf"\b{name}\b", line), f"name it in the README's list: {line}"
