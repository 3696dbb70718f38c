"""Endpoints that refuse fields, answer without end, or fail in ways of their own: the real SDK against real bytes."""

import asyncio
import itertools
import json
import zlib
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from contracts.gateway import CallModel, ModelFailed, ModelReplied
from services.gateway.config import Chain, Endpoint
from services.gateway.facts import AttemptReturned
from services.gateway.openai_wire.errors import ReportedError, error_of_status
from services.gateway.openai_wire.events import Event, ResponseBody
from services.gateway.performer import openai_client
from services.gateway.performer.openai_client import Known, open_clients
from tests.edge.raw_endpoint import RawEndpoint, Response
from tests.edge.test_gateway_openai_client import SCHEMA, answer, asks, attempting, failed, now, replied, tiers, transport, until

__all__ = ["transport"]
Answering = Callable[[str, Any], Response]
PRICED: dict[str, Any] = {"price": {"input": "1", "output": "1000"}}
USAGE = {"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30}
STREAMED = {"content-type": "text/event-stream"}
WORD = json.dumps({"choices": [{"index": 0, "delta": {"content": "word "}}]})


def fine(text: str = "Fine.", **more: Any) -> Response:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return Response(json.dumps({"id": "c", "model": "m", "choices": [choice], "usage": USAGE, **more}).encode())


def refusal(field: str, status: int = 400) -> Response:
    error = {"message": f"Unsupported parameter: '{field}' is not supported with this model.", "param": field}
    return Response(json.dumps({"error": error}).encode(), status)


def table(endpoint: RawEndpoint, **more: Any) -> Chain:
    given = {"name": "first", "url": endpoint.url, "model": "m", "timeout": 20} | more
    return tiers(Endpoint.model_validate(given))


async def attempt(chain: Chain, call: CallModel, *, stream: bool = False, **more: Any) -> AttemptReturned:
    async with open_clients(chain, more.pop("keys", {}), now, **more) as make_attempt:
        return await make_attempt(*attempting(chain, call), on_text=list[str]().append if stream else None)


# Fields that an endpoint does not take


def without(*fields: str) -> Answering:
    """Refuses these, one after the other."""

    def answer(_: str, body: Any) -> Response:
        found = next((field for field in fields if field in body), None)
        if found is not None:
            return refusal(found)
        return fine(json.dumps({"answer": "blue", "confidence": 0.9, "sources": []}))

    return answer


FULL: dict[str, Any] = {"temperature": 0.2, "response_schema": SCHEMA}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refused_field_is_left_out_within_the_attempt_and_not_sent_again(transport: Any, stream: bool) -> None:
    async with RawEndpoint(without("temperature", "max_tokens", "response_format", "stream_options")) as endpoint:
        chain = table(endpoint)
        async with open_clients(chain, {}, now) as make_attempt:
            returned = await make_attempt(*attempting(chain, asks(**FULL)), on_text=list[str]().append if stream else None)
            requests = len(endpoint.seen)
            again = await make_attempt(*attempting(chain, asks(**FULL)), on_text=list[str]().append if stream else None)
    assert requests == (6 if stream else 5)
    assert len(endpoint.seen) == requests + 1
    assert len(set(endpoint.keys[:requests])) == requests  # each of them is another request
    expected = {"temperature", "max_tokens", "json_schema", "json_object"} | ({"stream_options"} if stream else set())
    assert {found.field for found in returned.refused} == expected
    assert again.refused == ()
    for one in (returned, again):
        reply = replied(one)
        assert reply.data == {"answer": "blue", "confidence": 0.9, "sources": []}
        assert set(reply.without) == expected - {"json_object"}
    assert endpoint.seen[-1]["max_completion_tokens"] == 512
    assert '"additionalProperties"' in endpoint.seen[-1]["messages"][0]["content"]


async def test_what_is_on_record_or_configured_is_not_sent_even_once() -> None:
    known: Known = frozenset({("m", "temperature"), ("another", "json_schema")})
    async with RawEndpoint(without("temperature", "stream_options")) as endpoint:
        chain = table(endpoint)
        async with open_clients(chain, {}, now) as make_attempt:
            reply = replied(await make_attempt(*attempting(chain, asks(**FULL)), known=known))
        assert (len(endpoint.seen), reply.without) == (1, ("temperature",))
        assert endpoint.seen[0]["response_format"]["type"] == "json_schema"
        configured = table(endpoint, takes_no=["temperature", "stream_options"])
        assert replied(await attempt(configured, asks(**FULL), stream=True)).without == ("temperature", "stream_options")
        assert len(endpoint.seen) == 2


async def test_a_refusal_under_status_200_is_understood_too() -> None:
    def answer(_: str, body: Any) -> Response:
        return Response(refusal("temperature").body) if "temperature" in body else fine()

    async with RawEndpoint(answer) as endpoint:
        assert replied(await attempt(table(endpoint), asks(temperature=0.2))).text == "Fine."


async def test_nothing_is_learned_from_what_did_not_help() -> None:
    def answer(_: str, body: Any) -> Response:
        return refusal("temperature") if "temperature" in body else Response(b'{"error": "no such model"}', 404)

    async with RawEndpoint(answer) as endpoint:
        chain = table(endpoint)
        async with open_clients(chain, {}, now) as make_attempt:
            for _ in range(2):
                returned = await make_attempt(*attempting(chain, asks(temperature=0.2)))
                assert (failed(returned).fall.reason, returned.refused) == ("refused", ())
    assert ["temperature" in body for body in endpoint.seen] == [True, False, True, False]


@pytest.mark.parametrize("field", ["messages", "model", "tools", "nothing that was sent"])
async def test_what_cannot_be_given_up_is_refused_at_once(field: str) -> None:
    async with RawEndpoint(lambda *_: refusal(field)) as endpoint:
        tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
        failure = failed(await attempt(table(endpoint), asks(tools=(tool,), **FULL)))
    assert (failure.fall.reason, len(endpoint.seen)) == ("refused", 1)


async def test_an_endpoint_that_refuses_everything_ends_the_attempt() -> None:
    async with RawEndpoint(lambda _, body: refusal(sorted(body.keys() - {"messages", "model"})[0])) as endpoint:
        failure = failed(await attempt(table(endpoint), asks(**FULL), stream=True))
    assert failure.fall.reason == "refused"
    assert len(endpoint.seen) < 10


async def test_a_schema_of_one_call_that_is_refused_is_not_held_against_others() -> None:
    def answer(_: str, body: Any) -> Response:
        form = body.get("response_format", {})
        if form.get("type") == "json_schema" and "maxItems" in json.dumps(form):
            error = {"message": "Invalid schema for response_format 'answer': maxItems", "param": "response_format"}
            return Response(json.dumps({"error": error}).encode(), 400)
        return fine("{}")

    async with RawEndpoint(answer) as endpoint:
        chain = table(endpoint)
        async with open_clients(chain, {}, now) as make_attempt:
            returned = await make_attempt(*attempting(chain, asks(response_schema={"maxItems": 3})))
            assert (replied(returned).data, returned.refused) == ({}, ())
            await make_attempt(*attempting(chain, asks(response_schema={"type": "object"})))
    assert [body["response_format"]["type"] for body in endpoint.seen] == ["json_schema", "json_object", "json_schema"]


# Replies without end


def forever(piece: bytes) -> Iterator[bytes]:
    return itertools.repeat(piece * (60_000 // len(piece) + 1))


def compressed(pieces: Iterator[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    for piece in pieces:
        if packed := packer.compress(piece) + packer.flush(zlib.Z_SYNC_FLUSH):
            yield packed


def begun(start: bytes, piece: bytes) -> Iterator[bytes]:
    return itertools.chain([start], forever(piece))


BODY = b'{"choices": [{"message": {"content": "'
EVENT = f"data: {WORD}\n\n".encode()
GZIP = {"content-encoding": "gzip"}
ENDLESS: dict[str, Callable[[], Response]] = {
    "whole": lambda: Response(begun(BODY, b"x")),
    "spaces": lambda: Response(forever(b" ")),
    "compressed": lambda: Response(compressed(begun(BODY, b"x")), headers=GZIP),
    "streamed": lambda: Response(forever(EVENT), headers=STREAMED),
    "streamed and compressed": lambda: Response(compressed(forever(EVENT)), headers=STREAMED | GZIP),
    "one event": lambda: Response(begun(b"data: " + BODY, b"x"), headers=STREAMED),
    "an error": lambda: Response(begun(b'{"error": {"message": "', b"x"), 400),
    "an error, compressed": lambda: Response(compressed(begun(b'{"error": {"message": "', b"x")), 429, GZIP),
}


LIMIT, PIECE = 100_000, 2**20  # a compressed response is unpacked in pieces of 1 MiB


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", ENDLESS)
async def test_a_reply_without_end_is_read_no_further_than_the_limit(
    kind: str, stream: bool, transport: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []

    class Counted(ResponseBody):
        def add(self, chunk: bytes) -> Iterator[Event]:
            taken.append(len(chunk))
            return super().add(chunk)

    def counted(status: int, body: bytes) -> ReportedError:
        taken.append(len(body))
        return error_of_status(status, body)

    monkeypatch.setattr(openai_client, "ResponseBody", Counted)
    monkeypatch.setattr(openai_client, "error_of_status", counted)
    async with RawEndpoint(lambda *_: ENDLESS[kind]()) as endpoint:
        failure = failed(await attempt(table(endpoint, timeout=60, **PRICED), asks(), stream=stream, largest=LIMIT))
        async with asyncio.timeout(20):
            await until(lambda: endpoint.cut == 1)
    if "error" in kind:
        assert failure.fall.reason == ("rate-limit" if "compressed" in kind else "refused")
        assert (failure.cost, failure.estimated, taken) == (Decimal(0), False, [openai_client.LARGEST_ERROR])
        return
    assert (failure.fall.reason, f"larger than {LIMIT} bytes" in failure.fall.detail) == ("invalid-output", True)
    assert failure.estimated
    assert failure.cost > 10  # of 25,000 tokens or so
    overhead = len(EVENT) / len("word ") if "streamed" in kind else 1  # an event is larger than its text
    assert LIMIT < sum(taken) <= LIMIT * overhead + PIECE + 65_536


async def test_a_list_of_models_without_end_is_read_no_further_than_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_client, "LARGEST_LIST", 100_000)
    async with RawEndpoint(lambda *_: Response(begun(b'{"data": [', b'{"id": "m"}, '))) as endpoint:
        failure = failed(await attempt(table(endpoint, model=""), asks()))
        async with asyncio.timeout(20):
            await until(lambda: endpoint.cut == 1)
    assert failure.fall.reason == "error"
    assert endpoint.sent < 5_000_000


async def test_a_stream_that_goes_on_after_its_end_is_left() -> None:
    done = EVENT + b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
    endless = itertools.chain([done], itertools.repeat(b": ping\n\n" * 1000))
    async with RawEndpoint(lambda *_: Response(endless, headers=STREAMED)) as endpoint:
        assert replied(await attempt(table(endpoint, timeout=60), asks(), stream=True)).text == "word "
        async with asyncio.timeout(20):
            await until(lambda: endpoint.cut == 1)
        assert endpoint.sent < 10_000_000


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "GZIP", "identity"])
async def test_a_compressed_answer_is_read(encoding: str, transport: Any) -> None:
    whole = fine().body
    assert isinstance(whole, bytes)
    packers = {"gzip": lambda raw: zlib.compress(raw, wbits=31), "deflate": zlib.compress}
    body = packers.get(encoding.lower(), bytes)(whole)
    async with RawEndpoint(lambda *_: Response(body, headers={"content-encoding": encoding})) as endpoint:
        assert replied(await attempt(table(endpoint), asks())).text == "Fine."


@pytest.mark.parametrize("stream", [False, True])
async def test_connections_are_used_again_after_a_stream_too(stream: bool, transport: Any) -> None:
    done = EVENT + b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
    async with RawEndpoint(lambda *_: Response([done], headers=STREAMED)) as endpoint:
        chain = table(endpoint)
        async with open_clients(chain, {}, now) as make_attempt:
            for _ in range(5):
                replied(await make_attempt(*attempting(chain, asks()), on_text=list[str]().append if stream else None))
        assert len(endpoint._tasks) == 1


# What an attempt brings back, whatever happens


@pytest.mark.parametrize(
    "content_type", ["Text/Event-Stream", "text/event-stream; charset=utf-8", "text/plain", "application/json"]
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_media_type_decides_nothing(content_type: str, stream: bool) -> None:
    done = EVENT + b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
    for body, expected in ((done, "word "), (fine().body, "Fine.")):
        async with RawEndpoint(lambda *_, body=body: Response(body, headers={"content-type": content_type})) as endpoint:
            assert replied(await attempt(table(endpoint), asks(), stream=stream)).text == expected


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (Response(b'{"error": {"code": 429, "message": "slow down"}}', headers={"Retry-After": "7"}), "rate-limit"),
        (Response(b'{"error": {"message": "flex tier capacity exceeded"}}', 498, {"Retry-After": "7"}), "rate-limit"),
        (Response(b'{"error": {"message": "it failed"}}', 424, {"retry-after-ms": "7000"}), "error"),
        (Response(b'[{"error": {"code": 429, "message": "x", "details": [{"retryDelay": "7s"}]}}]', 429), "rate-limit"),
    ],
)  # fmt: skip
async def test_an_endpoint_that_asks_for_patience_gets_it(response: Response, reason: str) -> None:
    async with RawEndpoint(lambda *_: response) as endpoint:
        failure = failed(await attempt(table(endpoint), asks()))
    assert failure.fall.reason == reason
    assert failure.retry_at is not None
    assert 4 < (failure.retry_at - now()).total_seconds() <= 7


async def test_a_key_that_an_endpoint_repeats_is_in_no_outcome() -> None:
    body = b'{"error": {"message": "Incorrect API key provided: sk-secret", "metadata": {"raw": "sk-secret"}}}'
    for status in (401, 200):
        async with RawEndpoint(lambda *_, status=status: Response(body, status)) as endpoint:
            returned = await attempt(table(endpoint), asks(), keys={"first": "sk-secret"})
        assert "Incorrect API key" in failed(returned).fall.detail
        assert "sk-secret" not in str(returned)


@pytest.mark.parametrize("error", [ValueError("beyond"), RecursionError(), TypeError("odd"), OverflowError()])
@pytest.mark.parametrize("place", ["checked", "confidence", "_sources"])
async def test_an_attempt_that_fails_in_the_gateway_itself_has_its_cost(
    error: Exception, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(openai_client, place, fail)
    async with RawEndpoint(lambda *_: fine()) as endpoint:
        failure = failed(await attempt(table(endpoint, **PRICED), asks()))
    assert (failure.fall.reason, failure.cost, failure.estimated) == ("invalid-output", Decimal("0.01002"), False)
    assert type(error).__name__ in failure.fall.detail


async def test_data_that_no_message_can_hold_is_repaired_and_paid_for() -> None:
    async with RawEndpoint(lambda *_: fine('{"n": 1e400}')) as endpoint:
        failure = failed(await attempt(table(endpoint, **PRICED), asks(response_schema={"type": "object"})))
    assert (failure.fall.reason, failure.cost) == ("invalid-output", Decimal("0.01002"))


async def test_an_endpoint_that_gives_no_usable_data_is_asked_twice_and_both_are_paid_for() -> None:
    async with RawEndpoint(lambda *_: fine('{"n": 1e400}')) as endpoint:
        stored = await answer(table(endpoint, **PRICED), asks(response_schema={"type": "object"}))
    failed = stored[-1]
    assert isinstance(failed, ModelFailed), "no fixed reply gives the data that was asked for"
    assert (failed.reason, failed.cost, len(endpoint.seen)) == ("no-answer", Decimal("0.02004"), 2)
    assert [fall.reason for fall in failed.falls if fall.attempt] == ["invalid-output"] * 2


@pytest.mark.parametrize(
    ("usage", "cost", "estimated"),
    [
        (USAGE | {"total_tokens": 5030}, "5.01002", False),
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, "0.002008", True),
        (None, "0.002008", True),
        ({"prompt_tokens": 20, "completion_tokens": 0}, "0.00202", True),
        ({"prompt_tokens": 0, "completion_tokens": 10}, "0.010008", True),
        ({"total_tokens": 508}, "0.500008", True),
    ],
)
async def test_what_is_not_told_is_estimated_and_marked_as_an_estimate(usage: Any, cost: str, estimated: bool) -> None:
    async with RawEndpoint(lambda *_: fine(usage=usage)) as endpoint:
        reply: ModelReplied = replied(await attempt(table(endpoint, **PRICED), asks()))
    assert (reply.cost, reply.estimated) == (Decimal(cost), estimated)


async def test_what_came_of_an_answer_that_broke_off_is_paid_for(transport: Any) -> None:
    def halves() -> Iterator[bytes]:
        yield EVENT * 100
        raise ConnectionError

    async with RawEndpoint(lambda *_: Response(halves(), headers=STREAMED)) as endpoint:
        failure = failed(await attempt(table(endpoint, **PRICED), asks(), stream=True))
    assert (failure.fall.reason, failure.estimated, failure.output_tokens) == ("error", True, 125)
    assert failure.cost > Decimal("0.1")
