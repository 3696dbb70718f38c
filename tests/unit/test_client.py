"""The client, as far as it goes without a broker."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndTimestamp

from contracts.dead_letters import DeadLettered
from contracts.plans import Plan, Step
from contracts.requests import SubmitRequest
from contracts.results import WorkflowCompleted, WorkflowFailed
from hansard import client as clients
from hansard.client import SUBMIT, Client, ClientError, NotAccepted, Received, Result
from hansard.codec import encode
from hansard.envelope import Envelope, headers
from hansard.message import Message
from tests.unit.toy import NOON


class Producer:
    """Takes what the client sends."""

    def __init__(self) -> None:
        self.sent: list[tuple[Any, ...]] = []

    async def send_and_wait(self, *given: Any, headers: Any) -> Any:
        self.sent.append((*given, headers))
        return type("Sent", (), {"timestamp": 1})


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
