"""From a Kafka record to the message of a stream."""

import base64
from dataclasses import replace

import pytest

from contracts.control import RedriveDeadLetter
from contracts.requests import SubmitRequest
from hansard.codec import encode
from infra.audit.rebuild import parse as rebuilt
from shared.eventstore.model import Stream
from shared.kafka.record import Record
from shared.runtime.dead_letters import dead_letter
from shared.runtime.inbound import DeadCause, Inbound, without_content
from tests.unit.toy import parser, request, topics


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


def test_an_unreadable_record_that_names_no_workflow_has_a_stream_of_its_own_so_that_it_blocks_no_other() -> None:
    one, two = (parsed(request(id="", offset=n, ce_correlationid="")._replace(key=None)) for n in (1, 2))
    assert one.stream == Stream("default", "requests.0.1", "router") != two.stream


UNREADABLE = request(workflow="w7", ce_specversion="0.3", ce_tenant="acme")


@pytest.mark.parametrize(
    ("record", "stream"),
    [
        (UNREADABLE, Stream("acme", "w7", "router")),
        (request(id="r9", ce_correlationid="", ce_time="yesterday"), Stream("default", "r9", "router")),
        (request(ce_correlationid="a b")._replace(key=None), Stream("default", "r1", "router")),
        (UNREADABLE._replace(key=b"other"), Stream("acme", "w7", "router")),
        (UNREADABLE._replace(headers=()), Stream("default", "w7", "router")),
        (UNREADABLE._replace(headers=(("ce_other", b"\xff"), *UNREADABLE.headers), key=None), Stream("acme", "w7", "router")),
        (UNREADABLE._replace(headers=(*UNREADABLE.headers, ("ce_type", b"t")), key=None), Stream("acme", "w7", "router")),
        (request(workflow="w7", ce_tenant="a/b"), Stream("default", "w7", "router")),
        (UNREADABLE._replace(headers=(), key=b"\xff"), Stream("default", "requests.0.0", "router")),
        (UNREADABLE._replace(headers=(), key=b"a b"), Stream("default", "requests.0.0", "router")),
        (UNREADABLE._replace(headers=(), key=b"w7", fault="its batch cannot be read"), Stream("default", "w7", "router")),
    ],
)
def test_an_unreadable_record_is_filed_where_its_sender_waits_for_the_answer(record: Record, stream: Stream) -> None:
    inbound = parsed(record)
    assert inbound.dead is not None and inbound.dead.reason == "unreadable"
    assert inbound.stream == stream
    assert inbound.door is not None and (inbound.door.tenant, inbound.door.workflow) == stream[:2]
    found = rebuilt(record, topics)
    assert record.fault or (found is not None and found.door is not None and found.door.message == inbound.door)


def test_two_unreadable_records_of_one_workflow_are_two_messages() -> None:
    one, two = parsed(UNREADABLE), parsed(UNREADABLE._replace(offset=1))
    assert one.stream == two.stream and one.causation_id != two.causation_id


def test_what_is_unreadable_on_a_topic_between_services_is_filed_by_its_place() -> None:
    record = UNREADABLE._replace(topic="dead-letters", headers=())
    assert parsed(record).stream == Stream("default", "dead-letters.0.0", "router/not-on-the-record")


def test_a_dead_letter_without_content_still_answers_the_request() -> None:
    """Its id is printable: it was read from an envelope."""
    cause = DeadCause("refused-by-store", "why")
    dead = dead_letter("router", without_content(parsed(request()), cause), cause, 10_000)
    assert (dead.message_id, dead.message_kind, dead.key, dead.body, dead.headers) == ("r1", SubmitRequest.kind, None, None, ())


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
