"""The hop: published, heard, decided, on the record, published. Beside its two floors, in the same run."""

import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator

import asyncpg

from infra.servers import Addresses
from tests.benchmarks.kit import ROOT, Caller, House, Measured, closed, house, measured, spread, warm

CONCURRENCY = {1: 300, 32: 6000, 256: 12000}
REQUEST = {"type": "calculate_tax", "data": {"amount": "99.99"}}


async def measure(addresses: Addresses) -> AsyncIterator[Measured]:
    async with house(addresses, "router") as it:
        partitions = it.settings.partitions
        async with Caller(it) as caller:
            await warm(caller, REQUEST, 5000)
            for concurrency, count in CONCURRENCY.items():
                kafka = await _kafka(it, concurrency, count)
                yield kafka
                postgres = await _postgres(addresses, concurrency, count)
                yield postgres
                hop = await measured(
                    "hop", "typed request, one process", it, caller, REQUEST, concurrency, count, partitions=partitions
                )
                yield hop
                floor = kafka.p50_ms + postgres.p50_ms
                yield Measured(
                    "hop over floors", "p50 / (kafka p50 + append p50)", concurrency, more={"ratio": hop.p50_ms / floor}
                )


async def _kafka(it: House, concurrency: int, count: int) -> Measured:
    """The same bodies through a process that only passes them on."""
    prefix = it.settings.topic_prefix
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.echo", it.settings.kafka, f"{prefix}router.events", f"{prefix}planner.events"],
        cwd=ROOT,
    )
    try:
        async with Caller(it, "router.events", "planner.events") as caller:
            await closed(lambda: caller.call(REQUEST), concurrency, max(concurrency, 20))
            rate, seconds = await closed(lambda: caller.call(REQUEST), concurrency, count)
    finally:
        process.terminate()
        process.wait(10)
    return Measured(
        "floor: kafka hop", "bare aiokafka", concurrency, rate, *spread(seconds), more={"partitions": it.settings.partitions}
    )


async def _postgres(addresses: Addresses, concurrency: int, count: int) -> Measured:
    """Two events for each of `concurrency` streams in one INSERT, one round trip, fsync on: what a batch of hops writes."""
    connection = await asyncpg.connect(addresses.postgres)
    table = f"floor_{uuid.uuid4().hex[:8]}"
    await connection.execute(
        f"create table {table} (position bigint generated always as identity, stream text, version int, id uuid, data json,"
        f" at timestamptz default now(), primary key (stream, version))"
    )
    insert = await connection.prepare(
        f"insert into {table} (stream, version, id, data) select * from unnest($1::text[], $2::int[], $3::uuid[], $4::json[])"
    )
    body = '{"text":"' + "x" * 400 + '"}'
    seconds, rounds = [], max(50, min(300, count // concurrency))
    for _ in range(rounds):
        names = [uuid.uuid4() for _ in range(2 * concurrency)]
        began = time.perf_counter()
        await insert.fetch([str(n) for n in names], [1] * len(names), names, [body] * len(names))
        seconds.append(time.perf_counter() - began)
    await connection.execute(f"drop table {table}")
    await connection.close()
    p50, p99 = spread(seconds)
    return Measured("floor: append", "bare asyncpg, one INSERT", concurrency, rounds * concurrency / sum(seconds), p50, p99)
