"""Processes for tests: services and the scripted model, their logs and health, and waiting for what they do."""

import asyncio
import contextlib
import math
import os
import re
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from infra.servers import Servers, process
from infra.servers.process import Planned, Running, Spec

ROOT = Path(__file__).parents[1]
LONG = 90.0  # seconds: a bound, not an expectation


def model(servers: Servers) -> Running:
    """Starts the scripted OpenAI-compatible server. Its address ends in `/v1`; `process.stop` stops it."""
    port = process.free_port()
    command = [sys.executable, "-m", "tests.scripted", str(port)]
    log = servers.home / "logs" / "scripted.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    spec = Spec(command, str(ROOT), str(log), signal.SIGTERM, patience=5)
    running = process.start(Planned("scripted model", f"http://127.0.0.1:{port}/v1", spec), keep=False)
    assert process.wait_for(lambda: not process.is_free(port), seconds=LONG), process.last_words(log)
    return running


@dataclass
class Process:
    """One service process, or several services in one."""

    names: tuple[str, ...]
    instance: str
    running: Running
    log: Path

    @property
    def http(self) -> str:
        return self.running.address

    @property
    def alive(self) -> bool:
        return process.alive(self.running)

    @property
    def log_text(self) -> str:
        """Its log, without colours."""
        return re.sub(r"\x1b\[[0-9;]*m", "", self.log.read_text(errors="replace"))

    def signal(self, number: int) -> None:
        assert self.alive, f"{self.names} is not running\n{process.last_words(self.log)}"
        os.kill(self.running.pid, number)

    async def end(self, number: int, kill_after: float = math.inf) -> None:
        """Sends a signal and waits until it is gone. Kills it if it is not after so many seconds."""
        end = time.monotonic() + kill_after
        self.signal(number)

        def is_gone() -> bool:
            if self.alive and time.monotonic() > end:
                self.signal(signal.SIGKILL)
            return not self.alive

        await until(is_gone, f"{self.names} ended after signal {number}")

    def health(self, path: str = "ready") -> tuple[int, str]:
        """HTTP status, 0 where nothing answers, and the body."""
        try:
            with urllib.request.urlopen(f"http://{self.http}/{path}", timeout=2) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as unwell:
            return unwell.code, unwell.read(4000).decode()
        except OSError:
            return 0, ""


async def until(
    is_so: Callable[[], bool | Awaitable[bool]], what: str | Callable[[], str], seconds: float = LONG, every: float = 0.05
) -> None:
    """Tries again and again; fails when the time is over. An unavailable server counts as not yet."""
    end = time.monotonic() + seconds
    while True:
        try:
            found = is_so()
            if await found if isinstance(found, Awaitable) else found:
                return
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            pass
        assert time.monotonic() < end, f"it did not happen: {what if isinstance(what, str) else what()}"
        await asyncio.sleep(every)


@contextlib.contextmanager
def given_environment(wanted: Mapping[str, str]) -> Iterator[None]:
    """Inside, the environment holds these variables and no other."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(wanted)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
