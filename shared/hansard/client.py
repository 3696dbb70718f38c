"""Submit requests, wait for their results, follow their workflows: over Kafka alone.

    async with Client("localhost:9092") as client:
        id = await client.submit("What is a quorum?")
        async for message in client.follow(id):
            print(message.name, message.data)
        print((await client.result(id)).text)

Without asyncio: `ask("What is a quorum?", brokers="localhost:9092").text`. Without an address the environment's is taken
(HANSARD_KAFKA, HANSARD_TOPIC_PREFIX, HANSARD_KAFKA_SECURITY and its like, as for the `hansard` command).
"""

import asyncio
import contextlib
import json
import os
import ssl
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaConnectionError, KafkaError, UnknownTopicOrPartitionError
from pydantic import BaseModel, Field, ValidationError

from hansard.envelope import TENANT, Envelope, Unreadable, headers, read
from hansard.message import Json, Value

SUBMIT = "hansard.requests.submit.v1"
RESULTS = "hansard.results."
DEAD = "hansard.dead-letters.dead-lettered.v1"
FINAL = ("correlation-in-use", "id-reused", "unreadable")  # dead requests that get no result of their own
FOLLOWED = (".commands", ".events", ".replies", ".facts")  # ends of the names of the topics on which services publish
SLACK = 60_000  # milliseconds by which a producer's clock may be behind the brokers'

Status = Literal["completed", "failed", "refused", "cancelled"]


class ClientError(Exception):
    """What went wrong, and what to do about it."""


class NotAccepted(ClientError):
    """The request became a dead letter: it has no result of its own."""


class NoResult(ClientError, TimeoutError):
    """No result came in time. It may still come: ask for it again under the same id."""


class Result(Value):
    """How a workflow ended. `text` and `data` are the answer where it was completed, `reason` and `detail` say why it was not."""

    id: str
    status: Status
    text: str = ""
    data: Json = None
    reason: str = ""
    detail: str = ""
    confidence: float | None = None
    answered_by: str = Field(default="", description="`rule` or `plan`")
    handler: str = Field(default="", description="the rule or the plan")
    sources: tuple[str, ...] = ()
    contributions: tuple[dict[str, Json], ...] = Field(default=(), description="who had a part in it: step, worker, model, …")
    cost: Decimal = Field(default=Decimal(0), description="US dollars spent on models")
    input_tokens: int = 0
    output_tokens: int = 0

    @property
    def ok(self) -> bool:
        return self.status == "completed"


@dataclass(frozen=True)
class Received:
    """One message of a workflow. `at` is its recorded time, `topic` is named without the prefix."""

    topic: str
    envelope: Envelope
    data: Any
    at: datetime

    @property
    def kind(self) -> str:
        return self.envelope.type

    @property
    def name(self) -> str:
        """`hansard.planner.step-passed.v1` in short: `step-passed`."""
        parts = self.kind.split(".")
        return parts[-2] if len(parts) > 2 else self.kind

    @property
    def stream(self) -> str:
        """The stream that stored it: `specialists/draft.1`."""
        return self.envelope.subject


