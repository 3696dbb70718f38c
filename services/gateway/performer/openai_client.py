"""One attempt at one endpoint, through the openai SDK. No other module imports it."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

import httpx2
import openai
from opentelemetry import propagate

from contracts.gateway import AttemptStarted, FallReason, ModelReplied
from services.gateway.call import Attempting
from services.gateway.config import Chain, Endpoint
from services.gateway.cost import cost_of, spent_on
from services.gateway.facts import AttemptReturned, RefusedField
from services.gateway.openai_wire.answer import Answer, NoUsableAnswer, checked, confidence, parsed
from services.gateway.openai_wire.errors import ReportedError, error_of_status, meaning
from services.gateway.openai_wire.events import Event, ResponseBody, TooLarge
from services.gateway.openai_wire.fields import FIELDS, Refused, is_of_the_call, refused_field
from services.gateway.openai_wire.request import PATHS, Api, Request, make_request
from services.gateway.openai_wire.streamed_answer import StreamedAnswer
from services.gateway.openai_wire.tolerant import clean, listed, load, mapping, string
from services.gateway.performer.outcomes import DETAIL, NO_SLOT, Progress, failed
from services.gateway.performer.spans import attempt_span, mark_answered, mark_failed
from shared.masking import mask, masked
from shared.retry_after import retry_after

Clock = Callable[[], datetime]
BeforeSending = Callable[[], None]
OnText = Callable[[str], None]
Known = frozenset[tuple[str, str]]  # model and field
LARGEST = 256 * 1024  # bytes of an answer
LARGEST_ERROR = 64 * 1024  # bytes of the body of an error that are read
LARGEST_LIST = 4 * 1024 * 1024  # bytes of a list of models
FIRST_BACKOFF, LONGEST_BACKOFF = 0.5, 8.0  # seconds; each failure doubles it, and half of it is random
REST, LARGEST_REST = 0.1, 4096  # seconds and bytes between the end of an answer and that of its response


class MakeAttempt(Protocol):
    """Makes one attempt and returns its outcome by its deadline. Raises nothing but its own cancellation.

    `before_sending` is called right before the request is sent, and raises NoUsableAnswer to prevent that. `on_text` receives
    the text as it comes, if the answer is to be streamed. `known`: fields that the endpoint does not take, as is on record.
    """

    async def __call__(
        self,
        state: Attempting,
        intent: AttemptStarted,
        before_sending: BeforeSending | None = None,
        on_text: OnText | None = None,
        known: Known = frozenset(),
    ) -> AttemptReturned: ...


class StatusReceived(Exception):
    """A response with another status than success. Its body is read no further than LARGEST_ERROR."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        super().__init__(f"status {status}")
        self.headers = headers
        self.error: ReportedError = error_of_status(status, body)


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
            known: Known = frozenset(),
        ) -> AttemptReturned:
            client = clients.get(intent.endpoint)
            if client is None:
                return failed(intent, Progress(), "no-endpoint", f"this process knows no endpoint {intent.endpoint}")
            return await client.make_attempt(state, intent, before_sending, on_text, known)

        yield make_attempt


def _http_client() -> httpx2.AsyncClient:
    """On aiohttp if it is installed, which takes half the CPU. Follows no redirect, which could carry the key elsewhere."""
    for kind in (openai.DefaultAioHttpClient, openai.DefaultAsyncHttpxClient):
        try:
            return kind(timeout=None, follow_redirects=False, event_hooks={"response": [_look_at_status]})
        except RuntimeError:
            continue
    raise RuntimeError("the openai package has no HTTP client")


