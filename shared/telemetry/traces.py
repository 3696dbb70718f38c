"""W3C trace context through every service. Costs nothing where tracing is off: the sender's traceparent is passed on."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from opentelemetry import trace
from opentelemetry.context import attach, detach
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, Status
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import Attributes

from shared.eventstore.model import Stream
from shared.masking import masked

_propagator = TraceContextTextMapPropagator()
_tracer: trace.Tracer | None = None


class Traced(Protocol):
    """A message that a stream processes (shared.runtime.inbound)."""

    kind: str
    message_id: str
    traceparent: str
    stream: Stream


class MaskingExporter(SpanExporter):
    """Hands spans on without secrets: not only ours, also those that a worker of a user's own or a library makes."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._exporter.export([_masked(span) for span in spans])

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def _masked(span: ReadableSpan) -> ReadableSpan:
    return ReadableSpan(
        masked(span.name),
        span.context,
        span.parent,
        span.resource,
        _masked_attributes(span.attributes),
        [Event(masked(one.name), _masked_attributes(one.attributes), one.timestamp) for one in span.events],
        span.links,
        span.kind,
        status=Status(span.status.status_code, span.status.description and masked(span.status.description)),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _masked_attributes(attributes: Attributes) -> Attributes:
    def shown(value: object) -> object:
        if isinstance(value, str):
            return masked(value)
        return tuple(map(shown, value)) if isinstance(value, Sequence) else value

    return {name: shown(value) for name, value in (attributes or {}).items()}  # type: ignore[misc]


def configure(service: str, otlp: str, exporter: SpanExporter | None = None) -> None:
    """Spans go to `otlp` (OTLP over HTTP), or to the exporter given."""
    global _tracer
    if exporter is None and not otlp:
        return
    if exporter is None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        exporter = OTLPSpanExporter(endpoint=otlp)
    provider = TracerProvider(resource=Resource.create({"service.name": f"hansard-{service}", "service.namespace": "hansard"}))
    provider.add_span_processor(BatchSpanProcessor(MaskingExporter(exporter)))
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
