"""The gateway's attempts: the real SDK against a server that really times out, resets, refuses and drips."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import httpx2
import openai
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import services.gateway as gateway_package
from contracts.gateway import AttemptFailed, AttemptStarted, CallModel, ChatMessage, FallReason, ModelReplied, ToolCall
from contracts.verifier import Passage
from hansard.decider import Context, WakeUp
from hansard.message import Message
from services.gateway import effects
from services.gateway.app import build, keys
from services.gateway.config import Chain, Endpoint, chain
from services.gateway.decider import Flying, Settled, gateway
from services.gateway.facts import AttemptReturned
from shared.settings import Settings
from tests.scripted import Scripted

CALL = "specialists/draft.1/1"
TICK = 0.5  # seconds on a busy machine
ANSWERS: dict[str, Any] = {"notice": "No model answered:", "fixed": [{"answer": "ask a person."}]}


def now() -> datetime:
    """The store's clock, which is the only one that counts: an hour ahead of this machine's."""
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


def flying(tiers: Chain, call: CallModel, *before: AttemptFailed) -> tuple[Flying, AttemptStarted]:
    """A call whose next attempt has just been said."""
    decider, context = gateway(tiers), Context(UUID(int=1), now(), "w", "t")
    stored: list[Message] = list(decider.decide(decider.initial, call, context))
    for attempt, failed in enumerate(before, 1):
        outcome = AttemptReturned(attempt=attempt, call=call.call, failure=failed)
        stored += decider.decide(decider.fold(stored), outcome, context)
    state = decider.fold(stored)
    assert isinstance(state, Flying)
    return state, state.out


async def once(tiers: Chain, call: CallModel, *before: AttemptFailed, keys: dict[str, str] | None = None) -> AttemptReturned:
    async with effects.endpoints(tiers, keys or {}, now) as perform:
        return await perform(*flying(tiers, call, *before))


async def answer(tiers: Chain, call: CallModel, keys: dict[str, str] | None = None) -> list[Message]:
    """All that is said of a call, with no waiting between attempts: the time of a waking is the time that was due."""
    decider = gateway(tiers)
    context = Context(UUID(int=1), now(), "w", "t")
    stored: list[Message] = list(decider.decide(decider.initial, call, context))
    async with effects.endpoints(tiers, keys or {}, now) as perform:
        while not isinstance(state := decider.fold(stored), Settled):
            if isinstance(state, Flying):
                received: Message = await perform(state, state.out)
            else:
                due = decider.wake_at(state)
                assert due is not None
                received, context = WakeUp(), Context(context.id, max(context.at, due), "w", "t")
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


async def until(so: Callable[[], bool]) -> None:
    while not so():
        await asyncio.sleep(0.01)


# What an attempt brings back


class Case(NamedTuple):
    script: str
    reason: FallReason
    detail: str
    again: bool  # whether it may pass
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
    assert (failure.retry_at is not None) == case.again
    assert returned.attempt == failure.fall.attempt == 1


async def test_nobody_there_is_an_error_that_may_pass() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    endpoint = Endpoint(name="first", url=f"http://127.0.0.1:{port}/v1", model="ok")
    failure = failed(await once(tiers(endpoint), asks()))
    assert (failure.fall.reason, failure.estimated) == ("error", False)
    assert failure.retry_at is not None


async def test_an_endpoint_that_this_process_does_not_know_is_a_fall(server: Scripted) -> None:
    state, intent = flying(tiers(at(server, "ok")), asks())
    async with effects.endpoints(tiers(), {}, now) as perform:
        assert failed(await perform(state, intent)).fall.reason == "no-endpoint"


@pytest.mark.parametrize("script", ["timeout", "drip@20ms", "ok@30s"])
async def test_no_server_however_slow_outlives_the_deadline_by_more_than_a_tick(
    server: Scripted, script: str, transport: Any
) -> None:
    began = time.monotonic()
    failure = failed(await once(tiers(at(server, script, timeout=60)), asks(seconds=0.4)))
    assert failure.fall.reason == "timeout"
    assert 0.3 < time.monotonic() - began < 0.4 + TICK
    assert failure.latency_ms < (0.4 + TICK) * 1000


async def test_an_attempt_whose_deadline_has_passed_does_not_leave_the_house(server: Scripted) -> None:
    state, intent = flying(tiers(at(server, "ok")), asks())
    gone = intent.model_copy(update={"deadline": now() - timedelta(seconds=1)})
    async with effects.endpoints(tiers(at(server, "ok")), {}, now) as perform:
        assert failed(await perform(state, gone)).fall.reason == "timeout"
    assert server.calls["ok"] == 0


@pytest.mark.parametrize("script", ["429@7s", "date429@8s", "503@7s"])
async def test_a_provider_that_says_when_to_come_back_is_heard(server: Scripted, script: str) -> None:
    failure = failed(await once(tiers(at(server, script)), asks()))
    assert failure.retry_at is not None
    assert 5 < (failure.retry_at - now()).total_seconds() <= 8


@pytest.mark.parametrize(("code", "reason"), [("insufficient_quota", "refused"), ("rate_limit_exceeded", "rate-limit")])
async def test_a_quota_that_is_spent_does_not_come_back_by_waiting(server: Scripted, code: str, reason: FallReason) -> None:
    body = {"message": "no more", "type": code, "code": code}
    response = httpx2.Response(429, json={"error": body}, request=httpx2.Request("POST", server.url))
    error = openai.APIStatusError("Error code: 429 - no more", response=response, body=body)
    state, intent = flying(tiers(at(server, "ok")), asks())
    failure = failed(effects._status(state, intent, now, effects.Tried(), error, ""))
    assert failure.fall.reason == reason
    assert "no more" in failure.fall.detail


async def test_what_is_sent_whole_and_what_is_streamed_say_the_same_of_their_sender(server: Scripted) -> None:
    table = tiers(at(server, "ok"))
    async with effects.endpoints(table, {"first": "sk-secret"}, now) as perform:
        replied(await perform(*flying(table, asks())))
        replied(await perform(*flying(table, asks()), tell=lambda _: None))
    whole, streamed = (headers for _, headers, _ in server.seen)
    for name in ("authorization", "user-agent", "accept", "content-type", "idempotency-key"):
        assert whole[name] == streamed[name]


def test_a_date_is_measured_by_the_clock_that_was_sent_with_it_or_else_by_the_stores() -> None:
    told, here = "Thu, 01 Jan 2026 03:00:08 GMT", "Thu, 01 Jan 2026 03:00:00 GMT"
    stores = datetime(2026, 1, 1, 3, 0, 5, tzinfo=UTC)
    assert effects._retry_after({"retry-after": told, "date": here}, stores) == stores + timedelta(seconds=8)
    assert effects._retry_after({"retry-after": told}, stores) == stores + timedelta(seconds=3)


@pytest.mark.parametrize("given", ["0", "-5", "nan", "1e999", "soon", "Wed, 99 Foo 2026 99:99:99 GMT", ""])
def test_a_wait_that_makes_no_sense_is_none(given: str) -> None:
    assert effects._retry_after({"retry-after": given}, now()) is None


def test_a_wait_without_end_is_a_day() -> None:
    then = effects._retry_after({"retry-after": "99999999999"}, now())
    assert then is not None
    assert then < now() + timedelta(days=1, seconds=1)


async def test_an_answer_too_large_for_the_record_cannot_be_used(server: Scripted) -> None:
    table = tiers(at(server, "ok"))
    async with effects.endpoints(table, {}, now, largest=50) as perform:
        failure = failed(await perform(*flying(table, asks())))
    assert (failure.fall.reason, "50 bytes" in failure.fall.detail) == ("invalid-output", True)


async def test_backoff_doubles_and_holds_some_chance(server: Scripted) -> None:
    async def waits(*before: AttemptFailed) -> float:
        failure = failed(await once(tiers(at(server, "500", max_retries=9)), asks(), *before))
        assert failure.retry_at is not None
        return (failure.retry_at - now()).total_seconds()

    first = failed(await once(tiers(at(server, "500")), asks()))
    earlier = first.model_copy(update={"retry_at": None})
    assert 0.2 < await waits() <= 0.5
    assert 0.9 < await waits(earlier, earlier) <= 2.0
    assert len({await waits() for _ in range(3)}) == 3


# What an attempt sends


async def test_a_call_is_sent_in_full_with_its_keys(server: Scripted, transport: Any) -> None:
    call = asks(temperature=0.5, max_output_tokens=33, response_schema=SCHEMA, tools=(TOOL,))
    table = tiers(at(server, "ok"))
    state, intent = flying(table, call)
    async with effects.endpoints(table, {"first": "sk-secret"}, now) as perform:
        reply = replied(await perform(state, intent))
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
    talk = (
        *call.messages,
        ChatMessage(role="assistant", content="", tool_calls=reply.tool_calls),
        ChatMessage(role="tool", content="sunny", tool_call_id="call_1"),
    )
    assert replied(await once(table, call.model_copy(update={"messages": talk}))).text.endswith("sunny")


async def test_the_answers_api_is_spoken_where_the_endpoint_wants_it(server: Scripted) -> None:
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


async def test_a_retry_carries_the_same_key(server: Scripted) -> None:
    stored = await answer(tiers(at(server, "500+reset+ok")), asks())
    assert isinstance(stored[-1], ModelReplied)
    assert len({headers["idempotency-key"] for _, headers, _ in server.seen}) == 1
    assert server.calls["500+reset+ok"] == 3


async def test_one_attempt_is_one_call_whatever_the_sdk_would_do(server: Scripted) -> None:
    for script in ("500", "429", "reset", "408"):
        await once(tiers(at(server, script)), asks())
        assert server.calls[script] == 1


async def test_a_model_that_is_not_named_is_the_first_that_the_endpoint_lists(server: Scripted) -> None:
    assert replied(await once(tiers(at(server, "")), asks())).model == "ok"


async def test_a_key_stays_out_of_what_is_told(server: Scripted) -> None:
    endpoint = Endpoint(name="first", url=f"{server.url}/sk-secret", model="ok")
    assert "sk-secret" not in str(await once(tiers(endpoint), asks(), keys={"first": "sk-secret"}))


# Connections


async def test_connections_are_kept_and_shared(server: Scripted, transport: Any) -> None:
    table = tiers(at(server, "ok"))
    async with effects.endpoints(table, {}, now) as perform:
        for _ in range(20):
            replied(await perform(*flying(table, asks())))
    assert (server.calls["ok"], server.connections) == (20, 1)


async def test_an_endpoint_is_asked_only_so_often_at_once_and_delays_no_other(server: Scripted) -> None:
    table = tiers(at(server, "ok@200ms", concurrency=2), at(server, "ok", name="second"))
    slow, fast = flying(table, asks()), flying(tiers(table.endpoints[1]), asks())
    async with effects.endpoints(table, {}, now) as perform:
        waiting = [asyncio.create_task(perform(*slow)) for _ in range(6)]
        replied(await perform(*fast))
        assert not any(task.done() for task in waiting)
        for task in waiting:
            replied(await task)
    assert server.peak <= 3
    assert server.calls["ok@200ms"] == 6


async def test_who_waits_for_a_slot_waits_no_longer_than_its_deadline(server: Scripted) -> None:
    table = tiers(at(server, "timeout", concurrency=1, timeout=0.3))
    async with effects.endpoints(table, {}, now) as perform:
        returned = await asyncio.gather(*(perform(*flying(table, asks())) for _ in range(3)))
    assert {failed(one).fall.detail for one in returned} == {"no answer in time", "no slot was free in time"}
    assert server.calls["timeout"] == 1


async def test_an_attempt_that_is_cancelled_lets_go_of_its_connection(server: Scripted, transport: Any) -> None:
    table = tiers(at(server, "timeout", timeout=60))
    async with effects.endpoints(table, {}, now) as perform:
        task = asyncio.create_task(perform(*flying(table, asks(seconds=60))))
        async with asyncio.timeout(5):
            await until(lambda: server.now == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until(lambda: not server.open)


# What it costs


async def test_a_model_of_ones_own_costs_nothing(server: Scripted) -> None:
    reply = replied(await once(tiers(at(server, "ok")), asks()))
    assert (reply.cost, reply.estimated) == (Decimal(0), False)


async def test_a_listed_model_costs_what_is_listed(server: Scripted) -> None:
    reply = replied(await once(tiers(at(server, "gpt-4o", price="listed")), asks()))
    assert reply.cost == (Decimal("2.5") * reply.input_tokens + 10 * reply.output_tokens) / 1_000_000
    assert not reply.estimated


async def test_a_price_of_ones_own_goes_before_the_list(server: Scripted) -> None:
    price = {"input": 1.5, "output": "3"}
    reply = replied(await once(tiers(at(server, "gpt-4o", price=price)), asks()))
    assert reply.cost == (Decimal("1.5") * reply.input_tokens + 3 * reply.output_tokens) / 1_000_000


async def test_a_model_without_a_known_price_is_estimated_and_says_so(server: Scripted) -> None:
    reply = replied(await once(tiers(at(server, "ok", price="listed")), asks()))
    assert reply.cost > 0
    assert reply.estimated


async def test_an_endpoint_that_does_not_tell_its_tokens_is_estimated_and_says_so(server: Scripted) -> None:
    reply = replied(await once(tiers(at(server, "unpriced", price={"input": "1", "output": "1"})), asks()))
    assert reply.estimated
    assert reply.input_tokens == len("Be brief.Why is the sky blue?") // 4 + 1


async def test_an_answer_that_cannot_be_used_is_paid_all_the_same(server: Scripted) -> None:
    price = {"input": "1", "output": "1"}
    stored = await answer(tiers(at(server, "invalid+ok", price=price)), asks(response_schema=SCHEMA))
    receipt, reply = stored[1], stored[-1]
    assert isinstance(receipt, AttemptFailed)
    assert isinstance(reply, ModelReplied)
    assert 0 < receipt.cost < reply.cost


async def test_what_broke_after_it_was_sent_may_have_cost_something(server: Scripted) -> None:
    for script in ("reset", "timeout", "half", "garbage"):
        patience = 0.2 if script == "timeout" else 20
        assert failed(await once(tiers(at(server, script, timeout=patience, price="listed")), asks())).estimated


# What is traced


async def test_an_attempt_is_a_span_in_the_words_of_genai(server: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    monkeypatch.setattr(effects, "_TRACER", provider.get_tracer("test"))
    await once(tiers(at(server, "ok")), asks())
    await once(tiers(at(server, "500")), asks())
    good, bad = spans.get_finished_spans()
    assert good.name == "chat ok"
    assert good.attributes is not None
    assert good.attributes["gen_ai.operation.name"] == "chat"
    assert good.attributes["gen_ai.provider.name"] == "local"
    assert good.attributes["gen_ai.response.finish_reasons"] == ("stop",)
    assert "sky" not in str(good.attributes)
    assert bad.attributes is not None
    assert bad.attributes["error.type"] == "error"
    assert f"-{good.context.trace_id:032x}-{good.context.span_id:016x}-" in server.seen[0][1]["traceparent"]


# The chain


SEED = chain(Settings()).answers  # as it is shipped
# The eight questions of the reference, with faults of the first and the second endpoint, and who answers.
QUESTIONS = [
    ("What are your business hours", "ok", "ok", "primary"),
    ("Explain the differences between your enterprise plans", "ok", "ok", "primary"),
    ("How do I reset my password", "reset", "500", "cache"),
    ("Can you help me with a complex integration issue?", "500", "ok", "secondary"),
    ("What is the price of your premium tier?", "timeout", "429@60s", "rules"),
    ("Tell me about your security certifications and compliance", "garbage", "ok", "secondary"),
    ("How do I configure SSO for my organization?", "401", "half", "rules"),
    ("What is your refund policy", "drip@20ms", "empty", "cache"),
]
EXPECTED = {"primary": 0.92, "secondary": 0.78, "cache": 0.95, "rules": 0.4}


@pytest.mark.parametrize(("question", "first", "second", "tier"), QUESTIONS)
async def test_the_questions_of_the_reference_are_answered_by_the_best_tier_that_is_there(
    server: Scripted, question: str, first: str, second: str, tier: str
) -> None:
    silent = ("timeout", "drip@20ms")
    primary = at(server, first, name="primary", timeout=0.3 if first in silent else 20)
    secondary = at(server, second, name="secondary", timeout=20)
    table = tiers(primary, secondary, answers=SEED)
    reply = (await answer(table, asks(question)))[-1]
    assert isinstance(reply, ModelReplied)
    assert (reply.tier, reply.confidence) == (tier, EXPECTED[tier])
    fallen = {fall.tier for fall in reply.falls}
    better = ["primary", "secondary", "cache", "extractive", "rules"]
    assert fallen == set(better[: better.index(tier)])
    if tier == "rules":
        assert reply.text.startswith("No model answered")


async def test_the_fixed_replies_are_those_of_the_reference_by_their_words() -> None:
    table = tiers(answers=SEED)
    stored = {}
    for question in ("What does it cost?", "I need support", "Is there an office in Rome?"):
        reply = (await answer(table, asks(question)))[-1]
        assert isinstance(reply, ModelReplied)
        stored[question] = reply.text
    assert ["pricing page" in text for text in stored.values()] == [True, False, False]
    assert ["details" in text for text in stored.values()] == [False, True, False]
    assert ["specialists" in text for text in stored.values()] == [False, False, True]


async def test_between_models_and_fixed_replies_stand_the_passages_that_were_given(server: Scripted) -> None:
    passages = (Passage(source="sso.md", text="To configure SSO, open Organization and choose Identity. Cats purr."),)
    question = "How do I configure SSO for my organization?"
    reply = (await answer(tiers(at(server, "500", max_retries=0), answers=SEED), asks(question, passages=passages)))[-1]
    assert isinstance(reply, ModelReplied)
    assert (reply.tier, reply.sources) == ("extractive", ("sso.md",))


async def test_a_model_that_is_unsure_gives_way_to_the_next(server: Scripted) -> None:
    table = tiers(at(server, "unsure"), at(server, "ok", name="second"))
    reply = (await answer(table, asks(response_schema=SCHEMA, minimum_confidence=0.7)))[-1]
    assert isinstance(reply, ModelReplied)
    assert (reply.tier, [fall.reason for fall in reply.falls]) == ("second", ["low-confidence"])


# Put together


def test_a_service_without_settings_answers_by_what_needs_no_model() -> None:
    service = build(Settings(model_url=""))
    assert service.name == "gateway"
    assert service.stream(asks()) == f"gateway/{CALL}"
    assert chain(Settings(model_url="")).order == ("cache", "extractive", "rules")


def test_two_settings_make_an_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(model_url="http://127.0.0.1:1/v1", model_name="m", model_key="sk-1")
    (endpoint,) = chain(settings).endpoints
    assert (endpoint.name, endpoint.model, endpoint.provider, endpoint.own) == ("primary", "m", "local", True)
    assert keys(chain(settings), settings) == {"primary": "sk-1"}
    assert "sk-1" not in chain(settings).model_dump_json()


def test_a_file_makes_any_number_of_tiers(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-2")
    file = tmp_path / "tiers.yaml"
    (tmp_path / "mine.yaml").write_text("known: [{question: 'Who?', answer: Me.}]")
    file.write_text(
        """
        answers: mine.yaml
        endpoints:
          - {name: best, url: "https://api.openai.com/v1", model: gpt-4o, key_env: MY_KEY, classes: [capable]}
          - {name: house, url: "http://model.internal/v1", model: m, price: {input: 0.1, output: 0.2}}
        order: [best, house, cache]
        priors: {cache: 0.5}
        """
    )
    settings = Settings(gateway=file)
    found = chain(settings)
    assert found.order == ("best", "house", "cache")
    assert [(e.provider, e.own, found.prior(e.name)) for e in found.endpoints] == [("openai", False, 0.92), ("local", True, 0.78)]
    assert [e.name for e in found.serving("fast")] == ["house", "best"]
    assert found.prior("cache") == 0.5
    assert found.answers.known[0].answer == "Me."
    assert keys(found, settings) == {"best": "sk-2"}


def test_the_example_for_users_is_read() -> None:
    found = chain(Settings(gateway=Path(gateway_package.__file__).with_name("example.yaml")))
    assert found.order == ("primary", "secondary", "house", "cache", "extractive", "rules")
    assert [e.name for e in found.serving("fast")] == ["secondary", "house", "primary"]


@pytest.mark.parametrize(
    "mistake",
    [
        "endpoints: [{name: a, url: 'http://x/v1', modle: m}]",
        "order: [nobody]",
        "order: [cache, cache]",
        "endpoints: [{name: a, url: 'http://x/v1'}, {name: a, url: 'http://y/v1'}]",
        "endpoints: [{name: cache, url: 'http://x/v1'}]",
        "endpoints: [{name: a, url: 'x'}]",
        "- nothing",
        "endpoints: [{",
    ],
)
def test_a_mistake_in_the_file_is_told_at_the_start(tmp_path: Any, mistake: str) -> None:
    file = tmp_path / "tiers.yaml"
    file.write_text(mistake)
    with pytest.raises(ValueError, match=r".+"):
        chain(Settings(gateway=file))


def test_a_small_model_stands_low_by_its_name() -> None:
    found = chain(Settings(model_url="http://127.0.0.1:1/v1", model_name="smollm2-135m-instruct"))
    assert found.prior("primary") == 0.3
