"""One attempt: the real SDK against a server that really times out, resets, refuses and sends slowly."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import openai
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from contracts.gateway import AttemptFailed, AttemptStarted, CallModel, ChatMessage, FallReason, ModelReplied, ToolCall
from hansard.decider import Context, WakeUp
from hansard.message import Message
from services.gateway.call import Attempting, Settled
from services.gateway.config import Chain, Endpoint
from services.gateway.decider import gateway
from services.gateway.facts import AttemptReturned
from services.gateway.performer import spans
from services.gateway.performer.openai_client import open_clients
from tests.scripted import Scripted

CALL = "specialists/draft.1/1"
TICK = 0.5  # seconds on a busy machine
ANSWERS: dict[str, Any] = {"notice": "No model answered:", "fixed": [{"answer": "ask a person."}]}


def now() -> datetime:
    """The store's clock, which is the only one that counts. It is an hour ahead of this machine's."""
    return datetime.now(UTC) + timedelta(hours=1)


@pytest.fixture
async def server() -> AsyncIterator[Scripted]:
    async with Scripted() as server:
        server.keep = 100
        yield server


@pytest.fixture(params=["aiohttp", "httpx2"])
def transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Every HTTP client of the SDK."""
    if request.param == "httpx2":
        monkeypatch.setattr(openai, "DefaultAioHttpClient", openai.DefaultAsyncHttpxClient)
    else:
        pytest.importorskip("aiohttp")
    return iter([request.param])


def at(server: Scripted, script: str, **more: Any) -> Endpoint:
    return Endpoint(**{"name": "first", "url": server.url, "model": script, "timeout": 20, **more})


def tiers(*endpoints: Endpoint, **more: Any) -> Chain:
    return Chain.model_validate({"endpoints": endpoints, "answers": ANSWERS, "learning": {"hours": 0}, **more})


def asks(question: str = "Why is the sky blue?", seconds: float = 30, **more: Any) -> CallModel:
    messages = (ChatMessage(role="system", content="Be brief."), ChatMessage(role="user", content=question))
    return CallModel(**{"call": CALL, "messages": messages, "deadline": now() + timedelta(seconds=seconds), **more})


def attempting(tiers: Chain, call: CallModel, *before: AttemptFailed) -> tuple[Attempting, AttemptStarted]:
    """A call whose next attempt has just been decided."""
    decider, context = gateway(tiers), Context(UUID(int=1), now(), "w", "t")
    stored: list[Message] = list(decider.decide(decider.initial, call, context))
    for attempt, failed in enumerate(before, 1):
        outcome = AttemptReturned(attempt=attempt, call=call.call, failure=failed)
        stored += decider.decide(decider.fold(stored), outcome, context)
    state = decider.fold(stored)
    assert isinstance(state, Attempting)
    return state, state.intent


async def once(tiers: Chain, call: CallModel, *before: AttemptFailed, keys: dict[str, str] | None = None) -> AttemptReturned:
    async with open_clients(tiers, keys or {}, now) as make_attempt:
        return await make_attempt(*attempting(tiers, call, *before))


async def answer(tiers: Chain, call: CallModel, keys: dict[str, str] | None = None) -> list[Message]:
    """All that is stored of a call. Nothing waits between attempts: a wake-up comes at its time at once."""
    decider = gateway(tiers)
    context = Context(UUID(int=1), now(), "w", "t")
    stored: list[Message] = list(decider.decide(decider.initial, call, context))
    async with open_clients(tiers, keys or {}, now) as make_attempt:
        while not isinstance(state := decider.fold(stored), Settled):
            if isinstance(state, Attempting):
                received: Message = await make_attempt(state, state.intent)
            else:
                resume_at = decider.wake_at(state)
                assert resume_at is not None
                received, context = WakeUp(), Context(context.causation_id, max(context.at, resume_at), "w", "t")
            stored += decider.decide(state, received, context)
    return stored


def failed(returned: AttemptReturned) -> AttemptFailed:
    assert returned.failure is not None
    return returned.failure


def replied(returned: AttemptReturned) -> ModelReplied:
    assert returned.reply is not None, returned.failure
    return returned.reply


SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "answer": {"type": "string"},
        "confidence": {"type": "number"},
        "sources": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["answer", "confidence", "sources"],
    "additionalProperties": False,
}
UNSURE = SCHEMA | {"properties": {"confidence": {"maximum": 0.5}}}
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]},
    },
}


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


# The outcome of an attempt


class Case(NamedTuple):
    script: str
    reason: FallReason
    detail: str
    temporary: bool
    more: dict[str, Any] = {}  # noqa: RUF012


