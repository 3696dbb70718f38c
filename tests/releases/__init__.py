"""The last release, as code that runs beside today's.

A release is kept here as the wheel that was built from its tag (`python -m tests.releases TAG`), so that a clone without tags or
history has it too. It needs nothing but itself: what it depends on is today's environment. Until one is kept, today's own code is
built as a wheel and stands for it.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from tests.processes import ROOT

KEPT = Path(__file__).parent
PARTS = ("pyproject.toml", "contracts", "shared", "services", "infra")  # what a wheel is built from


def kept() -> Path | None:
    """The wheel of the last release: the one that HANSARD_LAST_RELEASE names, or the newest that is kept here."""
    if given := os.environ.get("HANSARD_LAST_RELEASE"):
        return Path(given)
    return max(KEPT.glob("hansard-*.whl"), key=version, default=None)


def version(wheel: Path) -> tuple[int, ...]:
    """`(0, 2, 0)` of `hansard-0.2.0-py3-none-any.whl`."""
    found = re.match(r"hansard-([\d.]+)-", wheel.name)
    assert found, f"{wheel.name} is no wheel of a release"
    return tuple(map(int, found[1].split(".")))


def built(source: Path, into: Path, epoch: str = "315532800") -> Path:
    """The wheel of this source, built without a network. `epoch`: the time of its files, in seconds."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--wheel-dir", str(into), str(source)]
    done = subprocess.run(command, env=os.environ | {"SOURCE_DATE_EPOCH": epoch}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = into.glob("hansard-*.whl")
    return wheel


def of_today(work: Path) -> Path:
    """The wheel of the code in this folder, in `work`."""
    source = work / "source"
    source.mkdir(parents=True)
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, source / part, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(ROOT / part, source)
    return built(source, work / "wheel")


def of_tag(tag: str, work: Path) -> Path:
    """The wheel of a tag of this repository, in `work`."""
    source = unpacked(BytesIO(_git("archive", "--format=zip", tag, *PARTS)), work / "source")
    return built(source, work / "wheel", _git("log", "-1", "--format=%ct", tag).decode().strip())


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True).stdout


def last_release(work: Path) -> Path:
    """A folder with the code of the last release: a process that starts there runs it."""
    return unpacked(kept() or of_today(work), work / "code")


def questioned(release: Path, examples: Sequence[Mapping[str, str]] = ()) -> dict[str, Any]:
    """`kinds` that the code of a release knows, and those of the examples that it cannot read (`unread`, with the reason). An
    example has a name, a kind, headers as JSON, and a body."""
    script = str(KEPT / "in_release.py")
    done = subprocess.run([sys.executable, script], cwd=release, input=json.dumps(examples), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def unpacked(archive: Path | BytesIO, into: Path) -> Path:
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(into)
    return into
