"""Whole workflows, one process a service, broker and database and model stand-in on the same cores.

W1  routed by rule · a retrieve step · one model call through the real SDK to a scripted model · verified by code · finished
W2  one step · sixteen in parallel · a join
W3  a fan-out of 1,000 · a chain of 200
"""

import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import yaml

from contracts.topics import SERVICES
from infra.servers import Addresses
from tests.benchmarks.kit import ROOT, Caller, House, Measured, house, measured, warm

WORKER: dict[str, Any] = {"worker": "retriever", "verify": "none"}
W1: list[dict[str, Any]] = [
    {"id": "retrieve", **WORKER},
    {"id": "answer", "worker": "research", "needs": ["retrieve"], "verify": "code"},
]
W2: list[dict[str, Any]] = [
    {"id": "plan", **WORKER},
    *({"id": f"s{n}", "needs": ["plan"], **WORKER} for n in range(16)),
    {"id": "join", "needs": [f"s{n}" for n in range(16)], **WORKER},
]
FAN: list[dict[str, Any]] = [{"id": f"s{n}", **WORKER} for n in range(1000)] + [{"id": "join", "needs": ["s0"], **WORKER}]
CHAIN: list[dict[str, Any]] = [{"id": f"s{n}", "needs": [f"s{n - 1}"] if n else [], **WORKER} for n in range(200)]
PLANS: dict[str, list[dict[str, Any]]] = {"w1": W1, "w2": W2, "fan": FAN, "chain": CHAIN}
LOADS = {1: 60, 32: 400, 256: 1500, 1024: 2048}


async def measure(addresses: Addresses) -> AsyncIterator[Measured]:
    for latency in (0, 50):
        with scripted() as url:
            async with stack(addresses, url, f"ok@{latency}ms" if latency else "ok") as it, Caller(it) as caller:
                await warm(caller, {"text": "Why is the record verbatim?", "plan": "w1"}, 1000)
                for concurrency, count in LOADS.items():
                    yield await run(it, caller, "w1", f"model {latency} ms", concurrency, count)
                if latency == 0:
                    for concurrency, count in ((1, 30), (32, 300), (256, 500)):
                        yield await run(it, caller, "w2", "18 steps", concurrency, count)
                    yield await run(it, caller, "fan", "1,001 steps", 1, 3)
                    yield await run(it, caller, "chain", "200 steps", 1, 3)


async def run(it: House, caller: Caller, plan: str, what: str, concurrency: int, count: int) -> Measured:
    before = await _size(it)
    body = {"text": "Why is the record verbatim?", "plan": plan}
    found = await measured(plan, what, it, caller, body, concurrency, count)
    after = await _size(it)
    events, hearings, size = (b - a for a, b in zip(before, after, strict=True))
    done = count + max(concurrency, 20)
    more = {"events": round(events / done, 1), "hearings": round(hearings / done, 1), "postgres_bytes": round(size / done)}
    return Measured(**{**vars(found), "more": {**found.more, **more}})


@contextmanager
def scripted() -> Iterator[str]:
    """The labelled, scripted model server in a process of its own; yields its address."""
    with subprocess.Popen([sys.executable, "-m", "tests.scripted"], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def stack(addresses: Addresses, model: str, script: str) -> Any:
    """Every service, and the benchmark's own worker."""
    plans = Path(tempfile.mkdtemp(prefix="hansard-plans-"))
    for name, steps in PLANS.items():
        (plans / f"{name}.yaml").write_text(yaml.safe_dump({"name": name, "steps": steps}))
    settings: Mapping[str, str] = {
        "plans": str(plans),
        "workers": '["retriever"]',
        "model_url": model,
        "model_name": script,
        "model_key": "scripted",
    }
    return house(addresses, *SERVICES, "tests.benchmarks.retriever:service", **settings)


async def _size(it: House) -> tuple[int, int, int]:
    connection = await asyncpg.connect(it.settings.postgres.get_secret_value())
    schema = it.settings.postgres_schema
    try:
        events, hearings = [
            await connection.fetchval(f"select count(*) from {schema}.{table}") for table in ("events", "hearings")
        ]
        size = await connection.fetchval(
            "select sum(pg_total_relation_size(c.oid))::bigint from pg_class c join pg_namespace n on n.oid = relnamespace"
            " where nspname = $1 and relkind = 'r'",
            schema,
        )
        return events, hearings, size
    finally:
        await connection.close()
