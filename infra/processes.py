"""The services as processes of their own on this machine: started, supervised, restarted with a backoff, stopped.

One supervisor a home folder. It writes `services.json` there, which `status` and `down` read.
"""

import json
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import hansard.__main__
from infra.servers import process
from infra.servers.home import Home
from infra.servers.passwords import written
from infra.servers.process import Planned, Running, ServerError, Spec
from infra.servers.reach import OWN, closed, made

BACKOFF = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)  # seconds before a service is started again
STEADY = 30.0  # seconds of running, after which an end counts as the first one
DRAIN = 20.0  # seconds a service has to finish what it does
LOOK = 0.1


@dataclass(frozen=True)
class ServiceStatus:
    """One service process, as the supervisor knows it."""

    name: str
    pid: int
    born: str
    http: str  # host:port of its health
    restarts: int
    log: str

    @property
    def alive(self) -> bool:
        return process.born(self.pid) == self.born

    @property
    def memory(self) -> int:
        """Resident bytes; 0 where the system does not tell."""
        try:
            pages = int(Path(f"/proc/{self.pid}/statm").read_text("ascii").split()[1])
        except (OSError, ValueError, IndexError):
            return 0
        return pages * os.sysconf("SC_PAGE_SIZE")

    def health(self, path: str = "ready") -> tuple[bool, str]:
        """Whether it is ready, and what its health page answers."""
        try:
            with urllib.request.urlopen(f"http://{self.http}/{path}", timeout=2) as answer:
                return answer.status == 200, answer.read(2000).decode(errors="replace")
        except urllib.error.HTTPError as failed:
            return False, failed.read(2000).decode(errors="replace")
        except (OSError, urllib.error.URLError) as unreachable:
            return False, str(getattr(unreachable, "reason", unreachable))


@dataclass(frozen=True)
class State:
    """What a supervisor wrote to `services.json`."""

    pid: int
    born: str
    services: tuple[ServiceStatus, ...]

    @property
    def alive(self) -> bool:
        return process.born(self.pid) == self.born


def read(home: Path) -> State | None:
    """What the supervisor of this home wrote last; None where none runs. Raises ServerError for another user."""
    try:
        raw = json.loads((home / "services.json").read_text("utf-8"))
        state = State(raw["pid"], raw["born"], tuple(ServiceStatus(**one) for one in raw["services"]))
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None
    except OSError as refused:
        raise ServerError(f"{home} cannot be read ({refused}): be the user who started the services.") from None
    return state if state.alive else None


def stop(home: Path, *, patience: float = DRAIN + 10) -> bool:
    """Asks the supervisor to stop its services and itself, and waits. False where none runs."""
    state = read(home)
    if state is None:
        return False
    os.kill(state.pid, signal.SIGTERM)
    if not process.wait_for(lambda: not state.alive, seconds=patience):
        os.kill(state.pid, signal.SIGKILL)
    return True


def command(*words: str) -> list[str]:
    """How the `hansard` command is started by this very code, whatever lies in the current folder."""
    return [sys.executable, "-P", hansard.__main__.__file__, *words]


def served(name: str, http: str) -> list[str]:
    """How a service is started."""
    return command("serve", name, "--instance", "1", "--http", http)


class Supervisor:
    """Supervises one process for each name. The services end with the process that runs the supervisor, however it ends."""

    def __init__(
        self,
        home: Path,
        names: Sequence[str],
        report: Callable[[str], None] = lambda _: None,
        command: Callable[[str, str], list[str]] = served,
        environment: Callable[[str], Mapping[str, str]] = lambda _: {},
    ) -> None:
        self.home, self.names, self.report, self.command = home, tuple(names), report, command
        self.environment = environment  # variables of one service's process alone, beside those of this one
        self._running: dict[str, Running] = {}
        self._http: dict[str, str] = {}
        self._ends: dict[str, int] = dict.fromkeys(names, 0)
        self._restarts: dict[str, int] = dict.fromkeys(names, 0)
        self._since: dict[str, float] = {}
        self._again: dict[str, float] = {}
        self._stopping = False

    def start(self) -> None:
        """Starts every service; `health` tells when one is ready."""
        made(closed(self.home) / "logs", OWN)
        taken: set[int] = set()
        for name in self.names:
            port = process.free_port(taken=taken)
            taken.add(port)
            self._http[name] = f"127.0.0.1:{port}"
            Home(self.home).fresh_log(self._log(name))
            self._start(name)
        self._write()

    def restart_ended(self) -> None:
        """Restarts the services that ended, each after its backoff."""
        if self._stopping:
            return
        for name in self.names:
            if name in self._again:
                if time.monotonic() >= self._again[name]:
                    del self._again[name]
                    self._start(name)
                    self._write()
            elif not process.alive(self._running[name]):
                self._ended(name)

    def watch(self, ended: Callable[[], bool]) -> None:
        """Supervises them until `ended`, then stops them."""
        try:
            while not ended():
                self.restart_ended()
                time.sleep(LOOK)
        finally:
            self.stop()

    def statuses(self) -> list[ServiceStatus]:
        """What runs now."""
        return [
            ServiceStatus(name, one.pid, one.born, self._http[name], self._restarts[name], str(self._log(name)))
            for name, one in sorted(self._running.items(), key=lambda item: self.names.index(item[0]))
        ]

    def waiting_for(self) -> list[str]:
        """The services that are not ready yet."""
        return [one.name for one in self.statuses() if not one.health()[0]]

    def stop(self) -> None:
        """Asks every service to finish and stop; kills those that do not."""
        self._stopping = True
        process.stop_all(self._running.values())
        (self.home / "services.json").unlink(missing_ok=True)

    def _start(self, name: str) -> None:
        command = self.command(name, self._http[name])
        here = Path.cwd()  # where relative paths in the settings begin
        spec = Spec(command, str(here), str(self._log(name)), signal.SIGTERM, patience=DRAIN)
        variables = os.environ | self.environment(name)
        self._running[name] = process.start(Planned(name, self._http[name], spec), keep=False, environment=variables)
        self._since[name] = time.monotonic()

    def _ended(self, name: str) -> None:
        if time.monotonic() - self._since[name] > STEADY:
            self._ends[name] = 0
        wait = BACKOFF[min(self._ends[name], len(BACKOFF) - 1)]
        self._ends[name] += 1
        self._restarts[name] += 1
        self._again[name] = time.monotonic() + wait
        self.report(f"{name} ended; it is started again" + (f" in {wait:g} s" if wait else "") + f" (log: {self._log(name)})")

    def _log(self, name: str) -> Path:
        return self.home / "logs" / f"{name}.log"

    def _write(self) -> None:
        pid = os.getpid()
        state: dict[str, Any] = {
            "pid": pid,
            "born": process.born(pid),
            "services": [asdict(one) for one in self.statuses()],
        }
        written(self.home / "services.json", json.dumps(state, indent=1))