CASES = [
    Case("timeout", "timeout", "no answer in time", False),
    Case("drip@20ms", "timeout", "no answer in time", False),
    Case("ok@30s", "timeout", "no answer in time", False),
    Case("429", "rate-limit", "scripted 429", True),
    Case("500", "error", "scripted 500", True),
    Case("502", "error", "scripted 502", True),
    Case("503@1s", "error", "scripted 503", True),
    Case("408", "error", "scripted 408", True),
    Case("reset", "error", "", True),
    Case("half", "error", "", True),
    Case("garbage", "error", "no answer", True),
    Case("400", "refused", "scripted 400", False),
    Case("401", "refused", "scripted 401", False),
    Case("403", "refused", "scripted 403", False),
    Case("404", "refused", "scripted 404", False),
    Case("302", "refused", "302", False),
    Case("empty", "invalid-output", "empty", False),
    Case("mute", "invalid-output", "empty", False),
    Case("invalid", "invalid-output", "not JSON", False, {"response_schema": SCHEMA}),
    Case("ok", "invalid-output", "confidence", False, {"response_schema": UNSURE}),
]  # fmt: skip


@pytest.mark.parametrize("api", ["chat", "responses"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.script}-{case.reason}")
async def test_every_failure_is_an_outcome_with_its_reason(server: Scripted, case: Case, api: str, transport: Any) -> None:
    if case.script == "mute" and api == "responses":
        return
    patience = 0.2 if case.reason == "timeout" else 20
    returned = await once(tiers(at(server, case.script, timeout=patience)), asks(api=api, **case.more))
    failure = failed(returned)
    assert failure.fall.reason == case.reason, failure
    assert case.detail in failure.fall.detail
    assert failure.fall.detail
    assert (failure.retry_at is not None) == case.temporary
    assert returned.attempt == failure.fall.attempt == 1


async def test_an_address_where_nothing_listens_is_a_temporary_error() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    endpoint = Endpoint(name="first", url=f"http://127.0.0.1:{port}/v1", model="ok")
    failure = failed(await once(tiers(endpoint), asks()))
    assert (failure.fall.reason, failure.estimated) == ("error", False)
    assert failure.retry_at is not None


async def test_an_endpoint_that_this_process_does_not_know_is_a_fall(server: Scripted) -> None:
    state, intent = attempting(tiers(at(server, "ok")), asks())
    async with open_clients(tiers(), {}, now) as make_attempt:
        assert failed(await make_attempt(state, intent)).fall.reason == "no-endpoint"


@pytest.mark.parametrize("script", ["timeout", "drip@20ms", "ok@30s"])
async def test_no_server_however_slow_delays_an_attempt_much_beyond_its_deadline(
    server: Scripted, script: str, transport: Any
) -> None:
    began = time.monotonic()
    failure = failed(await once(tiers(at(server, script, timeout=60)), asks(seconds=0.4)))
    assert failure.fall.reason == "timeout"
    assert 0.3 < time.monotonic() - began < 0.4 + TICK
    assert failure.latency_ms < (0.4 + TICK) * 1000


async def test_an_attempt_whose_deadline_has_passed_is_not_sent(server: Scripted) -> None:
    state, intent = attempting(tiers(at(server, "ok")), asks())
    late = intent.model_copy(update={"deadline": now() - timedelta(seconds=1)})
    async with open_clients(tiers(at(server, "ok")), {}, now) as make_attempt:
        assert failed(await make_attempt(state, late)).fall.reason == "timeout"
    assert server.calls["ok"] == 0


@pytest.mark.parametrize("script", ["429@7s", "date429@8s", "503@7s"])
async def test_an_attempt_is_retried_when_the_provider_asks_for_it(server: Scripted, script: str) -> None:
    failure = failed(await once(tiers(at(server, script)), asks()))
    assert failure.retry_at is not None
    assert 5 < (failure.retry_at - now()).total_seconds() <= 8


async def test_a_streamed_request_has_the_same_headers_as_one_in_one_piece(server: Scripted) -> None:
    table = tiers(at(server, "ok"))
    async with open_clients(table, {"first": "sk-secret"}, now) as make_attempt:
        replied(await make_attempt(*attempting(table, asks())))
        replied(await make_attempt(*attempting(table, asks()), on_text=lambda _: None))
    whole, streamed = (headers for _, headers, _ in server.seen)
    for name in ("authorization", "user-agent", "accept", "content-type", "idempotency-key"):
        assert whole[name] == streamed[name]


async def test_an_answer_too_large_for_the_store_is_unusable(server: Scripted) -> None:
    table = tiers(at(server, "ok"))
    async with open_clients(table, {}, now, largest=50) as make_attempt:
        failure = failed(await make_attempt(*attempting(table, asks())))
    assert (failure.fall.reason, "50 bytes" in failure.fall.detail) == ("invalid-output", True)


async def test_backoff_doubles_and_is_partly_random(server: Scripted) -> None:
    async def waits(*before: AttemptFailed) -> float:
        failure = failed(await once(tiers(at(server, "500", max_retries=9)), asks(), *before))
        assert failure.retry_at is not None
        return (failure.retry_at - now()).total_seconds()

    first = failed(await once(tiers(at(server, "500")), asks()))
    earlier = first.model_copy(update={"retry_at": None})
    assert 0.2 < await waits() <= 0.5
    assert 0.9 < await waits(earlier, earlier) <= 2.0
    assert len({await waits() for _ in range(3)}) == 3


# The request


async def test_a_call_is_sent_in_full_with_its_keys(server: Scripted, transport: Any) -> None:
    call = asks(temperature=0.5, max_output_tokens=33, response_schema=SCHEMA, tools=(TOOL,))
    table = tiers(at(server, "ok"))
    state, intent = attempting(table, call)
    async with open_clients(table, {"first": "sk-secret"}, now) as make_attempt:
        reply = replied(await make_attempt(state, intent))
    ((path, headers, body),) = server.seen
    assert path == "/v1/chat/completions"
    assert headers["idempotency-key"] == intent.key
    assert headers["authorization"] == "Bearer sk-secret"
    assert body == {
        "model": "ok",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Why is the sky blue?"},
        ],
        "max_tokens": 33,
        "temperature": 0.5,
        "tools": [TOOL],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
        },
    }
    assert reply.data == {"answer": "Scripted answer to: Why is the sky blue?", "confidence": 0.9, "sources": []}
    assert (reply.confidence, reply.finish_reason, reply.model) == (0.9, "stop", "ok")
    assert (reply.input_tokens, reply.output_tokens) != (0, 0)


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_a_model_calls_a_tool_and_reads_its_result(server: Scripted, api: str) -> None:
    table = tiers(at(server, "tool+ok"))
    call = asks(api=api, tools=(TOOL,))
    reply = replied(await once(table, call))
    assert reply.finish_reason == "tool_calls"
    assert reply.tool_calls == (ToolCall(id="call_1", name="weather", arguments='{"town": "scripted"}'),)
    conversation = (
        *call.messages,
        ChatMessage(role="assistant", content="", tool_calls=reply.tool_calls),
        ChatMessage(role="tool", content="sunny", tool_call_id="call_1"),
    )
    assert replied(await once(table, call.model_copy(update={"messages": conversation}))).text.endswith("sunny")


