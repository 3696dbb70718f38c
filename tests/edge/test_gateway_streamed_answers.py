"""Streamed answers, through the real SDK, in both interfaces: the pieces make up the same answer as one in one piece."""

import time
from decimal import Decimal
from typing import Any

import pytest

from contracts.gateway import CallModel, ModelReplied, ToolCall
from services.gateway.config import Chain
from services.gateway.facts import AttemptReturned
from services.gateway.openai_wire.request import make_request
from services.gateway.performer import openai_client
from services.gateway.performer.openai_client import open_clients
from tests.edge.test_gateway_openai_client import (
    SCHEMA,
    TICK,
    TOOL,
    asks,
    at,
    attempting,
    failed,
    now,
    replied,
    server,
    tiers,
    transport,
)
from tests.scripted import Scripted

__all__ = ["server", "transport"]
API = pytest.mark.parametrize("api", ["chat", "responses"])
WHOLE = "Scripted answer to: Why is the sky blue?"
PRICED: dict[str, Any] = {"price": {"input": "1", "output": "2"}}


async def streamed(table: Chain, call: CallModel) -> tuple[list[str], AttemptReturned]:
    """The pieces that were published, and the outcome of the attempt."""
    pieces: list[str] = []
    async with open_clients(table, {}, now) as make_attempt:
        returned = await make_attempt(*attempting(table, call), on_text=pieces.append)
    return pieces, returned


@API
async def test_pieces_come_in_order_and_make_up_the_reply(server: Scripted, api: str, transport: Any) -> None:
    pieces, returned = await streamed(tiers(at(server, "words@1ms", api=api)), asks())
    assert pieces == ["Scripted ", "answer ", "to: ", "Why ", "is ", "the ", "sky ", "blue?"]
    assert replied(returned).text == WHOLE
    assert server.seen[0][2]["stream"] is True


@API
async def test_a_piece_is_published_before_the_next_is_written(server: Scripted, api: str) -> None:
    began, times = time.monotonic(), []
    table = tiers(at(server, "words@50ms", api=api))
    async with open_clients(table, {}, now) as make_attempt:
        replied(await make_attempt(*attempting(table, asks()), on_text=lambda _: times.append(time.monotonic() - began)))
    assert times[-1] - times[0] > 0.2


@API
@pytest.mark.parametrize("script", ["ok", "cut"])
async def test_a_streamed_reply_is_the_same_as_one_in_one_piece(server: Scripted, api: str, script: str) -> None:
    table = tiers(at(server, script, api=api, **PRICED))
    async with open_clients(table, {}, now) as make_attempt:
        whole = replied(await make_attempt(*attempting(table, asks())))
    _, returned = await streamed(table, asks())
    assert timeless(replied(returned)) == timeless(whole)
    assert (whole.cost > 0, whole.estimated) == (True, False)
    assert whole.input_tokens * Decimal("0.000001") + whole.output_tokens * Decimal("0.000002") == whole.cost


def timeless(reply: ModelReplied) -> ModelReplied:
    return reply.model_copy(update={"latency_ms": 0.0})


@API
async def test_the_cost_of_a_streamed_answer_without_reported_tokens_is_an_estimate(server: Scripted, api: str) -> None:
    _, returned = await streamed(tiers(at(server, "unpriced", api=api, **PRICED)), asks())
    reply = replied(returned)
    assert (reply.estimated, reply.output_tokens) == (True, -(-len(WHOLE) // 4))


@API
async def test_tool_calls_and_structured_answers_are_streamed_too(server: Scripted, api: str) -> None:
    pieces, returned = await streamed(tiers(at(server, "tool", api=api)), asks(tools=(TOOL,)))
    assert pieces == []
    assert replied(returned).tool_calls == (ToolCall(id="call_1", name="weather", arguments='{"town": "scripted"}'),)
    pieces, returned = await streamed(tiers(at(server, "ok", api=api)), asks(response_schema=SCHEMA))
    assert replied(returned).text == "".join(pieces)
    assert replied(returned).data == {"answer": WHOLE, "confidence": 0.9, "sources": []}


# Failures during a stream


@API
async def test_a_stream_that_breaks_off_is_a_fall_with_an_estimated_cost(server: Scripted, api: str, transport: Any) -> None:
    pieces, returned = await streamed(tiers(at(server, "half", api=api, price="listed")), asks())
    assert 0 < len("".join(pieces)) < len(WHOLE)
    failure = failed(returned)
    assert (failure.fall.reason, failure.estimated) == ("error", True)
    assert failure.fall.detail
    assert failure.retry_at is not None


@API
async def test_an_error_message_within_a_stream_is_in_the_outcome(server: Scripted, api: str) -> None:
    pieces, returned = await streamed(tiers(at(server, "fails", api=api, price="listed")), asks())
    assert pieces
    failure = failed(returned)
    assert (failure.fall.reason, failure.estimated) == ("error", True)
    assert "scripted failure in the midst" in failure.fall.detail
    assert failure.retry_at is not None


@API
async def test_an_error_message_in_place_of_an_answer_is_in_the_outcome(server: Scripted, api: str) -> None:
    table = tiers(at(server, "fails", api=api))
    async with open_clients(table, {}, now) as make_attempt:
        failure = failed(await make_attempt(*attempting(table, asks())))
    assert failure.fall.reason == "error"
    assert "scripted failure in the midst" in failure.fall.detail


@API
@pytest.mark.parametrize("script", ["words@5s", "drip@20ms", "words@100ms"])
async def test_a_slow_stream_is_read_no_longer_than_its_timeout(server: Scripted, api: str, script: str) -> None:
    began = time.monotonic()
    pieces, returned = await streamed(tiers(at(server, script, api=api, timeout=0.5, price="listed")), asks())
    assert time.monotonic() - began < 0.5 + TICK
    failure = failed(returned)
    assert (failure.fall.reason, failure.fall.detail, failure.estimated) == ("timeout", "no answer in time", True)
    assert len("".join(pieces)) < len(WHOLE)


@API
async def test_an_empty_stream_is_unusable(server: Scripted, api: str) -> None:
    _, returned = await streamed(tiers(at(server, "mute", api=api)), asks())
    assert failed(returned).fall.reason == "invalid-output"


@API
async def test_an_endpoint_that_cannot_stream_may_answer_in_one_piece(
    server: Scripted, api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai_client, "make_request", lambda *call, stream, **more: make_request(*call, stream=False, **more))
    _, returned = await streamed(tiers(at(server, "ok", api=api)), asks())
    assert replied(returned).text == WHOLE


@API
async def test_a_stream_that_grows_too_large_is_abandoned(server: Scripted, api: str) -> None:
    table = tiers(at(server, "ok", api=api))
    async with open_clients(table, {}, now, 20) as make_attempt:
        failure = failed(await make_attempt(*attempting(table, asks()), on_text=lambda _: None))
    assert (failure.fall.reason, failure.fall.detail) == ("invalid-output", "the answer is larger than 20 bytes")
