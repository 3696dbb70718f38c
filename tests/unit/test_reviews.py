"""What a person signs, and whose signature counts."""

import base64
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from contracts.approval import PersonKey, ReviewAction
from hansard import reviews
from hansard.reviews import BadKey, key_id, new_key, public_key, request_sha256, request_statement, sign, statement, verified
from tests.npm import NODE

PEM, KEY = new_key()
REVIEW: dict[str, Any] = {
    "review": "6f1d0c2a",
    "action_id": "pay.1",
    "sha256": "ab" * 32,
    "decision": "approve",
    "reviewer": "alice@example.org",
    "key": KEY["id"],
}
STATED = statement(REVIEW, "acme", "invoice-17")
SIGNATURE = sign(PEM, STATED)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
whole = st.integers(-(2**53) + 1, 2**53 - 1)
answers = st.recursive(
    st.none() | st.booleans() | whole | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
some_reviews = st.fixed_dictionaries(
    {
        "review": st.text("ab._-", min_size=8, max_size=9),
        "action_id": st.sampled_from(["pay.1", "pay", "pay/1"]),
        "decision": st.sampled_from(["approve", "reject", "edit", "answer"]),
        "reviewer": texts.filter(bool),
    },
    optional={
        "sha256": st.sampled_from(["", "0" * 64, "f" * 64]),
        "expires_at": st.sampled_from(["", "2026-01-31T12:00:00Z"]),
        "notes": texts,
        "edited": st.none() | texts,
        "question": texts,
        "to": texts,
        "answer": answers,
        "key": texts,
    },
)


def message(**fields: object) -> ReviewAction:
    return ReviewAction.model_validate(REVIEW | fields)


def stated(review: ReviewAction, tenant: str = "acme", workflow: str = "invoice-17") -> bytes:
    return statement(review.model_dump(mode="json"), tenant, workflow)


def test_a_statement_is_canonical_json_that_any_language_writes() -> None:
    assert (
        stated(message(decision="answer", answer={"b": 1.0, "a": "é\n", "n": 1e21}, notes="“fine”"))
        == (
            '{"review":{"action_id":"pay.1","answer":{"a":"é\\n","b":1,"n":1e+21},"decision":"answer","edited":null,"expires_at":"",'
            f'"key":"{KEY["id"]}","notes":"“fine”","question":"","review":"6f1d0c2a","reviewer":"alice@example.org",'
            f'"sha256":"{"ab" * 32}","to":""}},"tenant":"acme","type":"hansard.review.v1","workflow":"invoice-17"}}'
        ).encode()
    )


def test_a_field_that_was_not_given_counts_as_its_default() -> None:
    assert stated(message()) == STATED


@given(some_reviews, some_reviews, texts, texts, texts, texts)
def test_different_reviews_never_have_the_same_statement(
    one: dict[str, Any], other: dict[str, Any], tenant: str, other_tenant: str, workflow: str, other_workflow: str
) -> None:
    first = (ReviewAction.model_validate(one).model_dump(mode="json"), tenant, workflow)
    second = (ReviewAction.model_validate(other).model_dump(mode="json"), other_tenant, other_workflow)
    assert (statement(*first) == statement(*second)) == (_typed(first) == _typed(second))


def _typed(value: Any) -> Any:
    """Equal where JSON is: Python calls true and 1 equal, JSON does not."""
    if isinstance(value, dict):
        return {name: _typed(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_typed(item) for item in value]
    return (isinstance(value, bool), value)


@given(
    some_reviews,
    st.sampled_from(["review", "action_id", "decision", "reviewer", "expires_at", "notes", "edited", "to", "answer"]),
    texts,
)
def test_each_field_is_in_the_statement(review: dict[str, Any], field: str, value: str) -> None:
    assume(review.get(field, reviews.FIELDS.get(field)) != value)
    assert statement(review | {field: value}, "", "w") != statement(review, "", "w")


def test_every_field_of_a_review_is_signed_and_one_that_comes_later_is_null_by_default() -> None:
    known = {*reviews.REQUIRED, *reviews.FIELDS, "signature"}
    fields = ReviewAction.model_fields
    assert known <= set(fields)
    assert {name: fields[name].default for name in reviews.FIELDS} == reviews.FIELDS
    assert all(fields[name].default is None for name in set(fields) - known)


def test_a_signature_is_not_part_of_what_is_signed() -> None:
    assert stated(message(signature=SIGNATURE)) == STATED


def test_a_statement_of_before_stays_when_a_field_is_added() -> None:
    assert statement(REVIEW | {"device": None}, "acme", "invoice-17") == STATED
    assert statement(REVIEW | {"device": ""}, "acme", "invoice-17") != STATED


@pytest.mark.parametrize("answer", [2**53, -(2**53), 10**4000, "\ud800", {"\ud800": 1}, float("nan"), float("inf")])
def test_what_languages_read_differently_cannot_be_signed(answer: JsonValue) -> None:
    with pytest.raises(ValueError):
        statement(REVIEW | {"answer": answer}, "", "w")


@pytest.mark.parametrize("name", reviews.REQUIRED)
def test_a_review_without_its_name_or_person_is_no_review(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        statement({field: value for field, value in REVIEW.items() if field != name}, "", "w")


# Signatures


def test_a_signature_is_verified_by_its_key_alone() -> None:
    _, other = new_key()
    assert verified(KEY["public"], SIGNATURE, STATED)
    assert not verified(other["public"], SIGNATURE, STATED)
    assert not verified(KEY["public"], SIGNATURE, STATED + b" ")


def test_a_review_of_one_workflow_is_none_of_another() -> None:
    for tenant, workflow in (("acme", "invoice-18"), ("", "invoice-17"), ("invoice-17", "acme")):
        assert not verified(KEY["public"], SIGNATURE, statement(REVIEW, tenant, workflow))


def test_a_request_is_no_review() -> None:
    assert not verified(KEY["public"], sign(PEM, request_statement(REVIEW, "acme", "invoice-17", "alice")), STATED)


@given(st.integers(0, 511))
def test_a_signature_of_which_one_bit_changed_is_refused(bit: int) -> None:
    raw = bytearray(base64.b64decode(SIGNATURE))
    raw[bit // 8] ^= 1 << bit % 8
    assert not verified(KEY["public"], base64.b64encode(raw).decode(), STATED)


@given(st.text() | st.binary().map(lambda raw: base64.b64encode(raw).decode()))
def test_any_text_as_signature_or_key_is_refused_and_raises_nothing(given: str) -> None:
    assert not verified(KEY["public"], given, STATED)
    assert not verified(given, SIGNATURE, STATED)


@pytest.mark.parametrize(
    "written",
    [
        lambda text: text.rstrip("="),
        lambda text: text + "=",
        lambda text: text + "\n",
        lambda text: " " + text,
        lambda text: text[:40] + "\n" + text[40:],
        lambda text: text.rstrip("=")[:-1] + chr(ord(text.rstrip("=")[-1]) + 1) + "==",  # spare bits
        lambda text: base64.urlsafe_b64encode(b"\xff" * 64).decode(),
        lambda text: base64.b16encode(base64.b64decode(text)).decode(),
        lambda text: base64.b64encode(base64.b64decode(text) + b"\0").decode(),
        lambda text: base64.b64encode(base64.b64decode(text)[:-1]).decode(),
    ],
)
def test_a_signature_is_written_in_one_way_only(written: Callable[[str], str]) -> None:
    assert not verified(KEY["public"], written(SIGNATURE), STATED)


ORDER = 2**252 + 27742317777372353535851937790883648493


def test_a_signature_with_the_order_of_the_curve_added_is_refused() -> None:
    raw = base64.b64decode(SIGNATURE)
    again = raw[:32] + (int.from_bytes(raw[32:], "little") + ORDER).to_bytes(32, "little")
    assert not verified(KEY["public"], base64.b64encode(again).decode(), STATED)


@pytest.mark.parametrize("point", sorted(reviews._SMALL_ORDER))
@pytest.mark.parametrize("sign_bit", [0, 0x80])
def test_a_key_for_which_anybody_can_sign_is_no_key(point: bytes, sign_bit: int) -> None:
    weak = base64.b64encode(bytes((*point[:-1], point[-1] | sign_bit))).decode()
    forged = base64.b64encode(b"\x01" + b"\0" * 63).decode()
    assert not any(verified(weak, forged, b"%d" % n) for n in range(16))
    with pytest.raises(BadKey, match="small order"):
        public_key(weak)


# Keys


def test_a_new_key_is_registered_by_its_public_half() -> None:
    pem, fields = new_key()
    assert PersonKey.model_validate(fields).public == fields["public"]
    assert b"PRIVATE" in pem and fields["public"].encode() not in pem
    assert reviews.key_of(pem) == fields == public_key(fields["public"])
    assert key_id(fields["public"]) == fields["id"]


def test_a_public_key_is_given_as_openssl_writes_it_too() -> None:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    pem = reviews._private(PEM).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert public_key(pem.decode()) == KEY


def test_another_algorithm_an_encrypted_key_and_no_key_are_refused_in_words() -> None:
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

    other = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    locked = reviews._private(PEM).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    for private, why in ((other, "not of Ed25519"), (locked, "encrypted"), (b"", "no private key"), (b"\xff", "no private key")):
        with pytest.raises(BadKey, match=why):
            sign(private, STATED)
    for public in ("", "AAAA", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", PEM.decode(), "é" * 44):
        with pytest.raises(BadKey):
            public_key(public)


def test_the_signature_is_that_of_rfc_8032() -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    seed = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    pem = Ed25519PrivateKey.from_private_bytes(seed).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert base64.b64decode(sign(pem, b"\x72")).hex() == (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )


# Requests


def test_a_requester_signs_the_request_as_it_is_sent() -> None:
    body = json.loads(
        '{"type": "pay", "data": {"euros": 5}, "requester": "bob", "requester_key": "k", "requester_signature": "s"}'
    )
    assert (
        request_statement(body, "acme", "w", "bob")
        == (
            f'{{"requester":"bob","sha256":"{request_sha256({"data": {"euros": 5}, "type": "pay"})}",'
            '"tenant":"acme","type":"hansard.request.v1","workflow":"w"}'
        ).encode()
    )
    assert request_sha256(body) != request_sha256(body | {"data": {"euros": 6}})
    assert request_sha256(body) == request_sha256(body | {"text": None, "data_refs": {}})


def test_who_signs_nothing_loads_no_cryptography() -> None:
    source = "import sys, hansard, hansard.client, hansard.reviews; assert 'cryptography' not in sys.modules"
    subprocess.run([sys.executable, "-c", source], check=True)


# Other languages

SEED = bytes(range(32))
FROZEN = {  # what is signed never changes: reviews that were signed before are checked again
    "sha256": "a06e6a6735e7fa5812671baf2242445909067abd5314d4d9ae2710f50049f2fe",
    "signature": "PcuDWW7RFbGyDEE5bfEyleS/DjbiDjJf/O1COpoS/WcWpYSczF3l5sP6zwCJ88iWkIp0upRlxzz0pZA1GXleCw==",
}


def fixed_key() -> bytes:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return Ed25519PrivateKey.from_private_bytes(SEED).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def test_what_was_signed_once_stays_signed() -> None:
    review = REVIEW | {"key": "0123456789abcdef", "notes": "“fine”\n", "answer": {"é": [1.5, 1e21, 0.000001, -0.0], "😀": None}}
    signed = statement(review, "acme", "invoice-17")
    assert {"sha256": hashlib.sha256(signed).hexdigest(), "signature": sign(fixed_key(), signed)} == FROZEN


JAVASCRIPT = """
const { createPrivateKey, sign } = require('node:crypto')
const canonical = v => v === null || typeof v !== 'object' ? JSON.stringify(v)
  : Array.isArray(v) ? '[' + v.map(canonical).join(',') + ']'
  : '{' + Object.keys(v).sort().map(k => JSON.stringify(k) + ':' + canonical(v[k])).join(',') + '}'
const lines = require('node:fs').readFileSync(0, 'utf8').trim().split('\\n').map(line => JSON.parse(line))
for (const { pem, review, tenant, workflow } of lines) {
  const none = { sha256: '', expires_at: '', notes: '', edited: null, question: '', to: '', answer: null, key: '' }
  const text = canonical({ type: 'hansard.review.v1', tenant, workflow, review: { ...none, ...review } })
  console.log(sign(null, Buffer.from(text), createPrivateKey(pem)).toString('base64'))
}
"""


@given(st.lists(st.tuples(some_reviews, texts, texts), min_size=1, max_size=20))
@settings(max_examples=10)
def test_a_program_in_javascript_signs_the_same_statement(given: list[tuple[dict[str, Any], str, str]]) -> None:
    lines = [
        json.dumps({"pem": PEM.decode(), "review": review, "tenant": tenant, "workflow": workflow})
        for review, tenant, workflow in given
    ]
    done = subprocess.run([NODE, "-e", JAVASCRIPT], input="\n".join(lines).encode(), capture_output=True, check=True)
    for (review, tenant, workflow), signature in zip(given, done.stdout.decode().split(), strict=True):
        read = ReviewAction.model_validate_json(json.dumps(review)).model_dump(mode="json")
        assert verified(KEY["public"], signature, statement(read, tenant, workflow))
