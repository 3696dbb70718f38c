"""Server processes: started under a guard, identified by pid and start time, ended by pid alone."""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import infra.servers.guard


class ServerError(RuntimeError):
    """A server cannot be started or stopped; the message says why and what to do."""


@dataclass(frozen=True)
class Spec:
    """How a server is started: always the same way, so that any process can start it again."""

    command: list[str]
    cwd: str
    log: str
    stop_signal: int
    patience: float  # seconds between the stop signal and SIGKILL
    uid: int | None = None  # None: the current user
    gid: int | None = None


@dataclass(frozen=True)
class Planned:
    """A server that is ready to be started."""

    name: str
    address: str
    spec: Spec


@dataclass(frozen=True)
class Running:
    """A server that was started. `born` distinguishes its process from a later one with the same pid."""

    name: str
    address: str
    pid: int
    born: str
    kept: bool
    spec: Spec
    owner: tuple[int, str] = (0, "")  # pid and birth of the process that started it


PROC = Path("/proc/self/stat").exists()

_guards: list[subprocess.Popen[bytes]] = []  # each holds a lifeline while this process runs


def start(
    planned: Planned,
    *,
    keep: bool,
    remember: Callable[[Running], None] = lambda _: None,
    environment: Mapping[str, str] | None = None,
) -> Running:
    """Start a server under its guard. It ends with this process unless `keep`, which takes effect once `remember` returned.

    `environment`: the whole of its environment, if that is not this process's.
    Raises ServerError when the command itself cannot be run.
    """
    name, spec = planned.name, planned.spec
    guard = subprocess.Popen(
        [sys.executable, "-I", "-S", infra.servers.guard.__file__, json.dumps(asdict(spec))],
        cwd="/",
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert guard.stdin and guard.stdout and guard.stderr
    answer = guard.stdout.readline()
    if not answer:
        complaint = guard.stderr.read().decode(errors="replace").strip().splitlines()
        guard.wait()
        raise ServerError(f"{name} cannot be run: {complaint[-1] if complaint else spec.command[0]}")
    guard.stdout.close()
    guard.stderr.close()
    _guards[:] = [other for other in _guards if other.poll() is None] + [guard]
    pid = int(answer)
    server = Running(name, planned.address, pid, born(pid) or "ended", keep, spec, (os.getpid(), born(os.getpid()) or ""))
    remember(server)
    if keep:
        with suppress(BrokenPipeError):  # it ended at once, and its guard with it
            guard.stdin.write(b"stay")
            guard.stdin.close()
    return server


def born(pid: int) -> str | None:
    """When this process began, as the system writes it; None when there is no such process, or only a zombie."""
    if PROC:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text("utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            return None
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return None if fields[0] in "ZX" else f"{boot}/{fields[19]}"
    listed = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True)
    state, _, since = listed.stdout.strip().partition(" ")
    return since.strip() if state and not state.startswith("Z") else None


def command_line(pid: int) -> str:
    """The command line of a process; empty when there is no such process."""
    if PROC:
        try:
            return Path(f"/proc/{pid}/cmdline").read_text("utf-8", errors="surrogateescape").replace("\0", " ")
        except OSError:
            return ""
    return subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True).stdout


def alive(server: Running) -> bool:
    """Whether this very process still runs."""
    return born(server.pid) == server.born


def leaving(server: Running) -> bool:
    """Whether it still runs while its guard ends it, because its owner has ended."""
    pid, birth = server.owner
    return not server.kept and bool(birth) and born(pid) != birth and alive(server)


def stop(server: Running, *, kill: bool = False) -> None:
    """Send the stop signal, wait, then kill it if it still runs. Does nothing when it has ended already."""
    spec = server.spec
    if not kill and _signal(server, spec.stop_signal):
        wait_for(lambda: not alive(server), seconds=spec.patience)
    if _signal(server, 9) and not wait_for(lambda: not alive(server), seconds=10):
        raise ServerError(f"{server.name} (pid {server.pid}) does not end. Run: kill -9 {server.pid}")


def stop_all(servers: Iterable[Running]) -> None:
    """Stop them in parallel, since some wait for each other. Raises the first ServerError after all were tried."""
    with ThreadPoolExecutor(16) as pool:
        for done in [pool.submit(stop, server) for server in servers]:
            done.result()


def _signal(server: Running, number: int) -> bool:
    if not alive(server):
        return False
    try:
        os.kill(server.pid, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        raise ServerError(
            f"{server.name} (pid {server.pid}) belongs to another user. Stop it as the user who started it."
        ) from None
    return True


def wait_for(is_so: Callable[[], bool], *, seconds: float) -> bool:
    """Try again and again until it is so or the time is over. Whether it is so."""
    end = time.monotonic() + seconds
    while not (found := is_so()) and time.monotonic() < end:
        time.sleep(0.03)
    return found


def in_own_loop(question: Coroutine[object, object, bool]) -> bool:
    """Run this in a thread and an event loop of its own: the caller may be inside a running loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, question).result()


def free_port(*, wish: int | None = None, taken: set[int] | None = None) -> int:
    """A port on which nothing listens: `wish` if it is free, else one below those that the system gives to clients."""
    lottery = random.sample(range(20_000, 32_000), 200)
    for port in [wish, *lottery] if wish else lottery:
        if port not in (taken or ()) and is_free(port):
            return port
    raise ServerError("No free port between 20000 and 32000 on 127.0.0.1.")


def is_free(port: int) -> bool:
    """Whether nothing listens on this port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def last_words(log: Path, *, lines: int = 8) -> str:
    """The name and the last lines of a log, for an error."""
    try:
        tail = log.read_text("utf-8", errors="replace").strip().splitlines()[-lines:]
    except OSError:
        tail = []
    return f"Its log is {log}" + ("".join(f"\n  | {line[:300]}" for line in tail) if tail else " (empty)")
