"""The catalogue is assembled from the folders of `contracts/`."""

import ast
from pathlib import Path

import pytest

from contracts.catalog import FOLDERS, OURS, Topics
from contracts.specialists import CancelTask, PerformTask, TaskAnswered, TaskCancelled, TaskFailed
from contracts.tools.generate import HERE
from hansard.values import Attribution, Tokens, carried

ROOT = HERE.parent


def test_every_folder_of_messages_is_in_the_catalogue() -> None:
    assert {path.parent.name for path in HERE.glob("*/messages.py")} == set(FOLDERS)


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_holds_messages_topics_samples_schemas_and_examples(folder: str) -> None:
    there = {path.name for path in (HERE / folder).iterdir() if path.name != "__pycache__"}
    assert there == {"__init__.py", "messages.py", "topics.py", "samples.py", "schemas", "examples"}


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_exports_all_its_messages(folder: str) -> None:
    defined = [
        node.name for node in ast.parse((HERE / folder / "messages.py").read_text()).body if isinstance(node, ast.ClassDef)
    ]
    imported = [
        alias.name
        for node in ast.parse((HERE / folder / "__init__.py").read_text()).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    assert set(defined) <= set(imported)


def test_control_reaches_every_service_and_every_service_may_publish_dead_letters() -> None:
    topics = Topics(workers=("translator",)).by_name
    assert topics["control"].consumers == (*OURS, "translator")
    assert topics["dead-letters"].producers == (*OURS, "translator")


def test_a_worker_of_the_users_own_has_a_topic_of_tasks_and_one_of_their_results() -> None:
    topics = Topics(workers=("translator",))
    commands, events = topics.by_name["translator.commands"], topics.by_name["translator.events"]
    assert (commands.kinds, commands.producers, commands.consumers) == ((PerformTask, CancelTask), ("planner",), ("translator",))
    assert (events.kinds, events.producers) == ((TaskAnswered, TaskFailed, TaskCancelled), ("translator",))
    assert topics.for_message("planner", CancelTask(task="a.1", service="translator")) == "translator.commands"
    assert topics.for_message("translator", TaskCancelled(task="a.1")) == "translator.events"


def test_a_producer_without_a_topic_for_a_kind_is_refused() -> None:
    with pytest.raises(LookupError, match=r"verifier has no topic to publish hansard\.specialists\.task-cancelled\.v1 to"):
        Topics().for_message("verifier", TaskCancelled(task="a.1"))


def _imported(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    of_modules = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return of_modules | {
        f"{node.module}.{alias.name}" for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names
    }


def test_tools_and_samples_are_never_imported_at_run_time() -> None:
    files = [path for room in ("contracts", "shared", "services", "infra") for path in (ROOT / room).rglob("*.py")]
    runtime = [path for path in files if path.name != "samples.py" and "tools" not in path.relative_to(ROOT).parts]
    assert len(runtime) > 50
    for path in runtime:
        assert [
            name for name in _imported(path) if name.startswith("contracts.") and {"tools", "samples"} & {*name.split(".")}
        ] == []


def test_the_fields_of_a_part_are_carried_to_the_next_message() -> None:
    answered = TaskAnswered(
        task="a.1", role="writer", text="x", tier="primary", provider="local", model="m", cost=0, input_tokens=7, output_tokens=3
    )
    assert carried(answered, Attribution) == {"tier": "primary", "provider": "local", "model": "m"}
    assert carried(answered, Attribution, Tokens) == carried(answered, Attribution) | {"input_tokens": 7, "output_tokens": 3}
