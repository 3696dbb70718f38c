"""Answers that are streamed, through the real SDK, in both interfaces: what comes in pieces is what comes whole."""

import time
from decimal import Decimal
from typing import Any

import pytest

from contracts.gateway import CallModel, ModelReplied, ToolCall
from services.gateway import effects
from services.gateway.config import Chain
from services.gateway.facts import AttemptReturned
from tests.edge.test_gateway_effects import (
    SCHEMA,
    TICK,
    TOOL,
    asks,
    at,
    failed,
    flying,
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
    """The pieces that a watcher was told, and what the attempt brought back."""
    pieces: list[str] = []
    async with effects.endpoints(table, {}, now) as perform:
        returned = await perform(*flying(table, call), tell=pieces.append)
    return pieces, returned


@API
async def test_pieces_come_in_order_and_make_up_the_reply(server: Scripted, api: str, transport: Any) -> None:
    pieces, returned = await streamed(tiers(at(server, "words@1ms", api=api)), asks())
    assert pieces == ["Scripted ", "answer ", "to: ", "Why ", "is ", "the ", "sky ", "blue?"]
    assert replied(returned).text == WHOLE
    assert server.seen[0][2]["stream"] is True


@API
async def test_a_piece_is_told_before_the_next_is_written(server: Scripted, api: str) -> None:
    began, told = time.monotonic(), []
    table = tiers(at(server, "words@50ms", api=api))
    async with effects.endpoints(table, {}, now) as perform:
        replied(await perform(*flying(table, asks()), tell=lambda _: told.append(time.monotonic() - began)))
    assert told[-1] - told[0] > 0.2


@API
@pytest.mark.parametrize("script", ["ok", "cut", "filtered"])
async def test_a_streamed_reply_says_all_that_a_whole_one_says(server: Scripted, api: str, script: str) -> None:
    table = tiers(at(server, script, api=api, **PRICED))
    async with effects.endpoints(table, {}, now) as perform:
        whole = replied(await perform(*flying(table, asks())))
    _, returned = await streamed(table, asks())
    assert timeless(replied(returned)) == timeless(whole)
    assert (whole.cost > 0, whole.estimated) == (True, False)
    assert whole.input_tokens * Decimal("0.000001") + whole.output_tokens * Decimal("0.000002") == whole.cost


def timeless(reply: ModelReplied) -> ModelReplied:
    return reply.model_copy(update={"latency_ms": 0.0})


@API
async def test_an_endpoint_that_streams_without_telling_its_tokens_is_estimated(server: Scripted, api: str) -> None:
    _, returned = await streamed(tiers(at(server, "unpriced", api=api, **PRICED)), asks())
    reply = replied(returned)
    assert (reply.estimated, reply.output_tokens) == (True, -(-len(WHOLE) // 4))


@API
async def test_tool_calls_and_structured_answers_stream_too(server: Scripted, api: str) -> None:
    pieces, returned = await streamed(tiers(at(server, "tool", api=api)), asks(tools=(TOOL,)))
    assert pieces == []
    assert replied(returned).tool_calls == (ToolCall(id="call_1", name="weather", arguments='{"town": "scripted"}'),)
    pieces, returned = await streamed(tiers(at(server, "ok", api=api)), asks(response_schema=SCHEMA))
    assert replied(returned).text == "".join(pieces)
    assert replied(returned).data == {"answer": WHOLE, "confidence": 0.9, "sources": []}


# What goes wrong on the way


@API
async def test_a_stream_that_breaks_in_the_midst_is_a_fall_and_may_have_cost_something(
    server: Scripted, api: str, transport: Any
) -> None:
    pieces, returned = await streamed(tiers(at(server, "half", api=api, price="listed")), asks())
    assert 0 < len("".join(pieces)) < len(WHOLE)
    failure = failed(returned)
    assert (failure.fall.reason, failure.estimated) == ("error", True)
    assert failure.fall.detail
    assert failure.retry_at is not None


@API
async def test_what_an_endpoint_says_of_its_failure_in_the_midst_is_told(server: Scripted, api: str) -> None:
    pieces, returned = await streamed(tiers(at(server, "fails", api=api, price="listed")), asks())
    assert pieces
    failure = failed(returned)
    assert (failure.fall.reason, failure.estimated) == ("error", True)
    assert "scripted failure in the midst" in failure.fall.detail
    assert failure.retry_at is not None


@API
async def test_what_an_endpoint_says_of_its_failure_in_place_of_an_answer_is_told(server: Scripted, api: str) -> None:
    table = tiers(at(server, "fails", api=api))
    async with effects.endpoints(table, {}, now) as perform:
        failure = failed(await perform(*flying(table, asks())))
    assert failure.fall.reason == "error"
    assert "scripted failure in the midst" in failure.fall.detail


@API
@pytest.mark.parametrize("script", ["words@5s", "drip@20ms", "words@100ms"])
async def test_a_slow_stream_is_heard_no_longer_than_its_time(server: Scripted, api: str, script: str) -> None:
    began = time.monotonic()
    pieces, returned = await streamed(tiers(at(server, script, api=api, timeout=0.5, price="listed")), asks())
    assert time.monotonic() - began < 0.5 + TICK
    failure = failed(returned)
    assert (failure.fall.reason, failure.fall.detail, failure.estimated) == ("timeout", "no answer in time", True)
    assert len("".join(pieces)) < len(WHOLE)


@API
async def test_a_stream_of_nothing_is_no_answer(server: Scripted, api: str) -> None:
    _, returned = await streamed(tiers(at(server, "mute", api=api)), asks())
    assert failed(returned).fall.reason == "invalid-output"


@API
async def test_an_endpoint_that_cannot_stream_may_answer_in_one_piece(
    server: Scripted, api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(effects, "streaming", lambda _: {})
    _, returned = await streamed(tiers(at(server, "ok", api=api)), asks())
    assert replied(returned).text == WHOLE


@API
async def test_a_stream_without_end_is_left(server: Scripted, api: str) -> None:
    table = tiers(at(server, "ok", api=api))
    async with effects.endpoints(table, {}, now, 20) as perform:
        failure = failed(await perform(*flying(table, asks()), tell=lambda _: None))
    assert (failure.fall.reason, failure.fall.detail) == ("invalid-output", "the answer is larger than 20 bytes")
