"""One attempt at one endpoint. The only module that knows the openai SDK."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime
from functools import lru_cache
from math import isfinite
from typing import Protocol

import genai_prices
import httpx2
import openai
from opentelemetry import propagate, trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from contracts.gateway import AttemptFailed, AttemptStarted, CallModel, Fall, FallReason, ModelReplied
from services.gateway.config import Chain, Endpoint
from services.gateway.decider import Flying
from services.gateway.facts import AttemptReturned
from services.gateway.streaming import Pieces, streaming
from services.gateway.wire import PATHS, Answer, Api, Json, Unusable, body, clean, confidence, read

Clock = Callable[[], datetime]
Gate = Callable[[], None]
Tell = Callable[[str], None]
NO_SLOT = "no slot was free in time"
LARGEST = 256 * 1024  # bytes of an answer
DETAIL = 300  # characters
FIRST_BACKOFF, LONGEST_BACKOFF = 0.5, 8.0  # seconds; each failure doubles it, and half of it is chance
LONGEST_WAIT = 86_400.0
_TRACER = trace.get_tracer("hansard.gateway")
_MILLION = Decimal(1_000_000)


@dataclass
class Client:
    """An endpoint with its connections. One a process, for all calls."""

    endpoint: Endpoint
    sdk: openai.AsyncOpenAI
    slots: asyncio.Semaphore
    key: str
    model: str = ""  # the one it lists, where the configuration names none


@dataclass
class Tried:
    """What became known of an attempt while it ran."""

    began: float = field(default_factory=time.perf_counter)
    sent: bool = False

    @property
    def latency_ms(self) -> float:
        return round((time.perf_counter() - self.began) * 1000, 3)


class Ask(Protocol):
    """Makes an attempt. `gate` is asked right before it leaves the house, and raises Unusable where it must not; `tell`
    is given the text as it comes, where the answer is to be streamed."""

    async def __call__(
        self, state: Flying, intent: AttemptStarted, gate: Gate | None = None, tell: Tell | None = None
    ) -> AttemptReturned: ...


@asynccontextmanager
async def endpoints(chain: Chain, keys: Mapping[str, str], now: Clock, largest: int = LARGEST) -> AsyncIterator[Ask]:
    """Opens a client for every endpoint and yields what makes an attempt. `keys`: API keys by name of the endpoint; `now`:
    the store's clock, by which deadlines end."""
    async with AsyncExitStack() as stack:
        clients: dict[str, Client] = {}
        for endpoint in chain.endpoints:
            key = keys.get(endpoint.name, "")
            sdk = openai.AsyncOpenAI(
                base_url=endpoint.url,
                api_key=key or "none",
                max_retries=0,
                timeout=None,
                http_client=_http_client(),
            )
            await stack.enter_async_context(sdk)
            clients[endpoint.name] = Client(endpoint, sdk, asyncio.Semaphore(endpoint.concurrency), key, endpoint.model)

        async def ask(
            state: Flying, intent: AttemptStarted, gate: Gate | None = None, tell: Tell | None = None
        ) -> AttemptReturned:
            return await attempt(chain, clients.get(intent.endpoint), state, intent, now, largest, gate, tell)

        yield ask


def _http_client() -> httpx2.AsyncClient:
    """On aiohttp, which takes half the CPU, where it is installed. A redirect could carry the key elsewhere."""
    for kind in (openai.DefaultAioHttpClient, openai.DefaultAsyncHttpxClient):
        try:
            return kind(timeout=None, follow_redirects=False)
        except RuntimeError:
            continue
    raise RuntimeError("the openai package brings no HTTP client")


