"""The home folder of the servers: the state file, the ports that they had, and a lock for one process at a time."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from threading import Lock
from typing import IO, Any

from infra.servers.passwords import written
from infra.servers.process import Running, ServerError, Spec, alive, free_port
from infra.servers.reach import OWN, closed, made

LOGS_KEPT = 5  # of each server


def _running(entry: dict[str, Any]) -> Running:
    pid, birth = entry.get("owner", (0, ""))
    return Running(**entry | {"spec": Spec(**entry["spec"]), "owner": (pid, birth)})


class Home:
    """The servers started in one folder. Reading needs no lock: the state file is replaced as a whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._state = folder / "servers.json"
        self._ports = folder / "ports.json"
        self._one_thread = Lock()

    @contextmanager
    def alone(self, progress: Callable[[str], None]) -> Iterator[None]:
        """Lets one process at a time start and stop servers here. Raises ServerError when the folder cannot be written."""
        try:
            made(closed(self.folder) / "logs", OWN)
            (self.folder / "lock").touch(0o600)
            lock = (self.folder / "lock").open("wb")
        except OSError as refused:
            raise ServerError(f"{self.folder} cannot be written ({refused}): set HANSARD_HOME to a folder that can.") from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                progress("waiting for another process that starts or stops servers here")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def known(self) -> dict[str, Running]:
        """Every server that was started and not stopped, by name, running or not."""
        try:
            entries = json.loads(self._state.read_text("utf-8"))
            return {name: _running(entry) for name, entry in sorted(entries.items())}
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, KeyError, AttributeError) as broken:
            raise ServerError(
                f"{self._state} cannot be read ({broken}): stop its servers by hand, then remove the file."
            ) from None
        except OSError as refused:
            raise ServerError(f"{self._state} cannot be read ({refused}): run as the user who started the servers.") from None

    def alive(self) -> dict[str, Running]:
        """The servers that run now."""
        return {name: server for name, server in self.known().items() if alive(server)}

    def remember(self, server: Running) -> None:
        """Add a server that was just started to the state file."""
        with self._one_thread:
            self._replace(self._state, self._listed(self.known() | {server.name: server}))

    def forget(self, *names: str) -> None:
        """Remove these servers, or all, from the state file."""
        with self._one_thread:
            kept = {name: server for name, server in self.known().items() if names and name not in names}
            self._replace(self._state, self._listed(kept))

    def port(self, name: str, *, taken: set[int]) -> int:
        """The port that this server had before if it is free, else a new one; never one of `taken`, to which it is added."""
        try:
            before = json.loads(self._ports.read_text("utf-8"))
        except (FileNotFoundError, ValueError):
            before = {}
        port = free_port(wish=before.get(name), taken=taken)
        self._replace(self._ports, before | {name: port})
        taken.add(port)
        return port

    def open_log(self, name: str) -> IO[bytes]:
        """A log that is appended to."""
        log = made(self.folder / "logs", OWN) / f"{name}.log"
        log.touch(0o600)
        return log.open("ab")

    def fresh_log(self, log: Path) -> None:
        """Rotate the log of the previous run: kafka-1.log becomes kafka-1.log.1, and so on."""
        for number in range(LOGS_KEPT - 1, 0, -1):
            older, newer = Path(f"{log}.{number}"), Path(f"{log}.{number - 1}") if number > 1 else log
            if newer.exists():
                newer.replace(older)

    @staticmethod
    def _listed(servers: dict[str, Running]) -> dict[str, object]:
        return {name: asdict(server) for name, server in servers.items()}

    @staticmethod
    def _replace(file: Path, content: dict[str, object]) -> None:
        written(file, json.dumps(content, indent=1))  # the state holds a password
