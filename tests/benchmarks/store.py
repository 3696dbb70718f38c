"""The event store: appends of 1, 100 and 1,000 streams."""

import time
import uuid
from datetime import UTC, datetime

from infra.migrations import migrate
from shared.eventstore.model import InboxEntry, StoredMessage, Stream, StreamAppend
from shared.eventstore.postgres import PostgresEventStore
from tests.benchmarks.kit import Bench, Run
from tests.benchmarks.tables import Section, Table, figure, percentiles

BODY = b'{"text":"' + b"x" * 400 + b'"}'
BATCHES = {1: 400, 100: 60, 1000: 12}  # streams in one append: appends


async def measure(bench: Bench, run: Run) -> Section:
    rows = []
    schema = f"bench_{uuid.uuid4().hex[:8]}"
    await migrate(bench.addresses.owner, schema, service=bench.addresses.postgres)
    store = await PostgresEventStore.open(bench.addresses.postgres, schema=schema)
    try:
        for streams, rounds in BATCHES.items():
            taken, cpu = [], time.process_time()
            for _ in range(rounds):
                appends = [an_append() for _ in range(streams)]
                began = time.perf_counter()
                appended = await store.append(appends)
                taken.append(time.perf_counter() - began)
                assert len(appended.accepted) == streams
            messages = rounds * streams
            used = (time.process_time() - cpu) * 1000 / messages
            rows.append([str(streams), *map(figure, (messages / sum(taken), *percentiles(taken), used))])
    finally:
        await store.close()
    columns = ["streams in one append", "messages per second", "p50 ms", "p99 ms", "our CPU ms a message"]
    return Section("Appends", ["1 inbox entry and 1 message a stream, fsync on.", Table(columns, rows)])


def an_append() -> StreamAppend:
    stream, causation_id, now = Stream("default", uuid.uuid4().hex, "router"), uuid.uuid4(), datetime.now(UTC)
    message = StoredMessage(stream, 1, uuid.uuid4(), "bench.stored.v1", "router.events", causation_id, BODY, b"\0" * 32)
    entry = InboxEntry(causation_id, 1, 0, "bench.received.v1", now, b"\0" * 32, "code", "1")
    return StreamAppend(stream, 0, 0, now, entries=[entry], messages=[message])
