"""What one process learns of an endpoint's fields is on record and known to all; an attempt has its outcome whatever happens."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from contracts.gateway import FieldRefused, ModelReplied, RetriesGranted
from infra.audit.verify import verify
from services.gateway.circuit import circuit_stream
from services.gateway.config import Chain, Endpoint
from services.gateway.performer.answer_cache import AnswerCache
from services.gateway.performer.endpoint_guard import EndpointGuard
from shared.eventstore.memory import InMemoryEventStore
from tests.edge.raw_endpoint import RawEndpoint, Response
from tests.edge.test_gateway_endpoints_as_they_are import refusal
from tests.edge.test_gateway_processes import ANSWERS, TOPICS, all_messages, messages_of, process, service

FINE = b'{"status": "completed", "output": [{"type": "message", "content": "Fine."}]}'


def takes_no_store(_: str, body: Any) -> Response:
    return refusal("store") if "store" in body else Response(FINE)


def chain(endpoint: RawEndpoint, **more: Any) -> Chain:
    given = {"name": "first", "url": endpoint.url, "model": "m", "timeout": 20, "api": "responses", "max_retries": 0} | more
    return Chain.model_validate(
        {"endpoints": [given], "answers": ANSWERS, "learning": {"hours": 0}, "retries": {"share": 0, "reserve": 0}}
    )


async def test_one_refusal_is_enough_for_all_processes_and_costs_no_retry() -> None:
    store = InMemoryEventStore()
    async with RawEndpoint(takes_no_store) as endpoint:
        table = chain(endpoint)
        async with process(table, store) as one, process(table, store) as other:
            replies = await asyncio.gather(*(each.call() for each in (one, other) for _ in range(5)))
            before = len(endpoint.seen)
            replies += [await each.call() for each in (one, other)]
        async with process(table, store) as later:
            replies.append(await later.call())
    assert {reply.tier for reply in replies} == {"first"}
    assert not any(reply.falls for reply in replies)
    assert {reply.without for reply in replies} == {("store",)}
    assert before > 10
    assert ["store" in body for body in endpoint.seen[before:]] == [False] * 3
    learned = [m for m in await messages_of(store, circuit_stream("first", datetime.now(UTC))) if isinstance(m, FieldRefused)]
    assert [(event.endpoint, event.model, event.field) for event in learned] == [("first", "m", "store")]
    assert "Unsupported parameter: 'store'" in learned[0].detail
    assert not any(isinstance(message, RetriesGranted) for message in await all_messages(store))
    for workflow in {one.stream.workflow for batch in [b async for b in store.read_all()] for one in batch}:
        report = await verify(store, {"gateway": service(table)}, TOPICS, "default", workflow)
        assert [d for d in report.differences if "the message that was processed is not on the record" not in d.what] == []


@pytest.mark.parametrize(("owner", "name"), [(EndpointGuard, "observe"), (AnswerCache, "learn")])
async def test_an_answer_counts_whatever_becomes_of_what_else_is_done_with_it(
    owner: type, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise ValueError("odd")

    monkeypatch.setattr(owner, name, fail)
    async with RawEndpoint(takes_no_store) as endpoint, process(chain(endpoint), InMemoryEventStore()) as one:
        assert (await one.call()).text == "Fine."


async def test_an_attempt_that_the_gateway_itself_cannot_make_has_an_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise ValueError("odd")

    monkeypatch.setattr(EndpointGuard, "admit", fail)
    async with RawEndpoint(takes_no_store) as endpoint, process(chain(endpoint), InMemoryEventStore()) as one:
        reply: ModelReplied = await one.call()
    assert (reply.tier, reply.estimated) == ("rules", True)
    assert (reply.falls[0].reason, "ValueError" in reply.falls[0].detail) == ("error", True)


def test_what_an_endpoint_does_not_take_can_be_configured_and_is_no_part_of_the_policy() -> None:
    given = {"name": "first", "url": "http://x/v1", "model": "m"}
    plain = Chain(endpoints=(Endpoint.model_validate(given),))
    told = Chain(endpoints=(Endpoint.model_validate(given | {"takes_no": ["temperature", "json_schema"]}),))
    assert told.policy == plain.policy
    with pytest.raises(ValueError, match="takes_no"):
        Endpoint.model_validate(given | {"takes_no": ["messages"]})
