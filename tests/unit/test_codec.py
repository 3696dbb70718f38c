"""Decoding bytes gives a message or a reason; encoding gives the bytes back."""

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.catalog import Topics
from contracts.control import RedriveDeadLetter
from contracts.gateway import CallModel
from contracts.requests import SubmitRequest
from contracts.results import WorkflowCompleted
from contracts.tools.goldens import complete
from hansard.codec import Invalid, decode, encode
from hansard.message import JSON_DEPTH, Message

KINDS = Topics().kinds.values()


def request(**fields: Any) -> bytes:
    return json.dumps({"text": "What is an event log?"} | fields).encode()


def refusal(kind: type[Message], data: bytes) -> str:
    with pytest.raises(Invalid) as invalid:
        decode(kind, data)
    return str(invalid.value)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_decoding_gives_back_what_was_encoded(kind: type[Message]) -> None:
    message = decode(kind, json.dumps(complete(kind)).encode())
    assert decode(kind, encode(message)) == message
    assert encode(decode(kind, encode(message))) == encode(message)


def test_bytes_are_compact_utf8_with_money_as_text() -> None:
    completed = WorkflowCompleted(text="Größe: 43,30 €", answered_by="rule", cost=Decimal("0.10"))
    assert encode(completed).startswith('{"text":"Größe: 43,30 €","data":null,"sources":[],'.encode())
    assert b'"cost":"0.10","input_tokens":0,' in encode(completed)


def test_a_string_that_utf8_cannot_encode_is_refused() -> None:
    completed = WorkflowCompleted(text="a", answered_by="rule", data={"name": "\ud800"})
    with pytest.raises(ValueError, match=r"hansard\.results\.completed\.v1 cannot be written as JSON in UTF-8"):
        encode(completed)


def test_unknown_fields_are_ignored() -> None:
    assert decode(SubmitRequest, request(tomorrow={"a": 1})) == decode(SubmitRequest, request())


def test_the_last_of_two_fields_with_one_name_counts() -> None:
    assert decode(SubmitRequest, b'{"text":"a","text":"b"}').text == "b"


def test_a_deadline_is_read_in_utc() -> None:
    deadline = decode(SubmitRequest, request(deadline="2026-01-05T10:00:00+01:00")).deadline
    assert deadline == datetime(2026, 1, 5, 9, tzinfo=UTC)
    assert deadline.tzinfo is UTC


