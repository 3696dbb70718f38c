"""What benchmarks share: servers and processes with their CPU, deployments as black boxes, a caller, rounds.

A deployment is what a user would run: `hansard migrate`, `hansard topics`, `hansard serve SERVICE`, settings in the
environment. Its caller publishes requests and consumes results. So the same driver measures any commit that has these.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
import urllib.request
import uuid
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Protocol, TypeVar

import asyncpg
import psutil
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from infra.servers import Addresses, Servers, process
from infra.servers.process import Planned, Running, Spec
from tests.benchmarks.closed import closed
from tests.benchmarks.tables import Cell, Sample, percentiles
from tests.benchmarks.trees import ROOT, TODAY, Failed, Tree, commit

T = TypeVar("T")
COMPLETED = "hansard.results.completed.v1"
DRAIN = 20.0  # seconds a process may take to stop


@dataclass
class Bench:
    """One run: its servers, its folder, and the names of all processes that it started, by pid."""

    addresses: Addresses
    folder: Path
    model: str  # address of the scripted model server
    names: dict[int, str] = field(default_factory=dict)

    def start(self, name: str, command: Sequence[str], cwd: Path = ROOT, **environment: str) -> Running:
        """Starts a process that ends with this one, in whatever way. Its output goes to `log(name)`."""
        spec = Spec(list(command), str(cwd), str(self.log(name)), stop_signal=15, patience=DRAIN)
        with _environment(environment):
            running = process.start(Planned(name, "", spec), keep=False)
        self.names[running.pid] = name
        return running

    def log(self, name: str) -> Path:
        return self.folder / "logs" / f"{name.replace('/', '-')}.log"

    def cpu(self) -> Counter[str]:
        """Seconds of CPU that each process has used, with its children; this process is called `load`."""
        running = psutil.process_iter(["ppid", "cpu_times"])
        found = {one.pid: one.info for one in running if one.info["cpu_times"]}
        names = self.names | {os.getpid(): "load"}

        def name(pid: int) -> str:
            while pid in found and pid not in names:
                pid = found[pid]["ppid"]
            return names.get(pid, "")

        used: Counter[str] = Counter()
        for pid, info in found.items():
            if owner := name(pid):
                times = info["cpu_times"]
                used[owner] += times.user + times.system + times.children_user + times.children_system
        return used

    def calls(self) -> int:
        """Model calls so far."""
        return sum(self.model_counts()["calls"].values())

    def model_counts(self) -> dict[str, Any]:
        """What the scripted model counts: `calls` by script, `connections`, `now`, `peak`."""
        with urllib.request.urlopen(self.model.removesuffix("/v1") + "/calls", timeout=10) as answer:
            counts: dict[str, Any] = json.load(answer)
            return counts


@contextmanager
def _environment(given: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(given)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def bench() -> Iterator[Bench]:
    """Kafka and Postgres in a new folder, or those that the environment names, and a scripted model. All end with it."""
    servers = Servers(Path(mkdtemp(prefix="hansard-bench-")))
    (servers.home / "logs").mkdir()
    port = process.free_port()
    made = Bench(Addresses(), servers.home, f"http://127.0.0.1:{port}/v1")
    model = None
    try:
        made.addresses = servers.up(model=False, progress=lambda text: print(text, flush=True))
        made.names |= {one.pid: one.name.partition("-")[0] for one in servers.status()}
        model = made.start("model", [sys.executable, "-m", "tests.scripted", str(port)])
        if not process.wait_for(lambda: not process.is_free(port), seconds=30):
            raise Failed(f"The scripted model does not start. {process.last_words(made.log('model'))}")
        yield made
    finally:
        if model is not None:
            process.stop(model)
        servers.erase()


@dataclass
class Deployment:
    """One schema, one topic prefix, and the processes of one source tree that use them."""

    bench: Bench
    tree: Tree
    environment: dict[str, str]
    processes: dict[str, Running] = field(default_factory=dict)

    @property
    def prefix(self) -> str:
        return self.environment["HANSARD_TOPIC_PREFIX"]

    @property
    def schema(self) -> str:
        return self.environment["HANSARD_POSTGRES_SCHEMA"]

    def serve(self, *names: str, command: Sequence[str] = ()) -> None:
        """Starts a process for each; `command` replaces the tree's `hansard`."""
        for name in names:
            line = [*(command or self.tree.command()), "serve", name]
            label = f"{self.tree.name}/{short(name)}"
            self.processes[short(name)] = self.bench.start(label, line, self.tree.path, **self.environment)

    def provide(self) -> None:
        """Creates the schema and the topics by the tree's own command. Raises Failed."""
        for verb in ("migrate", "topics"):
            command = self.tree.command(verb)
            done = subprocess.run(
                command, cwd=self.tree.path, env=os.environ | self.environment, capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise Failed(f"hansard {verb} of {self.tree.name}: {done.stdout[-1000:]}{done.stderr[-1000:]}")

    def stop(self) -> None:
        process.stop_all(self.processes.values())

    async def drop(self) -> None:
        """Drops the schema and the topics."""
        connection = await asyncpg.connect(self.bench.addresses.postgres)
        await connection.execute(f"drop schema if exists {self.schema} cascade")
        await connection.close()
        topics = await self.topics()
        async with kafka_admin(self.bench.addresses) as admin:
            await admin.delete_topics(topics)

    async def topics(self) -> list[str]:
        """The topics of this deployment, by their full names."""
        async with kafka_admin(self.bench.addresses) as admin:
            return [topic for topic in await admin.list_topics() if topic.startswith(self.prefix)]


@asynccontextmanager
async def kafka_admin(addresses: Addresses) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=addresses.kafka)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


