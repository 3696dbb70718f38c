"""A house for the tests that need a whole one: a schema and topics of its own, and services as processes that can be killed.

The model behind it is the scripted server of `tests.scripted`, a process of its own, unless a test says otherwise.
"""

import asyncio
import contextlib
import json
import os
import re
import secrets
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import asyncpg
import yaml
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError

from contracts.catalog import SERVICES
from contracts.requests import SubmitRequest
from infra.audit.verify import Report, verify, workflows
from infra.cli.running import services
from infra.migrations import migrate
from infra.servers import Servers, process
from infra.servers.process import Planned, Running, Spec
from infra.topics import apply
from shared.eventstore.postgres import PostgresEventStore
from shared.kafka.groups import lag
from shared.settings import Settings

ROOT = Path(__file__).parents[1]
LONG = 90.0  # seconds: a bound, not an expectation
Json = dict[str, Any]

RULE: Json = {"type": "calculate_tax", "data": {"amount": "99.99"}}
QUESTION: Json = {"text": "What is a quorum?"}


def model(servers: Servers) -> Running:
    """The scripted OpenAI-compatible server, started; its address ends in `/v1`. Stop it with `process.stop`."""
    port = process.free_port()
    command = [sys.executable, "-m", "tests.scripted", str(port)]
    log = servers.home / "logs" / "scripted.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    spec = Spec(command, str(ROOT), str(log), signal.SIGTERM, patience=5)
    running = process.start(Planned("scripted model", f"http://127.0.0.1:{port}/v1", spec), keep=False)
    assert process.wait_for(lambda: not process.is_free(port), seconds=LONG), process.last_words(log)
    return running


@dataclass(frozen=True)
class StoredMessage:
    """One record of a topic, as any client sees it."""

    topic: str
    partition: int
    offset: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers.get("ce_id", "")

    @property
    def kind(self) -> str:
        return self.headers.get("ce_type", "")

    @property
    def workflow(self) -> str:
        return self.headers.get("ce_correlationid", "")

    @property
    def data(self) -> Json:
        found: Json = json.loads(self.body)
        return found


@dataclass
class Process:
    """One service process, or several services in one."""

    names: tuple[str, ...]
    instance: str
    running: Running
    log: Path

    @property
    def http(self) -> str:
        return self.running.address

    @property
    def alive(self) -> bool:
        return process.alive(self.running)

    @property
    def messages(self) -> str:
        """Its log, without colours."""
        return re.sub(r"\x1b\[[0-9;]*m", "", self.log.read_text(errors="replace"))

    def signal(self, number: int) -> None:
        assert self.alive, f"{self.names} is not running\n{process.last_words(self.log)}"
        os.kill(self.running.pid, number)

    def health(self, path: str = "ready") -> tuple[int, str]:
        """HTTP status, 0 where nobody answers; and its words."""
        try:
            with urllib.request.urlopen(f"http://{self.http}/{path}", timeout=2) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as unwell:
            return unwell.code, unwell.read(4000).decode()
        except OSError:
            return 0, ""


