"""The bench: servers, service processes, a closed loop of requests, and what was measured."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import Any

import psutil
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from rich.console import Console
from rich.table import Table

from contracts.envelope import Envelope, headers
from infra.migrations import migrate
from infra.servers import Addresses, Servers
from infra.topics import apply
from shared.settings import Settings

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Measured:
    """One measurement. `more` holds what only this one measures."""

    name: str
    workload: str
    concurrency: int = 0
    rate: float = 0.0  # per second
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    cpu_ms: float = 0.0  # of all our processes, for one of what the rate counts
    more: Mapping[str, Any] = field(default_factory=dict)

    def line(self) -> dict[str, Any]:
        known = {k: v for k, v in vars(self).items() if k != "more"}
        return {k: round(v, 3) if isinstance(v, float) else v for k, v in (known | dict(self.more)).items()}


class Book:
    """Where measurements go: the screen, and one JSON object a line in `.hansard/bench.jsonl`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.all: list[Measured] = []
        path.parent.mkdir(parents=True, exist_ok=True)

    def note(self, measured: Measured) -> None:
        self.all.append(measured)
        with self.path.open("a") as book:
            book.write(json.dumps(measured.line() | {"commit": commit(), "at": time.time()}) + "\n")
        print(" ".join(f"{k}={v}" for k, v in measured.line().items()), flush=True)

    def table(self) -> str:
        """Markdown."""
        rows = [
            "| what | workload | at once | per second | p50 ms | p99 ms | CPU ms | more |",
            "|---|---|---:|---:|---:|---:|---:|---|",
        ]
        for m in self.all:
            more = ", ".join(f"{k} {round(v, 2) if isinstance(v, float) else v}" for k, v in m.more.items())
            cells = [
                m.rate and f"{m.rate:,.0f}",
                m.p50_ms and f"{m.p50_ms:.1f}",
                m.p99_ms and f"{m.p99_ms:.1f}",
                m.cpu_ms and f"{m.cpu_ms:.2f}",
            ]
            rows.append(
                f"| {m.name} | {m.workload} | {m.concurrency or ''} | {' | '.join(str(c or '') for c in cells)} | {more} |"
            )
        return "\n".join(rows)

    def show(self) -> None:
        table = Table("what", "workload", "at once", "per second", "p50 ms", "p99 ms", "CPU ms", "more")
        for m in self.all:
            table.add_row(
                m.name, m.workload, str(m.concurrency or ""),
                f"{m.rate:,.0f}", f"{m.p50_ms:.1f}", f"{m.p99_ms:.1f}", f"{m.cpu_ms:.2f}",
                ", ".join(f"{k} {round(v, 2) if isinstance(v, float) else v}" for k, v in m.more.items()),
            )  # fmt: skip
        Console(width=180).print(table)


def commit() -> str:
    found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT, check=False)
    return found.stdout.strip() or "unknown"


def machine() -> str:
    memory = psutil.virtual_memory().total / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, Python {sys.version.split()[0]}"


def spread(seconds: Sequence[float]) -> tuple[float, float]:
    """p50 and p99 in milliseconds."""
    if len(seconds) < 2:
        return (seconds[0] * 1000,) * 2 if seconds else (0.0, 0.0)
    cuts = quantiles(seconds, n=100)
    return cuts[49] * 1000, cuts[98] * 1000


@contextmanager
def servers() -> Iterator[Addresses]:
    """Kafka and Postgres of our own in a fresh folder, or those that the environment names."""
    home = Servers(Path(tempfile.mkdtemp(prefix="hansard-bench-")))
    try:
        yield home.up(model=False, progress=lambda text: print(text, flush=True))
    finally:
        home.erase()