def short(name: str) -> str:
    """The name of a service's process: `tests.benchmarks.retriever:service` is the retriever."""
    return name.partition(":")[0].rpartition(".")[2]


@asynccontextmanager
async def deployed(
    bench: Bench, tree: Tree, *serves: str, command: Sequence[str] = (), **settings: str
) -> AsyncIterator[Deployment]:
    """A deployment of this tree on these servers, with these services. It is ready when a first call is answered."""
    mark = uuid.uuid4().hex[:8]
    given = {
        **tree.environment(),
        **bench.addresses.environment(),
        "HANSARD_POSTGRES_SCHEMA": f"bench_{mark}",
        "HANSARD_TOPIC_PREFIX": f"bench-{mark}.",
        "HANSARD_HOME": str(bench.folder / mark),
        "HANSARD_LOG_LEVEL": "WARNING",
        "HANSARD_INSTANCE": "1",
        **{f"HANSARD_{name.upper()}": value for name, value in settings.items()},
    }
    deployment = Deployment(bench, tree, given)
    try:
        await asyncio.to_thread(deployment.provide)
        deployment.serve(*serves, command=command)
        yield deployment
    finally:
        deployment.stop()
        with suppress(OSError, asyncpg.PostgresError):
            await deployment.drop()


class Caller:
    """Publishes requests and consumes their results: what any client does, and no more."""

    def __init__(self, deployment: Deployment, into: str = "requests", out: str = "results") -> None:
        self.deployment, self.into, self.out = deployment, deployment.prefix + into, deployment.prefix + out
        self.results: dict[str, tuple[float, str]] = {}
        self._waiting: dict[str, asyncio.Future[None]] = {}

    async def __aenter__(self) -> "Caller":
        at = {"bootstrap_servers": self.deployment.bench.addresses.kafka}
        self._producer = AIOKafkaProducer(**at, acks="all", linger_ms=0)
        self._consumer = AIOKafkaConsumer(self.out, **at, auto_offset_reset="earliest")
        await self._producer.start()
        await self._consumer.start()
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._reader.cancel()
        await self._consumer.stop()
        await self._producer.stop()

    async def call(self, body: Mapping[str, Any], timeout: float = 120) -> None:
        """Publishes a request and returns when its result is there."""
        name = uuid.uuid4().hex
        self._waiting[name] = asyncio.get_running_loop().create_future()
        await self.publish(name, body)
        await asyncio.wait_for(self._waiting[name], timeout)

    async def publish(self, name: str, body: Mapping[str, Any]) -> None:
        """Publishes a request as the README describes it for any client."""
        event = {"ce_specversion": "1.0", "ce_id": name, "ce_source": "/bench", "ce_type": "hansard.requests.submit.v1"}
        headers = [(key, value.encode()) for key, value in event.items()]
        await self._producer.send(self.into, json.dumps(body).encode(), name.encode(), headers=headers)

    def ends(self, kind: bytes) -> bool:
        """Whether a message of this kind ends a request."""
        return True

    def partitions(self) -> int:
        """The number of partitions of the topic of results."""
        return len(self._consumer.partitions_for_topic(self.out) or ())

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
                        future.set_result(None)


class Side(Protocol):
    """A system that is measured. Its processes are called `name/process`; `shares` are those it uses of `kafka`,
    `postgres`, `model` and `load`, which is this process."""

    @property
    def name(self) -> str: ...
    @property
    def shares(self) -> tuple[str, ...]: ...
    async def loop(self, cell: Cell, concurrency: int, count: int) -> tuple[float, list[float]]:
        """A closed loop of this cell's work. Raises Failed where the work was not done."""


Open = Callable[[Bench, AsyncExitStack], Awaitable[Side]]  # a side is closed with the stack


@dataclass(frozen=True)
class Run:
    """What is to be measured."""

    rounds: int
    parts: tuple[str, ...]
    at_once: tuple[int, ...] = ()  # only these concurrencies of a part
    trees: tuple[Tree, ...] = (TODAY,)  # today's first
    peers: tuple[Open, ...] = ()

    def cells(self, cells: Iterable[Cell]) -> list[Cell]:
        """The cells to be measured. Cells that are only done one at a time are always chosen. Raises Failed for none."""
        chosen = [cell for cell in cells if not self.at_once or cell.at_once in self.at_once or cell.single]
        if not chosen:
            raise Failed(f"Nothing here is measured at {' or '.join(map(str, self.at_once))} at once.")
        return chosen