@dataclass
class House:
    """`async with House.open(servers, model_url) as house:` — services are stopped, however they are, at the end."""

    servers: Servers
    settings: Settings
    folder: Path
    environment: dict[str, str]
    processes: dict[str, Process] = field(default_factory=dict)
    processed: list[StoredMessage] = field(default_factory=list)
    _again: dict[str, tuple[tuple[str, ...], str, dict[str, str]]] = field(default_factory=dict)
    _producer: AIOKafkaProducer | None = None
    _ear: "asyncio.Task[None] | None" = None
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
        **environment: str,
    ) -> Self:
        """`script` is what the scripted model does; `capable`, what it does for calls of that class, if something else.

        Further environment is for all its processes: `HANSARD_LEASE_SECONDS="2"`.
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
        with _environment(outside | mine):
            settings = Settings()
        await migrate(addresses.postgres, name)
        assert not [change for change in await apply(settings) if change.error]
        return cls(servers, settings, folder, outside | mine)

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, servers: Servers, model_url: str, **wishes: Any) -> AsyncIterator[Self]:
        house = await cls.build(servers, model_url, **wishes)
        try:
            yield house
        finally:
            house.end()
            await house.forget()
            await house.close()

    # its processes

    def serve(self, *names: str, instance: str = "1", key: str = "", **environment: str) -> Process:
        """Starts a process with these services, or starts it again."""
        key = key or f"{names[0].rpartition(':')[2]}/{instance}"
        assert key not in self.processes or not self.processes[key].alive
        http = f"127.0.0.1:{process.free_port()}"
        log = self.folder / "logs" / f"{re.sub('[^a-z0-9]', '-', key)}.log"
        command = [sys.executable, "-m", "infra.cli", "serve", *names, "--instance", instance, "--http", http]
        spec = Spec(command, str(ROOT), str(log), signal.SIGTERM, patience=20)
        with _environment(self.environment | environment):
            running = process.start(Planned(key, http, spec), keep=False)
        self._again[key] = (names, instance, environment)
        self.processes[key] = Process(names, instance, running, log)
        return self.processes[key]

    def serve_all(self, *names: str, instance: str = "1") -> None:
        """A process for each."""
        for name in names or SERVICES:
            self.serve(name, instance=instance)

    def again(self, key: str) -> Process:
        """The same process, after its end."""
        names, instance, environment = self._again[key]
        return self.serve(*names, instance=instance, key=key, **environment)

    async def kill(self, key: str) -> None:
        """SIGKILL, and gone."""
        self.processes[key].signal(signal.SIGKILL)
        await until(lambda: not self.processes[key].alive, "the killed process is gone")

    async def leave(self, key: str) -> None:
        """SIGTERM, and gone by itself."""
        self.processes[key].signal(signal.SIGTERM)
        await until(lambda: not self.processes[key].alive, "the process left when it was told to")

    async def ready(self, *keys: str) -> None:
        """Until these, or all, say so."""
        for key in keys or tuple(self.processes):
            one = self.processes[key]

            async def well(one: Process = one) -> bool:
                assert one.alive, f"{one.names} ended\n{process.last_words(one.log, lines=30)}"
                return (await asyncio.to_thread(one.health))[0] == 200

            await until(well, f"{key} is ready")

    def end(self) -> None:
        """Ends every process."""
        for one in self.processes.values():
            if one.alive:
                one.signal(signal.SIGCONT)
        process.stop_all(one.running for one in self.processes.values())

    async def hansard(self, *words: str, code: int = 0) -> str:
        """Runs the `hansard` command in this house; what it wrote to standard output."""
        command = [sys.executable, "-m", "infra.cli", *words]
        pipe = asyncio.subprocess.PIPE
        done = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=self.environment, stdout=pipe, stderr=pipe)
        out, err = await asyncio.wait_for(done.communicate(), LONG)
        assert done.returncode == code, out.decode() + err.decode()
        return out.decode()

    async def forget(self) -> None:
        """Drops its schema, where the database is not ours and outlives the tests."""
        if self.settings.postgres.get_secret_value() == os.environ.get("HANSARD_POSTGRES"):
            schema = self.settings.postgres_schema
            await self.rows(f"drop schema {schema} cascade")
            await self.rows(f"drop owned by {schema}_writer")
            await self.rows(f"drop role {schema}_writer")

    # its topics

    async def producer(self) -> AIOKafkaProducer:
        if self._producer is None:
            self._producer = AIOKafkaProducer(
                bootstrap_servers=self.settings.kafka, acks="all", enable_idempotence=True, max_request_size=8 << 20
            )
            await self._producer.start()
        return self._producer

    async def put(self, topic: str, body: bytes | None, headers: Iterable[tuple[str, bytes]], key: bytes | None = None) -> None:
        """These bytes, as they are."""
        producer = await self.producer()
        await producer.send_and_wait(self.settings.topic_prefix + topic, body, key=key, headers=list(headers))

    async def ask(
        self, *bodies: Json, ids: Sequence[str] = (), topic: str = "requests", kind: str = SubmitRequest.kind
    ) -> list[str]:
        """Publishes requests, in order; their ids."""
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

    async def tell(self, workflow: str, kind: str, body: Json, topic: str = "control") -> None:
        """Says this about a workflow, under an id of its own."""
        headers = envelope(f"c-{secrets.token_hex(6)}", kind, workflow=workflow)
        await self.put(topic, json.dumps(body).encode(), headers, workflow.encode())

    async def listen(self) -> None:
        """From now on `heard` holds every record of every topic of ours, from the first."""
        if self._ear is None:
            self._ear = asyncio.create_task(self._listen())
            self._ear.add_done_callback(lambda parser: None if parser.cancelled() else parser.result())

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
                self.processed.append(
                    StoredMessage(record.topic.removeprefix(prefix), record.partition, record.offset, headers, record.value)
                )
        finally:
            await consumer.stop()

    @property
    def results(self) -> dict[str, list[StoredMessage]]:
        """What is on `results`, by workflow; repeats of one event are one."""
        found: dict[str, dict[str, StoredMessage]] = {}
        for one in self.processed:
            if one.topic == "results":
                found.setdefault(one.workflow, {})[one.id] = one
        return {workflow: list(by_id.values()) for workflow, by_id in found.items()}

    def letters(self, **wanted: Any) -> list[StoredMessage]:
        """What is on `dead-letters` with these values in its data; repeats of one event are one."""
        found = {one.id: one for one in self.processed if one.topic == "dead-letters"}
        return [one for one in found.values() if wanted.items() <= one.data.items()]

    async def answered(self, ids: Iterable[str], seconds: float = LONG) -> dict[str, StoredMessage]:
        """The one result of each, when they are all there."""
        await self.listen()
        wanted = set(ids)
        await until(
            lambda: wanted <= self.results.keys(), lambda: f"no result for {sorted(wanted - self.results.keys())[:5]}", seconds
        )
        results = self.results
        assert [w for w in wanted if len(results[w]) != 1] == [], "more than one result"
        return {workflow: results[workflow][0] for workflow in wanted}

    async def answered_so_far(self, count: int, seconds: float = LONG) -> None:
        """Until so many workflows have a result."""
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
        """Asked of Postgres, with the house's schema as the search path."""
        connection = await asyncpg.connect(
            self.settings.postgres.get_secret_value(), server_settings={"search_path": self.settings.postgres_schema}
        )
        try:
            return [tuple(row) for row in await connection.fetch(sql, *arguments)]
        finally:
            await connection.close()

    async def at_rest(self, seconds: float = LONG) -> None:
        """Until all that was said is published and heard, and nothing is overdue."""

        async def quiet() -> bool:
            [(waiting, overdue)] = await self.rows(
                "select (select count(*) from streams where published < version),"
                " (select count(*) from wake_ups where at < now() - interval '100 ms')"
            )
            return not waiting and not overdue

        async def still() -> bool:
            unheard = await asyncio.gather(*(lag(self.settings, name) for name in SERVICES))
            return not any(unheard) and await quiet()

        await until(still, "all is published and heard, and nothing is overdue", seconds, every=0.2)

    async def verified(self) -> Report:
        """All workflows decided again, as one report."""
        store, known = await self.store(), services(self.settings)
        whole = Report("", "")
        for tenant, workflow in await workflows(store):
            one = await verify(store, known, self.settings.topics, tenant, workflow)
            whole.streams += one.streams
            whole.decided += one.decided
            whole.trusted += one.trusted
            whole.differences += one.differences
            whole.strangers += one.strangers
        return whole

    async def is_whole(self) -> None:
        """Asserts what must be true of every record: no gap, no double, each effect once, everything said on its topic."""
        assert await self.rows(GAPS) == []
        assert await self.rows(HEADS) == []
        assert await self.rows(ONE_RESULT) == []
        assert await self.rows(ONE_EFFECT) == []
        assert await self.rows(TWO_IDS) == []
        await self.listen()
        entry = {one.id for one in self.processed}
        recorded = {str(id_): (topic, stream, version) for id_, topic, stream, version in await self.rows(EVENTS)}
        assert entry - recorded.keys() == set(), "published, and not on the record"
        await until(
            lambda: recorded.keys() <= {one.id for one in self.processed},
            lambda: f"not published: {[recorded[i] for i in recorded.keys() - {one.id for one in self.processed}][:5]}",
        )
        assert in_order(self.processed) == []

    async def close(self) -> None:
        """Ends what lives in this event loop: the ear, the producer, the connections."""
        if self._ear is not None:
            self._ear.cancel()
            await asyncio.gather(self._ear, return_exceptions=True)
            self._ear = None
        if self._producer is not None:
            producer, self._producer = self._producer, None
            with contextlib.suppress(KafkaError, TimeoutError):
                await asyncio.wait_for(producer.stop(), 10)
        if self._store is not None:
            store, self._store = self._store, None
            await store.close()
        self.processed = []


