"""Replay: 100,000 messages of 20,000 streams loaded and folded; one stream of 5 and one of 1,000 messages loaded and folded."""

import hashlib
import time
import uuid
from datetime import UTC, datetime, timedelta

from contracts.catalog import Topics
from contracts.gateway import AttemptFailed, AttemptStarted, CallAccepted, CallModel, ChatMessage, Fall
from hansard.codec import encode
from hansard.message import Message
from infra.migrations import migrate
from services.gateway.app import build
from shared.eventstore.model import InboxEntry, StoredMessage, Stream, StreamAppend
from shared.eventstore.postgres import PostgresEventStore
from shared.runtime.processor import Processor
from shared.settings import Settings
from tests.benchmarks.kit import Bench, Run
from tests.benchmarks.tables import Section, Table, figure, percentiles

STREAMS, EACH, LONG = 20_000, 5, 1_000
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
CALL = CallModel(
    call="specialists/draft.1/1", messages=(ChatMessage(role="user", content="Why is the record verbatim? " * 8),), deadline=NOON
)


async def measure(bench: Bench, run: Run) -> Section:
    rows = []
    schema = f"bench_{uuid.uuid4().hex[:8]}"
    await migrate(bench.addresses.owner, schema, service=bench.addresses.postgres)
    store = await PostgresEventStore.open(bench.addresses.postgres, schema=schema)
    processor = Processor(build(Settings(model_url="http://127.0.0.1:1/v1", model_name="m")), Topics(), 900_000)
    try:
        names = [Stream("default", f"w{n}", "gateway/specialists/draft.1/1") for n in range(STREAMS)]
        for start in range(0, STREAMS, 500):
            await store.append([stream_append(name, EACH) for name in names[start : start + 500]])
        long = Stream("default", "long", "gateway/specialists/draft.1/1")
        await store.append([stream_append(long, LONG)])

        began, cpu, messages = time.perf_counter(), time.process_time(), 0
        for start in range(0, STREAMS, 1000):
            histories = await store.load(names[start : start + 1000])
            for history in histories.values():
                processor.fold(history)
                messages += history.version
        taken = time.perf_counter() - began
        used = (time.process_time() - cpu) * 1000 / messages
        rows.append(["load and fold, 20,000 streams of 5", figure(messages / taken), "", "", figure(used)])

        histories = await store.load(names[:4000])
        began, folded = time.perf_counter(), 0
        for history in histories.values():
            processor.fold(history)
            folded += history.version
        rows.append(["decode and fold only", figure(folded / (time.perf_counter() - began)), "", "", ""])

        for name, messages in ((names[0], EACH), (long, LONG)):
            seconds = []
            for _ in range(50):
                began = time.perf_counter()
                processor.fold((await store.load([name]))[name])
                seconds.append(time.perf_counter() - began)
            what = f"load and fold one stream of {messages} messages"
            rows.append([what, *map(figure, (messages * 50 / sum(seconds), *percentiles(seconds))), ""])
    finally:
        await store.close()
    return Section("Replay", [Table(["what", "messages per second", "p50 ms", "p99 ms", "our CPU ms a message"], rows)])


def stream_append(stream: Stream, messages: int) -> StreamAppend:
    """A call that was accepted and then tried over and over."""
    numbers = range(1, messages + 1)
    entries, stored = [entry(n) for n in numbers], [stored_message(stream, n, message(n)) for n in numbers]
    return StreamAppend(stream, 0, 0, datetime.now(UTC), entries=entries, messages=stored)


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


def entry(n: int) -> InboxEntry:
    return InboxEntry(uuid.uuid4(), n, n - 1, "bench.message.v1", NOON, b"\0" * 32, "code", "1")


def stored_message(stream: Stream, n: int, message: Message) -> StoredMessage:
    data = encode(message)
    return StoredMessage(
        stream, n, uuid.uuid4(), message.kind, "gateway.events", uuid.uuid4(), data, hashlib.sha256(data).digest()
    )
