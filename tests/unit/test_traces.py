"""One trace follows a request through every service and the model call."""

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
from tests.unit.loop_kit import CALLS, Call, Publisher, call_message, gateway, until
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


def performing(store: InMemoryEventStore, record_span: object) -> tuple[Loop, AttemptRunner, list[str]]:
    seen: list[str] = []

    async def perform(state: Call, intent: AttemptStarted, stream: object) -> AttemptReturned:
        seen.append(f"{api.get_current_span().get_span_context().trace_id:032x}")
        return AttemptReturned(call="t/1", attempt=intent.attempt)

    loop = Loop(Processor(gateway, topics, 9000, record_span), store, Publisher(store))  # type: ignore[arg-type]
    loop.attempt_runner = AttemptRunner(perform, 2, loop.process)
    return loop, loop.attempt_runner, seen


async def test_every_service_and_the_call_itself_are_in_the_callers_trace(spans: InMemorySpanExporter) -> None:
    store = InMemoryEventStore()
    loop, runner, seen = performing(store, traces.record_span)
    (inbound,) = call_message(store)
    inbound.traceparent = GIVEN
    await loop.process([inbound])
    await until(lambda: runner.free_slots == 2)
    stored = (await store.load([CALLS]))[CALLS].messages
    assert {one.traceparent.split("-")[1] for one in stored} == {TRACE}
    assert seen == [TRACE]
    assert {f"{span.context.trace_id:032x}" for span in spans.get_finished_spans() if span.context} == {TRACE}
    assert len({one.traceparent for one in stored}) == 2, "each message has a span of its own"


async def test_without_tracing_the_callers_trace_is_passed_on_all_the_same() -> None:
    store = InMemoryEventStore()
    loop, runner, _ = performing(store, traces.record_span)
    (inbound,) = call_message(store)
    inbound.traceparent = GIVEN
    await loop.process([inbound])
    await until(lambda: runner.free_slots == 2)
    assert {one.traceparent for one in (await store.load([CALLS]))[CALLS].messages} == {GIVEN}


async def test_what_another_process_takes_over_stays_in_the_trace() -> None:
    store = InMemoryEventStore()
    loop, _, _ = performing(store, traces.record_span)
    loop.attempt_runner = None
    (inbound,) = call_message(store)
    inbound.traceparent = GIVEN
    await loop.process([inbound])
    other, _, _ = performing(store, traces.record_span)
    await other.process([outcome_message(CALLS, AttemptReturned(call="t/1", attempt=1))])
    assert {one.traceparent for one in (await store.load([CALLS]))[CALLS].messages} == {GIVEN}
