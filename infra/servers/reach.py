"""Files for a different user: Postgres refuses to run as root, and the user it then runs as may not enter the home.

No folder of the home is opened for that user. What it needs and cannot reach is put into a folder outside the home, to
which the link `outside` in the home leads: so the next run finds it, and `erase` removes it.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackagePath
from pathlib import Path

from infra.servers.process import ServerError

PLACES = ("/var/lib", "/var/tmp")  # where programs and data may be kept; then the folder for temporary files
ENTERED = 0o711  # others may enter it, and not list it
OWN = 0o700
ABOVE = ENTERED if os.geteuid() == 0 else OWN  # of a folder above one that may belong to another user


def made(folder: Path, mode: int) -> Path:
    """This folder, made with this mode whatever the umask; from an existing one of ours, all rights beyond it are taken."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir(OWN)
    except FileExistsError:
        mode &= folder.stat().st_mode
    if folder.stat().st_uid == os.geteuid():
        folder.chmod(mode)
    return folder


def closed(home: Path) -> Path:
    """The home folder, made where there is none. An existing one stays as it is: it may hold more than ours."""
    return home if home.exists() else made(home, ABOVE)


@dataclass(frozen=True)
class User:
    """The user that a server runs as; without ids, the current one."""

    uid: int | None = None
    gid: int | None = None

    def run(self, command: list[str], *, cwd: Path | str) -> subprocess.CompletedProcess[str]:
        """Run a command as this user. Raises OSError when the command cannot be run or the user not be taken."""
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            user=self.uid,
            group=self.gid,
            extra_groups=None if self.uid is None else [],
            cwd=cwd,
        )

    def can(self, *command: str) -> bool:
        """Whether this command succeeds for this user."""
        try:
            return self.run([*command], cwd="/").returncode == 0
        except OSError:
            return False

    def can_enter(self, folder: Path) -> bool:
        """Whether this user may enter a folder and all those above it."""
        return self.uid is None or self.can("test", "-x", str(folder))

    def own(self, path: Path) -> None:
        """Give a path, with all that it contains, to this user."""
        if self.uid is not None:
            for each in (path, *path.rglob("*")):
                os.chown(each, self.uid, -1 if self.gid is None else self.gid, follow_symlinks=False)


def unprivileged() -> User:
    """The current user, unless that is root: then `postgres` or `nobody`, whichever exists. Raises ServerError."""
    if os.geteuid() != 0:
        return User()
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return User(user.pw_uid, user.pw_gid)
    raise ServerError("Postgres does not run as root, and there is no user `postgres` or `nobody`: run this as a different user.")


def found_outside(home: Path) -> Path | None:
    """The folder outside this home, where one was made and still belongs to the current user."""
    folder = (home / "outside").resolve()
    ours = folder.name.startswith("hansard-") and folder.is_dir() and folder.stat().st_uid == os.geteuid()
    return folder if ours else None


def outside(home: Path, user: User) -> Path:
    """The same, made where there is none, in a place where this user may run programs. Raises ServerError."""
    if (folder := found_outside(home)) and _runs_programs(user, folder):
        return folder
    for place in dict.fromkeys([*PLACES, tempfile.gettempdir()]):
        try:
            folder = Path(tempfile.mkdtemp(prefix="hansard-", dir=place))
        except OSError:
            continue
        folder.chmod(ENTERED)
        if _runs_programs(user, folder):
            link = home / "outside"
            link.unlink(missing_ok=True)
            link.symlink_to(folder)
            return folder
        folder.rmdir()
    raise ServerError(
        f"Postgres cannot run as root, and user {user.uid} can run programs nowhere: "
        "run this as a different user, or set HANSARD_POSTGRES."
    )


def _runs_programs(user: User, folder: Path) -> bool:
    probe = folder / "probe"
    try:
        probe.write_text("#!/bin/sh\n", "utf-8")
        probe.chmod(0o755)
        return user.can(str(probe))
    finally:
        probe.unlink(missing_ok=True)


def open_to(user: User, files: list[PackagePath]) -> bool:
    """Whether this user can read all of these installed files, run the programs among them and enter their folders."""
    if user.uid is None:
        return True
    paths = [Path(file.locate()) for file in files]
    folders = {file.parent for file in paths}
    programs = [file for file in paths if file.stat().st_mode & 0o100]
    every = 'is=$1; shift; for one; do test "$is" "$one" || exit 1; done'
    return all(
        user.can("sh", "-c", every, "sh", right, *map(str, wanted))
        for right, wanted in (("-x", {*folders, *programs}), ("-r", {*folders, *paths}))
    )


def copied(files: list[PackagePath], target: Path) -> Path:
    """The folder `target` with a copy of these installed files, readable by everyone. Made atomically.

    Copies of other versions beside it, complete or not, are removed.
    """
    if not target.exists():
        for leftover in target.parent.glob(f"{target.name.partition('-')[0]}-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        partial = Path(tempfile.mkdtemp(prefix=f"{target.name}.partial-", dir=target.parent))
        for file in files:
            source, copy = Path(file.locate()), partial / file
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copy)
            copy.chmod(0o755 if source.stat().st_mode & 0o100 else 0o644)
        for folder in (partial, *(path for path in partial.rglob("*") if path.is_dir())):
            folder.chmod(0o755)
        partial.rename(target)
    return target
