"""The event store: appends in batches of 1, 100 and 1,000 streams."""

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
    await migrate(bench.addresses.postgres, schema)
    store = await PostgresEventStore.open(bench.addresses.postgres, schema=schema)
    try:
        for streams, rounds in BATCHES.items():
            taken, cpu = [], time.process_time()
            for _ in range(rounds):
                appends = [turn() for _ in range(streams)]
                began = time.perf_counter()
                appended = await store.append(appends)
                taken.append(time.perf_counter() - began)
                assert len(appended.accepted) == streams
            events = rounds * streams
            used = (time.process_time() - cpu) * 1000 / events
            rows.append([str(streams), *map(figure, (events / sum(taken), *percentiles(taken), used))])
    finally:
        await store.close()
    columns = ["streams in one append", "events per second", "p50 ms", "p99 ms", "our CPU ms an event"]
    return Section("Appends", ["1 hearing and 1 event a stream, fsync on.", Table(columns, rows)])


def turn() -> StreamAppend:
    stream, causation_id, now = Stream("default", uuid.uuid4().hex, "router"), uuid.uuid4(), datetime.now(UTC)
    stored = StoredMessage(stream, 1, uuid.uuid4(), "bench.said.v1", "router.events", causation_id, BODY, b"\0" * 32)
    entry = InboxEntry(causation_id, 1, 0, "bench.heard.v1", now, b"\0" * 32, "code", "1")
    return StreamAppend(stream, 0, 0, now, entries=[entry], messages=[stored])