GAPS = """select workflow, stream from messages group by tenant, workflow, stream
          having count(*) <> max(version) or min(version) <> 1"""
HEADS = """select workflow, stream, version, processed from streams h
            where version <> (select count(*) from messages e
                               where (e.tenant, e.workflow, e.stream) = (h.tenant, h.workflow, h.stream))
               or processed <> (select count(*) from inbox e
                             where (e.tenant, e.workflow, e.stream) = (h.tenant, h.workflow, h.stream))"""
ONE_RESULT = "select workflow from messages where topic = 'results' group by tenant, workflow having count(*) > 1"
ONE_EFFECT = """select workflow, stream, data->>'attempt' from messages where kind = 'hansard.gateway.attempt-started.v1'
                 group by tenant, workflow, stream, data->>'attempt' having count(*) > 1"""
TWO_IDS = "select id from messages group by id having count(*) > 1"
EVENTS = "select id, topic, stream, version from messages"


def in_order(entry: Iterable[StoredMessage]) -> list[str]:
    """First publications that came after a later word of their stream on the same topic."""
    last: dict[tuple[str, str, str, str], int] = {}
    seen: set[str] = set()
    wrong: list[str] = []
    for one in entry:
        if one.id in seen:
            continue
        seen.add(one.id)
        place = one.topic, one.headers.get("ce_tenant", ""), one.workflow, one.headers.get("ce_subject", "")
        sequence = int(one.headers.get("ce_sequence", "0"))
        if sequence <= last.get(place, 0):
            wrong.append(f"{place}: {sequence} after {last[place]}")
        last[place] = max(sequence, last.get(place, 0))
    return wrong


