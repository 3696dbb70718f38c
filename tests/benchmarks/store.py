"""The event store: appends in batches of 1, 100 and 1,000 streams."""

import time
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from infra.migrations import migrate
from infra.servers import Addresses
from shared.store.postgres import PostgresStore
from shared.store.record import Hearing, Said, Stream, Turn
from tests.benchmarks.kit import Measured, spread

BODY = b'{"text":"' + b"x" * 400 + b'"}'
BATCHES = {1: 400, 100: 60, 1000: 12}  # streams in one append: appends


async def measure(addresses: Addresses) -> AsyncIterator[Measured]:
    schema = f"bench_{uuid.uuid4().hex[:8]}"
    await migrate(addresses.postgres, schema)
    store = await PostgresStore.open(addresses.postgres, schema=schema)
    try:
        for streams, rounds in BATCHES.items():
            taken, cpu = [], time.process_time()
            for _ in range(rounds):
                turns = [turn() for _ in range(streams)]
                began = time.perf_counter()
                appended = await store.append(turns)
                taken.append(time.perf_counter() - began)
                assert len(appended.accepted) == streams
            events = rounds * streams
            p50, p99 = spread(taken)
            used = (time.process_time() - cpu) * 1000 / events
            workload = "1 hearing and 1 event a stream, fsync on"
            yield Measured("append", workload, streams, events / sum(taken), p50, p99, used, {"unit": "events"})
    finally:
        await store.close()


def turn() -> Turn:
    stream, cause, now = Stream("default", uuid.uuid4().hex, "router"), uuid.uuid4(), datetime.now(UTC)
    said = Said(stream, 1, uuid.uuid4(), "bench.said.v1", "router.events", cause, BODY, b"\0" * 32)
    hearing = Hearing(cause, 1, 0, "bench.heard.v1", now, b"\0" * 32, "code", "1")
    return Turn(stream, 0, 0, now, hearings=[hearing], said=[said])
