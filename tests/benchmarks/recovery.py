"""A service is killed with `kill -9` under load and restarted at once: how soon work continues, and what was done twice."""

import asyncio
import itertools
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import asyncpg

from contracts.gateway import AttemptFailed, AttemptStarted, CallCancelled, ModelFailed, ModelReplied
from contracts.results import WorkflowCompleted
from contracts.specialists import TaskAnswered
from infra.servers import process
from tests.benchmarks.closed import closed
from tests.benchmarks.deployments import Caller, Deployment, deployed
from tests.benchmarks.hop import REQUEST
from tests.benchmarks.kit import Bench, Run
from tests.benchmarks.tables import Section, Table, figure
from tests.benchmarks.trees import TODAY
from tests.benchmarks.workflows import stack

AT_ONCE = 64
MODEL, OUT = "ok@50ms", 8  # calls that run at the kill, at least
# The services of W1 that are killed, and what each stores when its part of a workflow is over.
KILLED = {"gateway": ModelReplied.kind, "planner": WorkflowCompleted.kind, "specialists": TaskAnswered.kind}
ENDS = [kind.kind for kind in (AttemptFailed, ModelReplied, ModelFailed, CallCancelled)]


Noted = tuple[set[str], int]  # of `at_the_kill`


@dataclass(frozen=True)
class Break:
    """What was measured around a kill. Times in seconds of this process's clock."""

    killed: float
    back: float  # the restart
    before: float  # results a second until the kill
    after: list[tuple[float, str]]  # results since the restart: their time and workflow
    noted: Noted | None

    def recovered(self) -> float:
        """Seconds from the restart until results arrive at nine tenths of the rate before the kill."""
        few = max(20, len(self.after) // 10)
        pairs = zip(self.after, self.after[few:], strict=False)
        return (
            next((at for (at, _), (later, _) in pairs if few / (later - at) >= self.before * 0.9), self.after[-1][0]) - self.back
        )


async def measure(bench: Bench, run: Run) -> Section:
    async with deployed(bench, TODAY, "router") as deployment, Caller(deployment) as caller:
        await caller.call(REQUEST)
        seen = await broken(deployment, caller, "router", 2000, lambda: REQUEST)
        first = figure(seen.after[0][0] - seen.back)
        router = ["router, 2,000 typed requests", figure(seen.before), first, figure(seen.recovered())]
        rows = [[*router, figure(seen.after[-1][0] - seen.back), f"{len(caller.results) - 1:,}", "", ""]]
    async with stack(bench, TODAY, MODEL) as deployment, Caller(deployment) as caller:
        numbers = itertools.count()

        def ask() -> Mapping[str, Any]:  # every question is new: a cached answer would hide a call
            return {"text": f"Why is the record verbatim? {next(numbers)}", "plan": "w1"}

        await closed(lambda: caller.call(ask()), AT_ONCE, 200)
        rows += [await one(deployment, caller, service, ask) for service in KILLED]
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


async def one(
    deployment: Deployment, caller: Caller, service: str, ask: Callable[[], Mapping[str, Any]], count: int = 400
) -> list[str]:
    """W1 with a model of 50 ms; `service` is killed when half of the results are there and model calls run."""
    known, calls, bench = set(caller.results), deployment.bench.calls(), deployment.bench
    seen = await broken(
        deployment,
        caller,
        service,
        count,
        ask,
        lambda: bench.model_counts()["now"] >= OUT,
        lambda: at_the_kill(deployment, KILLED[service]),
    )
    assert seen.noted
    over, out = seen.noted
    mine = set(caller.results) - known
    ended = [row for row in await results(deployment) if row[0] in mine]
    good = sum(kind == WorkflowCompleted.kind and count == 1 for _, kind, count in ended)
    first = next(at for at, name in seen.after if name not in over)
    figures = seen.before, first - seen.back, seen.recovered(), seen.after[-1][0] - seen.back
    return [f"{service}, {count} W1", *map(figure, figures), f"{good} of {count}", str(out), str(bench.calls() - calls - count)]


async def broken(
    deployment: Deployment,
    caller: Caller,
    service: str,
    count: int,
    body: Callable[[], Mapping[str, Any]],
    now: Callable[[], bool] = lambda: True,
    note: Callable[[], Awaitable[Noted]] | None = None,
) -> Break:
    """`count` requests in a closed loop. Half way, once `now` is true, the service is killed and restarted; `note` is run."""
    slots, known = asyncio.Semaphore(AT_ONCE), len(caller.results)

    async def request() -> None:
        async with slots:
            await caller.call(body())

    began = time.perf_counter()
    calls = [asyncio.create_task(request()) for _ in range(count)]
    while len(caller.results) < known + count // 2 or not now():
        await asyncio.sleep(0.001)
    os.kill(deployment.processes[service].pid, signal.SIGKILL)
    killed = time.perf_counter()
    noting = asyncio.ensure_future(note()) if note else None
    back = await asyncio.to_thread(_restarted, deployment, service)
    await asyncio.gather(*calls)
    after = sorted((at, name) for name, (at, _) in caller.results.items() if at > killed + 0.05)
    done = sum(at < killed for at, _ in caller.results.values()) - known
    return Break(killed, back, done / (killed - began), after, await noting if noting else None)


def _restarted(deployment: Deployment, service: str) -> float:
    """When the service was started again, as soon as deployment was gone."""
    process.stop(deployment.processes[service], kill=True)
    back = time.perf_counter()
    deployment.serve(service)
    return back


async def at_the_kill(deployment: Deployment, over: str) -> Noted:
    """The workflows in which the service's part was over (it had stored `over`), and the number of running attempts."""
    schema = deployment.schema
    ended = await rows(deployment, f"select distinct workflow from {schema}.messages where kind = $1", over)
    [(out,)] = await rows(
        deployment,
        f"select (count(*) filter (where kind = $1)) - (count(*) filter (where kind = any($2::text[])))"
        f" from {schema}.messages where stream like 'gateway/%'",
        AttemptStarted.kind,
        ENDS,
    )
    return {row[0] for row in ended}, out


async def results(deployment: Deployment) -> list[tuple[str, str, int]]:
    """Each workflow with the kind of its result and how many results are on the record."""
    return await rows(
        deployment, f"select workflow, min(kind), count(*) from {deployment.schema}.messages where topic = 'results' group by 1"
    )


async def rows(deployment: Deployment, sql: str, *given: Any) -> list[Any]:
    connection = await asyncpg.connect(deployment.bench.addresses.owner)
    try:
        return list(await connection.fetch(sql, *given))
    finally:
        await connection.close()
