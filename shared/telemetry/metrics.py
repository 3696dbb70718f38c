"""Prometheus metrics. Names end in their unit."""

from collections import Counter as Counted
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from prometheus_client import Counter, Gauge, Histogram

from contracts.gateway import ModelReplied

FINE = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)

append_seconds = Histogram("hansard_append_seconds", "One append, round trip.", buckets=FINE)
hop_seconds = Histogram(
    "hansard_hop_seconds", "From the recorded time of a message of ours to that of its hearing.", ["service"], buckets=FINE
)
entries = Counter("hansard_hearings_total", "Hearings on the record.", ["service", "kind", "fate"])
events = Counter("hansard_events_total", "Events said.", ["service", "kind"])
lag = Gauge("hansard_consumer_lag_messages", "Messages not yet heard.", ["service", "topic"])
outbox_age = Gauge("hansard_outbox_age_seconds", "Age of the oldest event that no broker acknowledged.", ["service"])
reader_age = Gauge("hansard_reader_age_seconds", "Age of the oldest transaction: readers of everything wait for it.")
calls = Counter("hansard_model_calls_total", "Model calls answered.", ["tier", "model"])
cost = Counter("hansard_model_cost_dollars_total", "US dollars spent on models.", ["tier", "model"])
tokens = Counter("hansard_model_tokens_total", "Tokens.", ["tier", "model", "direction"])
clock_ahead = Gauge("hansard_clock_ahead_seconds", "By which this machine's clock is ahead of the event store's.")
healthy = Gauge("hansard_healthy", "1 where the part works.", ["service", "part"])


def count_processed(service: str, pendings: Sequence[Any]) -> None:
    """Counts what one append put on the record."""
    fates = Counted((entry.kind, entry.dead) for pending in pendings for entry in pending.stream_append.entries)
    for (kind, dead), count in fates.items():
        _of(entries, service, kind, "dead" if dead else "processed").inc(count)
    for kind, count in Counted(message.kind for pending in pendings for message in pending.messages).items():
        _of(events, service, kind).inc(count)
    for pending in pendings:
        if (since := pending.inbounds[-1].at) is not None:
            _of(hop_seconds, service).observe((pending.stream_append.at - since).total_seconds())
        for message in pending.messages:
            if isinstance(message, ModelReplied):
                _replied(message)


def _replied(message: ModelReplied) -> None:
    calls.labels(message.tier, message.model).inc()
    cost.labels(message.tier, message.model).inc(float(message.cost))
    tokens.labels(message.tier, message.model, "input").inc(message.input_tokens)
    tokens.labels(message.tier, message.model, "output").inc(message.output_tokens)


@lru_cache(maxsize=4096)
def _of(metric: Any, *labels: str) -> Any:
    """The metric for these labels: looking it up costs more than counting."""
    return metric.labels(*labels)
