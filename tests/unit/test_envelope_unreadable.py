"""A hostile or broken record is unreadable, and the reason says what is wrong with it."""

import pytest

from hansard.envelope import Unreadable, read
from tests.unit.envelope_kit import BODY, CE, KIND, STRUCTURED, Inbound, assert_printable, event, with_, without

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