DEEP = b"[" * 100_000
TYPED = b'{"type":"a","data":{"x":%b}}'
INVALID: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "the body is empty: send a JSON object"),
    "blanks": (b" \n", "the body is empty: send a JSON object"),
    "a NUL": (b"\x00", "the body is not JSON: expected value"),
    "not UTF-8": (b'{"text":"\xff"}', "the body is not JSON: invalid unicode code point"),
    "a surrogate in bytes": (b'{"text":"\xed\xa0\x80"}', "the body is not JSON: invalid unicode code point"),
    "an escaped surrogate": (rb'{"text":"\ud800"}', "the body is not JSON"),
    "an escaped surrogate, low": (rb'{"text":"a\udc00b"}', "the body is not JSON: lone leading surrogate"),
    "an escaped surrogate in an unknown field": (rb'{"text":"a","b":"\ud800 "}', "the body is not JSON"),
    "a raw NUL in a string": (b'{"text":"a\x00b"}', "control character"),
    "a BOM": (b"\xef\xbb\xbf" + request(), "the body begins with a byte order mark"),
    "UTF-16": (request().decode().encode("utf-16-le"), "the body is not JSON"),
    "truncated": (b'{"text":"What is', "the body is not JSON: EOF while parsing a string"),
    "two bodies": (request() * 2, "the body is not JSON: trailing characters"),
    "a comma too many": (b'{"text":"a",}', "the body is not JSON: trailing comma"),
    "single quotes": (b"{'text':'a'}", "the body is not JSON"),
    "text": (b"What is an event log?", "the body is not JSON"),
    "null": (b"null", "the body: should be an object, not None"),
    "a list": (b"[]", "the body: should be an object"),
    "a string": (b'"a"', "the body: should be an object, not 'a'"),
    "a number": (b"1e400", "the body: should be an object, not inf"),
    "100,000 brackets": (DEEP, "nested too deep"),
    "100,000 brackets, closed": (TYPED % (DEEP + b"]" * 100_000), "nested too deep"),
    "100,000 objects": (b'{"a":' * 100_000, "nested too deep"),
    "NaN": (TYPED % b"NaN", "data.x: NaN, Infinity and numbers beyond 1.8e308 are not JSON"),
    "Infinity, deep": (TYPED % b'[{"y":[-Infinity]}]', "are not JSON"),
    "1e400": (TYPED % b"1e400", "numbers beyond 1.8e308 are not JSON"),
    "5,000 digits": (TYPED % (b"9" * 5000), "number out of range"),
    "neither text nor type": (b"{}", "the body: give either `text` (a free request) or `type` with `data`"),
    "text and type": (request(type="a"), "give either `text` (a free request) or `type` with `data`"),
    "data without a type": (request(data={"a": 1}), "the body: `data` goes with `type`"),
    "text that is a number": (request(text=5), "text: should be a valid string, not 5"),
    "empty text": (request(text=""), "text: String should have at least 1 character, not ''"),
    "a type with a slash": (b'{"type":"../a"}', "type: String should match pattern"),
    "data that is a list": (b'{"type":"a","data":[1]}', "data: should be an object"),
    "an unknown architecture": (request(architecture="anarchy"), "architecture: should be 'specialist', 'pipeline'"),
    "a plan without steps": (request(plan={"steps": []}), "plan.steps: Tuple should have at least 1 item"),
    "a plan that is a list": (request(plan=[]), "plan: should be an object"),
    "a step without a worker": (request(plan={"steps": [{"id": "a"}]}), "plan.steps[0].worker: Field required"),
    "a deadline without a zone": (request(deadline="2026-01-05T09:00:00"), "deadline: should have timezone info"),
    "a deadline beyond the calendar": (request(deadline="9999-12-31T23:59:59-23:00"), "between the years 1 and 9999"),
    "a deadline before the calendar": (request(deadline="0001-01-01T00:00:00+23:00"), "between the years 1 and 9999"),
    "a deadline as 1e30": (b'{"text":"a","deadline":1e30}', "deadline: should be a valid datetime"),
    "money as a float": (request(budget=0.5), "budget: money travels as a string, never as a float, not 0.5"),
    "money as true": (request(budget=True), "budget: money travels as a string"),
    "money as NaN": (request(budget="NaN"), "budget: should be a finite number, not 'NaN'"),
    "money as Infinity": (request(budget="Infinity"), "budget: should be a finite number"),
    "money of 1e999999": (request(budget="1e999999"), "budget:"),
    "money of 1e300": (request(budget="1e300"), "budget: Decimal input should have no more than 60 digits in total, not '1e300'"),
    "money of 1e-999999": (request(budget="1e-999999"), "budget:"),
    "money of 4,000 digits": (request(budget="9" * 4000), "budget:"),
    "money below zero": (request(budget="-0.01"), "budget: should be greater than or equal to 0"),
    "money as text": (request(budget="much"), "budget: should be a valid decimal, not 'much'"),
}


@pytest.mark.parametrize(("data", "expected"), INVALID.values(), ids=INVALID)
def test_the_reason_names_the_field_and_the_fault(data: bytes, expected: str) -> None:
    reason = refusal(SubmitRequest, data)
    assert expected in reason
    assert len(reason) < 500
    assert reason.isprintable()


def nested(levels: int, leaf: Any = 1, *, objects: bool = False) -> Any:
    for _ in range(levels):
        leaf = {"a": leaf} if objects else [leaf]
    return leaf


@pytest.mark.parametrize("objects", [False, True])
@pytest.mark.parametrize("levels", [1, JSON_DEPTH - 1, JSON_DEPTH])
def test_what_can_be_made_can_be_written_and_read_again(levels: int, objects: bool) -> None:
    made = WorkflowCompleted(text="", answered_by="rule", data=nested(levels, objects=objects))
    assert decode(WorkflowCompleted, encode(made)) == made