@dataclass
class House:
    """One schema, one topic prefix, and the processes that serve on them."""

    settings: Settings
    environment: dict[str, str]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def serve(self, *names: str) -> None:
        for name in names:
            log = (self.settings.home / f"{name.partition(':')[0]}.log").open("ab")
            command = [sys.executable, "-m", "infra.cli", "serve", name]
            self.processes[name] = subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=log, stderr=log)

    def cpu(self) -> dict[str, float]:
        """Seconds of CPU that each process has used."""
        found = {}
        for name, process in self.processes.items():
            times = psutil.Process(process.pid).cpu_times()
            found[name] = times.user + times.system
        return found

    def end(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


@asynccontextmanager
async def house(addresses: Addresses, *serves: str, **settings: str) -> AsyncIterator[House]:
    """A house of its own on these servers, with the services asked for, ready to hear."""
    mark = uuid.uuid4().hex[:8]
    home = tempfile.mkdtemp(prefix="hansard-bench-")
    given = addresses.environment() | {
        "HANSARD_POSTGRES_SCHEMA": f"bench_{mark}",
        "HANSARD_TOPIC_PREFIX": f"bench-{mark}.",
        "HANSARD_HOME": home,
        "HANSARD_LOG_LEVEL": "WARNING",
        "HANSARD_INSTANCE": "1",
        **{f"HANSARD_{name.upper()}": value for name, value in settings.items()},
    }
    os.environ.update(given)
    made = Settings()
    for name in given:
        os.environ.pop(name)
    await migrate(made.postgres.get_secret_value(), made.postgres_schema)
    await apply(made, dry_run=False)
    it = House(made, os.environ | given)
    it.serve(*serves)
    try:
        yield it
    finally:
        it.end()


class Caller:
    """Publishes requests and sees their results: what an outside client does, and no more."""

    def __init__(self, house: House, into: str = "requests", out: str = "results") -> None:
        self.house, self.into, self.out = house, house.settings.topic_prefix + into, house.settings.topic_prefix + out
        self.results: dict[str, tuple[float, str]] = {}
        self._waiting: dict[str, asyncio.Future[float]] = {}

    async def __aenter__(self) -> "Caller":
        self._stack = AsyncExitStack()
        at = {"bootstrap_servers": self.house.settings.kafka}
        self._producer = AIOKafkaProducer(**at, acks="all", linger_ms=0)
        self._consumer = AIOKafkaConsumer(self.out, **at, auto_offset_reset="earliest", fetch_max_wait_ms=50)
        await self._producer.start()
        await self._consumer.start()
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._reader.cancel()
        await self._consumer.stop()
        await self._producer.stop()

    async def call(self, body: Mapping[str, Any], timeout: float = 120) -> float:
        """Seconds from the publish to its result."""
        name = uuid.uuid4().hex
        self._waiting[name] = asyncio.get_running_loop().create_future()
        began = time.perf_counter()
        await self.publish(name, body)
        return await asyncio.wait_for(self._waiting[name], timeout) - began

    async def publish(self, name: str, body: Mapping[str, Any]) -> None:
        data = json.dumps(body).encode()
        envelope = Envelope(name, "/bench", "hansard.requests.submit.v1", data, name)
        await self._producer.send(self.into, data, name.encode(), headers=headers(envelope))

    def ends(self, kind: bytes) -> bool:
        """Whether a message of this kind is what a caller waits for."""
        return True

    async def _read(self) -> None:
        while True:
            for records in (await self._consumer.getmany(timeout_ms=1000)).values():
                at = time.perf_counter()
                for record in records:
                    named = dict(record.headers)
                    name, kind = (named.get("ce_correlationid") or record.key or b"").decode(), named.get("ce_type") or b""
                    if not self.ends(kind):
                        continue
                    self.results.setdefault(name, (at, kind.decode()))
                    if (future := self._waiting.pop(name, None)) and not future.done():
                        future.set_result(at)


async def closed(call: Callable[[], Any], concurrency: int, count: int) -> tuple[float, list[float]]:
    """A closed loop: `concurrency` callers, `count` calls in all. Calls per second, and the seconds of each."""
    left, taken = iter(range(count)), []

    async def caller() -> None:
        for _ in left:
            taken.append(await call())

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(concurrency)))
    return count / (time.perf_counter() - began), taken


async def warm(caller: Caller, body: Mapping[str, Any], count: int) -> None:
    """A broker, a database and six processes that have just started are slower than they will be."""
    await closed(lambda: caller.call(body), 64, count)


async def measured(
    name: str, workload: str, it: House, caller: Caller, body: Mapping[str, Any], concurrency: int, count: int, **more: Any
) -> Measured:
    """A closed loop of one request, with the CPU of every service process."""
    await closed(lambda: caller.call(body), concurrency, max(concurrency, 20))
    before = it.cpu()
    rate, seconds = await closed(lambda: caller.call(body), concurrency, count)
    cpu = {part: (after - before[part]) * 1000 / count for part, after in it.cpu().items()}
    kinds = {kind for _, kind in caller.results.values()}
    p50, p99 = spread(seconds)
    each = {f"cpu_ms_{part.rpartition('.')[2].partition(':')[0]}": round(ms, 2) for part, ms in cpu.items()}
    wrong = {"results": sorted(kinds)} if kinds - {"hansard.results.completed.v1"} else {}
    return Measured(name, workload, concurrency, rate, p50, p99, sum(cpu.values()), {**each, **wrong, **more})
