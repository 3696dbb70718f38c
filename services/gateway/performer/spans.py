"""The span of one attempt, in the terms of OpenTelemetry's GenAI conventions. It never holds what was asked or answered."""

from contextlib import AbstractContextManager

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from contracts.gateway import AttemptStarted, CallModel, FallReason
from services.gateway.config import Endpoint
from services.gateway.cost import Spent
from services.gateway.openai_wire.answer import Answer

_TRACER = trace.get_tracer("hansard.gateway")


def attempt_span(endpoint: Endpoint, call: CallModel, intent: AttemptStarted) -> AbstractContextManager[Span]:
    return _TRACER.start_as_current_span(
        f"chat {endpoint.model}",
        kind=SpanKind.CLIENT,
        record_exception=False,
        attributes={
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": intent.provider,
            "gen_ai.request.model": endpoint.model,
            "gen_ai.request.max_tokens": call.max_output_tokens,
            "server.address": endpoint.host,
            "hansard.call": intent.call,
            "hansard.attempt": intent.attempt,
            "hansard.tier": intent.tier,
        },
    )


def mark_answered(span: Span, answer: Answer, tokens: Spent) -> None:
    if span.is_recording():
        span.set_attributes(
            {
                "gen_ai.response.id": answer.id,
                "gen_ai.response.model": answer.model,
                "gen_ai.response.finish_reasons": [answer.finish_reason],
                "gen_ai.usage.input_tokens": tokens.input,
                "gen_ai.usage.output_tokens": tokens.output,
            }
        )


def mark_failed(span: Span, reason: FallReason) -> None:
    span.set_attribute("error.type", reason)
    span.set_status(Status(StatusCode.ERROR, reason))
