"""From a Kafka record to the message of a stream."""

import base64
from dataclasses import replace

import pytest

from contracts.control import RedriveDeadLetter
from contracts.requests import SubmitRequest
from hansard.codec import encode
from shared.eventstore.model import Stream
from shared.kafka.record import Record
from shared.runtime.inbound import Inbound
from tests.unit.toy import parser, request


def parsed(record: Record) -> Inbound:
    inbound = parser.parse(record)
    assert inbound is not None
    return inbound


def test_a_request_is_for_the_stream_of_its_workflow() -> None:
    inbound = parsed(request("hello", workflow="w7"))
    assert (inbound.stream, inbound.message, inbound.dead) == (
        Stream("default", "w7", "router"),
        SubmitRequest(text="hello"),
        None,
    )


def test_no_time_of_a_sender_or_a_broker_counts_as_recorded_time() -> None:
    assert parsed(request(ce_time="1999-01-01T00:00:00Z")).at is None


def test_without_a_correlation_id_the_requests_own_id_is_the_workflow() -> None:
    assert parsed(request(id="r9", ce_correlationid="")).stream.workflow == "r9"


def test_a_message_from_outside_is_kept_as_it_was_received() -> None:
    record = request(body=b'{ "text" :  "odd\\u0041" }')
    door = parsed(record).door
    assert door is not None
    assert (door.body, door.offset, dict(door.headers)["ce_id"]) == (record.value, 0, b"r1")


@pytest.mark.parametrize("other", [{"ce_source": "/else"}, {"ce_tenant": "acme"}, {"id": "r2"}])
def test_a_causation_id_comes_from_tenant_topic_source_and_id(other: dict[str, str]) -> None:
    assert parsed(request()).causation_id == parsed(request(offset=5)).causation_id
    assert parsed(request()).causation_id != parsed(request(**other)).causation_id  # type: ignore[arg-type]


def test_a_sender_cannot_take_the_id_of_a_message_of_ours() -> None:
    ours = "6a0f5f0e-5f5a-5b1e-9d5e-1f0b6f7a9c12"
    assert str(parsed(request(id=ours)).causation_id) != ours


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (request(body=b'{"text": "cut'), "invalid"),
        (request(body=b'{"neither": 1}'), "invalid"),
        (request(body=b'{"text": "' + b"x" * 2000 + b'"}'), "too-large"),
        (request(ce_type="acme.unknown.v1"), "unknown-kind"),
        (request(ce_type="hansard.planner.run.v1"), "not-expected"),
        (request(id=""), "unreadable"),
        (request(ce_specversion="0.3"), "unreadable"),
        (request()._replace(value=None), "unreadable"),
        (request()._replace(headers=((b"\xff\xfe", b"1"), ("ce_id", b"\xff"))), "unreadable"),
    ],
)
def test_a_record_that_cannot_be_parsed_is_dead_with_its_reason(record: Record, reason: str) -> None:
    dead = parsed(record).dead
    assert dead is not None
    assert dead.reason == reason


def test_an_unreadable_record_has_a_stream_of_its_own_so_that_it_blocks_no_other() -> None:
    one, two = parsed(request(id="", offset=1)), parsed(request(id="", offset=2))
    assert one.stream != two.stream


def test_a_kind_that_this_service_does_not_receive_is_not_for_it() -> None:
    cancel = request(ce_type="hansard.control.cancel.v1", body=b"{}")._replace(topic="control")
    assert parser.parse(cancel) is None


def redrive(of: Record, service: str = "router") -> Record:
    asked = RedriveDeadLetter(
        service=service,
        topic=of.topic,
        partition=of.partition,
        offset=of.offset,
        timestamp=of.timestamp,
        key=base64.b64encode(of.key or b"").decode(),
        body=base64.b64encode(of.value or b"").decode(),
        headers=tuple((str(name), base64.b64encode(value or b"").decode()) for name, value in of.headers),
    )
    return request(id="redrive", ce_type=asked.kind, body=encode(asked))._replace(topic="control")


def test_a_redrive_is_the_dead_message_itself_under_its_own_causation_id() -> None:
    first, again = parsed(request("poison")), parsed(redrive(request("poison")))
    assert again == replace(first, redrive=True, received=redrive(request("poison")))


def test_a_redrive_is_for_the_service_that_failed_alone() -> None:
    assert parser.parse(redrive(request("poison")._replace(topic="control"), service="planner")) is None


def test_a_redrive_that_is_not_base64_is_dead() -> None:
    broken = request(
        ce_type=RedriveDeadLetter.kind,
        body=encode(RedriveDeadLetter(service="router", topic="requests", partition=0, offset=0, timestamp=0, body="%%%é")),
    )._replace(topic="control")
    dead = parsed(broken).dead
    assert dead is not None and dead.reason == "invalid"
