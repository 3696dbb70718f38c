"""Prometheus metrics of the runtime. Names end in their unit."""

from collections import Counter as Counted
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeVar

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

from shared.runtime.processor import PendingAppend

Metric = TypeVar("Metric", bound=MetricWrapperBase)

BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)

append_seconds = Histogram("hansard_append_seconds", "Round trip of one append.", buckets=BUCKETS)
message_delay = Histogram(
    "hansard_message_delay_seconds",
    "From the recorded time of a message to the recorded time at which a service processed it.",
    ["service"],
    buckets=BUCKETS,
)
processed = Counter("hansard_messages_processed_total", "Inbox entries stored.", ["service", "kind", "status"])
forged = Counter("hansard_forged_messages_total", "Messages received that are not on the record.", ["service", "topic"])
stored = Counter("hansard_messages_stored_total", "Messages stored.", ["service", "kind"])
consumer_lag = Gauge("hansard_consumer_lag_messages", "Messages not yet processed.", ["service", "topic"])
outbox_age = Gauge("hansard_outbox_age_seconds", "Age of the oldest message that no broker acknowledged.", ["service"])
reader_lag = Gauge("hansard_reader_lag_seconds", "Age of the oldest open transaction: readers of the store wait for it.")
clock_ahead = Gauge("hansard_clock_ahead_seconds", "By how much this machine's clock is ahead of the event store's.")
healthy = Gauge("hansard_healthy", "1 where the part works.", ["service", "part"])


def count_appended(service: str, appends: Sequence[PendingAppend[Any]]) -> None:
    """Counts what one transaction stored."""
    entries = Counted((entry.kind, entry.dead) for pending in appends for entry in pending.entries)
    for (kind, dead), count in entries.items():
        _labelled(processed, service, kind, "dead" if dead else "processed").inc(count)
    for kind, count in Counted(message.kind for pending in appends for message in pending.messages).items():
        _labelled(stored, service, kind).inc(count)
    for pending in appends:
        if (sent := pending.inbounds[-1].at) is not None:
            _labelled(message_delay, service).observe((pending.at - sent).total_seconds())


@lru_cache(maxsize=4096)
def _labelled(metric: Metric, *labels: str) -> Metric:
    """The metric with these labels: looking it up costs more than counting."""
    return metric.labels(*labels)
