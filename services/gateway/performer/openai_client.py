"""One attempt at one endpoint, through the openai SDK. No other module imports it."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import httpx2
import openai
from opentelemetry import propagate

from contracts.gateway import AttemptStarted, ModelReplied
from services.gateway.call import Attempting
from services.gateway.config import Chain, Endpoint
from services.gateway.cost import cost_of, tokens_of
from services.gateway.facts import AttemptReturned
from services.gateway.openai_wire.answer import Answer, NoUsableAnswer, confidence, read_answer
from services.gateway.openai_wire.request import PATHS, Api, Json, request_body, streaming_options
from services.gateway.openai_wire.retry_after import retry_after
from services.gateway.openai_wire.streamed_answer import StreamedAnswer
from services.gateway.performer.outcomes import NO_SLOT, Progress, failed
from services.gateway.performer.spans import attempt_span, mark_answered, mark_failed
from shared.masking import mask

Clock = Callable[[], datetime]
BeforeSending = Callable[[], None]
OnText = Callable[[str], None]
LARGEST = 256 * 1024  # bytes of an answer
FIRST_BACKOFF, LONGEST_BACKOFF = 0.5, 8.0  # seconds; each failure doubles it, and half of it is random


class MakeAttempt(Protocol):
    """Makes one attempt and returns its outcome by its deadline. Raises nothing but its own cancellation.

    `before_sending` is called right before the request is sent, and raises NoUsableAnswer to prevent that. `on_text` receives
    the text as it comes, if the answer is to be streamed.
    """

    async def __call__(
        self,
        state: Attempting,
        intent: AttemptStarted,
        before_sending: BeforeSending | None = None,
        on_text: OnText | None = None,
    ) -> AttemptReturned: ...


@asynccontextmanager
async def open_clients(chain: Chain, keys: Mapping[str, str], now: Clock, largest: int = LARGEST) -> AsyncIterator[MakeAttempt]:
    """Opens a client for every endpoint. `keys`: API keys by name of the endpoint; `now`: the store's clock, by which
    deadlines end; `largest`: bytes of an answer at most."""
    async with AsyncExitStack() as stack:
        clients: dict[str, OpenAIClient] = {}
        for endpoint in chain.endpoints:
            mask(key := keys.get(endpoint.name, ""), endpoint.url)
            sdk = openai.AsyncOpenAI(
                base_url=endpoint.url,
                api_key=key or "none",
                max_retries=0,
                timeout=None,
                http_client=_http_client(),
            )
            await stack.enter_async_context(sdk)
            slots = asyncio.Semaphore(endpoint.concurrency)
            clients[endpoint.name] = OpenAIClient(chain, endpoint, sdk, slots, key, now, largest, endpoint.model)

        async def make_attempt(
            state: Attempting,
            intent: AttemptStarted,
            before_sending: BeforeSending | None = None,
            on_text: OnText | None = None,
        ) -> AttemptReturned:
            client = clients.get(intent.endpoint)
            if client is None:
                return failed(intent, Progress(), "no-endpoint", f"this process knows no endpoint {intent.endpoint}")
            return await client.make_attempt(state, intent, before_sending, on_text)

        yield make_attempt


def _http_client() -> httpx2.AsyncClient:
    """On aiohttp if it is installed, which takes half the CPU. Follows no redirect, which could carry the key elsewhere."""
    for kind in (openai.DefaultAioHttpClient, openai.DefaultAsyncHttpxClient):
        try:
            return kind(timeout=None, follow_redirects=False)
        except RuntimeError:
            continue
    raise RuntimeError("the openai package has no HTTP client")


@dataclass
class OpenAIClient:
    """One endpoint with its connections. One a process, for all calls."""

    chain: Chain
    endpoint: Endpoint
    sdk: openai.AsyncOpenAI
    slots: asyncio.Semaphore
    key: str
    now: Clock
    largest: int
    model: str  # if the configuration names none: the first that the endpoint lists

    async def make_attempt(
        self, state: Attempting, intent: AttemptStarted, before_sending: BeforeSending | None, on_text: OnText | None
    ) -> AttemptReturned:
        call, progress = state.before.call, Progress()
        seconds = min((intent.deadline - self.now()).total_seconds(), self.endpoint.timeout)
        with attempt_span(self.endpoint, call, intent) as span:
            try:
                async with asyncio.timeout(seconds), self.slots:
                    progress.began = time.perf_counter()
                    answer = await self._ask(state, intent, progress, before_sending, on_text)
            except Exception as error:  # of the SDK or its transport; or an answer that broke off or makes no sense
                returned = self._failed(state, intent, progress, error)
            else:
                returned = self._replied(state, intent, progress, answer)
                mark_answered(span, answer, tokens_of(call, answer))
            if returned.failure is not None:
                mark_failed(span, returned.failure.fall.reason)
        return returned

    async def _ask(
        self,
        state: Attempting,
        intent: AttemptStarted,
        progress: Progress,
        before_sending: BeforeSending | None,
        on_text: OnText | None,
    ) -> Answer:
        call, endpoint = state.before.call, self.endpoint
        if before_sending is not None:
            before_sending()
        if not self.model:
            listed = await self.sdk.models.list()
            if not listed.data:
                raise NoUsableAnswer("refused", "the endpoint lists no model, and the configuration names none")
            self.model = listed.data[0].id
        api: Api = endpoint.api or call.api
        headers = {"Idempotency-Key": intent.key}
        propagate.inject(headers)
        body = request_body(call, endpoint, api, self.model, _to_repair(state, intent))
        progress.sent = True
        if on_text is not None:
            return read_answer(api, await self._stream(api, body, headers, on_text), call)
        # The SDK's resource classes build a pydantic tree of every answer, which takes more CPU than all the rest.
        response = await self.sdk.post(PATHS[api], cast_to=httpx2.Response, body=body, options={"headers": headers})
        if len(response.content) > self.largest:
            raise NoUsableAnswer("invalid-output", f"the answer is larger than {self.largest} bytes")
        return read_answer(api, response.content, call)

    async def _stream(self, api: Api, body: Json, headers: dict[str, str], on_text: OnText) -> bytes:
        """The body that the same answer has in one piece."""
        stream = await self.sdk.post(
            PATHS[api],
            cast_to=object,
            body={**body, **streaming_options(api)},
            options={"headers": headers},
            stream=True,
            stream_cls=openai.AsyncStream[object],
        )
        answer = StreamedAnswer(api)
        async with stream:
            if "event-stream" not in stream.response.headers.get("content-type", ""):
                return await stream.response.aread()
            async for event in stream:
                if text := answer.add(event):
                    on_text(text)
                if answer.size > self.largest:
                    raise NoUsableAnswer("invalid-output", f"the answer is larger than {self.largest} bytes")
        return answer.body()

    def _replied(self, state: Attempting, intent: AttemptStarted, progress: Progress, answer: Answer) -> AttemptReturned:
        call = state.before.call
        cost, estimated = cost_of(self.chain, self.endpoint, call, answer)
        tokens = tokens_of(call, answer)
        reply = ModelReplied(
            call=intent.call,
            attempt=intent.attempt,
            tier=intent.tier,
            provider=intent.provider,
            model=answer.model or self.model,
            text=answer.text,
            data=answer.data,
            tool_calls=answer.tool_calls,
            finish_reason=answer.finish_reason,
            confidence=confidence(answer.data),
            sources=_sources(answer),
            latency_ms=progress.latency_ms,
            cost=cost,
            input_tokens=tokens[0],
            output_tokens=tokens[2],
            estimated=estimated,
        )
        return AttemptReturned(attempt=intent.attempt, call=intent.call, reply=reply)

    def _failed(self, state: Attempting, intent: AttemptStarted, progress: Progress, error: Exception) -> AttemptReturned:
        perhaps_paid = progress.sent and not self.endpoint.free
        match error:
            case TimeoutError():
                detail = "no answer in time" if progress.sent else NO_SLOT
                return failed(intent, progress, "timeout", detail, estimated=perhaps_paid)
            case NoUsableAnswer():
                return self._unusable(state, intent, progress, error)
            case openai.APIStatusError():
                return failed_by_status(state, intent, self.now, progress, error, self.key)
            case openai.APIConnectionError():
                detail = _detail(error.__cause__ or error, self.key)
            case _:
                detail = _detail(error, self.key)
        return failed(intent, progress, "error", detail, _backoff(state, intent, self.now), estimated=perhaps_paid)

    def _unusable(self, state: Attempting, intent: AttemptStarted, progress: Progress, error: NoUsableAnswer) -> AttemptReturned:
        retry_at = _backoff(state, intent, self.now) if error.reason == "error" else None
        if error.paid is None:
            perhaps_paid = progress.sent and not self.endpoint.free
            return failed(intent, progress, error.reason, error.detail, retry_at, estimated=perhaps_paid)
        call = state.before.call
        cost, estimated = cost_of(self.chain, self.endpoint, call, error.paid)
        tokens = tokens_of(call, error.paid)
        return failed(intent, progress, error.reason, error.detail, retry_at, cost, (tokens[0], tokens[2]), estimated)


def failed_by_status(
    state: Attempting, intent: AttemptStarted, now: Clock, progress: Progress, error: openai.APIStatusError, key: str
) -> AttemptReturned:
    """What a status of 300 or more means: `rate-limit` and `error` may pass, `refused` does not."""
    status, headers = error.status_code, error.response.headers
    detail = _detail(error, key)
    limited = status == 429 and error.code != "insufficient_quota"
    if limited or status in (408, 409, 425) or status >= 500:
        retry_at = retry_after(headers, now()) or _backoff(state, intent, now)
        return failed(intent, progress, "rate-limit" if limited else "error", detail, retry_at)
    return failed(intent, progress, "refused", detail)


def _to_repair(state: Attempting, intent: AttemptStarted) -> str:
    """What was wrong with the last output of this tier, for the model to correct."""
    last = next((f.fall for f in reversed(state.before.failures) if f.fall.tier == intent.tier), None)
    return last.detail if last and last.reason == "invalid-output" else ""


def _detail(error: BaseException, key: str) -> str:
    """Kind and message of an error, in one line, without the key."""
    text = " ".join(str(error).split())
    if key:
        text = text.replace(key, "…")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _backoff(state: Attempting, intent: AttemptStarted, now: Clock) -> datetime:
    failures = sum(failure.fall.tier == intent.tier for failure in state.before.failures)
    longest = min(FIRST_BACKOFF * 2**failures, LONGEST_BACKOFF)
    return now() + timedelta(seconds=random.uniform(longest / 2, longest))


def _sources(answer: Answer) -> tuple[str, ...]:
    """What a structured answer names under `sources`."""
    given = answer.data.get("sources") if isinstance(answer.data, dict) else None
    return tuple(source for source in given if isinstance(source, str)) if isinstance(given, list) else ()
