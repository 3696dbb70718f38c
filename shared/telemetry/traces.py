"""W3C trace context through every service. Costs nothing where tracing is off: the sender's traceparent is passed on."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from opentelemetry import trace
from opentelemetry.context import attach, detach
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.eventstore.model import Stream

_propagator = TraceContextTextMapPropagator()
_tracer: trace.Tracer | None = None


class Traced(Protocol):
    """A message that a stream processes (shared.runtime.inbound)."""

    kind: str
    message_id: str
    traceparent: str
    stream: Stream


def configure(service: str, otlp: str, exporter: SpanExporter | None = None) -> None:
    """Spans go to `otlp` (OTLP over HTTP), or to the exporter given."""
    global _tracer
    if exporter is None and not otlp:
        return
    if exporter is None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        exporter = OTLPSpanExporter(endpoint=otlp)
    provider = TracerProvider(resource=Resource.create({"service.name": f"hansard-{service}", "service.namespace": "hansard"}))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    _tracer = provider.get_tracer("hansard")


def record_span(inbound: Traced) -> str:
    """Records a span for the processing of one message; returns the traceparent of the messages that answer it."""
    given = inbound.traceparent
    if _tracer is None:
        return given
    parent = _propagator.extract({"traceparent": given}) if given else None
    span = _tracer.start_span(
        f"process {inbound.kind}",
        parent,
        kind=SpanKind.CONSUMER,
        attributes={
            "messaging.system": "kafka",
            "messaging.operation.name": "process",
            "messaging.message.id": inbound.message_id,
            "messaging.message.conversation_id": inbound.stream.workflow,
            "hansard.stream": str(inbound.stream),
            "hansard.tenant": inbound.stream.tenant,
        },
    )
    carrier: dict[str, str] = {}
    _propagator.inject(carrier, trace.set_span_in_context(span))
    span.end()
    return carrier.get("traceparent", given)


@contextmanager
def continued(traceparent: str) -> Iterator[None]:
    """Spans started inside the block belong to this trace."""
    if _tracer is None or not traceparent:
        yield
        return
    token = attach(_propagator.extract({"traceparent": traceparent}))
    try:
        yield
    finally:
        detach(token)
