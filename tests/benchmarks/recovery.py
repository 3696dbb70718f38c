"""`kill -9` of a service in the midst of the work, and its restart at once: how soon things go on, and what was done twice."""

import asyncio
import itertools
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import asyncpg

from contracts.gateway import AttemptFailed, AttemptStarted, CallCancelled, ModelFailed, ModelReplied
from contracts.results import WorkflowCompleted
from contracts.specialists import TaskAnswered
from infra.servers import process
from tests.benchmarks.closed import closed
from tests.benchmarks.hop import REQUEST
from tests.benchmarks.kit import Bench, Caller, House, Run, house
from tests.benchmarks.tables import Section, Table, figure
from tests.benchmarks.trees import TODAY
from tests.benchmarks.workflows import stack

AT_ONCE = 64
MODEL, OUT = "ok@50ms", 8  # calls that are under way at the kill, at least
# The services of W1 that are killed, and what each says of a workflow when its part in it is over.
KILLED = {"gateway": ModelReplied.kind, "planner": WorkflowCompleted.kind, "specialists": TaskAnswered.kind}
ENDS = [kind.kind for kind in (AttemptFailed, ModelReplied, ModelFailed, CallCancelled)]


@dataclass(frozen=True)
class Break:
    """What was seen around a kill. Times in seconds of this process's clock."""

    killed: float
    back: float  # the restart
    before: float  # results a second until the kill
    after: list[tuple[float, str]]  # results since the restart: when, and of which workflow
    noted: Any

    def again(self) -> float:
        """Seconds from the restart until as many results come as before (nine tenths of it)."""
        few = max(20, len(self.after) // 10)
        pairs = zip(self.after, self.after[few:], strict=False)
        return (
            next((at for (at, _), (later, _) in pairs if few / (later - at) >= self.before * 0.9), self.after[-1][0]) - self.back
        )


async def measure(bench: Bench, run: Run) -> Section:
    async with house(bench, TODAY, "router") as it, Caller(it) as caller:
        await caller.call(REQUEST)
        seen = await broken(it, caller, "router", 2000, lambda: REQUEST)
        first = figure(seen.after[0][0] - seen.back)
        router = ["router, 2,000 typed requests", figure(seen.before), first, figure(seen.again())]
        rows = [[*router, figure(seen.after[-1][0] - seen.back), f"{len(caller.results) - 1:,}", "", ""]]
    async with stack(bench, TODAY, MODEL) as it, Caller(it) as caller:
        numbers = itertools.count()

        def ask() -> Mapping[str, Any]:  # no question twice: a learned answer would hide a call
            return {"text": f"Why is the record verbatim? {next(numbers)}", "plan": "w1"}

        await closed(lambda: caller.call(ask()), AT_ONCE, 200)
        rows += [await one(it, caller, service, ask) for service in KILLED]
    columns = ["killed, and the work", "per second before", "first new result s", "rate of before s", "last result s"]
    columns += ["completed once", "calls in flight", "extra calls"]
    return Section(
        "Kill -9",
        [
            f"At half of the work, {AT_ONCE} at once; the process starts again at once. Seconds count from its start. W1 with a"
            f" model of 50 ms.",
            Table(columns, rows),
        ],
    )


async def one(it: House, caller: Caller, service: str, ask: Callable[[], Mapping[str, Any]], count: int = 400) -> list[str]:
    """W1 with a model of 50 ms; `service` is killed when half of the results are there and calls are out."""
    known, calls, bench = set(caller.results), it.bench.calls(), it.bench
    seen = await broken(
        it, caller, service, count, ask, lambda: bench.told()["now"] >= OUT, lambda: at_the_kill(it, KILLED[service])
    )
    over, out = seen.noted
    mine = set(caller.results) - known
    ended = [row for row in await results(it) if row[0] in mine]
    good = sum(kind == WorkflowCompleted.kind and stored == 1 for _, kind, stored in ended)
    first = next(at for at, name in seen.after if name not in over)
    figures = seen.before, first - seen.back, seen.again(), seen.after[-1][0] - seen.back
    return [f"{service}, {count} W1", *map(figure, figures), f"{good} of {count}", str(out), str(bench.calls() - calls - count)]


async def broken(
    it: House,
    caller: Caller,
    service: str,
    count: int,
    body: Callable[[], Mapping[str, Any]],
    now: Callable[[], bool] = lambda: True,
    note: Callable[[], Any] | None = None,
) -> Break:
    """`count` requests in a closed loop. Half way, and `now`, the service is killed, a `note` taken, and it starts again."""
    slots, known = asyncio.Semaphore(AT_ONCE), len(caller.results)

    async def request() -> None:
        async with slots:
            await caller.call(body())

    began = time.perf_counter()
    calls = [asyncio.create_task(request()) for _ in range(count)]
    while len(caller.results) < known + count // 2 or not now():
        await asyncio.sleep(0.001)
    os.kill(it.processes[service].pid, signal.SIGKILL)
    killed = time.perf_counter()
    noting = asyncio.ensure_future(note()) if note else None
    back = await asyncio.to_thread(_restarted, it, service)
    await asyncio.gather(*calls)
    after = sorted((at, name) for name, (at, _) in caller.results.items() if at > killed + 0.05)
    done = sum(at < killed for at, _ in caller.results.values()) - known
    return Break(killed, back, done / (killed - began), after, await noting if noting else None)


def _restarted(it: House, service: str) -> float:
    """When the service was started again, as soon as it was gone."""
    process.stop(it.processes[service], kill=True)
    back = time.perf_counter()
    it.serve(service)
    return back


async def at_the_kill(it: House, over: str) -> tuple[set[str], int]:
    """The workflows in which the service's part was over (it had said `over`), and the attempts that were out."""
    schema = it.schema
    ended = await rows(it, f"select distinct workflow from {schema}.messages where kind = $1", over)
    [(out,)] = await rows(
        it,
        f"select (count(*) filter (where kind = $1)) - (count(*) filter (where kind = any($2::text[])))"
        f" from {schema}.messages where stream like 'gateway/%'",
        AttemptStarted.kind,
        ENDS,
    )
    return {row[0] for row in ended}, out


async def results(it: House) -> list[tuple[str, str, int]]:
    """Of each workflow: its name, the kind of its result, how many results are on the record."""
    return await rows(it, f"select workflow, min(kind), count(*) from {it.schema}.messages where topic = 'results' group by 1")


async def rows(it: House, sql: str, *given: Any) -> list[Any]:
    connection = await asyncpg.connect(it.bench.addresses.postgres)
    try:
        return list(await connection.fetch(sql, *given))
    finally:
        await connection.close()
