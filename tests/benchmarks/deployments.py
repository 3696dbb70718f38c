"""Deployments of a source tree as black boxes, and a caller.

A deployment is what a user would run: `hansard migrate`, `hansard topics`, `hansard serve SERVICE`, settings in the
environment. Its caller publishes requests and consumes results. So the same driver measures any commit that has these.
"""

import asyncio
import json
import os
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from infra.servers import Addresses, process
from infra.servers.process import Running
from tests.benchmarks.closed import closed
from tests.benchmarks.kit import Bench
from tests.benchmarks.tables import Cell
from tests.benchmarks.trees import Failed, Tree

COMPLETED = "hansard.results.completed.v1"


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
            environment = os.environ | self.environment | self.tree.addresses(self.bench.addresses, owner=True)
            done = subprocess.run(command, cwd=self.tree.path, env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                raise Failed(f"hansard {verb} of {self.tree.name}: {done.stdout[-1000:]}{done.stderr[-1000:]}")

    def stop(self) -> None:
        process.stop_all(self.processes.values())

    async def drop(self) -> None:
        """Drops the schema and the topics."""
        connection = await asyncpg.connect(self.bench.addresses.owner)
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
        **tree.addresses(bench.addresses),
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
