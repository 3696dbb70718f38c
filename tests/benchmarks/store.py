"""The event store: appends of 1, 100 and 1,000 streams, and what it costs to check what they answer, and who writes."""

import random
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from statistics import median

import psutil

from infra.migrations import migrate
from infra.servers.passwords import service_login
from shared.eventstore.model import Claim, InboxEntry, StoredMessage, Stream, StreamAppend
from shared.eventstore.postgres import PostgresEventStore
from tests.benchmarks.kit import Bench, Run
from tests.benchmarks.tables import Section, Table, figure, percentiles

BODY = b'{"text":"' + b"x" * 400 + b'"}'
BATCHES = {1: 400, 100: 60, 1000: 12}  # streams in one append: appends


async def measure(bench: Bench, run: Run) -> Section:
    rows = []
    schema = f"bench_{uuid.uuid4().hex[:8]}"
    service = service_login(bench.addresses.postgres, "router")
    await migrate(bench.addresses.owner, schema, service=bench.addresses.postgres, logins={"router": service}, renew=True)
    store, other, owners, routers = [
        await PostgresEventStore.open(dsn, schema=schema)
        for dsn in (bench.addresses.postgres, bench.addresses.postgres, bench.addresses.owner, service)
    ]
    try:
        for streams, rounds in BATCHES.items():
            taken, cpu = [], time.process_time()
            for _ in range(rounds):
                taken.append(await appended(store, [an_append() for _ in range(streams)]))
            messages = rounds * streams
            used = (time.process_time() - cpu) * 1000 / messages
            rows.append([str(streams), *map(figure, (messages / sum(taken), *percentiles(taken), used))])
        claims = [
            await alternating((store, other), streams, rounds, claiming=(False, True)) for streams, rounds in BATCHES.items()
        ]
        rights = [await alternating((owners, routers), streams, rounds) for streams, rounds in BATCHES.items()]
    finally:
        for opened in (store, other, owners, routers):
            await opened.close()
    columns = ["streams in one append", "messages per second", "p50 ms", "p99 ms", "our CPU ms a message"]
    ratios = ["streams in one append", "p50 ms without", "p50 ms with", "Postgres CPU without = 1", "our CPU without = 1"]
    about = "By turns, each answering a message of the one before: without and with the check that it is on the record."
    bound = "By turns: by the owner, whom no policy on rows binds, and by the login of one service (decision 0025)."
    tables: list[Table | str] = [Table(columns, rows), about, Table(ratios, claims), bound, Table(ratios, rights)]
    return Section("Appends", ["1 inbox entry and 1 message a stream, fsync on.", *tables])


async def appended(store: PostgresEventStore, appends: Sequence[StreamAppend]) -> float:
    """Seconds that it took."""
    began = time.perf_counter()
    done = await store.append(appends)
    took = time.perf_counter() - began
    assert len(done.accepted) == len(appends)
    return took


@dataclass
class Side:
    """One of the two that are compared: a connection of its own, so that its server process has only these appends."""

    store: PostgresEventStore
    taken: list[float] = field(default_factory=list)  # seconds of each append
    ours: float = 0.0  # seconds of CPU of this process
    last: list[Claim] = field(default_factory=list)

    async def append(self, streams: int, claiming: bool) -> None:
        appends = [an_append() for _ in range(streams)]
        if claiming and self.last:
            appends = [replace(one, claims=[claim]) for one, claim in zip(appends, self.last, strict=True)]
        began = time.process_time()
        self.taken.append(await appended(self.store, appends))
        self.ours += time.process_time() - began
        self.last = [replace(append.messages[0], at=append.at).claim for append in appends]

    def server(self) -> float:
        """Seconds of CPU of its server process."""
        assert self.store.session.appender is not None
        times = psutil.Process(self.store.session.appender.get_server_pid()).cpu_times()
        return float(times.user + times.system)


async def alternating(
    stores: Sequence[PostgresEventStore], streams: int, rounds: int, *, claiming: Sequence[bool] = (False, False)
) -> list[str]:
    """A row of a table: both sides in turn, in a random order."""
    sides = [Side(store) for store in stores]
    for side in sides:
        await side.append(streams, claiming=False)
        side.taken.clear()
        side.ours = 0.0
    before = [side.server() for side in sides]
    for _ in range(rounds):
        for n in random.sample((0, 1), 2):
            await sides[n].append(streams, claiming=claiming[n])
    used = [side.server() - then for side, then in zip(sides, before, strict=True)]
    latencies = (figure(median(side.taken) * 1000) for side in sides)
    return [str(streams), *latencies, f"{used[1] / used[0]:.2f}", f"{sides[1].ours / sides[0].ours:.2f}"]


def an_append() -> StreamAppend:
    stream, causation_id, now = Stream("default", uuid.uuid4().hex, "router"), uuid.uuid4(), datetime.now(UTC)
    message = StoredMessage(stream, 1, uuid.uuid4(), "bench.stored.v1", "router.events", causation_id, BODY, b"\0" * 32)
    entry = InboxEntry(causation_id, 1, 0, "bench.received.v1", now, b"\0" * 32, "code", "1")
    return StreamAppend(stream, 0, 0, now, entries=[entry], messages=[message])
