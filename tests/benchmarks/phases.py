"""Where the time of a workflow goes, one at a time: each moment of the path from the request to its result.

The path is read from the topics: a result, the message that it answers, and so on back to the request. Between two of its
messages only the phases of their two services count; time in none of them counts as Kafka's.
"""

import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from statistics import mean, median
from typing import Any, NamedTuple

import asyncpg
from aiokafka import AIOKafkaConsumer

from tests.benchmarks.clocked import POINTS
from tests.benchmarks.closed import closed
from tests.benchmarks.deployments import Caller, Deployment
from tests.benchmarks.kit import Bench, Run
from tests.benchmarks.tables import Section, Table, figure
from tests.benchmarks.trees import TODAY
from tests.benchmarks.workflows import BODIES, stack

COUNT, WARM = 100, 300
KAFKA = "Kafka hop"


class Span(NamedTuple):
    """A phase of one service, in seconds of the system's clock."""

    service: str
    phase: str
    begin: float
    end: float


@dataclass(frozen=True)
class Message:
    """A message of a topic, by its headers."""

    id: str
    causation_id: str
    place: tuple[str, str, int]  # workflow, stream, version
    service: str
    at: float
    result: bool = False


def path(messages: Iterable[Message], last: Message) -> list[Message]:
    """From the first message to `last`, by causation id; one from within a service follows the one before it in its stream."""
    messages = list(messages)
    by_id = {one.id: one for one in messages}
    by_place = {one.place: one for one in messages}
    back, one = [last], last
    while found := by_id.get(one.causation_id) or by_place.get((*one.place[:2], one.place[2] - 1)):
        back.append(found)
        one = found
    return back[::-1]


def spent(spans: Iterable[Span], begin: float, end: float) -> dict[str, float]:
    """Seconds of each phase between the two. Phases at the same time share it; time without a phase is Kafka's."""
    seconds: dict[str, float] = defaultdict(float)
    inside = [span for span in spans if span.end > begin and span.begin < end]
    cuts = sorted({begin, end, *(cut for span in inside for cut in (span.begin, span.end) if begin < cut < end)})
    for a, b in pairwise(cuts):
        now = {span.phase for span in inside if span.begin <= a and span.end >= b} or {KAFKA}
        for phase in now:
            seconds[phase] += (b - a) / len(now)
    return dict(seconds)


def along(way: Sequence[Message], spans: Iterable[Span], begin: float, end: float) -> dict[str, float]:
    """Seconds of each phase from the request at `begin` to the result at `end`."""
    near = [span for span in spans if span.end > begin and span.begin < end]
    stops = [("", begin), *((one.service, min(max(one.at, begin), end)) for one in way), ("", end)]
    seconds: dict[str, float] = defaultdict(float)
    for (before, start), (after, stop) in pairwise(stops):
        for phase, spell in spent((span for span in near if span.service in (before, after)), start, stop).items():
            seconds[phase] += spell
    return dict(seconds)


async def measure(bench: Bench, run: Run) -> Section:
    folder = bench.folder / "spans"
    folder.mkdir()
    command = [sys.executable, "-m", "tests.benchmarks.clocked", str(folder)]
    times: dict[str, tuple[float, float]] = {}
    async with stack(bench, TODAY, command=command) as it, Caller(it) as caller:
        await closed(lambda: caller.call(BODIES["w1"]), 16, WARM)
        known, before = set(caller.results), await _size(it)
        for _ in range(COUNT):
            began = time.time()
            await caller.call(BODIES["w1"])
            (name,) = caller.results.keys() - known
            known.add(name)
            times[name] = began, time.time()
        size = (await _size(it) - before) / COUNT
        topics = await everything(it)
        it.stop()  # each process writes its times when it ends
    spans = [Span(file.stem, *span) for file in folder.glob("*.json") for span in json.loads(file.read_text())]
    messages: dict[str, list[Message]] = {name: [] for name in times}
    for one in topics:
        messages.get(one.place[0], []).append(one)
    ways = {name: path(mine, next(one for one in mine if one.result)) for name, mine in messages.items()}
    return Section("Where the time goes", list(_report(times, ways, messages, spans, size)))


def _report(
    times: Mapping[str, tuple[float, float]],
    ways: Mapping[str, Sequence[Message]],
    messages: Mapping[str, Sequence[Message]],
    spans: Sequence[Span],
    size: float,
) -> Iterator[Table | str]:
    each = [along(ways[name], spans, *window) for name, window in times.items()]
    begin, end = min(began for began, _ in times.values()), max(ended for _, ended in times.values())
    passed = Counter(span.phase for span in spans if begin <= span.begin <= end)
    took = {phase: mean(seconds.get(phase, 0.0) * 1000 for seconds in each) for phase in (*POINTS, KAFKA)}
    rows = [
        [phase, figure(ms), f"{ms / sum(took.values()):.0%}", figure(passed[phase] / COUNT) if passed[phase] else ""]
        for phase, ms in sorted(took.items(), key=lambda item: -item[1])
    ]
    hops = median(sum(a.service != b.service for a, b in pairwise(way)) for way in ways.values())
    stored = mean(len(mine) for mine in messages.values())
    yield (
        f"W1, one at a time, with clocks in the services: {COUNT} workflows of {sum(took.values()):.1f} ms each. On the path"
        f" from request to result a message goes {hops:g} times from one service to another, and twice between service and"
        f" caller; in all a workflow has {stored:.0f} messages and {size:,.0f} bytes in Postgres. `{KAFKA}` is the time in no"
        f" phase: the producer, the broker, the fetch, and the wait for a core. Calls count on and off the path."
    )
    yield Table(["phase", "ms on the path", "share", "calls a workflow"], rows)


async def everything(it: Deployment) -> list[Message]:
    """All messages of its topics."""
    at = {"bootstrap_servers": it.bench.addresses.kafka}
    async with AIOKafkaConsumer(*await it.topics(), **at, auto_offset_reset="earliest") as consumer:
        partitions = consumer.assignment()
        ends = await consumer.end_offsets(partitions)
        found: list[Message] = []
        while any([await consumer.position(partition) < ends[partition] for partition in partitions]):
            for partition, records in (await consumer.getmany(timeout_ms=200)).items():
                found += [_message(record, partition.topic.removeprefix(it.prefix)) for record in records]
        return found


def _message(record: Any, topic: str) -> Message:
    headers = {name: value.decode() for name, value in record.headers}
    workflow = headers.get("ce_correlationid") or record.key.decode()
    return Message(
        id=headers["ce_id"],
        causation_id=headers.get("ce_causationid", ""),
        place=(workflow, headers.get("ce_subject", ""), int(headers.get("ce_sequence", "0"))),
        service=headers["ce_source"].rpartition("/")[2],
        at=datetime.fromisoformat(headers["ce_time"]).timestamp() if "ce_time" in headers else record.timestamp / 1000,
        result=topic == "results",
    )


async def _size(it: Deployment) -> int:
    """Bytes of its tables and indexes."""
    connection = await asyncpg.connect(it.bench.addresses.owner)
    try:
        size = await connection.fetchval(
            "select sum(pg_total_relation_size(c.oid))::bigint from pg_class c join pg_namespace n on n.oid = relnamespace"
            " where nspname = $1 and relkind = 'r'",
            it.schema,
        )
        return int(size)
    finally:
        await connection.close()
