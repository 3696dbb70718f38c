"""Reading a Kafka record gives an envelope or a reason, and nothing else, whoever wrote it."""

import base64
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.requests import SubmitRequest
from hansard.codec import Invalid, decode
from hansard.envelope import ATTRIBUTES, Envelope, Unreadable, headers, read
from tests.unit.envelope_kit import BODY, CE, FULL, KIND, STRUCTURED, Inbound, assert_printable, event, json_values, with_

# round trips

printable = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=512)
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.:@-]{0,199}", fullmatch=True)
traces = st.builds(  # W3C calls version ff and ids of zeros alone invalid
    "{:02x}-{:032x}-{:016x}-{:02x}".format,
    st.integers(0, 0xFE),
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.integers(0, 0xFF),
)
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
    traceparent=st.just("") | traces,
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


# unusual records that are readable

OTHERS_SEQUENCES = ["first", "-1", "1.5", "٣", "²", "9" * 12, "49590338271490256608", "01HZY5W9B3", "16/B374D848", "9" * 5000]
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
    **{f"another's sequence {text[:20]}": (BODY, with_("ce_sequence", text.encode())) for text in OTHERS_SEQUENCES},
    "structured, a sequence that is text": (event(sequence="shardId-000000000000:495903"), STRUCTURED),
    "structured, a sequence that is no text": (event(sequence=True), STRUCTURED),
    "structured, a negative number as sequence": (event(sequence=-1), STRUCTURED),
    "structured, a fraction as sequence": (event(sequence=1.5), STRUCTURED),
    "a tracing library's malformed header": (BODY, [*CE, ("traceparent", b"\xff\x00")]),
    "a tracing library's header without a value": (BODY, [*CE, ("traceparent", None)]),
    "a trace that W3C calls invalid": (BODY, [*CE, ("traceparent", f"00-{'0' * 32}-{'b' * 16}-01".encode())]),
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


@pytest.mark.parametrize("text", OTHERS_SEQUENCES)
def test_the_sequence_of_others_is_any_string_and_means_nothing_here(text: str) -> None:
    assert read(BODY, with_("ce_sequence", text.encode())).sequence == 0


OURS, THEIRS = (f"00-{'a' * 32}-{one * 16}-01" for one in "12")


@pytest.mark.parametrize(
    ("value", "given", "expected"),
    [
        (BODY, [*CE, ("traceparent", THEIRS.encode())], THEIRS),
        (BODY, [*CE, ("Traceparent", THEIRS.encode())], THEIRS),
        (BODY, [*CE, (b"traceparent", THEIRS.encode())], THEIRS),
        (BODY, [*CE, ("traceparent", THEIRS.encode()), ("traceparent", b"a second one")], THEIRS),
        (BODY, [("traceparent", THEIRS.encode()), *CE, ("ce_traceparent", OURS.encode())], OURS),
        (BODY, [*CE, ("ce_traceparent", b"garbage"), ("traceparent", THEIRS.encode())], THEIRS),
        (event(), [*STRUCTURED, ("traceparent", THEIRS.encode())], THEIRS),
        (event(traceparent=OURS), [*STRUCTURED, ("traceparent", THEIRS.encode())], OURS),
    ],
)
def test_the_header_that_tracing_libraries_add_names_the_trace(value: bytes, given: Inbound, expected: str) -> None:
    envelope = read(value, given)
    assert (envelope.traceparent, envelope.id) == (expected, "order-77")


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