class Client:
    """A connection to a deployment. `kafka` are further options of aiokafka (`security_protocol`, `ssl_context`, …)."""

    def __init__(self, brokers: str = "", *, prefix: str | None = None, tenant: str = TENANT, **kafka: Any) -> None:
        self.brokers = brokers or os.environ.get("HANSARD_KAFKA", "")
        self.prefix = os.environ.get("HANSARD_TOPIC_PREFIX", "") if prefix is None else prefix
        self.tenant = tenant
        self._options = {"bootstrap_servers": self.brokers} | (kafka or _security())
        self._waiting: dict[str, asyncio.Future[Result]] = {}
        self._sent_at: dict[str, int] = {}
        self._producer: AIOKafkaProducer | None = None
        self._results: AIOKafkaConsumer | None = None
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        if not self.brokers:
            raise ClientError("No Kafka is named: Client('host:9092'), or set HANSARD_KAFKA. `hansard up` starts one.")
        with self._reached():
            try:
                self._producer = AIOKafkaProducer(**self._options, acks="all", enable_idempotence=True, max_request_size=8 << 20)
                await self._producer.start()
                self._results = await self._consumer(["results", "dead-letters"])
            except BaseException:  # KafkaError, OSError, a cancelled caller: `__aexit__` is not called after this
                await self.close()
                raise
        self._reading = asyncio.create_task(self._read_results(self._results))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Leaves. What is waited for gets no result here any more."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        for waiting in self._waiting.values():
            waiting.cancel()
        for part in (self._producer, self._results):
            if part is not None:
                with contextlib.suppress(KafkaError):
                    await part.stop()

    async def submit(
        self,
        text: str | None = None,
        *,
        type: str | None = None,
        data: Mapping[str, Any] | None = None,
        plan: str | Mapping[str, Any] | BaseModel | None = None,
        architecture: str | None = None,
        deadline: datetime | timedelta | float | None = None,
        budget: Decimal | str | int | None = None,
        id: str | None = None,
    ) -> str:
        """Publishes a request, and returns its id when the brokers have it.

        Either `text` (free) or `type` with `data` (typed). `plan` is a name or a plan of your own; `deadline` a time, or the
        seconds from now; `budget` US dollars. The same `id` is the same request: sent again it changes nothing.
        Raises ValueError for a request that is none, ClientError where Kafka does not take it.
        """
        if (text is None) == (type is None):
            raise ValueError("Give either `text` (a free request) or `type` with `data` (a typed one).")
        if data is not None and type is None:
            raise ValueError("`data` goes with `type`.")
        body = {
            "text": text,
            "type": type,
            "data": data,
            "plan": plan.model_dump(mode="json") if isinstance(plan, BaseModel) else plan,
            "architecture": architecture,
            "deadline": _time(deadline),
            "budget": _money(budget),
        }
        given = {name: value for name, value in body.items() if value is not None}
        name = id or uuid.uuid4().hex
        envelope = Envelope(
            id=name,
            source="/hansard/client",
            type=SUBMIT,
            data=json.dumps(given, ensure_ascii=False, allow_nan=False).encode(),
            correlation_id=name,
            tenant=self.tenant,
            time=datetime.now(UTC),
        )
        if id is None:  # nobody can have answered it yet
            self._waiting[name] = asyncio.get_running_loop().create_future()
        assert self._producer is not None, "use it as `async with Client(…) as client`"
        with self._reached():
            topic = f"{self.prefix}requests"
            sent = await self._producer.send_and_wait(topic, envelope.data, name.encode(), headers=headers(envelope))
        self._sent_at.setdefault(name, sent.timestamp if id is None else 0)
        return name

    async def result(self, id: str, timeout: float = 600) -> Result:
        """The result of a request, whoever submitted it; waits `timeout` seconds for it.

        Raises NoResult, NotAccepted or ClientError.
        """
        try:
            async with asyncio.timeout(timeout):
                if (waiting := self._waiting.get(id)) is not None:
                    return await asyncio.shield(waiting)
                async for message in self._messages(id, ["results", "dead-letters"]):
                    if (end := self._end(message, id)) is not None:
                        return end
        except TimeoutError:
            raise NoResult(_no_result(id, timeout)) from None
        raise AssertionError("the topics of results have no end")

    async def ask(self, text: str | None = None, *, timeout: float = 600, **request: Any) -> Result:
        """Submits and waits: see `submit` and `result`."""
        return await self.result(await self.submit(text, **request), timeout)

    async def follow(self, id: str, timeout: float = 600) -> AsyncIterator[Received]:
        """The messages of a workflow as they are published, each once, up to its result. Raises NoResult, NotAccepted."""
        end = time.monotonic() + timeout
        seen: set[str] = set()
        with self._reached():
            topics = await self._followed()
        async with contextlib.aclosing(self._messages(id, topics)) as messages:
            while True:
                try:
                    message = await asyncio.wait_for(anext(messages), max(end - time.monotonic(), 0.001))
                except TimeoutError:
                    raise NoResult(_no_result(id, timeout)) from None
                if message.envelope.id in seen:
                    continue
                seen.add(message.envelope.id)
                yield message
                if self._end(message, id) is not None:
                    return

    # inside

    async def _read_results(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            try:
                polled = await consumer.getmany(timeout_ms=500)
            except KafkaError:  # it goes on where it was
                await asyncio.sleep(0.5)
                continue
            for message in self._understood(polled):
                name = message.envelope.correlation_id
                for id in {name, str(_field(message, "message_id"))} & self._waiting.keys():
                    waiting = self._waiting[id]
                    try:
                        end = self._end(message, id)
                    except ClientError as refused:
                        if not waiting.done():
                            waiting.set_exception(refused)
                            waiting.exception()  # whoever never asks for it is not told at the end
                        continue
                    if end is not None and not waiting.done():
                        waiting.set_result(end)

    def _end(self, message: Received, id: str) -> Result | None:
        """The result that this message is; None for another. Raises NotAccepted, ClientError."""
        envelope = message.envelope
        if envelope.tenant != self.tenant:
            return None
        if message.kind == DEAD and _field(message, "message_id") == id and _field(message, "topic") == "requests":
            if (reason := _field(message, "reason")) in FINAL:
                why = f"{reason}: {_field(message, 'detail')}"
                raise NotAccepted(f"The request {id} was not accepted ({why}). Mend it and send it under a new id.")
            return None
        if not message.kind.startswith(RESULTS) or envelope.correlation_id != id:
            return None
        data = message.data if isinstance(message.data, dict) else {}
        try:
            return Result.model_validate(data | {"id": id, "status": message.name})
        except ValidationError as unknown:
            raise ClientError(f"The result of {id} is of a newer version than this client: upgrade it. ({unknown})") from None

    async def _messages(self, id: str, topics: Sequence[str]) -> AsyncGenerator[Received, None]:
        """What is on these topics of this workflow, in order of time as far as it is there, then as it comes."""
        with self._reached():
            consumer = await self._consumer(topics, since=self._sent_at.get(id, 0))
            try:
                while True:
                    found = self._understood(await consumer.getmany(timeout_ms=200, max_records=5000))
                    mine = [one for one in found if id in (one.envelope.correlation_id, _field(one, "message_id"))]
                    for message in sorted(mine, key=lambda one: (one.at, one.envelope.subject, one.envelope.sequence)):
                        yield message
            finally:
                await consumer.stop()

    async def _consumer(self, topics: Sequence[str], since: int | None = None) -> AIOKafkaConsumer:
        """Reads these topics from now on, or from this time on (milliseconds; 0: all there is)."""
        consumer = AIOKafkaConsumer(
            *(self.prefix + topic for topic in topics),
            **self._options,
            enable_auto_commit=False,
            auto_offset_reset="latest" if since is None else "earliest",
            fetch_max_wait_ms=100,
        )
        try:
            await consumer.start()
            assigned = consumer.assignment()
            if since:
                await asyncio.gather(*map(consumer.position, assigned))  # else aiokafka's reset may undo the seek
                ends = await consumer.end_offsets(list(assigned))  # asked first: what is published meanwhile lies behind them
                starts = await consumer.offsets_for_times(dict.fromkeys(assigned, max(since - SLACK, 0)))
                for place, start in starts.items():
                    consumer.seek(place, start.offset if start else ends[place])
            await asyncio.gather(*map(consumer.position, assigned))
        except BaseException:  # KafkaError, OSError, a cancelled caller: a consumer that nobody gets is stopped
            await consumer.stop()
            raise
        return consumer

    async def _followed(self) -> list[str]:
        """The topics on which services publish, as the brokers list them, without the prefix."""
        consumer = AIOKafkaConsumer(**self._options)
        try:
            await consumer.start()
            names = {name.removeprefix(self.prefix) for name in await consumer.topics() if name.startswith(self.prefix)}
        finally:
            await consumer.stop()
        ours = (name for name in names if name.endswith(FOLLOWED) and name.count(".") == 1)
        return ["results", "dead-letters", *sorted(ours)]

    def _understood(self, polled: Mapping[TopicPartition, Sequence[ConsumerRecord[Any, Any]]]) -> list[Received]:
        return [message for records in polled.values() for record in records if (message := self._read(record)) is not None]

    def _read(self, record: "ConsumerRecord[Any, Any]") -> Received | None:
        try:
            envelope = read(record.value, record.headers)
            data = json.loads(envelope.data)
        except (Unreadable, ValueError, RecursionError):
            return None
        at = envelope.time or datetime.fromtimestamp(record.timestamp / 1000, UTC)
        return Received(record.topic.removeprefix(self.prefix), envelope, data, at)

    @contextlib.contextmanager
    def _reached(self) -> Iterator[None]:
        """Turns what Kafka refuses into a ClientError."""
        try:
            yield
        except UnknownTopicOrPartitionError as missing:
            where = f" with the prefix {self.prefix!r}" if self.prefix else ""
            raise ClientError(f"The topics are not there{where}: `hansard topics` makes them.") from missing
        except KafkaConnectionError as away:
            raise ClientError(f"Kafka at {self.brokers} does not answer: is that its address? ({away})") from away
        except KafkaError as refused:
            raise ClientError(f"Kafka at {self.brokers} refuses: {refused!r}. `hansard doctor` looks closer.") from refused


def ask(text: str | None = None, *, brokers: str = "", timeout: float = 600, **request: Any) -> Result:
    """`Client.ask` where there is no event loop. Each call connects anew: for many requests use a Client."""

    async def asked() -> Result:
        async with Client(brokers) as client:
            return await client.ask(text, timeout=timeout, **request)

    return asyncio.run(asked())


def _no_result(id: str, timeout: float) -> str:
    return f"No result of {id} within {timeout:g} s. It may still come: ask again, or look with `hansard audit show {id}`."


def _field(message: Received, name: str) -> Any:
    return message.data.get(name) if isinstance(message.data, dict) else None


def _time(given: datetime | timedelta | float | None) -> str | None:
    if given is None:
        return None
    later = given if isinstance(given, datetime | timedelta) else timedelta(seconds=given)
    at = later if isinstance(later, datetime) else datetime.now(UTC) + later
    if at.tzinfo is None:
        raise ValueError("`deadline` needs a time zone: datetime.now(UTC) + timedelta(minutes=5), or the seconds from now.")
    return at.isoformat()


def _money(given: Decimal | str | int | None) -> str | None:
    if isinstance(given, float | bool):
        raise ValueError("`budget` is a Decimal or a string: money is never a float.")
    return None if given is None else str(given)


def _security() -> dict[str, Any]:
    """How the environment says that Kafka is reached and trusted, as aiokafka wants it."""

    def of(name: str) -> str:
        return os.environ.get(f"HANSARD_KAFKA_{name}", "")

    found: dict[str, Any] = {"security_protocol": of("SECURITY") or "PLAINTEXT"}
    if found["security_protocol"].endswith("SSL"):
        found["ssl_context"] = context = ssl.create_default_context(cafile=of("CA") or None)
        if of("CERT"):
            context.load_cert_chain(of("CERT"), of("KEY") or None)
    if found["security_protocol"].startswith("SASL"):
        found["sasl_mechanism"] = of("MECHANISM") or "PLAIN"
        found["sasl_plain_username"], found["sasl_plain_password"] = of("USERNAME"), of("PASSWORD")
    return found