async def _look_at_status(response: httpx2.Response) -> None:
    """Before the SDK reads the whole body of an error, which may have no end."""
    if response.is_success:
        return
    body = bytearray()
    with suppress(httpx2.HTTPError):  # the status is known, what is said of it may be lost
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > LARGEST_ERROR:
                break
    await response.aclose()
    raise StatusReceived(response.status_code, response.headers, bytes(body[:LARGEST_ERROR]))


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
    refused: set[tuple[str, str]] = field(default_factory=set)  # model and field, as found by this process

    async def make_attempt(
        self,
        state: Attempting,
        intent: AttemptStarted,
        before_sending: BeforeSending | None,
        on_text: OnText | None,
        known: Known,
    ) -> AttemptReturned:
        call, progress = state.before.call, Progress()
        seconds = min((intent.deadline - self.now()).total_seconds(), self.endpoint.timeout)
        with attempt_span(self.endpoint, call, intent) as span:
            try:
                async with asyncio.timeout(seconds), self.slots:
                    progress.began = time.perf_counter()
                    answer = await self._ask(state, intent, progress, before_sending, on_text, known)
                returned = self._replied(state, intent, progress, answer)
            except Exception as error:  # whatever happens, the attempt has an outcome with its cost
                returned = self._failed(state, intent, progress, error)
            else:
                mark_answered(span, answer, spent_on(call, answer))
            if returned.failure is not None:
                mark_failed(span, returned.failure.fall.reason)
        return returned.model_copy(update={"refused": progress.refused}) if progress.refused else returned

    async def _ask(
        self,
        state: Attempting,
        intent: AttemptStarted,
        progress: Progress,
        before_sending: BeforeSending | None,
        on_text: OnText | None,
        known: Known,
    ) -> Answer:
        """The answer to the request or, where the endpoint refuses a field of it, to the request without that field."""
        if before_sending is not None:
            before_sending()
        if not self.model:
            self.model = await self._first_model()
        call, endpoint = state.before.call, self.endpoint
        api: Api = endpoint.api or call.api
        refused, given_up, learned = self._refused(known), [intent.key], list[RefusedField]()
        while True:
            request = self._request(state, intent, api, refused, stream=on_text is not None)
            progress.without = request.without
            try:
                progress.answer = await self._send(api, request, "/".join(given_up), progress, on_text)
            except (NoUsableAnswer, StatusReceived) as error:
                found = refused_field(error.error, request.fields) if error.error and not progress.received else None
                if error.error is None or found is None:
                    raise
                refused |= {found}
                given_up.append(found)
                if not is_of_the_call(error.error):
                    detail = clean(masked(self._masked(error.error.detail)))[:DETAIL]
                    learned.append(RefusedField(model=self.model, field=found, detail=detail))
            else:  # only what helped is learned
                self.refused.update((one.model, one.field) for one in learned)
                progress.refused = tuple(learned)
                return checked(progress.answer, call)

    def _refused(self, known: Known) -> Refused:
        """What the endpoint does not take: as configured, on record, and found by this process."""
        found = {name for model, name in known | self.refused if model == self.model}
        return frozenset(name for name in FIELDS if name in found or name in self.endpoint.takes_no)

    def _request(self, state: Attempting, intent: AttemptStarted, api: Api, refused: Refused, *, stream: bool) -> Request:
        call, repair = state.before.call, _to_repair(state, intent)
        return make_request(call, self.endpoint, api, self.model, repair, refused=refused, stream=stream)

    async def _first_model(self) -> str:
        body = ResponseBody(LARGEST_LIST)
        async with await self.sdk.get("/models", cast_to=object, stream=True, stream_cls=openai.AsyncStream[object]) as stream:
            async for chunk in stream.response.aiter_bytes():
                list(body.add(chunk))
        given = load(body.whole())
        models = (string(mapping(model).get("id")) for model in listed(mapping(given).get("data") or given))
        if found := next(filter(None, models), ""):
            return found
        raise NoUsableAnswer("refused", "the endpoint lists no model, and the configuration names none")

    async def _send(self, api: Api, request: Request, key: str, progress: Progress, on_text: OnText | None) -> Answer:
        """The answer as it is read, streamed or not, whichever was asked for; no further than its limit."""
        headers = {"Idempotency-Key": key}
        propagate.inject(headers)
        progress.sent = True
        # The SDK's resource classes build a pydantic tree of every answer, which takes more CPU than all the rest.
        opening = self.sdk.post(
            PATHS[api],
            cast_to=object,
            body=request.body,
            options={"headers": headers},
            stream=True,
            stream_cls=openai.AsyncStream[object],
        )
        body, answer = ResponseBody(self.largest), StreamedAnswer(api, self.largest)
        async with await opening as stream:
            progress.headers = stream.response.headers
            try:
                await _read(stream.response, body, answer, progress, on_text)
            except TooLarge:
                raise NoUsableAnswer("invalid-output", f"the answer is larger than {self.largest} bytes") from None
            except ValueError as error:
                raise NoUsableAnswer("error", f"an event of the stream is not JSON ({error})") from None
        return parsed(api, answer.body() if body.streamed else body.whole(), answer.received)

    def _replied(self, state: Attempting, intent: AttemptStarted, progress: Progress, answer: Answer) -> AttemptReturned:
        call = state.before.call
        cost, estimated = cost_of(self.chain, self.endpoint, call, answer)
        tokens = spent_on(call, answer)
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
            input_tokens=tokens.input,
            output_tokens=tokens.output,
            estimated=estimated,
            without=progress.without,
        )
        return AttemptReturned(attempt=intent.attempt, call=intent.call, reply=reply)

    def _failed(self, state: Attempting, intent: AttemptStarted, progress: Progress, error: Exception) -> AttemptReturned:
        reason, detail, reported = self._why(progress, error)
        retry_at = None
        if reason in ("error", "rate-limit"):
            asked = retry_after(progress.headers, self.now(), reported.wait if reported else 0)
            retry_at = asked or _backoff(state, intent, self.now)
        paid = error.paid if isinstance(error, NoUsableAnswer) else None
        paid = paid or progress.answer or (Answer.of_pieces(progress.received) if progress.received else None)
        if paid is None:
            unknown = reason in ("error", "timeout", "invalid-output") and not isinstance(error, StatusReceived)
            perhaps_paid = progress.sent and not self.endpoint.free and unknown
            return failed(intent, progress, reason, detail, retry_at, estimated=perhaps_paid)
        cost, estimated = cost_of(self.chain, self.endpoint, state.before.call, paid)
        tokens = spent_on(state.before.call, paid)
        return failed(intent, progress, reason, detail, retry_at, cost, (tokens.input, tokens.output), estimated)

    def _why(self, progress: Progress, error: Exception) -> tuple[FallReason, str, ReportedError | None]:
        match error:
            case TimeoutError():
                return "timeout", "no answer in time" if progress.sent else NO_SLOT, None
            case StatusReceived(error=reported):
                progress.headers = error.headers
                return meaning(reported), self._masked(reported.detail), reported
            case NoUsableAnswer(error=reported):
                return error.reason, self._masked(error.detail), reported
            case openai.APIConnectionError():
                return "error", self._masked(_named(error.__cause__ or error)), None
            case _:  # an answer that came and cannot be stored is not worth the same question to the same model
                return "invalid-output" if progress.answer else "error", self._masked(_named(error)), None

    def _masked(self, text: str) -> str:
        """In one line, without the key."""
        text = " ".join(text.split())
        return text.replace(self.key, "…") if self.key else text


