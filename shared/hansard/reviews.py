"""Who sent it: what a person signs, and whether a signature is that person's. Ed25519 (RFC 8032) over JSON of RFC 8785.

A program in any language makes the same statement: an object with `type`, `tenant`, `workflow` and `review`, written as RFC 8785
says (names sorted by their UTF-16 code units, no blanks, ECMAScript's numbers, UTF-8 without escapes that JSON does not need).
`review` has all fields of the review but `signature`; those that were not given have their defaults (`FIELDS`). A field that a
later version adds is there only where it is not null. Of a review that rejects:

    {"review":{"action_id":"pay.1","answer":null,"decision":"reject","edited":null,"expires_at":"2026-01-31T12:00:00.000500Z",
    "key":"0123456789abcdef","notes":"twice","question":"","review":"6f1d0c2a","reviewer":"alice@example.org",
    "sha256":"9f86…0a08","to":""},"tenant":"","type":"hansard.review.v1","workflow":"invoice-17"}

(in one line). `expires_at` is that of the message `hansard.approval.proposed.v1`, or `question-asked.v1`, to the letter: no two
deployments proposed the same action at the same microsecond, so a review of one is none of another. An integer in
`answer` is at most 2**53 - 1: larger ones travel as strings.
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict

import rfc8785

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

REVIEW, REQUEST = "hansard.review.v1", "hansard.request.v1"
REQUIRED = ("review", "action_id", "decision", "reviewer")
FIELDS: dict[str, Any] = {
    "sha256": "",
    "expires_at": "",
    "notes": "",
    "edited": None,
    "question": "",
    "to": "",
    "answer": None,
    "key": "",
}
REQUESTERS = ("requester", "requester_key", "requester_signature")  # fields of a request which say who sent it

_SMALL_ORDER = frozenset(  # points for which a signature can be made without a private key; the highest bit is the sign of x
    bytes.fromhex(y)
    for y in (
        "00" * 32,
        "01" + "00" * 31,
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "7f",
    )
)


class KeyFields(TypedDict):
    """The fields of `contracts.approval.PersonKey`."""

    id: str
    algorithm: str
    public: str


class BadKey(ValueError):
    """No key of this kind. The text says why, and never holds any of it."""


# What is signed


def statement(review: Mapping[str, Any], tenant: str, workflow: str) -> bytes:
    """What a reviewer signs, of the review's fields as JSON has them: `message.model_dump(mode="json")`.

    Raises ValueError where a field is missing, or RFC 8785 cannot write it: a lone surrogate, an integer beyond 2**53 - 1.
    """
    if missing := [name for name in REQUIRED if name not in review]:
        raise ValueError(f"a review needs `{missing[0]}`")
    fields = {name: value for name, value in review.items() if value is not None and name != "signature"}
    return _canonical({"type": REVIEW, "tenant": tenant, "workflow": workflow, "review": FIELDS | fields})


def request_statement(request: Mapping[str, Any], tenant: str, workflow: str, requester: str) -> bytes:
    """What a requester signs: `{"requester","sha256","tenant","type":"hansard.request.v1","workflow"}`.

    `sha256` is that of the request's own fields, as `request_sha256` says. Raises ValueError like `statement`.
    """
    return requester_statement(request_sha256(request), tenant, workflow, requester)


def requester_statement(sha256: str, tenant: str, workflow: str, requester: str) -> bytes:
    """What a requester signs, where the request itself is not at hand but its `request_sha256` is."""
    return _canonical({"type": REQUEST, "tenant": tenant, "workflow": workflow, "requester": requester, "sha256": sha256})


def requester_verified(public: str, signature: str, sha256: str, tenant: str, workflow: str, requester: str) -> bool:
    """Whether the requester signed the request of this hash. Raises nothing, whatever the strings hold."""
    try:
        return verified(public, signature, requester_statement(sha256, tenant, workflow, requester))
    except ValueError:
        return False


def request_sha256(request: Mapping[str, Any]) -> str:
    """Of RFC 8785's JSON of the fields that the request gives, without `REQUESTERS` and without what is null or empty.

    Fields are as services write them: times in UTC with six digits of microseconds or none (`2026-01-31T12:00:00Z`), amounts as
    strings. Defaults that were not given are not there. Raises ValueError like `statement`.
    """
    fields = {name: value for name, value in request.items() if name not in REQUESTERS and value not in (None, {}, [], "")}
    return hashlib.sha256(_canonical(fields)).hexdigest()


def _canonical(value: Mapping[str, Any]) -> bytes:
    return rfc8785.dumps(dict(value))


# Keys


def new_key() -> tuple[bytes, KeyFields]:
    """A private key as PEM (PKCS #8, not encrypted: keep it in a file of mode 600), and what is registered of it."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    private = Ed25519PrivateKey.generate()
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), _fields_of(private)


def public_key(public: str) -> KeyFields:
    """What is registered of a public key, given as the base64 of its 32 bytes or as PEM. Raises BadKey."""
    raw = _raw_of_pem(public) if "-----BEGIN" in public else _unwritten(public.strip(), 32)
    if raw is None:
        raise BadKey("a public key is PEM, or the base64 of 32 bytes, 44 characters that end with `=`")
    if _is_weak(raw):
        raise BadKey("this public key is of small order: anybody could sign with it")
    return _registered(raw)


def key_of(private: bytes) -> KeyFields:
    """What is registered of a private key. Raises BadKey."""
    return _fields_of(_private(private))


def key_id(public: str) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of a public key's 32 bytes. Raises BadKey."""
    return public_key(public)["id"]


def sign(private: bytes, statement: bytes) -> str:
    """The signature, as base64. Raises BadKey where `private` is no Ed25519 key as PEM."""
    return base64.b64encode(_private(private).sign(statement)).decode()


def verified(public: str, signature: str, statement: bytes) -> bool:
    """Whether the signature is this key's, over exactly these bytes. Raises nothing, whatever the strings hold."""
    key, signed = _unwritten(public, 32), _unwritten(signature, 64)
    if key is None or signed is None or _is_weak(key):
        return False
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signed, statement)
    except (InvalidSignature, ValueError):
        return False
    return True


def has_form(signature: str) -> bool:
    """Whether it is the one right base64 of 64 bytes, as each signature is; whose it is, it does not say."""
    return _unwritten(signature, 64) is not None


def _private(pem: bytes) -> "Ed25519PrivateKey":
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError:
        raise BadKey("this private key is encrypted: decrypt it into a file of mode 600 first") from None
    except (ValueError, UnsupportedAlgorithm):
        raise BadKey("this is no private key in PEM: `-----BEGIN PRIVATE KEY-----`") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise BadKey("this private key is not of Ed25519")
    return key


def _raw_of_pem(pem: str) -> bytes | None:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        return None
    return key.public_bytes_raw() if isinstance(key, Ed25519PublicKey) else None


def _fields_of(private: "Ed25519PrivateKey") -> KeyFields:
    return _registered(private.public_key().public_bytes_raw())


def _registered(raw: bytes) -> KeyFields:
    return KeyFields(id=hashlib.sha256(raw).hexdigest()[:16], algorithm="Ed25519", public=base64.b64encode(raw).decode())


def _is_weak(raw: bytes) -> bool:
    return bytes((*raw[:-1], raw[-1] & 0x7F)) in _SMALL_ORDER


def _unwritten(text: str, length: int) -> bytes | None:
    """The bytes of their one right base64, None for any other text: spare bits, blanks, another alphabet."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if len(raw) == length and base64.b64encode(raw).decode() == text else None
