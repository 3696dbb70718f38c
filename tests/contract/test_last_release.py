"""What the last release and today's code read of each other, without a server. `tests/chaos/test_last_release.py` runs them side
by side."""

import json
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.tools import generate
from tests import releases
from tests.processes import ROOT

GOLDENS = [golden for of_kind in generate.goldens().values() for golden in of_kind]


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return releases.last_release(tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="session")
def answers(release: Path) -> dict[str, Any]:
    """What the code of the release says of today's golden examples."""
    given = [{"name": one.file, "kind": one.kind, "headers": json.dumps(one.headers), "body": one.body} for one in GOLDENS]
    return releases.questioned(release, given)


def test_the_code_of_the_release_is_asked_and_not_todays(answers: dict[str, Any], release: Path) -> None:
    assert Path(answers["code"]).is_relative_to(release)


def test_the_last_release_reads_every_message_of_today_that_it_knows(answers: dict[str, Any]) -> None:
    assert answers["unread"] == {}


def test_no_kind_holds_what_the_last_release_cannot_read(release: Path) -> None:
    """A further value of a choice, or a field that is no longer there, is a change of meaning: it needs a new kind."""
    found = {}
    for file in release.glob("contracts/*/schemas/*.json"):
        then, now = (json.loads((root / file.relative_to(release)).read_text("utf-8")) for root in (release, ROOT))
        if more := list(widened(then, now, then, now)):
            found[file.name] = more
    assert found == {}


def widened(then: Any, now: Any, all_then: Any, all_now: Any, at: str = "") -> Iterator[str]:
    """Where the schema of now allows what the one of then did not, as far as choices, types and required fields go."""
    then, now = resolved(then, all_then), resolved(now, all_now)
    for name in ("enum", "type", "const"):
        if name in then and (more := choices(now, name) - choices(then, name)):
            yield f"{at}: {name} {', '.join(sorted(map(str, more)))}"
    yield from (f"{at}.{name} may be absent" for name in set(then.get("required", ())) - set(now.get("required", ())))
    for name, field in then.get("properties", {}).items():
        if name in now.get("properties", {}):
            yield from widened(field, now["properties"][name], all_then, all_now, f"{at}.{name}")
    for part in ("items", "additionalProperties"):
        if isinstance(then.get(part), dict):
            yield from widened(then[part], now.get(part, {}), all_then, all_now, f"{at}[]")
    if (forms := len(now.get("anyOf", ()))) > len(then.get("anyOf", ())):
        yield f"{at}: {forms} forms"
    for one, other in zip(then.get("anyOf", ()), now.get("anyOf", ()), strict=False):
        yield from widened(one, other, all_then, all_now, at)


def resolved(schema: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref", "")
    return whole["$defs"][reference.rpartition("/")[2]] if reference else schema


def choices(schema: dict[str, Any], name: str) -> set[Any]:
    given = schema.get(name, "anything")
    return set(given) if isinstance(given, list) else {given}


@pytest.mark.parametrize(
    ("now", "found"),
    [
        ({}, ": enum anything"),
        ({"enum": ["a", "b"], "type": "string"}, ""),
        ({"enum": ["a", "b", "c"], "type": "string"}, ": enum c"),
        ({"enum": ["a"], "type": "string"}, ""),
        ({"anyOf": [{"enum": ["a"]}, {"type": "null"}]}, ": enum anything"),
    ],
)
def test_a_wider_choice_is_seen_however_deep_it_is(now: dict[str, Any], found: str) -> None:
    def around(inner: dict[str, Any]) -> dict[str, Any]:
        return {"properties": {"of": {"items": {"$ref": "#/$defs/Inner"}}}, "$defs": {"Inner": inner}, "required": ["of"]}

    then = around({"enum": ["a", "b"], "type": "string"})
    assert next(widened(then, around(now), then, around(now)), "") == (f".of[]{found}" if found else "")
    assert ".of may be absent" in list(widened(then, around(now) | {"required": []}, then, around(now)))


def test_no_kind_of_the_last_release_is_gone(answers: dict[str, Any]) -> None:
    assert set(answers["kinds"]) - set(generate.CATALOGUE.kinds) == set()


def test_what_was_released_is_frozen(release: Path) -> None:
    """Its migrations are applied somewhere, and its examples are stored somewhere."""
    frozen = [*release.glob("infra/migrations/*.sql"), *release.glob("contracts/*/examples/*.json")]
    assert len(frozen) > 50
    assert [str(file.relative_to(release)) for file in frozen if not same(file, ROOT / file.relative_to(release))] == []


def same(one: Path, other: Path) -> bool:
    return other.exists() and one.read_bytes() == other.read_bytes()


def test_the_kept_wheel_is_that_of_its_tag(tmp_path: Path) -> None:
    wheel = releases.kept()
    if wheel is None:
        pytest.skip("no release is kept yet")
    name = ".".join(map(str, releases.version(wheel)))
    tags = subprocess.run(["git", "tag", "--list", name, f"v{name}"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    if not tags:
        pytest.skip(f"this clone has no tag {name}")
    assert contents(releases.of_tag(tags[0], tmp_path)) == contents(wheel)


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("WHEEL")}


def test_the_newest_wheel_is_the_last_release(tmp_path: Path) -> None:
    names = ("hansard-0.9.0-py3-none-any.whl", "hansard-0.10.0-py3-none-any.whl", "hansard-0.2.1-py3-none-any.whl")
    assert max((tmp_path / name for name in names), key=releases.version).name == names[1]
