"""A whole deployment for tests: a schema and topics of its own, and services as processes that can be killed.

The model behind it is the scripted server of `tests.scripted`, in a process of its own, unless a test names another.
"""

import asyncio
import contextlib
import json
import math
import os
import re
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import asyncpg
import yaml
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError

from contracts.catalog import SERVICES
from contracts.requests import SubmitRequest
from hansard.message import Message
from infra.audit.verify import Report, verify, workflows
from infra.cli.running import services
from infra.servers import Servers, process
from infra.servers.process import Planned, Spec
from shared.eventstore.model import StoredMessage
from shared.eventstore.postgres import PostgresEventStore
from shared.kafka.admin import apply
from shared.kafka.groups import lag
from shared.kafka.producer import headers
from shared.settings import Settings
from tests import published
from tests.as_service import put_on_record, stored_as_now
from tests.conftest import _drop
from tests.logins import login, migrated
from tests.processes import LONG, ROOT, Process, given_environment, until
from tests.published import Json, PublishedMessage, envelope, out_of_order

RULE: Json = {"type": "calculate_tax", "data": {"amount": "99.99"}}
QUESTION: Json = {"text": "What is a quorum?"}


@dataclass
class Deployment:
    """`async with Deployment.open(servers, model_url) as deployment:` — all its processes are stopped at the end."""

    servers: Servers
    settings: Settings
    folder: Path
    environment: dict[str, str]  # of its processes: with the address for services, and not the owner's
    owner: str  # the DSN of the owner of its tables
    processes: dict[str, Process] = field(default_factory=dict)
    published: list[PublishedMessage] = field(default_factory=list)
    _started: dict[str, tuple[tuple[str, ...], str, Path, dict[str, str]]] = field(default_factory=dict)
    _producer: AIOKafkaProducer | None = None
    _reader: "asyncio.Task[None] | None" = None
    _store: PostgresEventStore | None = None

    @classmethod
    async def build(
        cls,
        servers: Servers,
        model_url: str,
        *,
        prefix: str | None = None,
        partitions: int = 3,
        script: str = "ok",
        capable: str = "",
        brokers: int = 1,
        gateway: Json | None = None,
        code: Path = ROOT,
        **environment: str,
    ) -> Self:
        """`script` is what the scripted model does; `capable`, what it does for calls of that class, if not the same.

        `code` is the folder of the code that makes its schema and topics, if not this one.
        Further settings are for all its processes: `HANSARD_LEASE_SECONDS="2"`.
        """
        addresses = await asyncio.to_thread(servers.up, brokers=brokers, model=False)
        name = f"t{secrets.token_hex(4)}"
        folder = servers.home / name
        (folder / "logs").mkdir(parents=True)
        tiers = folder / "gateway.yaml"
        tiers.write_text(yaml.safe_dump((gateway or {}) | {"endpoints": _endpoints(model_url, name, script, capable)}))
        mine = {
            **addresses.environment(),
            "HANSARD_HOME": str(folder),
            "HANSARD_POSTGRES_SCHEMA": name,
            "HANSARD_TOPIC_PREFIX": f"{name}." if prefix is None else prefix,
            "HANSARD_PARTITIONS": str(partitions),
            "HANSARD_GATEWAY": str(tiers),
            "HANSARD_LOG_FORMAT": "json",
            "PYTHONUNBUFFERED": "1",
            **environment,
        }
        if "HANSARD_MODEL_URL" in environment:
            del mine["HANSARD_GATEWAY"]
        outside = {key: value for key, value in os.environ.items() if not key.startswith("HANSARD_")}
        with given_environment(outside | mine):
            settings = Settings()
        deployment = cls(servers, settings, folder, outside | mine, addresses.owner)
        if code == ROOT:
            await deployment.provision()
        else:
            await deployment.hansard("migrate", cwd=code)
            await deployment.hansard("topics", cwd=code)
        return deployment

    async def provision(self) -> None:
        """Brings its schema and its topics to the form of today's code."""
        await migrated(self.settings, self.owner)
        assert not [change for change in await apply(self.settings) if change.error]

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, servers: Servers, model_url: str, **options: Any) -> AsyncIterator[Self]:
        deployment = await cls.build(servers, model_url, **options)
        try:
            yield deployment
        finally:
            deployment.stop()
            await deployment.drop_schema()
            await deployment.close()

    # its processes

    def serve(self, *names: str, instance: str = "1", key: str = "", **environment: str) -> Process:
        """Starts a process that runs these services."""
        return self.serve_from(ROOT, *names, instance=instance, key=key, **environment)

    def serve_from(self, code: Path, /, *names: str, instance: str, key: str = "", **environment: str) -> Process:
        """The same by the code in this folder."""
        key = key or f"{names[0].rpartition(':')[2]}/{instance}"
        assert key not in self.processes or not self.processes[key].alive
        http = f"127.0.0.1:{process.free_port()}"
        log = self.folder / "logs" / f"{re.sub('[^a-z0-9]', '-', key)}.log"
        command = [sys.executable, "-m", "infra.cli", "serve", *names, "--instance", instance, "--http", http]
        spec = Spec(command, str(code), str(log), signal.SIGTERM, patience=20)
        own = login(self.settings, *names) if code == ROOT else {}
        with given_environment(self.environment | own | environment):
            running = process.start(Planned(key, http, spec), keep=False)
        self._started[key] = (names, instance, code, environment)
        self.processes[key] = Process(names, instance, running, log)
        return self.processes[key]

    def serve_all(self, *names: str, instance: str = "1") -> None:
        """Starts a process for each; without names, for every service."""
        for name in names or SERVICES:
            self.serve(name, instance=instance)

    def restart(self, key: str) -> Process:
        """Starts the same process again, after its end."""
        names, instance, code, environment = self._started[key]
        return self.serve_from(code, *names, instance=instance, key=key, **environment)

    async def kill(self, key: str) -> None:
        """Kills a process, and waits until it is gone."""
        await self.processes[key].end(signal.SIGKILL)

    async def terminate(self, key: str, kill_after: float = math.inf) -> None:
        """Tells a process to finish (SIGTERM), and waits until it has. Kills one that has not after so many seconds."""
        await self.processes[key].end(signal.SIGTERM, kill_after)

    async def ready(self, *keys: str) -> None:
        """Waits until these processes, or all, are ready."""
        for key in keys or tuple(self.processes):
            one = self.processes[key]

            async def is_ready(one: Process = one) -> bool:
                assert one.alive, f"{one.names} ended\n{process.last_words(one.log, lines=30)}"
                return (await asyncio.to_thread(one.health))[0] == 200

            await until(is_ready, f"{key} is ready")

    def stop(self) -> None:
        """Stops every process."""
        for one in self.processes.values():
            if one.alive:
                one.signal(signal.SIGCONT)
        process.stop_all(one.running for one in self.processes.values())

    async def hansard(self, *arguments: str, code: int = 0, cwd: Path = ROOT, more: Mapping[str, str] | None = None) -> str:
        """Runs the `hansard` command, whose code is in `cwd`, as an operator; returns what it wrote to standard output. `more`:
        further variables of its environment."""
        command = [sys.executable, "-m", "infra.cli", *arguments]
        pipe = asyncio.subprocess.PIPE
        environment = self.environment | {"HANSARD_POSTGRES_OWNER": self.owner, **(more or {})}
        done = await asyncio.create_subprocess_exec(*command, cwd=cwd, env=environment, stdout=pipe, stderr=pipe)
        out, err = await asyncio.wait_for(done.communicate(), LONG)
        assert done.returncode == code, out.decode() + err.decode()
        return out.decode()

    async def drop_schema(self) -> None:
        """Drops its schema where the database was given, and so outlives the tests."""
        if self.settings.postgres.get_secret_value() == os.environ.get("HANSARD_POSTGRES"):
            await _drop(self.owner, self.settings.postgres_schema)

    # its topics

    async def producer(self) -> AIOKafkaProducer:
        if self._producer is None:
            self._producer = AIOKafkaProducer(
                bootstrap_servers=self.settings.kafka, acks="all", enable_idempotence=True, max_request_size=8 << 20
            )
            await self._producer.start()
        return self._producer

    async def put(self, topic: str, body: bytes | None, headers: Iterable[tuple[str, bytes]], key: bytes | None = None) -> None:
        """Publishes these bytes as they are."""
        producer = await self.producer()
        await producer.send_and_wait(self.settings.topic_prefix + topic, body, key=key, headers=list(headers))

    async def ask(
        self, *bodies: Json, ids: Sequence[str] = (), topic: str = "requests", kind: str = SubmitRequest.kind
    ) -> list[str]:
        """Publishes requests, in order; returns their ids."""
        producer = await self.producer()
        ids = ids or [f"w-{secrets.token_hex(6)}" for _ in bodies]
        sent = [
            await producer.send(
                self.settings.topic_prefix + topic, json.dumps(body).encode(), key=id_.encode(), headers=envelope(id_, kind)
            )
            for id_, body in zip(ids, bodies, strict=True)
        ]
        await asyncio.gather(*sent)
        return list(ids)

    async def publish(self, workflow: str, kind: str, body: Json, topic: str = "control") -> None:
        """Publishes a message of this workflow, under a new id."""
        headers = envelope(f"c-{secrets.token_hex(6)}", kind, workflow=workflow)
        await self.put(topic, json.dumps(body).encode(), headers, workflow.encode())

    async def command(self, topic: str, *messages: Message) -> list[str]:
        """Gives these commands as a service would, each in a workflow of its own; returns the workflows."""
        stored = [stored_as_now(message, topic, str(uuid4())) for message in messages]
        async with connected(self.owner, self.settings.postgres_schema) as connection:
            await put_on_record(connection, stored)
        await asyncio.gather(*map(self.publish_stored, stored))
        return [message.stream.workflow for message in stored]

    async def publish_stored(self, message: StoredMessage) -> None:
        """Publishes a message as its service's producer does, whether it is on the record or not."""
        await self.put(message.topic, message.data, headers(message), message.stream.workflow.encode())

    async def listen(self) -> None:
        """From now on `published` holds every message of the recorded topics that are no doors, from the first."""
        if self._reader is None:
            self._reader = asyncio.create_task(self._listen())
            self._reader.add_done_callback(lambda reader: None if reader.cancelled() else reader.result())

    async def _listen(self) -> None:
        prefix = self.settings.topic_prefix
        names = [prefix + topic.name for topic in self.settings.topics.all if not topic.door and topic.recorded]
        options: Json = {"enable_auto_commit": False, "auto_offset_reset": "earliest", "fetch_max_wait_ms": 100}
        consumer = AIOKafkaConsumer(*names, bootstrap_servers=self.settings.kafka, **options)
        while True:
            try:
                await consumer.start()
                break
            except KafkaError:
                await consumer.stop()
                consumer = AIOKafkaConsumer(*names, bootstrap_servers=self.settings.kafka, **options)
        try:
            async for record in consumer:
                headers = {name: value.decode(errors="replace") for name, value in record.headers}
                self.published.append(
                    PublishedMessage(record.topic.removeprefix(prefix), record.partition, record.offset, headers, record.value)
                )
        finally:
            await consumer.stop()

    @property
    def results(self) -> dict[str, list[PublishedMessage]]:
        """The messages on `results`, by workflow, without repeats."""
        found: dict[str, dict[str, PublishedMessage]] = {}
        for one in self.published:
            if one.topic == "results":
                found.setdefault(one.workflow, {})[one.id] = one
        return {workflow: list(by_id.values()) for workflow, by_id in found.items()}

    def dead_letters(self, **wanted: Any) -> list[PublishedMessage]:
        """The messages on `dead-letters` with these values in their data, without repeats."""
        found = {one.id: one for one in self.published if one.topic == "dead-letters"}
        return [one for one in found.values() if wanted.items() <= one.data.items()]

    async def answered(self, ids: Iterable[str], seconds: float = LONG) -> dict[str, PublishedMessage]:
        """Waits for the results of these workflows; asserts that each has one."""
        await self.listen()
        wanted = set(ids)
        await until(lambda: wanted <= self.results.keys(), lambda: f"no result for {wanted - self.results.keys()}"[:400], seconds)
        results = self.results
        assert [w for w in wanted if len(results[w]) != 1] == [], "more than one result"
        return {workflow: results[workflow][0] for workflow in wanted}

    async def answered_so_far(self, count: int, seconds: float = LONG) -> None:
        """Waits until this many workflows have a result."""
        await self.listen()
        await until(lambda: len(self.results) >= count, lambda: f"{len(self.results)} results of {count}", seconds)

    # its record

    async def store(self) -> PostgresEventStore:
        if self._store is None:
            self._store = await PostgresEventStore.open(
                self.settings.postgres.get_secret_value(), schema=self.settings.postgres_schema
            )
        return self._store

    async def rows(self, sql: str, *arguments: Any) -> list[tuple[Any, ...]]:
        """The rows of a statement, run by the owner with the deployment's schema as the search path."""
        async with connected(self.owner, self.settings.postgres_schema) as connection:
            return [tuple(row) for row in await connection.fetch(sql, *arguments)]

    async def at_rest(self, seconds: float = LONG) -> None:
        """Waits until every message is published and processed, and no wake-up is overdue."""

        async def quiet() -> bool:
            [(waiting, overdue)] = await self.rows(
                "select (select count(*) from streams where published < version),"
                " (select count(*) from wake_ups where at < now() - interval '100 ms')"
            )
            return not waiting and not overdue

        async def still() -> bool:
            lags = await asyncio.gather(*(lag(self.settings, name) for name in SERVICES))
            return not any(lags) and await quiet()

        await until(still, "all is published and processed, and nothing is overdue", seconds, every=0.2)

    async def verified(self) -> Report:
        """The report of all workflows, as one."""
        store, known = await self.store(), services(self.settings)
        whole = Report("", "")
        for tenant, workflow in await workflows(store):
            one = await verify(store, known, self.settings.topics, tenant, workflow)
            for count in ("streams", "decided", "dead", "outcomes", "unknown", "differences", "forged"):
                setattr(whole, count, getattr(whole, count) + getattr(one, count))
        return whole

    async def is_whole(self) -> None:
        """Asserts what must be true of every record: no gap, nothing twice, each effect once, every message published."""
        assert await self.rows(published.GAPS) == []
        assert await self.rows(published.STREAMS) == []
        assert await self.rows(published.RESULTS) == []
        assert await self.rows(published.EFFECTS) == []
        assert await self.rows(published.IDS) == []
        await self.listen()
        ids = {one.id for one in self.published}
        recorded = {str(id_): (topic, stream, version) for id_, topic, stream, version in await self.rows(published.MESSAGES)}
        assert ids - recorded.keys() == set(), "published, and not on the record"
        await until(
            lambda: recorded.keys() <= {one.id for one in self.published},
            lambda: f"not published: {[recorded[i] for i in recorded.keys() - {one.id for one in self.published}][:5]}",
        )
        assert out_of_order(self.published) == []

    async def close(self) -> None:
        """Closes what belongs to this event loop: the reader of topics, the producer, the connections."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
            self._reader = None
        if self._producer is not None:
            producer, self._producer = self._producer, None
            with contextlib.suppress(KafkaError, TimeoutError):
                await asyncio.wait_for(producer.stop(), 10)
        if self._store is not None:
            store, self._store = self._store, None
            await store.close()
        self.published = []


@contextlib.asynccontextmanager
async def connected(owner: str, schema: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the tables' owner, whose address this is."""
    connection = await asyncpg.connect(owner, server_settings={"search_path": schema})
    try:
        yield connection
    finally:
        await connection.close()


def _endpoints(url: str, name: str, script: str, capable: str) -> list[Json]:
    """The part after # keeps the call counters of two deployments apart."""
    known: Json = {"url": url, "price": "free", "timeout": 30}
    scripted = known | {"name": "scripted", "model": f"{script}#{name}"}
    if not capable:
        return [scripted]
    return [
        scripted | {"classes": ["fast"]},
        known | {"name": "scripted-capable", "model": f"{capable}#{name}", "classes": ["capable"]},
    ]
