"""Replay: 100,000 events in 20,000 streams read and folded; one stream of 5 and one of 1,000 events loaded and folded.

And the commands that read all of a record or of the topics, on two records that the services made of 1,000 and of 10,000
workflows: events a second, events a second of CPU of their own (`a_core`), and the most memory that they held.
"""

import asyncio
import hashlib
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg

from contracts.codec import encode
from contracts.gateway import AttemptFailed, AttemptStarted, CallAccepted, CallModel, ChatMessage, Fall
from contracts.message import Message
from contracts.topics import Topics
from infra.migrations import migrate
from infra.servers import Addresses
from services.gateway.app import build
from shared.runtime.turns import Floor
from shared.settings import Settings
from shared.store.postgres import PostgresStore
from shared.store.record import Hearing, Said, Stream, Turn
from tests.benchmarks.kit import ROOT, Caller, House, Measured, closed, spread
from tests.benchmarks.workflows import scripted, stack

STREAMS, EACH, LONG = 20_000, 5, 1_000
WORKFLOWS = (1_000, 10_000)
# A process counts as its own what it held before it was another program: a large parent needs a small one in between.
SMALL = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss)
sys.exit(code)
"""
REQUEST = {"text": "Why is the record verbatim?", "plan": "w1"}
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
CALL = CallModel(
    call="specialists/draft.1/1", messages=(ChatMessage(role="user", content="Why is the record verbatim? " * 8),), deadline=NOON
)


async def measure(addresses: Addresses) -> AsyncIterator[Measured]:
    async for measured in chain(folds(addresses), readers(addresses)):
        yield measured


async def chain(*parts: AsyncIterator[Measured]) -> AsyncIterator[Measured]:
    for part in parts:
        async for measured in part:
            yield measured


async def folds(addresses: Addresses) -> AsyncIterator[Measured]:
    schema = f"bench_{uuid.uuid4().hex[:8]}"
    await migrate(addresses.postgres, schema)
    store = await PostgresStore.open(addresses.postgres, schema=schema)
    floor = Floor(build(Settings(model_url="http://127.0.0.1:1/v1", model_name="m")), Topics(), 900_000)
    try:
        names = [Stream("default", f"w{n}", "gateway/specialists/draft.1/1") for n in range(STREAMS)]
        for start in range(0, STREAMS, 500):
            await store.append([turn(name, EACH) for name in names[start : start + 500]])
        long = Stream("default", "long", "gateway/specialists/draft.1/1")
        await store.append([turn(long, LONG)])

        began, cpu, events = time.perf_counter(), time.process_time(), 0
        for start in range(0, STREAMS, 1000):
            histories = await store.load(names[start : start + 1000])
            for history in histories.values():
                floor.recall(history)
                events += history.version
        taken = time.perf_counter() - began
        used = (time.process_time() - cpu) * 1000 / events
        yield Measured("replay", "load and fold, 20,000 streams of 5", 1000, events / taken, cpu_ms=used, more={"unit": "events"})

        histories = await store.load(names[:4000])
        began, folded = time.perf_counter(), 0
        for history in histories.values():
            floor.recall(history)
            folded += history.version
        yield Measured("fold", "decode and fold only", 0, folded / (time.perf_counter() - began), more={"unit": "events"})

        for name, events in ((names[0], EACH), (long, LONG)):
            seconds = []
            for _ in range(50):
                began = time.perf_counter()
                floor.recall((await store.load([name]))[name])
                seconds.append(time.perf_counter() - began)
            p50, p99 = spread(seconds)
            yield Measured("load and fold", f"one stream of {events} events", 1, events * 50 / sum(seconds), p50, p99)
    finally:
        await store.close()


async def readers(addresses: Addresses) -> AsyncIterator[Measured]:
    for workflows in WORKFLOWS:
        with scripted() as url:
            async with stack(addresses, url, "ok") as it, Caller(it) as caller:
                await closed(lambda caller=caller: caller.call(REQUEST), 256, workflows)  # type: ignore[misc]
                events = await at_rest(it)
        rebuilt = f"{it.settings.postgres_schema}_rebuilt"
        for command in (
            "audit verify",
            f"audit rebuild --to {rebuilt}",
            f"audit compare --with {rebuilt}",
            f"replay --to {rebuilt}",
        ):
            yield await asyncio.to_thread(timed, command, it, events)


async def at_rest(it: House) -> int:
    """How many events there are, once all are published: from then on nothing more is said."""
    schema = it.settings.postgres_schema
    connection = await asyncpg.connect(it.settings.postgres.get_secret_value())
    try:
        while await connection.fetchval(f"select exists (select from {schema}.heads where published < version)"):
            await asyncio.sleep(0.1)
        return int(await connection.fetchval(f"select count(*) from {schema}.events"))
    finally:
        await connection.close()


def timed(command: str, it: House, events: int) -> Measured:
    """One command from its start to its end, imports and all. Raises CalledProcessError where it finds anything."""
    arguments = [sys.executable, "-c", SMALL, sys.executable, "-m", "infra.cli", *command.split()]
    began = time.perf_counter()
    told = subprocess.run(arguments, cwd=ROOT, env=it.environment, check=True, capture_output=True, text=True).stdout
    taken, (cpu, memory) = time.perf_counter() - began, map(float, told.split())
    more = {"unit": "events", "a_core": round(events / cpu), "rss_mb": round(memory / 1024)}
    return Measured(command.partition(" --")[0], f"{events:,} events", 0, events / taken, cpu_ms=cpu * 1000 / events, more=more)


def turn(stream: Stream, events: int) -> Turn:
    """A call that was accepted and then tried over and over."""
    numbers = range(1, events + 1)
    hearings, events_ = [hearing(n) for n in numbers], [said(stream, n, message(n)) for n in numbers]
    return Turn(stream, 0, 0, datetime.now(UTC), hearings=hearings, said=events_)


def message(n: int) -> Message:
    if n == 1:
        return CallAccepted(request=CALL, at=NOON)
    attempt = n // 2
    if n % 2 == 0:
        return AttemptStarted(
            attempt=attempt, safety="safe", key="k", deadline=NOON + timedelta(days=1), call=CALL.call,
            tier="primary", provider="local", model="m", endpoint="primary",
        )  # fmt: skip
    return AttemptFailed(call=CALL.call, fall=Fall(tier="primary", attempt=attempt, reason="timeout"), latency_ms=3.5)


def hearing(n: int) -> Hearing:
    return Hearing(uuid.uuid4(), n, n - 1, "bench.heard.v1", NOON, b"\0" * 32, "code", "1")


def said(stream: Stream, n: int, message: Message) -> Said:
    data = encode(message)
    return Said(stream, n, uuid.uuid4(), message.kind, "gateway.events", uuid.uuid4(), data, hashlib.sha256(data).digest())
