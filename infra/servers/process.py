"""Processes of ours: started under a guard, known again by pid and start time, ended by pid alone."""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import infra.servers.guard


class ServerError(RuntimeError):
    """A server cannot be had; the message says why and what to do about it."""


@dataclass(frozen=True)
class Spec:
    """How a server is started, always the same way: so it can be started again by whoever finds it."""

    command: list[str]
    cwd: str
    log: str
    stop_signal: int
    patience: float  # seconds between asking it to stop and making it
    uid: int | None = None  # None: as we are
    gid: int | None = None


@dataclass(frozen=True)
class Planned:
    """A server that is ready to be started."""

    name: str
    address: str
    spec: Spec


@dataclass(frozen=True)
class Running:
    """A server that was started: `born` tells its process from a later one that got the same pid."""

    name: str
    address: str
    pid: int
    born: str
    kept: bool
    spec: Spec
    owner: tuple[int, str] = (0, "")  # pid and birth of the process that started it


PROC = Path("/proc/self/stat").exists()

_guards: list[subprocess.Popen[bytes]] = []  # each holds a lifeline: as long as this process lives


def start(planned: Planned, *, keep: bool, remember: Callable[[Running], None] = lambda _: None) -> Running:
    """Start a server under its guard; it ends with this process, or, with `keep`, goes on once `remember` has come back.

    Raises ServerError when the command itself cannot be run.
    """
    name, spec = planned.name, planned.spec
    asked = json.dumps(asdict(spec))
    guard = subprocess.Popen(
        [sys.executable, "-I", "-S", infra.servers.guard.__file__, asked],
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert guard.stdin and guard.stdout and guard.stderr
    said = guard.stdout.readline()
    if not said:
        complaint = guard.stderr.read().decode(errors="replace").strip().splitlines()
        guard.wait()
        raise ServerError(f"{name} cannot be run: {complaint[-1] if complaint else spec.command[0]}")
    guard.stdout.close()
    guard.stderr.close()
    _guards[:] = [other for other in _guards if other.poll() is None] + [guard]
    pid = int(said)
    server = Running(name, planned.address, pid, born(pid) or "ended", keep, spec, (os.getpid(), born(os.getpid()) or ""))
    remember(server)
    if keep:
        with suppress(BrokenPipeError):  # it ended at once, and its guard with it
            guard.stdin.write(b"stay")
            guard.stdin.close()
    return server


def born(pid: int) -> str | None:
    """When this process began, as the system writes it; None when there is no such process (or only its corpse)."""
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
    """What this process was started with; empty when there is none."""
    if PROC:
        try:
            return Path(f"/proc/{pid}/cmdline").read_text("utf-8", errors="surrogateescape").replace("\0", " ")
        except OSError:
            return ""
    return subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True).stdout


def alive(server: Running) -> bool:
    """Whether it is still this very process."""
    return born(server.pid) == server.born


def leaving(server: Running) -> bool:
    """Whether it is still there, but its guard ends it: the process that it lived for is gone."""
    pid, birth = server.owner
    return not server.kept and bool(birth) and born(pid) != birth and alive(server)


def stop(server: Running, *, kill: bool = False) -> None:
    """Ask it to stop, wait, and make it stop if it will not. Harmless when it is gone already."""
    spec = server.spec
    if not kill and _signal(server, spec.stop_signal):
        wait_for(lambda: not alive(server), seconds=spec.patience)
    if _signal(server, 9) and not wait_for(lambda: not alive(server), seconds=10):
        raise ServerError(f"{server.name} (pid {server.pid}) does not end. End it yourself: kill -9 {server.pid}")


def stop_all(servers: Iterable[Running]) -> None:
    """Stop them side by side: some wait for each other. Raises the first ServerError after all were tried."""
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


def wait_for(there: Callable[[], bool], *, seconds: float) -> bool:
    """Look again and again until it is there or the time is over."""
    end = time.monotonic() + seconds
    while not (found := there()) and time.monotonic() < end:
        time.sleep(0.03)
    return found


def in_own_loop(question: Coroutine[object, object, bool]) -> bool:
    """Ask it in a thread and loop of its own: our callers may have a loop that runs."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, question).result()


def free_port(*, wish: int | None = None, taken: set[int] | None = None) -> int:
    """A port nobody listens on: the wish if it is free, else one below those that the system gives to clients."""
    lottery = random.sample(range(20_000, 32_000), 200)
    for port in [wish, *lottery] if wish else lottery:
        if port not in (taken or ()) and is_free(port):
            return port
    raise ServerError("No free port between 20000 and 32000 on 127.0.0.1.")


def is_free(port: int) -> bool:
    """Whether nobody listens there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def last_words(log: Path, *, lines: int = 8) -> str:
    """The end of a log, for an error that names it."""
    try:
        tail = log.read_text("utf-8", errors="replace").strip().splitlines()[-lines:]
    except OSError:
        tail = []
    return f"Its log is {log}" + ("".join(f"\n  | {line[:300]}" for line in tail) if tail else " (empty)")