async def attempt(
    chain: Chain,
    client: Client | None,
    state: Flying,
    intent: AttemptStarted,
    now: Clock,
    largest: int,
    gate: Gate | None = None,
    tell: Tell | None = None,
) -> AttemptReturned:
    """What one attempt brought back, at the latest at its deadline. Raises nothing but its own cancellation."""
    call, tried = state.since.call, Tried()
    if client is None:
        detail = f"this process knows no endpoint {intent.endpoint}"
        return _failed(intent, tried, "no-endpoint", detail)
    endpoint = client.endpoint
    left = min((intent.deadline - now()).total_seconds(), endpoint.timeout)
    with _span(endpoint, call, intent) as span:
        try:
            async with asyncio.timeout(left):
                async with client.slots:
                    tried.began = time.perf_counter()
                    answer = await _ask(client, state, intent, tried, largest, gate, tell)
        except TimeoutError:
            waited = "no answer in time" if tried.sent else NO_SLOT
            returned = _failed(intent, tried, "timeout", waited, estimated=tried.sent and not endpoint.free)
        except Unusable as error:
            returned = _unusable(chain, endpoint, state, intent, now, tried, error)
        except openai.APIStatusError as error:
            returned = _status(state, intent, now, tried, error, client.key)
        except openai.APIConnectionError as error:
            again = _backoff(state, intent, now)
            detail = _detail(error.__cause__ or error, client.key)
            returned = _failed(intent, tried, "error", detail, again, estimated=tried.sent and not endpoint.free)
        except Exception as error:  # an answer that broke on its way, or was none, is paid for all the same
            again = _backoff(state, intent, now)
            detail = _detail(error, client.key)
            returned = _failed(intent, tried, "error", detail, again, estimated=tried.sent and not endpoint.free)
        else:
            cost, estimated = _cost(chain, endpoint, call, answer)
            tokens = _tokens(call, answer)
            reply = ModelReplied(
                call=intent.call,
                attempt=intent.attempt,
                tier=intent.tier,
                provider=intent.provider,
                model=answer.model or client.model,
                text=answer.text,
                data=answer.data,
                tool_calls=answer.tool_calls,
                finish_reason=answer.finish_reason,
                confidence=confidence(answer.data),
                sources=_sources(answer),
                latency_ms=tried.latency_ms,
                cost=cost,
                input_tokens=tokens[0],
                output_tokens=tokens[2],
                estimated=estimated,
            )
            returned = AttemptReturned(attempt=intent.attempt, call=intent.call, reply=reply)
            _told(span, answer, tokens)
        if returned.failure is not None:
            span.set_attribute("error.type", returned.failure.fall.reason)
            span.set_status(Status(StatusCode.ERROR, returned.failure.fall.reason))
    return returned


async def _ask(
    client: Client, state: Flying, intent: AttemptStarted, tried: Tried, largest: int, gate: Gate | None, tell: Tell | None
) -> Answer:
    call, endpoint = state.since.call, client.endpoint
    if gate is not None:
        gate()
    if not client.model:
        listed = await client.sdk.models.list()
        if not listed.data:
            raise Unusable("refused", "the endpoint lists no model, and the configuration names none")
        client.model = listed.data[0].id
    api: Api = endpoint.api or call.api
    headers = {"Idempotency-Key": intent.key}
    propagate.inject(headers)
    asked = body(call, endpoint, api, client.model, _repair(state, intent))
    tried.sent = True
    if tell is not None:
        return read(api, await _streamed(client, api, asked, headers, tell, largest), call)
    # The resource classes would build their pydantic tree of every answer, for more CPU than all the rest.
    response = await client.sdk.post(PATHS[api], cast_to=httpx2.Response, body=asked, options={"headers": headers})
    if len(response.content) > largest:
        raise Unusable("invalid-output", f"the answer is larger than {largest} bytes")
    return read(api, response.content, call)


async def _streamed(client: Client, api: Api, asked: Json, headers: Json, tell: Tell, largest: int) -> bytes:
    """The body that the answer would have had in one piece."""
    stream = await client.sdk.post(
        PATHS[api],
        cast_to=object,
        body={**asked, **streaming(api)},
        options={"headers": headers},
        stream=True,
        stream_cls=openai.AsyncStream[object],
    )
    pieces = Pieces(api)
    async with stream:
        if "event-stream" not in stream.response.headers.get("content-type", ""):
            return await stream.response.aread()
        async for event in stream:
            if text := pieces.add(event):
                tell(text)
            if pieces.size > largest:
                raise Unusable("invalid-output", f"the answer is larger than {largest} bytes")
    return pieces.body()


def _repair(state: Flying, intent: AttemptStarted) -> str:
    """What was wrong with the last output of this tier, for the model to do better."""
    last = next((r.fall for r in reversed(state.since.receipts) if r.fall.tier == intent.tier), None)
    return last.detail if last and last.reason == "invalid-output" else ""


def _unusable(
    chain: Chain, endpoint: Endpoint, state: Flying, intent: AttemptStarted, now: Clock, tried: Tried, error: Unusable
) -> AttemptReturned:
    again = _backoff(state, intent, now) if error.reason == "error" else None
    if error.used is None:
        return _failed(intent, tried, error.reason, error.detail, again, estimated=tried.sent and not endpoint.free)
    cost, estimated = _cost(chain, endpoint, state.since.call, error.used)
    tokens = _tokens(state.since.call, error.used)
    return _failed(intent, tried, error.reason, error.detail, again, cost, (tokens[0], tokens[2]), estimated)


def _status(
    state: Flying, intent: AttemptStarted, now: Clock, tried: Tried, error: openai.APIStatusError, key: str
) -> AttemptReturned:
    status, headers = error.status_code, error.response.headers
    detail = _detail(error, key)
    if status == 429 and error.code != "insufficient_quota":
        return _failed(intent, tried, "rate-limit", detail, _retry_after(headers, now()) or _backoff(state, intent, now))
    if status in (408, 409, 425) or status >= 500:
        return _failed(intent, tried, "error", detail, _retry_after(headers, now()) or _backoff(state, intent, now))
    return _failed(intent, tried, "refused", detail)