@dataclass(frozen=True)
class Ours:
    """A deployment and its caller, with the body of each workload's request."""

    name: str
    caller: Caller
    bodies: Mapping[str, Mapping[str, Any]]
    ends: str = COMPLETED
    shares: tuple[str, ...] = ("kafka", "postgres", "model", "load")

    async def loop(self, cell: Cell, concurrency: int, count: int) -> tuple[float, list[float]]:
        before = len(self.caller.results)
        done = await closed(lambda: self.caller.call(self.bodies[cell.workload]), concurrency, count)
        kinds = Counter(kind for _, kind in list(self.caller.results.values())[before:])
        if kinds != {self.ends: count}:
            raise Failed(f"{self.name}: {count} of {cell.name} should end as {self.ends}, and ended as {dict(kinds)}.")
        return done


async def block(bench: Bench, side: Side, cell: Cell) -> Sample:
    """Measures one round of one cell, after its warm-up. Raises Failed where there was not one model call for each."""
    if cell.warm:
        await side.loop(cell, cell.at_once, cell.warm)
    calls = bench.calls() if cell.calls else 0
    before, busy, began = bench.cpu(), _busy(), time.perf_counter()
    rate, taken = await side.loop(cell, cell.at_once, cell.count)
    after, all_busy, wall = bench.cpu() - before, _busy() - busy, time.perf_counter() - began
    if cell.calls and (made := bench.calls() - calls) != cell.calls * cell.count:
        raise Failed(f"{side.name}: {cell.count} of {cell.name} made {made} model calls, not {cell.calls} each.")
    mine = {name: used for name, used in after.items() if name in side.shares or name.startswith(f"{side.name}/")}
    others = max(0.0, all_busy - sum(mine.values())) / wall
    cpu = {name.removeprefix(f"{side.name}/"): used * 1000 / cell.count for name, used in mine.items()}
    return Sample(rate, *percentiles(taken), cpu, others)


def _busy() -> float:
    """Seconds of CPU that the whole machine has used."""
    times = psutil.cpu_times()
    return float(times.user + times.system + getattr(times, "nice", 0) + getattr(times, "irq", 0) + getattr(times, "softirq", 0))


async def rounds(
    bench: Bench, part: str, sides: Sequence[Side], cells: Sequence[Cell], count: int
) -> dict[tuple[Cell, str], list[Sample]]:
    """Measures every cell on every side, in turn, in a new order of sides each round. All sides run all the time."""
    samples: dict[tuple[Cell, str], list[Sample]] = {(cell, side.name): [] for cell in cells for side in sides}
    for number in range(count):
        for cell in cells:
            for side in rotated(sides, number):
                samples[cell, side.name].append(await _measured(bench, part, number, side, cell))
    return samples


async def apart(
    bench: Bench, part: str, opens: Sequence[Open], first: Cell, cells: Sequence[Cell], count: int
) -> dict[tuple[Cell, str], list[Sample]]:
    """As `rounds`, but in each round every side is started, warmed up by `first`, measured and stopped before the next."""
    samples: dict[tuple[Cell, str], list[Sample]] = defaultdict(list)
    for number in range(count):
        for start in rotated(opens, number):
            async with AsyncExitStack() as opened:
                side = await start(bench, opened)
                await side.loop(first, first.at_once, first.count)
                for cell in cells:
                    samples[cell, side.name].append(await _measured(bench, part, number, side, cell))
    names = list(dict.fromkeys(name for _, name in samples))
    return {(cell, name): samples[cell, name] for cell in cells for name in names}


def rotated(things: Sequence[T], number: int) -> list[T]:
    """The same rotated by `number` places."""
    first = number % len(things)
    return [*things[first:], *things[:first]]


async def _measured(bench: Bench, part: str, number: int, side: Side, cell: Cell) -> Sample:
    sample = await block(bench, side, cell)
    _log(part, number, side.name, cell, sample)
    return sample


def _log(part: str, number: int, side: str, cell: Cell, sample: Sample) -> None:
    """Prints a sample, and adds it to `.hansard/bench.jsonl` as one line of JSON."""
    print(
        f"  round {number + 1}  {cell.name:22} {side:22} {sample.rate:9,.1f}/s  p50 {sample.p50_ms:8.1f} ms"
        f"  p99 {sample.p99_ms:8.1f} ms  CPU {sum(sample.cpu.values()):8.2f} ms  others {sample.others:.2f} cores",
        flush=True,
    )
    line = {"part": part, "round": number, "side": side, **vars(cell), **vars(sample)}
    path = ROOT / ".hansard" / "bench.jsonl"
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as log:
        log.write(json.dumps(line | {"commit": commit(), "at": datetime.now(UTC).isoformat()}) + "\n")


def machine() -> str:
    memory = psutil.virtual_memory().total / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, Python {sys.version.split()[0]}"
