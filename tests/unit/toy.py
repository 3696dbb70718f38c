"""A small service: it echoes requests, counts them, and fails on request."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from contracts.catalog import Topics
from contracts.requests import SubmitRequest
from contracts.router import RequestRouted
from hansard.decider import CannotProcess, Context, Decider
from hansard.message import Message
from hansard.service import Service
from shared.kafka.record import Record
from shared.runtime.inbound import InboundParser
from shared.runtime.processor import Processor

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Count:
    processed: int = 0


def decide(count: Count, received: Message, context: Context) -> Iterable[Message]:
    assert isinstance(received, SubmitRequest)
    match received.text:
        case "silence":
            return
        case "poison":
            raise ZeroDivisionError("asked for it")
        case "in use":
            raise CannotProcess("correlation-in-use", "asked for it")
        case "large":
            yield routed("x" * 5000)
        case text:
            yield routed(f"{text} {count.processed} {context.at:%H:%M}")


def routed(reasoning: str) -> RequestRouted:
    return RequestRouted(
        path="deterministic", handler="echo", confidence=1, reasoning=reasoning, cost_estimate=Decimal(0), policy="1"
    )


def evolve(count: Count, stored: Message) -> Count:
    return replace(count, processed=count.processed + 1)


service = Service("router", Decider(Count(), decide, evolve), receives={SubmitRequest: lambda _: ""})
topics = Topics()
processor = Processor(service, topics, max_message_bytes=4000)
parser = InboundParser(service, topics, max_request_bytes=2000)


def request(
    text: str = "hello", *, id: str = "r1", workflow: str = "w1", offset: int = 0, body: bytes | None = None, **headers: str
) -> Record:
    """A request as an outside client publishes it."""
    given = {
        "ce_specversion": "1.0",
        "ce_id": id,
        "ce_source": "/test",
        "ce_type": SubmitRequest.kind,
        "ce_correlationid": workflow,
        "content-type": "application/json",
    } | headers
    at = NOON + timedelta(seconds=offset)
    return Record(
        "requests",
        0,
        offset,
        int(at.timestamp() * 1000),
        workflow.encode(),
        SubmitRequest(text=text).model_dump_json().encode() if body is None else body,
        tuple((name, value.encode()) for name, value in given.items() if value),
    )
