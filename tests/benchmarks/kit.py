"""What benchmarks share: servers and processes with their CPU, the systems that are measured, rounds of measurements."""

import json
import os
import sys
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Protocol, TypeVar

import psutil

from infra.servers import Addresses, Servers, process
from infra.servers.process import Planned, Running, Spec
from tests.benchmarks.tables import Cell, Sample, percentiles
from tests.benchmarks.trees import ROOT, TODAY, Failed, Tree, commit

T = TypeVar("T")
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
