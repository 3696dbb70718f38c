"""The peers as sides of a measurement: each is installed in its own environment, started, measured, stopped, removed."""

import asyncio
import hashlib
import json
import subprocess
import sys
import time
import uuid
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg

from infra.servers import process
from tests import npm
from tests.benchmarks.closed import closed
from tests.benchmarks.kit import Bench, Open, Side
from tests.benchmarks.peers.work import check
from tests.benchmarks.tables import Cell
from tests.benchmarks.trees import ROOT, Failed

HERE = Path(__file__).parent
KEPT = ROOT / ".hansard" / "peers"
PATIENCE = 60.0  # seconds that Restate may take to answer


@dataclass(frozen=True)
class Installed:
    """The Python of each peer's environment, and Restate's server."""

    dbos: str
    restate: str
    server: str

    @property
    def opens(self) -> tuple[Open, ...]:
        """How each of them is started."""
        return self._restate, self._dbos, self._bare

    async def _restate(self, bench: Bench, opened: AsyncExitStack) -> Side:
        return await opened.enter_async_context(Restate(bench, self))

    async def _dbos(self, bench: Bench, opened: AsyncExitStack) -> Side:
        return await opened.enter_async_context(Worker("DBOS", bench, self.dbos, "dbos_worker"))

    async def _bare(self, bench: Bench, opened: AsyncExitStack) -> Side:
        return await opened.enter_async_context(Worker("bare asyncpg", bench, sys.executable, "bare_worker"))


def installed() -> Installed:
    """Installs the peers that are missing, by hash. Raises Failed."""
    try:
        node = npm.installed(HERE / "node")
    except npm.NpmError as failed:
        raise Failed(str(failed)) from failed
    servers = list(node.glob("node_modules/@restatedev/restate-server-*/bin/restate-server"))
    if not servers:
        raise Failed("Restate has no server for this machine.")
    return Installed(_environment("dbos"), _environment("restate"), str(servers[0]))


def _environment(peer: str) -> str:
    lock = HERE / f"{peer}.lock"
    home = KEPT / f"{peer}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    python, whole = home / "bin" / "python", home / "whole"
    if not whole.exists():
        print(f"installing {peer} into {home.relative_to(ROOT)}", flush=True)
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]
        for command in (
            [sys.executable, "-m", "venv", "--clear", str(home)],
            [*pip, "--require-hashes", "--no-deps", "-r", str(lock)],
        ):
            if subprocess.run(command, check=False).returncode:
                raise Failed(f"{peer} could not be installed; if the network failed, try again.")
        whole.touch()
    return str(python)


class Worker:
    """A peer with its data in the benchmark's Postgres, in a schema of its own; the caller is inside its worker."""

    shares = ("postgres", "model")

    def __init__(self, name: str, bench: Bench, python: str, module: str) -> None:
        self.name, self._bench = name, bench
        self._schema = f"bench_{uuid.uuid4().hex[:8]}"
        self._command = [python, "-m", f"tests.benchmarks.peers.{module}", bench.addresses.owner, self._schema, bench.model]

    async def __aenter__(self) -> "Worker":
        with self._bench.log(self.name).open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                limit=1 << 24, start_new_session=True,
            )  # fmt: skip
        self._bench.names[self._process.pid] = f"{self.name}/worker"
        await self._answer()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process.stdin
        self._process.stdin.close()  # the worker ends when its input ends
        try:
            await asyncio.wait_for(self._process.wait(), 20)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        with suppress(OSError, asyncpg.PostgresError):
            connection = await asyncpg.connect(self._bench.addresses.owner)
            await connection.execute(f"drop schema if exists {self._schema} cascade")
            await connection.close()

    async def loop(self, cell: Cell, concurrency: int, count: int) -> tuple[float, list[float]]:
        assert self._process.stdin
        wanted = {"workload": cell.workload, "at_once": concurrency, "count": count}
        self._process.stdin.write(json.dumps(wanted).encode() + b"\n")
        answer = await self._answer()
        return answer["rate"], answer["taken"]

    async def _answer(self) -> Any:
        assert self._process.stdout
        line = await self._process.stdout.readline()
        if not line:
            raise Failed(f"{self.name} ended. {process.last_words(self._bench.log(self.name))}")
        return json.loads(line)


class Restate:
    """Restate: a server of one partition with fsync on, a worker, and a caller by HTTP, which is this process."""

    name = "Restate"
    shares = ("model", "load")

    def __init__(self, bench: Bench, installed: Installed) -> None:
        self._bench, self._installed = bench, installed

    async def __aenter__(self) -> "Restate":
        taken: set[int] = set()
        ports = []
        for _ in range(4):
            ports.append(process.free_port(taken=taken))
            taken.add(ports[-1])
        ingress, admin, node, worker = ports
        self._url = f"http://127.0.0.1:{ingress}/bench"
        start, data = self._bench.start, self._bench.folder / f"restate-{ingress}"
        self._processes = [
            start(
                "Restate/server",
                [self._installed.server, "--base-dir", str(data), "--node-name", "n1"],
                RESTATE_INGRESS__BIND_ADDRESS=f"127.0.0.1:{ingress}",
                RESTATE_ADMIN__BIND_ADDRESS=f"127.0.0.1:{admin}",
                RESTATE_BIND_ADDRESS=f"127.0.0.1:{node}",
                RESTATE_LISTEN_MODE="tcp",
                RESTATE_DEFAULT_NUM_PARTITIONS="1",
                RESTATE_WORKER__INVOKER__CONCURRENT_INVOCATIONS_LIMIT="1000",
                RESTATE_DISABLE_TELEMETRY="true",
                DO_NOT_TRACK="1",
                RUST_LOG="warn",
                TMPDIR=str(self._bench.folder),
            ),
            start(
                "Restate/worker",
                [self._installed.restate, "-m", "tests.benchmarks.peers.restate_worker", str(worker), self._bench.model],
            ),
        ]
        self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1024), timeout=aiohttp.ClientTimeout(total=600))
        try:
            await self._until(f"http://127.0.0.1:{admin}/deployments", {"uri": f"http://127.0.0.1:{worker}", "force": True})
            await self._until(f"{self._url}/w2", {})
        except BaseException:  # also Ctrl-C: __aexit__ is not called for a failed __aenter__
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()
        process.stop_all(self._processes)

    async def loop(self, cell: Cell, concurrency: int, count: int) -> tuple[float, list[float]]:
        async def call() -> None:
            async with self._http.post(f"{self._url}/{cell.workload}", json={}) as answer:
                if answer.status != 200:
                    raise Failed(f"Restate: {answer.status} {await answer.text()}")
                check(cell.workload, await answer.json())

        return await closed(call, concurrency, count)

    async def _until(self, url: str, body: dict[str, Any]) -> None:
        """Posts until the request is accepted. Raises Failed."""
        end, trouble = time.monotonic() + PATIENCE, ""
        while time.monotonic() < end:
            try:
                async with self._http.post(url, json=body) as answer:
                    if answer.status < 300:
                        return
                    trouble = await answer.text()
            except aiohttp.ClientError as failed:
                trouble = str(failed)
            await asyncio.sleep(0.2)
        raise Failed(f"Restate does not answer: {trouble}. {process.last_words(self._bench.log('Restate/server'))}")
