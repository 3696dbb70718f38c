"""Prometheus metrics. Names end in their unit."""

from datetime import datetime
from functools import lru_cache
from typing import Any

from prometheus_client import Counter, Gauge, Histogram

from contracts.gateway import ModelReplied

FINE = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)

append_seconds = Histogram("hansard_append_seconds", "One append, round trip.", buckets=FINE)
hop_seconds = Histogram(
    "hansard_hop_seconds", "From the recorded time of what was heard to its hearing.", ["service"], buckets=FINE
)
hearings = Counter("hansard_hearings_total", "Hearings on the record.", ["service", "kind", "fate"])
events = Counter("hansard_events_total", "Events said.", ["service", "kind"])
lag = Gauge("hansard_consumer_lag_messages", "Messages not yet heard.", ["service", "topic"])
outbox_age = Gauge("hansard_outbox_age_seconds", "Age of the oldest event that no broker acknowledged.", ["service"])
reader_age = Gauge("hansard_reader_age_seconds", "Age of the oldest transaction: readers of everything wait for it.")
calls = Counter("hansard_model_calls_total", "Model calls answered.", ["tier", "model"])
cost = Counter("hansard_model_cost_dollars_total", "US dollars spent on models.", ["tier", "model"])
tokens = Counter("hansard_model_tokens_total", "Tokens.", ["tier", "model", "direction"])
healthy = Gauge("hansard_healthy", "1 where the part works.", ["service", "part"])


def heard(service: str, work: Any, at: datetime) -> None:
    """Counts one stream's turn that is on the record."""
    for hearing in work.turn.hearings:
        _of(hearings, service, hearing.kind, "dead" if hearing.dead else "heard").inc()
    _of(hop_seconds, service).observe(max(0.0, (at - work.turn.hearings[-1].heard_at).total_seconds()))
    for message in work.messages:
        _of(events, service, message.kind).inc()
        if isinstance(message, ModelReplied):
            calls.labels(message.tier, message.model).inc()
            cost.labels(message.tier, message.model).inc(float(message.cost))
            tokens.labels(message.tier, message.model, "input").inc(message.input_tokens)
            tokens.labels(message.tier, message.model, "output").inc(message.output_tokens)


@lru_cache(maxsize=4096)
def _of(metric: Any, *labels: str) -> Any:
    """The metric for these labels: looking it up costs more than counting."""
    return metric.labels(*labels)
