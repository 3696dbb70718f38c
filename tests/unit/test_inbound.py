"""From a Kafka record to what a stream hears."""

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


def heard(record: Record) -> Inbound:
    found = parser.parse(record)
    assert found is not None
    return found


def test_a_request_is_heard_by_the_stream_of_its_workflow() -> None:
    it = heard(request("hello", workflow="w7"))
    assert (it.stream, it.message, it.dead) == (Stream("default", "w7", "router"), SubmitRequest(text="hello"), None)


def test_no_time_that_a_sender_or_a_broker_wrote_is_a_recorded_one() -> None:
    assert heard(request(ce_time="1999-01-01T00:00:00Z")).at is None


def test_without_a_correlation_id_the_requests_own_id_is_the_workflow() -> None:
    assert heard(request(id="r9", ce_correlationid="")).stream.workflow == "r9"


def test_what_came_from_outside_is_kept_as_it_was_heard() -> None:
    record = request(body=b'{ "text" :  "odd\\u0041" }')
    door = heard(record).door
    assert door is not None
    assert (door.body, door.offset, dict(door.headers)["ce_id"]) == (record.value, 0, b"r1")


@pytest.mark.parametrize("other", [{"ce_source": "/else"}, {"ce_tenant": "acme"}, {"id": "r2"}])
def test_a_cause_id_comes_from_tenant_topic_source_and_id(other: dict[str, str]) -> None:
    assert heard(request()).causation_id == heard(request(offset=5)).causation_id
    assert heard(request()).causation_id != heard(request(**other)).causation_id  # type: ignore[arg-type]


def test_a_sender_cannot_take_the_id_of_an_event_of_ours() -> None:
    ours = "6a0f5f0e-5f5a-5b1e-9d5e-1f0b6f7a9c12"
    assert str(heard(request(id=ours)).causation_id) != ours


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (request(body=b'{"text": "cut'), "invalid"),
        (request(body=b'{"neither": 1}'), "invalid"),
        (request(body=b'{"text": "' + b"x" * 2000 + b'"}'), "too-large"),
        (request(ce_type="acme.unheard-of.v1"), "unknown-kind"),
        (request(ce_type="hansard.planner.run.v1"), "not-expected"),
        (request(id=""), "unreadable"),
        (request(ce_specversion="0.3"), "unreadable"),
        (request()._replace(value=None), "unreadable"),
        (request()._replace(headers=((b"\xff\xfe", b"1"), ("ce_id", b"\xff"))), "unreadable"),
    ],
)
def test_what_cannot_be_heard_is_dead_with_its_reason(record: Record, reason: str) -> None:
    dead = heard(record).dead
    assert dead is not None
    assert dead.reason == reason


def test_what_is_unreadable_has_a_stream_of_its_own_so_that_it_blocks_nobody() -> None:
    one, two = heard(request(id="", offset=1)), heard(request(id="", offset=2))
    assert one.stream != two.stream


def test_a_kind_that_this_service_does_not_hear_is_not_for_it() -> None:
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


def test_a_redrive_is_the_dead_message_itself_under_its_own_cause_id() -> None:
    first, again = heard(request("poison")), heard(redrive(request("poison")))
    assert again == replace(first, redrive=True)


def test_a_redrive_is_for_the_service_that_failed_alone() -> None:
    assert parser.parse(redrive(request("poison")._replace(topic="control"), service="planner")) is None


def test_a_redrive_that_is_not_base64_is_dead() -> None:
    broken = request(
        ce_type=RedriveDeadLetter.kind,
        body=encode(RedriveDeadLetter(service="router", topic="requests", partition=0, offset=0, timestamp=0, body="%%%é")),
    )._replace(topic="control")
    dead = heard(broken).dead
    assert dead is not None and dead.reason == "invalid"