def envelope(
    id_: str, kind: str = SubmitRequest.kind, *, workflow: str = "", source: str = "/test", **more: str
) -> list[tuple[str, bytes]]:
    """CloudEvents headers in binary mode."""
    named = (
        {"specversion": "1.0", "id": id_, "source": source, "type": kind}
        | ({"correlationid": workflow} if workflow else {})
        | more
    )
    return [(f"ce_{name}", value.encode()) for name, value in named.items()]


async def until(
    there: Callable[[], bool | Awaitable[bool]], what: str | Callable[[], str], seconds: float = LONG, every: float = 0.05
) -> None:
    """Looks again and again; fails when the time is over. A server that is away is not there yet."""
    end = time.monotonic() + seconds
    while True:
        try:
            found = there()
            if await found if isinstance(found, Awaitable) else found:
                return
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            pass
        assert time.monotonic() < end, f"it did not come about: {what if isinstance(what, str) else what()}"
        await asyncio.sleep(every)


def _endpoints(url: str, name: str, script: str, capable: str) -> list[Json]:
    """What follows # keeps the counters of two houses apart."""
    known: Json = {"url": url, "price": "free", "timeout": 30}
    one = known | {"name": "scripted", "model": f"{script}#{name}"}
    if not capable:
        return [one]
    return [
        one | {"classes": ["fast"]},
        known | {"name": "scripted-capable", "model": f"{capable}#{name}", "classes": ["capable"]},
    ]


@contextlib.contextmanager
def _environment(wanted: Mapping[str, str]) -> Any:
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(wanted)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
