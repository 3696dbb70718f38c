"""The code that is measured: today's, or that of an earlier commit, built by its own `make setup`."""

import io
import os
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from infra.servers import Addresses

ROOT = Path(__file__).parents[2]
KEPT = ROOT / ".hansard" / "base"
RESULTS = "tests/benchmarks/RESULTS.md"


class Failed(RuntimeError):
    """Something cannot be measured; the message says what and why."""


@dataclass(frozen=True)
class Tree:
    """A source tree, and a Python with its locked packages."""

    name: str
    path: Path
    python: str = sys.executable

    def command(self, *arguments: str) -> list[str]:
        """Its own `hansard`."""
        return [self.python, "-m", "infra.cli", *arguments]

    def environment(self) -> dict[str, str]:
        """Its own source first on the path."""
        return {"PYTHONPATH": os.pathsep.join((str(self.path), str(self.path / "shared")))}

    def addresses(self, known: Addresses, *, owner: bool = False) -> dict[str, str]:
        """Addresses as its processes take them; `owner`: for the one that migrates. Before 0.2.0 services were the owner too."""
        if "postgres_owner" in (self.path / "shared" / "settings.py").read_text("utf-8"):
            return known.environment(owner=owner)
        return known.environment() | {"HANSARD_POSTGRES": known.owner}

    @property
    def services(self) -> list[str]:
        """The names of its services."""
        return sorted(app.parent.name for app in (self.path / "services").glob("*/app.py"))


TODAY = Tree("Hansard", ROOT)


def built(commit: str) -> Tree:
    """A commit's source in a folder of its own, with its own environment where its lock differs. Raises Failed."""
    sha = _git("rev-parse", "--verify", "--short=10", f"{commit}^{{commit}}").decode().strip()
    path = KEPT / sha
    if not path.exists():
        KEPT.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=KEPT, prefix="partial-") as folder:
            with tarfile.open(fileobj=io.BytesIO(_git("archive", "--format=tar", sha))) as archive:
                archive.extractall(Path(folder) / sha, filter="data")
            (Path(folder) / sha).rename(path)
    return Tree(sha, path, _python(path))


def _python(path: Path) -> str:
    if (path / "requirements.lock").read_bytes() == (ROOT / "requirements.lock").read_bytes():
        return sys.executable
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    made = subprocess.run(["make", "setup"], cwd=path, env=environment, check=False)
    if made.returncode:
        raise Failed(f"{path} cannot be built: run `make setup` there to see why.")
    return str(path / ".venv" / "bin" / "python")


def commit() -> str:
    """Today's commit, with a note where files were changed since."""
    try:
        sha = _git("rev-parse", "--short=10", "HEAD").decode().strip()
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", f":!{RESULTS}").strip()
    except Failed:
        return "unknown"
    return f"{sha} with changes" if changed else sha


def _git(*arguments: str) -> bytes:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False)
    except FileNotFoundError:
        raise Failed("git is not installed.") from None
    if done.returncode:
        raise Failed(f"git {arguments[0]}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout
