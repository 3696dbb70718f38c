"""The client, as far as it goes without a broker."""

import asyncio
import gc
import hashlib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndTimestamp

from contracts.dead_letters import DeadLettered
from contracts.plans import Plan, Step
from contracts.requests import SubmitRequest
from contracts.results import WorkflowCompleted, WorkflowFailed
from hansard import client as clients
from hansard.client import SUBMIT, Client, ClientError, NotAccepted, Received, Result, ask
from hansard.codec import encode
from hansard.envelope import Envelope, headers
from hansard.message import DeadReason, Message
from tests.unit.toy import NOON


class Producer:
    """Takes what the client sends."""

    def __init__(self) -> None:
        self.sent: list[tuple[Any, ...]] = []

    async def send_and_wait(self, *given: Any, headers: Any) -> Any:
        self.sent.append((*given, headers))
        return type("Sent", (), {"timestamp": 1})

    async def stop(self) -> None: ...


async def submitted(**request: Any) -> SubmitRequest:
    client, producer = Client("unused:9092", prefix="p."), Producer()
    client._producer = producer
    id = await client.submit(**request)
    [(topic, body, key, given)] = producer.sent
    assert (topic, key, dict(given)["ce_id"], dict(given)["ce_type"]) == ("p.requests", id.encode(), id.encode(), SUBMIT.encode())
    return SubmitRequest.model_validate_json(body)