@pytest.mark.parametrize("levels", [JSON_DEPTH + 1, 150, 199, 200, 230, 253, 254, 5000])
def test_what_could_not_be_read_again_can_neither_be_made_nor_read(levels: int) -> None:
    """Between 200 and 253 levels it could be written, and no JSON reader here would ever read it again."""
    with pytest.raises(ValueError):
        WorkflowCompleted(text="", answered_by="rule", data=nested(levels))
    body = f'{{"text": "", "answered_by": "rule", "data": {"[" * levels}{"]" * levels}}}'.encode()
    assert "nested" in refusal(WorkflowCompleted, body)


def test_an_object_within_a_list_counts_as_one_level_each() -> None:
    mixed = [{"a": nested(JSON_DEPTH - 2)}]
    assert WorkflowCompleted(text="", answered_by="rule", data=mixed).data == mixed
    with pytest.raises(ValueError, match="nested"):
        WorkflowCompleted(text="", answered_by="rule", data=[mixed])


@pytest.mark.parametrize("kind", [CallModel, SubmitRequest])
def test_every_field_of_free_json_has_the_limit(kind: type[Message]) -> None:
    field = {CallModel: "response_schema", SubmitRequest: "data"}[kind]
    sent = complete(kind) | {field: {"a": nested(JSON_DEPTH + 1)}}
    assert "nested" in refusal(kind, json.dumps(sent).encode())


@pytest.mark.parametrize("digits", [1, 20, 3999])
def test_an_integer_of_up_to_4000_digits_comes_back(digits: int) -> None:
    made = WorkflowCompleted(text="", answered_by="rule", data=[10**digits, -(10**digits)])
    assert decode(WorkflowCompleted, encode(made)) == made


@pytest.mark.parametrize("digits", [4300, 4301, 20_000])
def test_a_longer_integer_is_refused_before_it_is_recorded(digits: int) -> None:
    with pytest.raises(ValueError, match="digits"):
        WorkflowCompleted(text="", answered_by="rule", data=[-(10**digits)])


def test_three_errors_are_listed_and_the_others_counted() -> None:
    steps = [{"id": f"s{n}"} for n in range(100)]
    reason = refusal(SubmitRequest, request(plan={"steps": steps}))
    assert reason.count("Field required") == 3
    assert re.search(r"; and 9\d more$", reason)


def test_a_long_value_is_shortened_in_the_reason() -> None:
    assert len(refusal(SubmitRequest, request(architecture="a" * 100_000))) < 400


def test_control_characters_of_a_field_name_are_escaped_in_the_reason() -> None:
    reason = refusal(SubmitRequest, rb'{"type":"a","data":{"\u001b[2J%b":NaN}}' % (b"x" * 9999))
    assert r"data.\x1b[2Jxxx" in reason
    assert len(reason) < 300


def test_an_element_is_named_by_its_index() -> None:
    body = json.dumps(complete(RedriveDeadLetter) | {"headers": [["a", "YQ=="], ["b"]]}).encode()
    assert refusal(RedriveDeadLetter, body) == "headers[1][1]: Field required"
    call = json.dumps(complete(CallModel) | {"messages": [{"role": "king", "content": "a"}]}).encode()
    assert refusal(CallModel, call).startswith("messages[0].role: should be 'system', 'user', 'assistant' or 'tool', not 'king'")


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.sampled_from(list(KINDS)), st.binary() | st.text(st.sampled_from('{}[]",:0e-. \\ud8n"text')).map(str.encode))
def test_any_bytes_give_a_message_or_invalid(kind: type[Message], data: bytes) -> None:
    try:
        decode(kind, data)
    except Invalid as invalid:
        assert str(invalid).isprintable()


@given(st.data())
def test_any_field_may_be_anything(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(list(KINDS)))
    name = data.draw(st.sampled_from(list(kind.model_fields)))
    body = json.dumps(complete(kind) | {name: data.draw(anything)}).encode()
    try:
        message = decode(kind, body)
    except Invalid as invalid:
        assert str(invalid).isprintable()
    else:
        assert decode(kind, encode(message)) == message