def _failed(
    intent: AttemptStarted,
    tried: Tried,
    reason: FallReason,
    detail: str,
    retry_at: datetime | None = None,
    cost: Decimal = Decimal(0),
    tokens: tuple[int, int] = (0, 0),
    estimated: bool = False,
) -> AttemptReturned:
    fall = Fall(
        tier=intent.tier,
        attempt=intent.attempt,
        provider=intent.provider,
        model=intent.model,
        reason=reason,
        detail=clean(detail)[:DETAIL],
    )
    failure = AttemptFailed(
        call=intent.call,
        fall=fall,
        latency_ms=tried.latency_ms,
        cost=cost,
        input_tokens=tokens[0],
        output_tokens=tokens[1],
        retry_at=retry_at,
        estimated=estimated,
    )
    return AttemptReturned(attempt=intent.attempt, call=intent.call, failure=failure)


def _detail(error: BaseException, key: str) -> str:
    """Kind and message of an error, in one line, without the key."""
    text = " ".join(str(error).split())
    if key:
        text = text.replace(key, "…")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _retry_after(headers: Mapping[str, str], now: datetime) -> datetime | None:
    """When the provider wants to be asked again: milliseconds, seconds or a date (by its own clock, where it tells)."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        given = headers.get(name)
        if not given:
            continue
        try:
            seconds = float(given) * unit
        except ValueError:
            seconds = _until(given, headers.get("date"), now)
        if isfinite(seconds) and seconds > 0:
            return now + timedelta(seconds=min(seconds, LONGEST_WAIT))
    return None


def _until(date: str, told: str | None, now: datetime) -> float:
    """Seconds until an HTTP date; nan where it is none."""
    try:
        then = parsedate_to_datetime(date)
        here = parsedate_to_datetime(told) if told else now
        return (then.replace(tzinfo=then.tzinfo or UTC) - here.replace(tzinfo=here.tzinfo or UTC)).total_seconds()
    except (ValueError, OverflowError):
        return float("nan")


def _backoff(state: Flying, intent: AttemptStarted, now: Clock) -> datetime:
    failures = sum(receipt.fall.tier == intent.tier for receipt in state.since.receipts)
    longest = min(FIRST_BACKOFF * 2**failures, LONGEST_BACKOFF)
    return now() + timedelta(seconds=random.uniform(longest / 2, longest))


def _sources(answer: Answer) -> tuple[str, ...]:
    """What a structured answer names under `sources`."""
    given = answer.data.get("sources") if isinstance(answer.data, dict) else None
    return tuple(source for source in given if isinstance(source, str)) if isinstance(given, list) else ()


def _tokens(call: CallModel, answer: Answer) -> tuple[int, int, int]:
    """Input, of it cached, output. Where the endpoint did not tell: a token for every four characters."""
    if answer.tokens is not None:
        return answer.tokens
    asked = sum(len(message.content) for message in call.messages)
    emitted = len(answer.text) + sum(len(tool.name) + len(tool.arguments) for tool in answer.tool_calls)
    return -(-asked // 4), 0, -(-emitted // 4)


def _cost(chain: Chain, endpoint: Endpoint, call: CallModel, answer: Answer) -> tuple[Decimal, bool]:
    """US dollars, and whether that is an estimate."""
    given, cached, message = _tokens(call, answer)
    guessed = answer.tokens is None
    price = endpoint.price
    if endpoint.free:
        return Decimal(0), False
    if price is None or isinstance(price, str):
        usage = genai_prices.Usage(input_tokens=given, cache_read_tokens=cached, output_tokens=message)
        if listed := _listed(endpoint.url, endpoint.model, answer.model):
            return genai_prices.calc_price(usage, listed[0], provider_api_url=listed[1]).total_price, guessed
        guessed, price = True, chain.unknown_price
    return (given * price.input + message * price.output) / _MILLION, guessed


@lru_cache(1024)  # a model that is not listed takes a long search
def _listed(url: str, *models: str) -> tuple[str, str | None] | None:
    """Under which model and address a price is listed."""
    for model in dict.fromkeys(models):
        for address in (url, None):
            try:
                genai_prices.calc_price(genai_prices.Usage(input_tokens=1, output_tokens=1), model, provider_api_url=address)
            except (LookupError, ValueError):
                continue
            return model, address
    return None


def _span(endpoint: Endpoint, call: CallModel, intent: AttemptStarted):  # type: ignore[no-untyped-def]
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


def _told(span: Span, answer: Answer, tokens: tuple[int, int, int]) -> None:
    if span.is_recording():
        span.set_attributes(
            {
                "gen_ai.response.id": answer.id,
                "gen_ai.response.model": answer.model,
                "gen_ai.response.finish_reasons": [answer.finish_reason],
                "gen_ai.usage.input_tokens": tokens[0],
                "gen_ai.usage.output_tokens": tokens[2],
            }
        )
