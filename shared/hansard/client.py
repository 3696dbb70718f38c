"""Submit requests, wait for their results, follow their workflows: over Kafka alone.

    async with Client("localhost:9092") as client:
        id = await client.submit("What is a quorum?")
        async for message in client.follow(id):
            print(message.name, message.data)
        print((await client.result(id)).text)

Without asyncio: `ask("What is a quorum?", brokers="localhost:9092").text`. Without an address it uses the environment's
(HANSARD_KAFKA, HANSARD_TOPIC_PREFIX, HANSARD_KAFKA_SECURITY and the like, as for the `hansard` command).
"""

import asyncio
import contextlib
import hashlib
import json
import os
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence, Set
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaConnectionError, KafkaError, UnknownTopicOrPartitionError
from pydantic import BaseModel, ValidationError

from hansard.brokers import malformed, security
from hansard.envelope import TENANT, Envelope, Unreadable, headers, read
from hansard.message import WITHOUT_RESULT
from hansard.new_request import body, valid_id
from hansard.result import ClientError, NoResult, NotAccepted, Received, Result, Sent, Status
from hansard.signer import Signer

SUBMIT = "hansard.requests.submit.v1"
RESULTS = "hansard.results."
DEAD = "hansard.dead-letters.dead-lettered.v1"
FOLLOWED = (".commands", ".events", ".replies", ".facts")  # ends of the names of the topics on which services publish
AGAIN = 2.0  # seconds in which a request under a used id may be refused, before its earlier result is believed
SLACK = 60_000  # milliseconds by which a producer's clock may be behind the brokers'


Verify = Callable[[Received], Awaitable[bool]]


