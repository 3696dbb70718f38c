"""What the last release and today's code say to each other, without a server. `tests/chaos/test_last_release.py` runs them side
by side."""

import json
import subprocess
import zipfile
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
    return releases.said_by(release, given)


def test_the_code_of_the_release_is_asked_and_not_todays(answers: dict[str, Any], release: Path) -> None:
    assert Path(answers["code"]).is_relative_to(release)


def test_the_last_release_reads_every_message_of_today_that_it_knows(answers: dict[str, Any]) -> None:
    assert answers["unread"] == {}


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