async def _read(
    response: httpx2.Response, body: ResponseBody, answer: StreamedAnswer, progress: Progress, on_text: OnText | None
) -> None:
    """Reads a response to the end of its answer."""

    def take(events: Iterable[Event]) -> None:
        for event in events:
            text = answer.add(event)
            progress.received = answer.received
            if text and on_text is not None:
                on_text(text)

    async with aclosing(response.aiter_bytes()) as chunks:
        try:
            async for chunk in chunks:
                take(body.add(chunk))
                if answer.ended:
                    break
        except BaseException:  # also where the time is up: what has come costs money
            progress.received = progress.received or len(body.buffer) // 4
            raise
        take(body.end())
        if on_text is not None and (text := answer.rest()):
            on_text(text)
        rest = 0
        with suppress(TimeoutError, httpx2.HTTPError):
            async with asyncio.timeout(REST):  # a response that is read to its end leaves its connection for the next one
                while rest < LARGEST_REST and (chunk := await anext(chunks, b"")):
                    rest += len(chunk)


def _to_repair(state: Attempting, intent: AttemptStarted) -> str:
    """What was wrong with the last output of this tier, for the model to correct."""
    last = next((f.fall for f in reversed(state.before.failures) if f.fall.tier == intent.tier), None)
    return last.detail if last and last.reason == "invalid-output" else ""


def _named(error: BaseException) -> str:
    """Kind and message of an error."""
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _backoff(state: Attempting, intent: AttemptStarted, now: Clock) -> datetime:
    failures = sum(failure.fall.tier == intent.tier for failure in state.before.failures)
    longest = min(FIRST_BACKOFF * 2**failures, LONGEST_BACKOFF)
    return now() + timedelta(seconds=random.uniform(longest / 2, longest))


def _sources(answer: Answer) -> tuple[str, ...]:
    """What a structured answer names under `sources`."""
    given = answer.data.get("sources") if isinstance(answer.data, dict) else None
    return tuple(source for source in given if isinstance(source, str)) if isinstance(given, list) else ()