class Client:
    """A connection to a deployment. `kafka` are further options of aiokafka (`security_protocol`, `ssl_context`, …).

    Over Kafka alone nobody can tell whether a message is on the record: this client believes what is on the topics on which
    services publish, so let access rules close these to everyone else. `verify` may tell it: it is awaited with each message of
    a service that matters to a request, and one for which it returns False is passed over. `signer` signs every request.
    """

    def __init__(
        self,
        brokers: str = "",
        *,
        prefix: str | None = None,
        tenant: str = TENANT,
        verify: Verify | None = None,
        signer: Signer | None = None,
        **kafka: Any,
    ) -> None:
        self.brokers = brokers or os.environ.get("HANSARD_KAFKA", "")
        self.prefix = os.environ.get("HANSARD_TOPIC_PREFIX", "") if prefix is None else prefix
        self.tenant = tenant
        self.verify, self.signer = verify, signer
        self._options = {"bootstrap_servers": self.brokers} | (kafka or security())
        self._waiting: dict[str, asyncio.Future[Result]] = {}
        self._sent: dict[str, Sent] = {}
        self._closed = False
        self._producer: AIOKafkaProducer | None = None
        self._results: AIOKafkaConsumer | None = None
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        if not self.brokers:
            raise ClientError("No Kafka is named: Client('host:9092'), or set HANSARD_KAFKA. `hansard up` starts one.")
        if (wrong := malformed(self.brokers)) is not None:
            raise ClientError(f"{wrong!r} is no address of Kafka: write host:9092, or several with commas between them.")
        self._closed = False
        with self._reached():
            try:
                self._producer = AIOKafkaProducer(**self._options, acks="all", enable_idempotence=True, max_request_size=8 << 20)
                await self._producer.start()
                self._check(await self._listed())
                self._results = await self._consumer(["results", "dead-letters"])
            except BaseException:  # KafkaError, OSError, a cancelled caller: `__aexit__` is not called after this
                await self.close()
                raise
        self._reading = asyncio.create_task(self._read_results(self._results))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connection. Calls that still wait for a result are cancelled."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        self._closed = True
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(ClientError("The client was closed before a result came."))
                waiting.exception()  # whoever never asks for it is not told at the end
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
        With another body it is refused: `result` raises NotAccepted.
        Raises ValueError for a request that is none, ClientError where Kafka does not take it.
        """
        request = body(text=text, type=type, data=data, plan=plan, architecture=architecture, deadline=deadline, budget=budget)
        name = uuid.uuid4().hex if id is None else valid_id(id)
        if self.signer is not None:
            request = self.signer.body(request, self.tenant, name)
        envelope = Envelope(
            id=name,
            source="/hansard/client",
            type=SUBMIT,
            data=request,
            correlation_id=name,
            tenant=self.tenant,
            time=datetime.now(UTC),
        )
        producer = self._connected()
        self._waiting.pop(name, None)
        if id is None:  # nobody can have answered it yet
            self._waiting[name] = asyncio.get_running_loop().create_future()
        with self._reached():
            topic = f"{self.prefix}requests"
            sent = await producer.send_and_wait(topic, request, name.encode(), headers=headers(envelope))
        digest = hashlib.sha256(request).hexdigest()
        changed = name in self._sent and self._sent[name].hash != digest
        self._sent[name] = Sent(digest, sent.timestamp, known=id is not None, changed=changed)
        return name

    async def result(self, id: str, timeout: float = 600) -> Result:
        """The result of a request, whoever submitted it; waits `timeout` seconds for it.

        Raises NoResult, NotAccepted or ClientError.
        """
        self._connected()
        try:
            async with asyncio.timeout(timeout):
                if (waiting := self._waiting.get(id)) is not None:
                    return await asyncio.shield(waiting)
                async with contextlib.aclosing(self._messages(id, ["results", "dead-letters"])) as messages:
                    return await self._found(messages, id, min(AGAIN, timeout / 2))
        except TimeoutError:
            raise NoResult(_no_result(id, timeout)) from None

    async def ask(self, text: str | None = None, *, timeout: float = 600, **request: Any) -> Result:
        """Submits and waits: see `submit` and `result`."""
        self._connected()
        began = time.monotonic()
        try:
            async with asyncio.timeout(timeout):
                id = await self.submit(text, **request)
        except TimeoutError:
            raise ClientError(f"Kafka at {self.brokers} did not take the request within {timeout:g} s.") from None
        return await self.result(id, max(timeout - (time.monotonic() - began), 0))

    async def follow(self, id: str, timeout: float = 600) -> AsyncIterator[Received]:
        """The messages of a workflow as they are published, each once, up to its result. Raises NoResult, NotAccepted."""
        self._connected()
        end = time.monotonic() + timeout
        seen: set[str] = set()
        try:
            async with asyncio.timeout(timeout):
                topics = await self._followed()
        except TimeoutError:
            raise NoResult(_no_result(id, timeout)) from None
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

    def _connected(self) -> AIOKafkaProducer:
        if self._closed:
            raise ClientError("This client is closed: open another with `async with Client(…) as client`.")
        if self._producer is None:
            raise ClientError("This client is not connected: use it as `async with Client(…) as client`.")
        return self._producer

    async def _found(self, messages: AsyncIterator[Received], id: str, patience: float) -> Result:
        """The result among these. One that is older than the request may be another body's: its refusal is waited for."""
        sent = self._sent.get(id)
        async for message in messages:
            if (end := self._end(message, id)) is None:
                continue
            if sent is not None and (sent.changed or message.at.timestamp() * 1000 < sent.at):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(patience):
                        async for later in messages:
                            self._end(later, id)
            return end
        raise AssertionError("the topics of results have no end")

    async def _read_results(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            try:
                polled = await consumer.getmany(timeout_ms=500)
            except KafkaError:  # reading resumes at the same offset
                await asyncio.sleep(0.5)
                continue
            for message in self._understood(polled):
                name = message.envelope.correlation_id
                concerned = {name, str(_field(message, "message_id"))} & self._waiting.keys()
                for id in concerned if await self._is_believed(message, concerned) else ():
                    waiting = self._waiting[id]
                    try:
                        end = self._end(message, id)
                    except ClientError as refused:
                        if not waiting.done():
                            waiting.set_exception(refused)
                            waiting.exception()  # avoid asyncio's warning when nobody awaits it
                        continue
                    if end is not None and not waiting.done():
                        waiting.set_result(end)

    async def _is_believed(self, message: Received, concerned: Set[str]) -> bool:
        return self.verify is None or not concerned or await self.verify(message)

    def _end(self, message: Received, id: str) -> Result | None:
        """Returns the result if this message is the workflow's result, else None. Raises NotAccepted, ClientError."""
        envelope = message.envelope
        if envelope.tenant != self.tenant:
            return None
        if message.kind == DEAD and _field(message, "message_id") == id and _field(message, "topic") == "requests":
            sent, reason = self._sent.get(id), _field(message, "reason")
            of_another = sent is not None and sent.hash != _field(message, "hash")
            answered = envelope.correlation_id == id and reason == "unreadable"  # filed under its own key, it has a result too
            if reason in WITHOUT_RESULT and not of_another and not answered:
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
        """Yields this workflow's messages on these topics: those that exist in order of time, then new ones as they come."""
        with self._reached():
            consumer = await self._consumer(topics, since=self._sent[id].since if id in self._sent else 0)
            try:
                while True:
                    found = self._understood(await consumer.getmany(timeout_ms=200, max_records=5000))
                    mine = [one for one in found if id in (one.envelope.correlation_id, _field(one, "message_id"))]
                    for message in sorted(mine, key=lambda one: (one.at, one.envelope.subject, one.envelope.sequence)):
                        if await self._is_believed(message, {id}):
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
        with self._reached():
            names = await self._listed()
        ours = (name for name in names if name.endswith(FOLLOWED) and name.count(".") == 1)
        return ["results", "dead-letters", *sorted(ours)]

    async def _listed(self) -> set[str]:
        """The topics with this prefix, named without it. Never waits for one that is not there."""
        consumer = AIOKafkaConsumer(**self._options)
        try:
            await consumer.start()
            return {name.removeprefix(self.prefix) for name in await consumer.topics() if name.startswith(self.prefix)}
        finally:
            await consumer.stop()

    def _check(self, listed: set[str]) -> None:
        """Raises UnknownTopicOrPartitionError where a topic that every request needs is not there: aiokafka waits for it."""
        if not {"requests", "results", "dead-letters"} <= listed:
            raise UnknownTopicOrPartitionError

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
        """Turns an error of Kafka into a ClientError."""
        try:
            yield
        except UnknownTopicOrPartitionError as missing:
            where = f" with the prefix {self.prefix!r}" if self.prefix else ""
            raise ClientError(f"The topics do not exist{where}: `hansard topics` makes them.") from missing
        except KafkaConnectionError as away:
            raise ClientError(f"Kafka at {self.brokers} does not answer: is that its address? ({away})") from away
        except KafkaError as refused:
            raise ClientError(f"Kafka at {self.brokers} refuses: {refused!r}. `hansard doctor` looks closer.") from refused


def ask(text: str | None = None, *, brokers: str = "", timeout: float = 600, **request: Any) -> Result:
    """Runs `Client.ask` without an event loop. Each call connects anew: for many requests use a Client."""

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(_asked(text, brokers, timeout, request))
    raise ClientError(
        "ask() cannot wait inside a running event loop: in a notebook use "
        "`async with Client(…) as client: result = await client.ask(…)`."
    )


async def _asked(text: str | None, brokers: str, timeout: float, request: Mapping[str, Any]) -> Result:
    client, began = Client(brokers), time.monotonic()
    try:
        async with asyncio.timeout(timeout):
            await client.__aenter__()
    except TimeoutError:
        raise ClientError(f"Kafka at {client.brokers} does not answer within {timeout:g} s: is that its address?") from None
    try:
        return await client.ask(text, timeout=max(timeout - (time.monotonic() - began), 0), **request)
    finally:
        await client.close()


def _no_result(id: str, timeout: float) -> str:
    return f"No result of {id} within {timeout:g} s. It may still come: ask again, or look with `hansard audit show {id}`."


def _field(message: Received, name: str) -> Any:
    return message.data.get(name) if isinstance(message.data, dict) else None


__all__ = ["SUBMIT", "Client", "ClientError", "NoResult", "NotAccepted", "Received", "Result", "Status", "ask"]