async def test_the_responses_interface_is_used_if_the_endpoint_is_configured_for_it(server: Scripted) -> None:
    call = asks(response_schema=SCHEMA)
    reply = replied(await once(tiers(at(server, "ok", api="responses")), call))
    ((path, _, body),) = server.seen
    assert path == "/v1/responses"
    assert body["text"]["format"]["schema"] == SCHEMA
    assert (body["store"], body["max_output_tokens"]) == (False, 512)
    assert reply.confidence == 0.9


async def test_a_repair_tells_the_model_what_was_wrong(server: Scripted) -> None:
    stored = await answer(tiers(at(server, "invalid+ok")), asks(response_schema=SCHEMA))
    reply = stored[-1]
    assert isinstance(reply, ModelReplied)
    assert [fall.reason for fall in reply.falls] == ["invalid-output"]
    assert reply.attempt == 2
    (_, first, _), (_, second, body) = server.seen
    assert "is not JSON" in body["messages"][-1]["content"]
    assert first["idempotency-key"] != second["idempotency-key"]


async def test_a_retry_has_the_same_key(server: Scripted) -> None:
    stored = await answer(tiers(at(server, "500+reset+ok")), asks())
    assert isinstance(stored[-1], ModelReplied)
    assert len({headers["idempotency-key"] for _, headers, _ in server.seen}) == 1
    assert server.calls["500+reset+ok"] == 3


async def test_one_attempt_is_one_request_whatever_the_sdk_would_do(server: Scripted) -> None:
    for script in ("500", "429", "reset", "408"):
        await once(tiers(at(server, script)), asks())
        assert server.calls[script] == 1


async def test_without_a_configured_model_the_first_listed_one_is_called(server: Scripted) -> None:
    assert replied(await once(tiers(at(server, "")), asks())).model == "ok"


async def test_a_key_never_appears_in_an_outcome(server: Scripted) -> None:
    endpoint = Endpoint(name="first", url=f"{server.url}/sk-secret", model="ok")
    assert "sk-secret" not in str(await once(tiers(endpoint), asks(), keys={"first": "sk-secret"}))


# The span


async def test_an_attempt_is_a_span_in_the_terms_of_genai(server: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(spans, "_TRACER", provider.get_tracer("test"))
    await once(tiers(at(server, "ok")), asks())
    await once(tiers(at(server, "500")), asks())
    good, bad = exporter.get_finished_spans()
    assert good.name == "chat ok"
    assert good.attributes is not None
    assert good.attributes["gen_ai.operation.name"] == "chat"
    assert good.attributes["gen_ai.provider.name"] == "local"
    assert good.attributes["gen_ai.response.finish_reasons"] == ("stop",)
    assert "sky" not in str(good.attributes)
    assert bad.attributes is not None
    assert bad.attributes["error.type"] == "error"
    assert f"-{good.context.trace_id:032x}-{good.context.span_id:016x}-" in server.seen[0][1]["traceparent"]
