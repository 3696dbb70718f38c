"""The contributors' guide, followed to the letter in a copy of the project: its files are written, its patches applied, its
commands run, in the order in which they stand."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.copies import ROOT, copied

GUIDE = ROOT / ".github" / "CONTRIBUTING.md"
COPIED = ("contracts", "shared", "services", "infra", "tests", "pyproject.toml", "docker-compose.yml", "README.md", "Makefile")
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FOR_A_PERSON = "make "  # sets up, runs and tests the whole project: what the suite that this belongs to does


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, the file that it is to become (or ""), its text."""

    language: str
    path: str
    text: str


def sections() -> Iterator[tuple[str, list[Block]]]:
    """Each section that has something to do, by its title."""
    for part in re.split(r"^## ", GUIDE.read_text("utf-8"), flags=re.MULTILINE)[1:]:
        blocks = [Block(*found) for found in BLOCK.findall(part)]
        if any(block.path or block.language in ("sh", "diff") for block in blocks):
            yield part.partition("\n")[0], blocks


def follow(block: Block, folder: Path) -> None:
    """Does what the block says, as its reader would."""
    if block.path:
        path = folder / block.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, "utf-8")
    elif block.language == "diff":
        run(["git", "apply", "--unidiff-zero", "-"], folder, block.text)
    elif block.language == "sh":
        lines = [line for line in block.text.splitlines() if line and not line.startswith(FOR_A_PERSON)]
        run(["sh", "-e", "-c", "\n".join(lines)], folder)


def run(command: list[str], folder: Path, given: str = "") -> None:
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    python = os.pathsep.join((str(folder), str(folder / "shared")))
    environment = os.environ | {"PATH": path, "PYTHONPATH": python, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The project as it stands here, without what git does not know."""
    return copied(COPIED, tmp_path)


@pytest.mark.parametrize(("title", "blocks"), list(sections()), ids=lambda value: value if isinstance(value, str) else "")
def test_the_guide_works_to_the_letter(title: str, blocks: list[Block], copy: Path) -> None:
    for block in blocks:
        follow(block, copy)
