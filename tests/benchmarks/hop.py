"""The hop: consumed, decided, stored, published. Beside the two costs that it cannot go below, in the same rounds."""

import sys
import time
import uuid
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import asyncpg
from aiokafka.admin import NewTopic

from infra.servers import process
from tests.benchmarks.closed import closed
from tests.benchmarks.deployments import Caller, Deployment, Ours, deployed, kafka_admin
from tests.benchmarks.kit import Bench, Run, Side, rounds
from tests.benchmarks.tables import Cell, Section, compared, ratios

REQUEST = {"type": "calculate_tax", "data": {"amount": "99.99"}}
CELLS = [Cell("hop", c, n, max(c, 100)) for c, n in {1: 200, 32: 3000, 256: 6000}.items()]
FIRST = Cell("hop", 64, 3000, 0)
ECHO = "tests.benchmarks.echo"


async def measure(bench: Bench, run: Run) -> Section:
    """A typed request through the router, one process; beside a bare hop and a bare insert, or beside another tree."""
    cells, us = run.cells(CELLS), run.trees[0].name
    async with AsyncExitStack() as opened:
        sides: list[Side] = []
        for tree in run.trees:
            it = await opened.enter_async_context(deployed(bench, tree, "router"))
            caller = await opened.enter_async_context(Caller(it))
            sides.append(Ours(tree.name, caller, {"hop": REQUEST}))
            await sides[-1].loop(FIRST, FIRST.at_once, FIRST.count)
        if len(run.trees) > 1:
            return Section("Hop beside an earlier commit", [compared(await rounds(bench, "hop", sides, cells, run.rounds), us)])
        partitions = caller.partitions()
        sides += [await opened.enter_async_context(Echo(it, partitions)), Insert(bench.addresses.owner)]
        samples = await rounds(bench, "hop", sides, cells, run.rounds)
    over = [
        f"At {cell.at_once}, p50 of the hop over the bare hop and the bare insert together: "
        + ratios(
            [one.p50_ms for one in samples[cell, us]],
            [a.p50_ms + b.p50_ms for a, b in zip(samples[cell, Echo.name], samples[cell, Insert.name], strict=True)],
        )
        for cell in cells
    ]
    return Section("Hop", [compared(samples, us), "\n".join(f"- {line}" for line in over), f"{partitions} partitions a topic."])


class Echo:
    """The same bodies through a process that only forwards them."""

    name = "a bare Kafka hop"
    shares = ("kafka", "load")

    def __init__(self, it: Deployment, partitions: int) -> None:
        self._deployment, self._partitions = it, partitions
        self.caller = Caller(it, "echo.in", "echo.out")

    async def __aenter__(self) -> "Echo":
        bench, caller = self._deployment.bench, self.caller
        async with kafka_admin(bench.addresses) as admin:
            copies = min(3, len((await admin.describe_cluster())["brokers"]))
            await admin.create_topics([NewTopic(name, self._partitions, copies) for name in (caller.into, caller.out)])
        command = [sys.executable, "-m", ECHO, bench.addresses.kafka, caller.into, caller.out]
        self._process = bench.start(f"{self.name}/echo", command)
        await caller.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.caller.__aexit__()
        process.stop(self._process)

    async def loop(self, cell: Cell, concurrency: int, count: int) -> tuple[float, list[float]]:
        return await closed(lambda: self.caller.call(REQUEST), concurrency, count)


@dataclass(frozen=True)
class Insert:
    """Two messages for each of `concurrency` streams in one INSERT, one round trip, fsync on: what a batch of hops writes."""

    postgres: str
    name: str = "a bare INSERT"
    shares: tuple[str, ...] = ("postgres", "load")

    async def loop(self, cell: Cell, concurrency: int, count: int) -> tuple[float, list[float]]:
        connection = await asyncpg.connect(self.postgres)
        table = f"bare_{uuid.uuid4().hex[:8]}"
        await connection.execute(
            f"create table {table} (position bigint generated always as identity, stream text, version int, id uuid, data json,"
            f" at timestamptz default now(), primary key (stream, version))"
        )
        try:
            return await self._inserts(connection, table, concurrency, max(20, count // concurrency))
        finally:
            await connection.execute(f"drop table {table}")
            await connection.close()

    async def _inserts(self, connection: Any, table: str, concurrency: int, times: int) -> tuple[float, list[float]]:
        insert = await connection.prepare(
            f"insert into {table} (stream, version, id, data) select * from unnest($1::text[], $2::int[], $3::uuid[], $4::json[])"
        )
        body, seconds = '{"text":"' + "x" * 400 + '"}', []
        for _ in range(times):
            names = [uuid.uuid4() for _ in range(2 * concurrency)]
            began = time.perf_counter()
            await insert.fetch([str(n) for n in names], [1] * len(names), names, [body] * len(names))
            seconds.append(time.perf_counter() - began)
        return times * concurrency / sum(seconds), seconds
