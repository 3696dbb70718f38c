"""Prometheus metrics of the gateway's own: what models answer, use and cost."""

from collections.abc import Iterable

from prometheus_client import Counter

from contracts.gateway import ModelReplied
from hansard.message import Message

calls = Counter("hansard_model_calls_total", "Model calls answered.", ["tier", "model"])
cost = Counter("hansard_model_cost_dollars_total", "US dollars spent on models.", ["tier", "model"])
tokens = Counter("hansard_model_tokens_total", "Tokens.", ["tier", "model", "direction"])


def count_replies(messages: Iterable[Message]) -> None:
    for message in messages:
        if isinstance(message, ModelReplied):
            calls.labels(message.tier, message.model).inc()
            cost.labels(message.tier, message.model).inc(float(message.cost))
            tokens.labels(message.tier, message.model, "input").inc(message.input_tokens)
            tokens.labels(message.tier, message.model, "output").inc(message.output_tokens)