async def test_a_request_is_what_the_router_receives() -> None:
    assert SubmitRequest.kind == SUBMIT
    assert await submitted(text="hi") == SubmitRequest(text="hi")
    typed = await submitted(type="t", data={"a": 1}, deadline=NOON, budget=Decimal("0.10"), architecture="rag")
    assert typed == SubmitRequest(type="t", data={"a": 1}, deadline=NOON, budget="0.10", architecture="rag")
    plan = Plan(name="p", steps=(Step(id="s", worker="writer"),))
    assert (await submitted(text="hi", plan=plan)).plan == (await submitted(text="hi", plan=plan.model_dump())).plan == plan
    for deadline in (30, 0.5, timedelta(hours=1)):
        assert (await submitted(text="hi", deadline=deadline)).deadline is not None


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        ({}, "either `text`"),
        ({"text": "a", "type": "b"}, "either `text`"),
        ({"text": "a", "data": {}}, "goes with `type`"),
        ({"text": "a", "budget": 0.1}, "never a float"),
        ({"text": "a", "deadline": datetime(2026, 1, 1)}, "time zone"),  # noqa: DTZ001
        ({"text": "a", "deadline": "soon"}, "the seconds from now, not str"),
        ({"text": "a", "deadline": 1e18}, "`deadline` is no time"),
        ({"text": "a", "deadline": float("nan")}, "`deadline` is no time"),
        ({"text": 5}, "`text` must be a string"),
        ({"text": "a", "budget": "much"}, "US dollars"),
        ({"text": "a", "plan": 5}, "`plan` is a name"),
        ({"type": "t", "data": {"a": {1}}}, "`data` cannot be written as JSON"),
        ({"type": "t", "data": {"a": float("nan")}}, "`data` cannot be written as JSON"),
        ({"type": "t", "data": [1]}, "`data` must be a mapping"),
        ({"type": "t", "data": {"a": "\ud800"}}, "`data` holds a lone surrogate"),
        ({"text": "\ud800"}, "`text` holds a lone surrogate"),
        ({"text": "a" * 300_000}, "the limit is 262144"),
        *(({"text": "a", "id": id}, "`id` must be a string of 1 to 512") for id in (5, "", "a" * 513, "a\n", "\ud800")),
    ],
)
async def test_a_request_that_is_none_is_refused_before_it_is_sent(request_: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        await submitted(**request_)


def received(message: Message, workflow: str = "r-1") -> Received:
    client = Client("unused:9092")
    envelope = Envelope("e-1", "/hansard/router", message.kind, encode(message), workflow)
    record = type("Record", (), {"value": envelope.data, "headers": headers(envelope), "topic": "results", "timestamp": 0})
    found = client._read(record)
    assert found is not None
    return found


def test_a_result_has_what_the_terminal_message_says() -> None:
    done = received(WorkflowCompleted(text="42", answered_by="rule", handler="sum", cost=Decimal("0.5"), sources=("a",)))
    expected = Result(
        id="r-1", status="completed", text="42", answered_by="rule", handler="sum", cost=Decimal("0.5"), sources=("a",)
    )
    client = Client("unused:9092")
    assert client._end(done, "r-1") == expected and client._end(done, "r-2") is None
    failed = client._end(received(WorkflowFailed(reason="deadline", detail="too late")), "r-1")
    assert failed is not None and (failed.status, failed.reason, failed.ok) == ("failed", "deadline", False)


def test_a_request_that_became_a_dead_letter_has_no_result_and_says_why() -> None:
    letter = DeadLettered(
        service="router",
        reason="id-reused",
        detail="another body",
        attempts=1,
        door=True,
        message_id="r-1",
        causation_id="c",
        topic="requests",
        partition=0,
        offset=0,
        timestamp=0,
        hash="00",
    )
    with pytest.raises(NotAccepted, match="another body"):
        Client("unused:9092")._end(received(letter), "r-1")
    assert Client("unused:9092")._end(received(letter), "r-2") is None


class Answering(Client):
    """A client that has sent one request under an id of its own, and what is then on the topics."""

    there: Sequence[Received] = ()

    async def _messages(self, id: str, topics: Sequence[str]) -> AsyncGenerator[Received, None]:
        for message in self.there:
            yield message
        await asyncio.sleep(0.3)


async def answered(*there: Received, monkeypatch: pytest.MonkeyPatch) -> Result:
    monkeypatch.setattr(clients, "AGAIN", 0.1)
    client, producer = Answering("unused:9092"), Producer()
    client._producer, client.there = producer, there
    return await client.ask("my body", id="r-1", timeout=5)


def letter(body: bytes, reason: DeadReason = "id-reused") -> DeadLettered:
    return DeadLettered(
        service="router",
        reason=reason,
        detail="another body",
        attempts=1,
        door=True,
        message_id="r-1",
        causation_id="c",
        topic="requests",
        partition=0,
        offset=0,
        timestamp=0,
        hash=hashlib.sha256(body).hexdigest(),
    )


async def test_a_used_id_with_another_body_gets_its_refusal_not_the_earlier_result(monkeypatch: pytest.MonkeyPatch) -> None:
    mine, earlier = b'{"text": "my body"}', received(WorkflowCompleted(text="of the earlier body", answered_by="rule"))
    old = replace(earlier, at=datetime.fromtimestamp(0, UTC))
    with pytest.raises(NotAccepted, match="another body"):
        await answered(old, received(letter(mine)), monkeypatch=monkeypatch)
    assert (await answered(old, monkeypatch=monkeypatch)).text == "of the earlier body"
    assert (await answered(received(letter(b"of a stranger")), earlier, monkeypatch=monkeypatch)).ok


async def test_a_client_that_is_not_connected_says_so_at_once() -> None:
    client = Client("unused:9092")
    for used in (client.submit("a"), client.ask("a"), client.result("r-1"), anext(client.follow("r-1"))):
        with pytest.raises(ClientError, match="is not connected"):
            await used
    await client.close()
    for used in (client.submit("a"), client.ask("a"), client.result("r-1"), anext(client.follow("r-1"))):
        with pytest.raises(ClientError, match="is closed"):
            await used


async def test_who_waits_while_the_client_is_closed_is_told() -> None:
    client = Client("unused:9092")
    client._producer = producer = Producer()
    waiting = asyncio.ensure_future(client.result(await client.submit("a")))
    await asyncio.sleep(0)
    await client.close()
    with pytest.raises(ClientError, match="was closed"):
        await waiting
    assert producer.sent


@pytest.mark.parametrize("brokers", ["http://host:9092", "host:99999", "host:0", "a:1,,b:2", "host:port", "host 9092"])
async def test_a_malformed_address_is_one_sentence(brokers: str) -> None:
    with pytest.raises(ClientError, match="is no address of Kafka: write host:9092"):
        async with Client(brokers):
            pass


async def test_topics_that_are_not_there_are_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Empty(Growing):
        async def topics(self) -> set[str]:
            return {"other.requests"}

    monkeypatch.setattr(clients, "AIOKafkaProducer", partial(Empty, "requests"))
    monkeypatch.setattr(clients, "AIOKafkaConsumer", partial(Empty, "requests"))
    with pytest.raises(ClientError, match=r"The topics do not exist with the prefix 'wrong\.'"):
        async with Client("unused:9092", prefix="wrong."):
            pass


async def test_ask_in_an_event_loop_says_what_to_do(recwarn: pytest.WarningsRecorder) -> None:
    with pytest.raises(ClientError, match=r"in a notebook use `async with Client\(…\) as client"):
        ask("a", brokers="unused:9092")
    gc.collect()
    assert not [one for one in recwarn if "never awaited" in str(one.message)]


def test_the_timeout_covers_connecting(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(Growing):
        async def start(self) -> None:
            await asyncio.sleep(30)

    monkeypatch.setattr(clients, "AIOKafkaProducer", partial(Silent, "requests"))
    with pytest.raises(ClientError, match=r"does not answer within 0\.1 s"):
        ask("a", brokers="unused:9092", timeout=0.1)


async def test_without_an_address_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HANSARD_KAFKA", raising=False)
    with pytest.raises(ClientError, match="set HANSARD_KAFKA"):
        async with Client():
            pass


async def test_where_nobody_listens_it_says_so() -> None:
    with pytest.raises(ClientError, match=r"127\.0\.0\.1:1 does not answer"):
        async with Client("127.0.0.1:1"):
            pass


class Growing:
    """A topic of one partition that gets one more record whenever a consumer asks where it is."""

    def __init__(self, *topics: str, **_: Any) -> None:
        self.place, self.end, self.at = TopicPartition(topics[0], 0), 10, 0

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def assignment(self) -> set[TopicPartition]:
        return {self.place}

    async def position(self, place: TopicPartition) -> int:
        return self.at

    async def end_offsets(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        self.end += 1
        return {self.place: self.end - 1}

    async def offsets_for_times(self, times: dict[TopicPartition, int]) -> dict[TopicPartition, OffsetAndTimestamp | None]:
        self.end += 1
        return {self.place: None}  # nothing so young: the record that comes now was not there yet

    def seek(self, place: TopicPartition, offset: int) -> None:
        self.at = offset


async def test_a_result_that_is_published_while_the_client_looks_for_its_place_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "AIOKafkaConsumer", Growing)
    consumer: Any = await Client("unused:9092")._consumer(["results"], since=100_000)
    assert consumer.at == 10


class Lying(Growing):
    """A topic with a forged result, then the genuine one."""

    def __init__(self, *topics: str, **_: Any) -> None:
        super().__init__(*topics)
        lie, truth = (encode(WorkflowCompleted(text=text, answered_by="rule")) for text in ("a lie", "the truth"))
        self.left = [
            SimpleNamespace(topic=topics[0], value=data, headers=result_headers(data), timestamp=1) for data in (lie, truth)
        ]

    async def getmany(self, **_: Any) -> dict[Any, Any]:
        await asyncio.sleep(0)
        left, self.left = self.left, []
        return {self.place: left}


def result_headers(data: bytes) -> list[tuple[str, bytes]]:
    return headers(Envelope(hashlib.sha256(data).hexdigest(), "/hansard/router", WorkflowCompleted.kind, data, "r-1", time=NOON))


@pytest.mark.parametrize("waits", [True, False])
async def test_a_result_that_the_verifier_does_not_find_on_the_record_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, waits: bool
) -> None:
    monkeypatch.setattr(clients, "AIOKafkaConsumer", Lying)

    async def verify(message: Received) -> bool:
        return bool(message.data["text"] == "the truth")

    for verifier, text in ((None, "a lie"), (verify, "the truth")):
        client = Client("unused:9092", verify=verifier)
        client._producer = Producer()
        if waits:  # for the request that this client has just sent
            client._waiting["r-1"] = asyncio.get_running_loop().create_future()
            client._reading = asyncio.create_task(client._read_results(Lying("results")))
        assert (await client.result("r-1", timeout=5)).text == text
        await client.close()
