"""100,000 pending wake-ups: what each takes in the store, what all cost at rest, how late 10,000 at once are.

They are the deadlines of plans whose only step is for a worker that does not run.
"""

import asyncio
import json
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import asyncpg
from aiokafka import AIOKafkaProducer

from contracts.requests import SubmitRequest
from tests.benchmarks.deployments import Deployment, deployed
from tests.benchmarks.kit import Bench, Run
from tests.benchmarks.tables import Section, Table, figure, percentiles
from tests.benchmarks.trees import TODAY

PENDING, TOGETHER = 100_000, 10_000
REST = 15.0  # seconds
PLAN = {"name": "waits", "steps": [{"id": "wait", "worker": "nobody", "verify": "none"}]}
LATE = "select extract(epoch from at - $1)::float8 from {}.messages where topic = 'results' and data->>'reason' = 'deadline'"


async def measure(bench: Bench, run: Run) -> Section:
    async with deployed(bench, TODAY, "router", "planner", workers='["nobody"]') as deployment:
        connection = await asyncpg.connect(bench.addresses.owner)
        try:
            empty = await at_rest(bench)
            together = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=30)
            await publish(deployment, PENDING - TOGETHER, together + timedelta(days=1))
            await pending(deployment, connection, PENDING - TOGETHER)
            [[rows, size]] = await connection.fetch(
                f"select count(*), pg_total_relation_size('{deployment.schema}.wake_ups') from {deployment.schema}.wake_ups"
            )
            full = await at_rest(bench)
            soon = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=60)
            await publish(deployment, TOGETHER, soon)
            late: list[float] = []
            while len(late) < TOGETHER:
                await asyncio.sleep(1)
                late = [row[0] for row in await connection.fetch(LATE.format(deployment.schema), soon)]
        finally:
            await connection.close()
    p50, p99 = percentiles(late)
    names = ("router", "planner", "postgres")
    found = [
        ["wake-ups (router's and planner's)", f"{rows:,}"],
        ["bytes each in the store, indexes included", figure(size / rows)],
        *(
            [f"CPU at rest, {name}: ms a second without any, with all", f"{figure(empty[name])}, {figure(full[name])}"]
            for name in names
        ),
        [f"{TOGETHER:,} due at once: late by p50, p99, ms", f"{figure(p50)}, {figure(p99)}"],
        ["the last of them after, ms", figure(max(late) * 1000)],
    ]
    return Section("Waiting", [Table(["what", "figure"], found)])


async def at_rest(bench: Bench) -> Mapping[str, float]:
    """Milliseconds of CPU in each second, by process."""
    await asyncio.sleep(5)
    before, began = bench.cpu(), time.perf_counter()
    await asyncio.sleep(REST)
    used, wall = bench.cpu() - before, time.perf_counter() - began
    return {name.rpartition("/")[2]: seconds * 1000 / wall for name, seconds in used.items()} | dict.fromkeys(
        {"router", "planner", "postgres"} - {name.rpartition("/")[2] for name in used}, 0.0
    )


async def publish(deployment: Deployment, count: int, deadline: datetime) -> None:
    body = json.dumps({"text": "Wait.", "plan": PLAN, "deadline": deadline.isoformat()}).encode()
    async with AIOKafkaProducer(bootstrap_servers=deployment.bench.addresses.kafka, linger_ms=5) as producer:
        for start in range(0, count, 1000):
            sent = []
            for _ in range(min(1000, count - start)):
                name = f"w-{uuid.uuid4().hex}"
                headers = {"specversion": "1.0", "id": name, "source": "/bench", "type": SubmitRequest.kind}
                given = [(f"ce_{key}", value.encode()) for key, value in headers.items()]
                sent.append(await producer.send(f"{deployment.prefix}requests", body, name.encode(), headers=given))
            await asyncio.gather(*sent)


async def pending(deployment: Deployment, connection: asyncpg.Connection, count: int) -> None:
    """Waits until router and planner have so many wake-ups each."""
    while await connection.fetchval(f"select count(*) from {deployment.schema}.wake_ups") < 2 * count:
        await asyncio.sleep(1)
