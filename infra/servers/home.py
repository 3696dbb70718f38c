"""The home folder of our servers: its one state file, the ports they had, the door that one process at a time holds."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from threading import Lock
from typing import Any

from infra.servers.process import Running, ServerError, Spec, alive, free_port
from infra.servers.reach import ENTERED, OWN, made

LOGS_KEPT = 5  # of each server


def _running(entry: dict[str, Any]) -> Running:
    pid, birth = entry.get("owner", (0, ""))
    return Running(**entry | {"spec": Spec(**entry["spec"]), "owner": (pid, birth)})


class Home:
    """What is known of the servers of one folder. Reading needs no lock; the state file is replaced whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._state = folder / "servers.json"
        self._ports = folder / "ports.json"
        self._one_thread = Lock()

    @contextmanager
    def alone(self, say: Callable[[str], None]) -> Iterator[None]:
        """One process at a time starts and stops servers here. Raises ServerError when the folder cannot be written."""
        try:
            made(self.folder, ENTERED)
            made(self.folder / "logs", OWN)
            door = (self.folder / "lock").open("wb")
        except OSError as refused:
            raise ServerError(f"{self.folder} cannot be written ({refused}): set HANSARD_HOME to a folder that can.") from None
        with door:
            try:
                fcntl.flock(door, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("waiting for another process that starts or stops servers here")
                fcntl.flock(door, fcntl.LOCK_EX)
            yield

    def known(self) -> dict[str, Running]:
        """Every server started and not stopped, by name, dead or alive."""
        try:
            entries = json.loads(self._state.read_text("utf-8"))
            return {name: _running(entry) for name, entry in sorted(entries.items())}
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, KeyError, AttributeError) as broken:
            raise ServerError(
                f"{self._state} cannot be read ({broken}): stop the servers it stood for by hand, then remove it."
            ) from None
        except OSError as refused:
            raise ServerError(f"{self._state} cannot be read ({refused}): be the user who started the servers.") from None

    def alive(self) -> dict[str, Running]:
        """Those that run now."""
        return {name: server for name, server in self.known().items() if alive(server)}

    def remember(self, server: Running) -> None:
        """Put a server that was just started on the list."""
        with self._one_thread:
            self._replace(self._state, self._listed(self.known() | {server.name: server}))

    def forget(self, *names: str) -> None:
        """Take these from the list, or all."""
        with self._one_thread:
            kept = {name: server for name, server in self.known().items() if names and name not in names}
            self._replace(self._state, self._listed(kept))

    def port(self, name: str, *, taken: set[int]) -> int:
        """The port this server had before if it is free, else another; `taken` ones are never given."""
        try:
            before = json.loads(self._ports.read_text("utf-8"))
        except (FileNotFoundError, ValueError):
            before = {}
        port = free_port(wish=before.get(name), taken=taken)
        self._replace(self._ports, before | {name: port})
        taken.add(port)
        return port

    def fresh_log(self, log: Path) -> None:
        """Move the log of the run before out of the way: kafka-1.log becomes kafka-1.log.1, and so on."""
        for number in range(LOGS_KEPT - 1, 0, -1):
            older, newer = Path(f"{log}.{number}"), Path(f"{log}.{number - 1}") if number > 1 else log
            if newer.exists():
                newer.replace(older)

    @staticmethod
    def _listed(servers: dict[str, Running]) -> dict[str, object]:
        return {name: asdict(server) for name, server in servers.items()}

    @staticmethod
    def _replace(file: Path, content: dict[str, object]) -> None:
        partial = file.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        partial.touch(mode=0o600)  # the state holds a password
        partial.write_text(json.dumps(content, indent=1), "utf-8")
        partial.replace(file)
