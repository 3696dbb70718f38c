"""Reading a Kafka record gives an envelope or a reason, and nothing else, whoever wrote it."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from cloudevents.core.bindings import kafka as sdk
from cloudevents.core.v1.event import CloudEvent
from cloudevents.v1 import kafka as old_sdk
from cloudevents.v1.http import CloudEvent as OldCloudEvent
from hypothesis import given
from hypothesis import strategies as st

from contracts.requests import SubmitRequest
from hansard.codec import Invalid, decode
from hansard.envelope import ATTRIBUTES, Envelope, Unreadable, headers, read

Inbound = list[tuple[Any, bytes | None]]

BODY = b'{"text":"What is an event log?"}'
KIND = "hansard.requests.submit.v1"
CE: Inbound = [("ce_specversion", b"1.0"), ("ce_id", b"order-77"), ("ce_source", b"/shop"), ("ce_type", KIND.encode())]
STRUCTURED: Inbound = [("content-type", b"application/cloudevents+json")]
FULL = Envelope(
    id="5f0c3a52-9d34-5b0e-8d53-0f8c4a1b7e11",
    source="/hansard/router",
    type=KIND,
    data=BODY,
    correlation_id="order-77",
    tenant="acme",
    subject="router",
    time=datetime(2026, 1, 5, 9, 0, 0, 123456, UTC),
    causation_id="a0dff75b-0eb9-50b0-a43c-b2cbc0d1ae72",
    traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    sequence=7,
    datahash="f3fb9d68",
    replayed="yes",
)
MINIMAL = Envelope("order-77", "/shop", KIND, BODY, "order-77")


def with_(name: str, value: bytes | None) -> Inbound:
    """The four headers that every message needs, with one of them replaced or a fifth added."""
    return [*((n, v) for n, v in CE if n != name), (name, value)]


def without(name: str) -> Inbound:
    return [header for header in CE if header[0] != name]


def event(**members: Any) -> bytes:
    """A structured event; a member that is `...` is left out."""
    whole = {"specversion": "1.0", "id": "order-77", "source": "/shop", "type": KIND, "data": {"text": "What?"}} | members
    return json.dumps({name: value for name, value in whole.items() if value is not ...}).encode()


# round trips

printable = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=512)
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.:@-]{0,199}", fullmatch=True)
envelopes = st.builds(
    Envelope,
    id=printable,
    source=printable,
    type=printable,
    data=st.binary(),
    correlation_id=names,
    tenant=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", fullmatch=True),
    subject=st.just("") | printable,
    time=st.none() | st.datetimes(timezones=st.just(UTC)),
    causation_id=st.just("") | printable,
    traceparent=st.just("") | st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", fullmatch=True),
    sequence=st.integers(0, 10**11 - 1),
    datahash=st.just("") | printable,
    replayed=st.just("") | printable,
)


@given(envelopes)
def test_reading_gives_back_what_was_written(envelope: Envelope) -> None:
    assert read(envelope.data, headers(envelope)) == envelope


@given(envelopes)
def test_names_of_headers_may_be_bytes_and_in_capitals(envelope: Envelope) -> None:
    given = [(name.upper().encode(), value) for name, value in headers(envelope)]
    assert read(envelope.data, given) == envelope


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(json_values, st.sampled_from([None, 1, 2]), st.booleans())
def test_the_data_of_a_structured_event_is_kept_as_it_was_written(data: Any, indent: int | None, ascii: bool) -> None:
    text = json.dumps(data, indent=indent, ensure_ascii=ascii)
    try:
        value = f'{{"id":"a","data" :\n{text}\t,"source":"/s","type":"t","specversion":"1.0"}}'.encode()
    except UnicodeEncodeError:
        return
    assert read(value, STRUCTURED).data == text.encode()


def test_numbers_of_a_structured_event_are_not_rewritten() -> None:
    data = '{"price":1.10,"tiny":0.1000000000000000055,"huge":1e400,"twice":1,"twice":2}'
    assert read(event(data=...)[:-1] + f',"data":{data}}}'.encode(), STRUCTURED).data == data.encode()


def test_the_correlation_id_is_the_callers_or_else_the_id() -> None:
    assert read(BODY, CE).correlation_id == "order-77"
    assert read(BODY, [*CE, ("ce_correlationid", b"case-9")]).correlation_id == "case-9"


def test_a_time_is_read_in_utc() -> None:
    at = read(BODY, with_("ce_time", b"2026-01-05t10:00:00.5+01:00")).time
    assert at == datetime(2026, 1, 5, 9, 0, 0, 500000, UTC)
    assert at.tzinfo is UTC


def test_a_time_is_written_in_utc() -> None:
    local = datetime(2026, 1, 5, 10, tzinfo=timezone(timedelta(hours=1)))
    envelope = Envelope("a", "/s", "t", BODY, "a", time=local)
    assert ("ce_time", b"2026-01-05T09:00:00Z") in headers(envelope)


# the official SDK: the core API of version 2, and the one before it

SDK_ATTRIBUTES = {
    "specversion": "1.0",
    "id": FULL.id,
    "source": FULL.source,
    "type": FULL.type,
    "datacontenttype": "application/json",
    "correlationid": "order-77",
    "tenant": "acme",
    "subject": "router",
    "causationid": FULL.causation_id,
    "traceparent": FULL.traceparent,
    "sequence": "0000000007",
    "datahash": "f3fb9d68",
    "replayed": "yes",
}


def ours() -> dict[str, bytes]:
    return dict(headers(FULL))


def test_the_sdk_reads_what_we_write() -> None:
    seen = sdk.from_kafka_event(sdk.KafkaMessage(ours(), b"order-77", FULL.data))
    assert seen.get_attributes() == SDK_ATTRIBUTES | {"time": FULL.time, "partitionkey": "order-77"}
    assert seen.get_data() == json.loads(FULL.data)


def test_the_older_sdk_reads_what_we_write() -> None:
    seen = old_sdk.from_binary(old_sdk.KafkaMessage(ours(), b"order-77", FULL.data))
    attributes = dict(seen.get_attributes())
    assert attributes == SDK_ATTRIBUTES | {"time": "2026-01-05T09:00:00.123456Z", "partitionkey": b"order-77"}
    assert seen.get_data() == json.loads(FULL.data)


@pytest.mark.parametrize("write", [sdk.to_binary_event, sdk.to_structured_event], ids=["binary", "structured"])
@pytest.mark.parametrize("data", [json.loads(BODY), BODY], ids=["object", "bytes"])
def test_we_read_what_the_sdk_writes(write: Any, data: Any) -> None:
    message = write(CloudEvent(SDK_ATTRIBUTES | {"time": FULL.time, "partitionkey": "order-77"}, data))
    envelope = read(message.value, list(message.headers.items()))
    assert json.loads(envelope.data) == json.loads(BODY)
    assert envelope == replace(FULL, data=envelope.data)


@pytest.mark.parametrize("write", [old_sdk.to_binary, old_sdk.to_structured], ids=["binary", "structured"])
def test_we_read_what_the_older_sdk_writes(write: Any) -> None:
    message = write(OldCloudEvent(SDK_ATTRIBUTES | {"time": "2026-01-05T09:00:00.123456Z"}, json.loads(BODY)))
    envelope = read(message.value, list(message.headers.items()))
    assert json.loads(envelope.data) == json.loads(BODY)
    assert envelope == replace(FULL, data=envelope.data)


def test_we_read_an_event_of_the_sdk_with_the_required_attributes_only() -> None:
    event = CloudEvent({"type": KIND, "source": "/shop", "id": "order-77", "specversion": "1.0"}, {"text": "What?"})
    for message in (sdk.to_binary_event(event), sdk.to_structured_event(event)):
        assert json.loads(read(message.value, list(message.headers.items())).data) == {"text": "What?"}


# unusual records that are readable

READ: dict[str, tuple[bytes | None, Inbound]] = {
    "no content type": (BODY, [*CE]),
    "a content type in capitals": (BODY, [*CE, ("Content-Type", b"Application/JSON; Charset=UTF-8")]),
    "a content type of JSON's family": (BODY, [*CE, ("content-type", b"application/vnd.shop+json")]),
    "text/json": (BODY, [*CE, ("content-type", b"text/json")]),
    "an empty content type": (BODY, [*CE, ("content-type", None)]),
    "a foreign header in bytes": (BODY, [*CE, ("x-token", b"\xff\xfe")]),
    "a foreign header, doubled": (BODY, [*CE, ("x-token", b"1"), ("x-token", b"2")]),
    "an unknown attribute": (BODY, [*CE, ("ce_partitionkey", b"a")]),
    "names of headers in capitals": (BODY, [(name.upper(), value) for name, value in CE]),
    "a malformed traceparent": (BODY, with_("ce_traceparent", b"garbage")),
    "a traceparent with a NUL": (BODY, with_("ce_traceparent", b"00-\x00")),
    "a traceparent of 100,000 characters": (BODY, with_("ce_traceparent", b"0" * 100_000)),
    "an empty subject": (BODY, with_("ce_subject", b"")),
    "an empty time": (BODY, with_("ce_time", b"")),
    "an empty correlation id": (BODY, with_("ce_correlationid", b"")),
    "an empty tenant": (BODY, with_("ce_tenant", None)),
    "an empty sequence": (BODY, with_("ce_sequence", b"")),
    "a source in other letters": (BODY, with_("ce_source", "/магазин/店".encode())),
    "an emoji in the subject": (BODY, with_("ce_subject", "🧾".encode())),
    "a body that is not JSON": (b"\x00\xff", [*CE]),
    "an empty body": (b"", [*CE]),
    "structured, without a content type": (event(), []),
    "structured, as application/json": (event(), [("content-type", b"application/json")]),
    "structured, with a charset": (event(), [("content-type", b"application/cloudevents+json; charset=UTF-8")]),
    "structured, with a header that is ignored": (event(), [*STRUCTURED, ("ce_id", b"another")]),
    "structured, unknown attributes": (event(comexampleother={"a": [1]}), STRUCTURED),
    "structured, nulls": (event(subject=None, time=None, data_base64=None), STRUCTURED),
    "structured, a number as sequence": (event(sequence=7), STRUCTURED),
    "structured, data in base64": (event(data=..., data_base64=base64.b64encode(BODY).decode()), STRUCTURED),
    "structured, data that is null": (event(data=None), STRUCTURED),
    "structured, blanks around it": (b" \r\n\t" + event() + b"\n", STRUCTURED),
}


@pytest.mark.parametrize(("value", "given"), READ.values(), ids=READ)
def test_an_unusual_record_is_read(value: bytes | None, given: Inbound) -> None:
    envelope = read(value, given)
    assert (envelope.id, envelope.type, envelope.correlation_id) == ("order-77", KIND, "order-77")
    assert envelope.traceparent == ""


# hostile or broken records, and what the reason must contain

DEEP = b"[" * 100_000
UNREADABLE: dict[str, tuple[bytes | None, Inbound, str]] = {
    "no headers, no body": (None, [], "there are no ce_ headers"),
    "no headers, a plain body": (BODY, [], "ce_specversion must be 1.0"),
    "no headers, text": (b"hello", [], "there are no ce_ headers"),
    "only a content type": (BODY, [("content-type", b"application/json")], "every message needs ce_specversion"),
    "a content type of text": (BODY, [*CE, ("content-type", b"text/plain")], "must be JSON"),
    "a content type of XML": (BODY, [*CE, ("content-type", b"application/xml; a=json")], "must be JSON"),
    "a content type of 100,000 characters": (BODY, [*CE, ("content-type", b"a" * 100_000)], "must be JSON"),
    "a content type of bytes": (BODY, [*CE, ("content-type", b"\xff")], "is not UTF-8"),
    "a doubled content type": (BODY, [*CE, *[("content-type", b"application/json")] * 2], "is there twice"),
    "a charset that is not UTF-8": (BODY, [*CE, ("content-type", b"application/json; charset=latin1")], "send JSON in UTF-8"),
    "avro": (BODY, [("content-type", b"application/cloudevents+avro")], "as application/cloudevents+json"),
    "a batch": (b"[]", [("content-type", b"application/cloudevents-batch+json")], "one event a record"),
    "a tombstone": (None, [*CE], "there is no body"),
    "no specversion": (BODY, without("ce_specversion"), "ce_specversion must be 1.0 and is missing"),
    "an empty specversion": (BODY, with_("ce_specversion", b""), "ce_specversion must be 1.0"),
    "an old specversion": (BODY, with_("ce_specversion", b"0.3"), "must be 1.0 and is '0.3'"),
    "a future specversion": (BODY, with_("ce_specversion", b"2.0"), "must be 1.0"),
    "a specversion with a blank": (BODY, with_("ce_specversion", b"1.0 "), "must be 1.0"),
    "a specversion of 100,000 characters": (BODY, with_("ce_specversion", b"1" * 100_000), "must be 1.0"),
    "no id": (BODY, without("ce_id"), "ce_id is missing"),
    "no source": (BODY, without("ce_source"), "ce_source is missing"),
    "no type": (BODY, without("ce_type"), "ce_type is missing"),
    "an empty id": (BODY, with_("ce_id", b""), "ce_id is missing"),
    "an id without a value": (BODY, with_("ce_id", None), "ce_id is missing"),
    "a NUL in the id": (BODY, with_("ce_id", b"a\x00b"), "no control characters"),
    "a line break in the id": (BODY, with_("ce_id", b"a\nb"), "no control characters"),
    "a line break after the id": (BODY, with_("ce_id", b"a\n"), "no control characters"),
    "an escape sequence in the id": (BODY, with_("ce_id", b"\x1b[2J"), "no control characters"),
    "a C1 control in the id": (BODY, with_("ce_id", "a\x85".encode()), "no control characters"),
    "an id of 513 characters": (BODY, with_("ce_id", b"a" * 513), "1 to 512 characters"),
    "an id of a million characters": (BODY, with_("ce_id", b"a" * 1_000_000), "1 to 512 characters"),
    "an id that is not UTF-8": (BODY, with_("ce_id", b"\xff\xfe"), "header 'ce_id' is not UTF-8"),
    "an id that is cut in a character": (BODY, with_("ce_id", "é".encode()[:1]), "is not UTF-8"),
    "a surrogate in the id": (BODY, with_("ce_id", b"\xed\xa0\x80"), "is not UTF-8"),
    "an overlong NUL in the id": (BODY, with_("ce_id", b"\xc0\x80"), "is not UTF-8"),
    "an id that can name no workflow": (BODY, with_("ce_id", b"a b"), "send ce_correlationid too"),
    "a path as id": (BODY, with_("ce_id", b"../../etc"), "send ce_correlationid too"),
    "an id in other letters": (BODY, with_("ce_id", "заказ".encode()), "send ce_correlationid too"),
    "an id that begins with a dash": (BODY, with_("ce_id", b"-rf"), "send ce_correlationid too"),
    "an id of 201 characters": (BODY, with_("ce_id", b"a" * 201), "send ce_correlationid too"),
    "a doubled id": (BODY, [*CE, ("ce_id", b"order-77")], "header ce_id is there twice"),
    "a doubled id in capitals": (BODY, [*CE, ("CE_ID", b"order-78")], "header ce_id is there twice"),
    "a doubled type": (BODY, [*CE, ("ce_type", b"t")], "header ce_type is there twice"),
    "a doubled attribute that we do not know": (BODY, [*CE, ("ce_a", b"1"), ("ce_a", b"2")], "ce_a is there twice"),
    "a NUL in the source": (BODY, with_("ce_source", b"\x00"), "ce_source must have"),
    "a source that is not UTF-8": (BODY, with_("ce_source", b"\x80"), "is not UTF-8"),
    "a NUL in the type": (BODY, with_("ce_type", b"t\x00"), "ce_type must have"),
    "a type of 513 characters": (BODY, with_("ce_type", b"t" * 513), "ce_type must have"),
    "a NUL in the subject": (BODY, with_("ce_subject", b"a\x00"), "ce_subject must have"),
    "a NUL in the causation id": (BODY, with_("ce_causationid", b"\x00"), "ce_causationid must have"),
    "a NUL in the hash": (BODY, with_("ce_datahash", b"\x00"), "ce_datahash must have"),
    "a NUL in replayed": (BODY, with_("ce_replayed", b"\x00"), "ce_replayed must have"),
    "a name of a header that is not UTF-8": (BODY, [*CE, (b"ce_\xff", b"1")], "is not UTF-8"),
    "a foreign name that is not UTF-8": (BODY, [*CE, (b"\xff" * 9999, b"1")], "is not UTF-8"),
    "an unknown attribute that is not UTF-8": (BODY, with_("ce_other", b"\xff"), "is not UTF-8"),
    "a correlation id with a blank": (BODY, with_("ce_correlationid", b"a b"), "ce_correlationid must be of the form"),
    "a correlation id with a slash": (BODY, with_("ce_correlationid", b"a/b"), "ce_correlationid must be of the form"),
    "a correlation id with a NUL": (BODY, with_("ce_correlationid", b"a\x00"), "ce_correlationid must be of the form"),
    "a correlation id and a line break": (BODY, with_("ce_correlationid", b"a\n"), "ce_correlationid must be of the form"),
    "a correlation id in other letters": (BODY, with_("ce_correlationid", "é".encode()), "must be of the form"),
    "a correlation id of 201 characters": (BODY, with_("ce_correlationid", b"a" * 201), "must be of the form"),
    "a correlation id that is not UTF-8": (BODY, with_("ce_correlationid", b"\xff"), "is not UTF-8"),
    "a tenant with a slash": (BODY, with_("ce_tenant", b"a/b"), "ce_tenant must be of the form"),
    "a tenant with a quote": (BODY, with_("ce_tenant", b"a'--"), "ce_tenant must be of the form"),
    "a tenant of 65 characters": (BODY, with_("ce_tenant", b"a" * 65), "ce_tenant must be of the form"),
    "a tenant of dots": (BODY, with_("ce_tenant", b".."), "ce_tenant must be of the form"),
    "a time that is text": (BODY, with_("ce_time", b"yesterday"), "ce_time must be RFC 3339"),
    "a number as time": (BODY, with_("ce_time", b"1767603600"), "ce_time must be RFC 3339"),
    "a time without a zone": (BODY, with_("ce_time", b"2026-01-05T09:00:00"), "with a time zone"),
    "a date as time": (BODY, with_("ce_time", b"2026-01-05"), "ce_time must be RFC 3339"),
    "a week as time": (BODY, with_("ce_time", b"2026-W01-1T00:00:00Z"), "ce_time must be RFC 3339"),
    "a time in other digits": (BODY, with_("ce_time", "٢٠٢٦-01-05T09:00:00Z".encode()), "ce_time must be RFC 3339"),
    "the 30th of February": (BODY, with_("ce_time", b"2026-02-30T09:00:00Z"), "no time of the calendar"),
    "month 13": (BODY, with_("ce_time", b"2026-13-01T09:00:00Z"), "no time of the calendar"),
    "second 61": (BODY, with_("ce_time", b"2026-01-05T09:00:61Z"), "no time of the calendar"),
    "the year 0": (BODY, with_("ce_time", b"0000-01-01T00:00:00Z"), "no time of the calendar"),
    "before the first year in UTC": (BODY, with_("ce_time", b"0001-01-01T00:00:00+23:00"), "no time of the calendar"),
    "after the last year in UTC": (BODY, with_("ce_time", b"9999-12-31T23:59:59-23:00"), "no time of the calendar"),
    "a zone of 99 hours": (BODY, with_("ce_time", b"2026-01-05T09:00:00+99:00"), "no time of the calendar"),
    "a time with a NUL": (BODY, with_("ce_time", b"2026-01-05T09:00:00Z\x00"), "ce_time must be RFC 3339"),
    "a time of 100,000 digits": (BODY, with_("ce_time", b"2026-01-05T09:00:00." + b"1" * 100_000 + b"Z"), "RFC 3339"),
    "a sequence that is text": (BODY, with_("ce_sequence", b"first"), "ce_sequence must be a number"),
    "a negative sequence": (BODY, with_("ce_sequence", b"-1"), "ce_sequence must be a number"),
    "a fraction as sequence": (BODY, with_("ce_sequence", b"1.5"), "ce_sequence must be a number"),
    "a sequence in other digits": (BODY, with_("ce_sequence", "٣".encode()), "ce_sequence must be a number"),
    "a superscript as sequence": (BODY, with_("ce_sequence", "²".encode()), "ce_sequence must be a number"),
    "a sequence of 12 digits": (BODY, with_("ce_sequence", b"9" * 12), "ce_sequence must be a number"),
    "a sequence of 5,000 digits": (BODY, with_("ce_sequence", b"9" * 5000), "ce_sequence must be a number"),
    "structured, a tombstone": (None, STRUCTURED, "not a structured CloudEvent"),
    "structured, empty": (b"", STRUCTURED, "must be a JSON object"),
    "structured, blanks": (b"  \n", STRUCTURED, "must be a JSON object"),
    "structured, truncated": (event()[:-10], STRUCTURED, "not a structured CloudEvent"),
    "structured, cut after a name": (b'{"id"', STRUCTURED, ": is missing at character 5"),
    "structured, a comma too many": (event()[:-1] + b",}", STRUCTURED, "not a structured CloudEvent"),
    "structured, no comma": (b'{"id":"a" "b":1}', STRUCTURED, ", is missing"),
    "structured, something after it": (event() + b"{}", STRUCTURED, "something follows it"),
    "structured, two events": (event() + event(), STRUCTURED, "something follows it"),
    "structured, a list": (b"[" + event() + b"]", STRUCTURED, "must be a JSON object"),
    "structured, null": (b"null", STRUCTURED, "must be a JSON object"),
    "structured, a string": (b'"a"', STRUCTURED, "must be a JSON object"),
    "structured, names without quotes": (b"{id:1}", STRUCTURED, "not a structured CloudEvent"),
    "structured, a number as name": (b"{1:2}", STRUCTURED, "a name is missing"),
    "structured, a BOM": (b"\xef\xbb\xbf" + event(), STRUCTURED, "not a structured CloudEvent"),
    "structured, UTF-16": (event().decode().encode("utf-16"), STRUCTURED, "not a structured CloudEvent"),
    "structured, not UTF-8": (b'{"id":"\xff"}', STRUCTURED, "not a structured CloudEvent"),
    "structured, a surrogate in bytes": (b'{"id":"\xed\xa0\x80"}', STRUCTURED, "not a structured CloudEvent"),
    "structured, 100,000 brackets": (DEEP, STRUCTURED, "must be a JSON object"),
    "structured, 100,000 brackets as data": (b'{"data":' + DEEP, STRUCTURED, "not a structured CloudEvent"),
    "structured, 100,000 brackets, closed": (b'{"data":' + DEEP + b"]" * 100_000 + b"}", STRUCTURED, "recursion"),
    "structured, 100,000 objects": (b'{"a":' * 100_000, STRUCTURED, "not a structured CloudEvent"),
    "structured, NaN": (b'{"data":{"a":NaN}}', STRUCTURED, "NaN is not JSON"),
    "structured, -Infinity": (b'{"data":-Infinity}', STRUCTURED, "-Infinity is not JSON"),
    "structured, 5,000 digits": (b'{"data":' + b"9" * 5000 + b"}", STRUCTURED, "not a structured CloudEvent"),
    "structured, no data": (event(data=...), STRUCTURED, "in `data`"),
    "structured, data twice": (event()[:-1] + b',"data":1}', STRUCTURED, "its data is there twice"),
    "structured, data in both forms": (event(data_base64="e30="), STRUCTURED, "its data is there twice"),
    "structured, no base64": (event(data=..., data_base64="§"), STRUCTURED, "not a structured CloudEvent"),
    "structured, base64 of a number": (event(data=..., data_base64=5), STRUCTURED, "not a structured CloudEvent"),
    "structured, an id twice": (event()[:-1] + b',"id":"b"}', STRUCTURED, "`id` is there twice"),
    "structured, no id": (event(id=...), STRUCTURED, "ce_id is missing"),
    "structured, id null": (event(id=None), STRUCTURED, "ce_id is missing"),
    "structured, id a number": (event(id=5), STRUCTURED, "`id` must be a string, not 5"),
    "structured, id an object": (event(id={"a": "b" * 9999}), STRUCTURED, "`id` must be a string"),
    "structured, specversion a number": (event(specversion=1.0), STRUCTURED, "`specversion` must be a string"),
    "structured, sequence true": (event(sequence=True), STRUCTURED, "`sequence` must be a string"),
    "structured, sequence negative": (event(sequence=-1), STRUCTURED, "ce_sequence must be a number"),
    "structured, a NUL in the id": (event(id="a\x00"), STRUCTURED, "no control characters"),
    "structured, a surrogate in the id": (event(id="a\ud800"), STRUCTURED, "ce_id must have"),
    "structured, a surrogate in the tenant": (event(tenant="\ud800"), STRUCTURED, "ce_tenant must be"),
    "structured, data of text": (event(datacontenttype="text/plain"), STRUCTURED, "must be JSON"),
    "structured, an old version": (event(specversion="0.3"), STRUCTURED, "must be 1.0"),
}


def test_more_than_a_hundred_unreadable_records_are_tried() -> None:
    assert len(UNREADABLE) > 100


@pytest.mark.parametrize(("value", "given", "expected"), UNREADABLE.values(), ids=UNREADABLE)
def test_the_reason_says_what_is_wrong(value: bytes | None, given: Inbound, expected: str) -> None:
    with pytest.raises(Unreadable) as refused:
        read(value, given)
    assert expected in str(refused.value)
    assert_printable(refused.value)


def assert_printable(unreadable: Unreadable) -> None:
    """The reason goes into a dead letter, a log and a terminal."""
    assert len(str(unreadable)) < 400
    assert str(unreadable).isprintable()
    for value in unreadable.known.values():
        assert len(value) <= 512
        assert value.isprintable()


def test_the_attributes_that_could_be_read_are_known() -> None:
    with pytest.raises(Unreadable) as refused:
        read(BODY, with_("ce_time", b"yesterday"))
    known = refused.value.known
    assert (known["ce_id"], known["ce_type"], known["ce_source"]) == ("order-77", KIND, "/shop")


def test_known_attributes_are_escaped_and_shortened() -> None:
    with pytest.raises(Unreadable) as refused:
        read(event(id="\x1b[2J\x00\ud800", source="a" * 9999), STRUCTURED)
    assert refused.value.known["ce_id"] == r"\x1b[2J\x00\ud800"
    assert len(refused.value.known["ce_source"]) == 512


# arbitrary records

names_of_headers = st.sampled_from([f"ce_{name}" for name in ATTRIBUTES] + ["content-type"]) | st.text() | st.binary()
values = st.none() | st.binary(max_size=40) | st.sampled_from([b"1.0", b"order-77", b"application/json"])
json_like = st.text(st.sampled_from('{}[]",:0e-. \\ud800n"idtasource'), max_size=60).map(lambda text: text.encode())


def read_and_decode(value: bytes | None, given: Inbound) -> None:
    try:
        envelope = read(value, given)
    except Unreadable as unreadable:
        assert_printable(unreadable)
        return
    try:
        decode(SubmitRequest, envelope.data)
    except Invalid as invalid:
        assert str(invalid).isprintable()


@given(st.none() | st.binary() | json_like, st.lists(st.tuples(names_of_headers, values), max_size=8))
def test_any_record_gives_an_envelope_or_unreadable(value: bytes | None, given: Inbound) -> None:
    read_and_decode(value, given)


@given(st.sampled_from([name for name, _ in headers(FULL)]), st.binary(max_size=60))
def test_any_one_header_may_be_anything(name: str, value: bytes) -> None:
    read_and_decode(BODY, [(n, value if n == name else v) for n, v in headers(FULL)])


@given(st.dictionaries(st.sampled_from([*ATTRIBUTES, "data", "data_base64", "datacontenttype"]), json_values))
def test_any_member_of_a_structured_event_may_be_anything(members: dict[str, Any]) -> None:
    read_and_decode(event(**members), [*STRUCTURED])


@given(st.data())
def test_a_structured_event_may_be_truncated_or_corrupted_anywhere(data: st.DataObject) -> None:
    whole = event(time="2026-01-05T09:00:00Z", sequence="7")
    at = data.draw(st.integers(0, len(whole) - 1))
    read_and_decode(whole[:at] + data.draw(st.binary(max_size=3)) + whole[at + data.draw(st.integers(0, 3)) :], [*STRUCTURED])
