"""One trace follows a request through every hop, the model call included."""

from collections.abc import Iterator

import pytest
from opentelemetry import trace as api
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from contracts.gateway import AttemptStarted
from services.gateway.facts import AttemptReturned
from shared.eventstore.memory import InMemoryEventStore
from shared.runtime.inbound import outcome_message
from shared.runtime.loop import Loop
from shared.runtime.performer import AttemptRunner
from shared.runtime.processor import Processor
from shared.telemetry import traces
from tests.unit.test_loop import CALLS, Call, Publisher, call_heard, gateway, until
from tests.unit.toy import topics

GIVEN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE = GIVEN.split("-")[1]


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    from opentelemetry.sdk.trace import TracerProvider

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(traces, "_tracer", provider.get_tracer("test"))
    yield exporter


def stack(store: InMemoryEventStore, hop: object) -> tuple[Loop, AttemptRunner, list[str]]:
    seen: list[str] = []

    async def perform(state: Call, intent: AttemptStarted, stream: object) -> AttemptReturned:
        seen.append(f"{api.get_current_span().get_span_context().trace_id:032x}")
        return AttemptReturned(call="t/1", attempt=intent.attempt)

    loop = Loop(Processor(gateway, topics, 9000, hop), store, Publisher(store))  # type: ignore[arg-type]
    loop.attempts = AttemptRunner(perform, 2, loop.process)
    return loop, loop.attempts, seen


async def test_every_hop_and_the_call_itself_are_in_the_callers_trace(spans: InMemorySpanExporter) -> None:
    store = InMemoryEventStore()
    loop, attempts, seen = stack(store, traces.hop)
    (inbound,) = call_heard()
    inbound.traceparent = GIVEN
    await loop.process([inbound])
    await until(lambda: attempts.free == 2)
    stored = (await store.load([CALLS]))[CALLS].messages
    assert {event.traceparent.split("-")[1] for event in stored} == {TRACE}
    assert seen == [TRACE]
    assert {f"{span.context.trace_id:032x}" for span in spans.get_finished_spans() if span.context} == {TRACE}
    assert len({event.traceparent for event in stored}) == 2, "each hop is a span of its own"


async def test_without_tracing_the_callers_trace_is_passed_on_all_the_same() -> None:
    store = InMemoryEventStore()
    loop, attempts, _ = stack(store, traces.hop)
    (inbound,) = call_heard()
    inbound.traceparent = GIVEN
    await loop.process([inbound])
    await until(lambda: attempts.free == 2)
    assert {event.traceparent for event in (await store.load([CALLS]))[CALLS].messages} == {GIVEN}


async def test_what_another_process_takes_over_stays_in_the_trace() -> None:
    store = InMemoryEventStore()
    loop, _, _ = stack(store, traces.hop)
    loop.attempts = None
    (inbound,) = call_heard()
    inbound.traceparent = GIVEN
    await loop.process([inbound])
    other, _, _ = stack(store, traces.hop)
    await other.process([outcome_message(CALLS, AttemptReturned(call="t/1", attempt=1))])
    assert {event.traceparent for event in (await store.load([CALLS]))[CALLS].messages} == {GIVEN}
