"""Whose a token is. Every token that the provider did not sign for us, now, is nobody's."""

import asyncio
import base64
import hashlib
import hmac
import json
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jwk, jws, jwt

from shared.identity.provider import ProviderKeys
from shared.identity.tokens import BadToken, Identity, TokenVerifier

NOW = 1_800_000_000
ISSUER, OTHER = "https://id.example.org", "https://id.example.com"
CLAIMS: dict[str, Any] = {"iss": ISSUER, "aud": "hansard", "sub": "anna", "iat": NOW, "exp": NOW + 300}
HEADER = {"alg": "RS256", "kid": "k1", "typ": "JWT"}
RSA = jwk.RSAKey.generate_key(2048, {"kid": "k1"})
SECOND = jwk.RSAKey.generate_key(2048, {"kid": "k2"})
EC = jwk.ECKey.generate_key("P-256", {"kid": "e1"})
ED = jwk.OKPKey.generate_key("Ed25519", {"kid": "d1"})
THEIRS = jwk.RSAKey.generate_key(2048, {"kid": "k1"})  # a stranger's, under the same id
with warnings.catch_warnings(action="ignore"):
    WEAK = jwk.RSAKey.generate_key(1024, {"kid": "weak"})
PUBLIC = [key.as_dict(private=False) for key in (RSA, SECOND, EC, ED, WEAK)]
PEM = RSA.as_pem(private=False)


async def the_set(_: str) -> bytes:
    return json.dumps({"keys": [*PUBLIC, {"kty": "oct", "kid": "k1", "k": "c2VjcmV0"}]}).encode()


def verifier(*algorithms: str, fetch: Any = the_set, **more: Any) -> TokenVerifier:
    keys = ProviderKeys(ISSUER, f"{ISSUER}/keys", fetch=fetch)
    return TokenVerifier(keys, "hansard", algorithms or ("RS256", "ES256"), clock=lambda: NOW, **more)


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def written(value: object) -> str:
    return b64(json.dumps(value).encode())


def token(header: Mapping[str, Any] = HEADER, claims: Mapping[str, Any] = CLAIMS, key: Any = RSA) -> str:
    registry = jws.JWSRegistry(algorithms=["RS256", "ES256", "EdDSA", "RS512", "PS256"], strict_check_header=False)
    algorithms = ["RS256", "ES256", "EdDSA", "RS512", "PS256"]
    return jwt.encode(dict(header), dict(claims), key, algorithms=algorithms, registry=registry)


def signed(header: Mapping[str, Any], claims: Mapping[str, Any] = CLAIMS) -> str:
    """Whatever the header demands, the signature is right."""
    text = f"{written(header)}.{written(claims)}"
    key: Any = RSA.raw_value
    return f"{text}.{b64(key.sign(text.encode(), PKCS1v15(), SHA256()))}"


def whose(text: str, of: TokenVerifier | None = None) -> Identity:
    return asyncio.run((of or verifier()).verify(text))


def refused(text: str, of: TokenVerifier | None = None) -> str:
    with pytest.raises(BadToken) as bad:
        whose(text, of)
    assert len(text) < 8 or text not in str(bad.value)
    return str(bad.value)


GOOD = token()
H, P, S = GOOD.split(".")


def with_header(**changes: Any) -> str:
    """The header changed, under the old signature."""
    return f"{written(HEADER | changes)}.{P}.{S}"


def confused(key: bytes) -> str:
    """HS256 with a public key as the secret, which a careless verifier takes."""
    head = written({"alg": "HS256", "kid": "k1"})
    return f"{head}.{P}.{b64(hmac.new(key, f'{head}.{P}'.encode(), hashlib.sha256).digest())}"


def test_a_token_of_the_provider_names_its_person() -> None:
    identity = whose(GOOD)
    assert (identity.issuer, identity.subject, identity.name) == (ISSUER, "anna", f"{ISSUER} anna")
    assert identity.claims["aud"] == "hansard"


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ({"alg": "ES256", "kid": "e1"}, EC),
        ({"alg": "RS256", "kid": "k2", "typ": "at+jwt"}, SECOND),
        (HEADER | {"typ": "JWT", "x5t": "abc", "vendor": "field"}, RSA),
    ],
)
def test_each_of_its_keys_counts_for_the_algorithms_that_are_allowed(header: dict[str, Any], key: Any) -> None:
    assert whose(token(header, key=key)).subject == "anna"


def test_an_algorithm_counts_only_where_it_is_allowed() -> None:
    signed = token({"alg": "EdDSA", "kid": "d1"}, key=ED)
    assert "not allowed" in refused(signed)
    assert whose(signed, verifier("EdDSA")).subject == "anna"


HOSTILE: dict[str, Callable[[], str]] = {
    "empty": lambda: "",
    "no dots": lambda: "eyJhbGciOiJub25lIn0",
    "one part": lambda: H,
    "two parts": lambda: f"{H}.{P}",
    "four parts": lambda: f"{GOOD}.{S}",
    "five parts, as an encrypted one has": lambda: f"{H}.{P}.{S}.{S}.{S}",
    "alg none, no signature": lambda: f"{written({'alg': 'none'})}.{P}.",
    "alg none, old signature": lambda: with_header(alg="none"),
    "alg NoNe": lambda: with_header(alg="NoNe"),
    "no alg": lambda: f"{written({'kid': 'k1'})}.{P}.{S}",
    "alg a list": lambda: with_header(alg=["RS256"]),
    "alg null": lambda: with_header(alg=None),
    "HS256 with the public key as PEM": lambda: confused(PEM),
    "HS256 with the public key as JWK": lambda: confused(json.dumps(PUBLIC[0]).encode()),
    "HS256 with a symmetric key of the set": lambda: confused(b"secret"),
    "RS512, which is not allowed": lambda: token(HEADER | {"alg": "RS512"}),
    "PS256, which is not allowed": lambda: token(HEADER | {"alg": "PS256"}),
    "an algorithm of another key": lambda: with_header(alg="ES256"),
    "a stranger's key of the same id": lambda: token(key=THEIRS),
    "a stranger's key in the header": lambda: token(HEADER | {"jwk": THEIRS.as_dict(private=False)}, key=THEIRS),
    "a stranger's key at an address": lambda: token(HEADER | {"jku": "https://evil.example/keys", "kid": "k1"}, key=THEIRS),
    "a stranger's certificate": lambda: token(HEADER | {"x5u": "https://evil.example/x5"}, key=THEIRS),
    "a key that is not there": lambda: token(HEADER | {"kid": "k9"}),
    "kid a number": lambda: with_header(kid=1),
    "kid a path": lambda: token(HEADER | {"kid": "../../../../dev/null"}, key=THEIRS),
    "no kid, several keys": lambda: token({"alg": "RS256"}),
    "a key of 1024 bits": lambda: token(HEADER | {"kid": "weak"}, key=WEAK),
    "critical extensions": lambda: signed(HEADER | {"crit": ["exp"], "exp": NOW}),
    "an unencoded payload": lambda: signed(HEADER | {"b64": False, "crit": ["b64"]}),
    "a token for a logout": lambda: token(HEADER | {"typ": "logout+jwt"}),
    "typ a list": lambda: with_header(typ=["JWT"]),
    "claims changed": lambda: f"{H}.{written(CLAIMS | {'sub': 'root'})}.{S}",
    "signature cut": lambda: GOOD[:-4],
    "signature empty": lambda: f"{H}.{P}.",
    "signature of zeros": lambda: f"{H}.{P}.{b64(bytes(256))}",
    "signature of another token": lambda: f"{H}.{P}.{token(claims=CLAIMS | {'sub': 'bob'}).split('.')[2]}",
    "padding": lambda: f"{GOOD}==",
    "a blank before": lambda: f" {GOOD}",
    "a line end after": lambda: f"{GOOD}\n",
    "standard base64": lambda: f"{H}.{P}.{S.replace('_', '/').replace('-', '+')}{'' if set('_-') & set(S) else '/'}",
    "header is no JSON": lambda: f"{b64(b'{')}.{P}.{S}",
    "header is a list": lambda: f"{written([HEADER])}.{P}.{S}",
    "alg twice": lambda: ".".join((b64(b'{"alg":"none","alg":"RS256","kid":"k1"}'), P, S)),
    "header is not UTF-8": lambda: f"{b64(bytes([255, 254]))}.{P}.{S}",
    "deeply nested": lambda: f"{b64(b'[' * 8000)}.{P}.{S}",
    "huge": lambda: GOOD + "A" * 20_000,
    "not ASCII": lambda: f"{H}.{P}.é",
    "claims are a text": lambda: jws.serialize_compact(HEADER, b'"anna"', RSA, algorithms=["RS256"]),
    "issuer of another": lambda: token(claims=CLAIMS | {"iss": OTHER}),
    "issuer with a slash": lambda: token(claims=CLAIMS | {"iss": f"{ISSUER}/"}),
    "issuer a list": lambda: token(claims=CLAIMS | {"iss": [ISSUER]}),
    "no issuer": lambda: token(claims={name: value for name, value in CLAIMS.items() if name != "iss"}),
    "another audience": lambda: token(claims=CLAIMS | {"aud": "billing"}),
    "audience a part of ours": lambda: token(claims=CLAIMS | {"aud": "hansard-admin"}),
    "audiences without ours": lambda: token(claims=CLAIMS | {"aud": ["a", "b"]}),
    "audience an object": lambda: token(claims=CLAIMS | {"aud": {"hansard": True}}),
    "no audience": lambda: token(claims={name: value for name, value in CLAIMS.items() if name != "aud"}),
    "no subject": lambda: token(claims={name: value for name, value in CLAIMS.items() if name != "sub"}),
    "subject empty": lambda: token(claims=CLAIMS | {"sub": ""}),
    "subject a number": lambda: token(claims=CLAIMS | {"sub": 1}),
    "subject with a control character": lambda: token(claims=CLAIMS | {"sub": "an\nna"}),
    "subject too long": lambda: token(claims=CLAIMS | {"sub": "a" * 256}),
    "no expiry": lambda: token(claims={name: value for name, value in CLAIMS.items() if name != "exp"}),
    "expired": lambda: token(claims=CLAIMS | {"exp": NOW - 60}),
    "expiry true": lambda: token(claims=CLAIMS | {"exp": True}),
    "expiry in words": lambda: token(claims=CLAIMS | {"exp": "tomorrow"}),
    "expiry without an end": lambda: token(claims=CLAIMS | {"exp": 10**400}),
    "not valid yet": lambda: token(claims=CLAIMS | {"nbf": NOW + 61}),
    "issued in the future": lambda: token(claims=CLAIMS | {"iat": NOW + 61}),
    "issued at no time": lambda: token(claims=CLAIMS | {"iat": [NOW]}),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_token_is_nobodys(name: str) -> None:
    assert refused(HOSTILE[name]())


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": NOW - 59},
        {"exp": NOW + 0.5},
        {"nbf": NOW + 60},
        {"iat": NOW + 60},
        {"aud": ["billing", "hansard"]},
        {"sub": "a b"},
    ],
)
def test_clocks_may_be_a_minute_apart_and_a_token_may_be_for_others_too(claims: dict[str, Any]) -> None:
    assert whose(token(claims=CLAIMS | claims))


def test_without_leeway_a_token_ends_to_the_second() -> None:
    assert "expired" in refused(token(claims=CLAIMS | {"exp": NOW}), verifier(skew=0))
    assert whose(token(claims=CLAIMS | {"exp": NOW + 1}), verifier(skew=0))


def test_a_provider_with_one_key_need_not_name_it() -> None:
    async def one_key(_: str) -> bytes:
        return json.dumps({"keys": [PUBLIC[0], PUBLIC[2]]}).encode()

    assert whose(token({"alg": "RS256"}), verifier(fetch=one_key)).subject == "anna"


def test_a_token_that_is_signed_by_hand_counts_too() -> None:
    assert whose(signed(HEADER)).subject == "anna"


@given(st.integers(0, len(GOOD) - 1), st.characters(codec="ascii"))
@settings(max_examples=200)
def test_a_token_with_one_other_character_is_nobodys(place: int, character: str) -> None:
    changed = GOOD[:place] + character + GOOD[place + 1 :]
    if changed != GOOD:
        refused(changed)


@given(st.text() | st.binary().map(lambda raw: f"{H}.{b64(raw)}.{S}") | st.binary().map(lambda raw: f"{b64(raw)}.{P}.{S}"))
def test_any_text_is_refused_and_nothing_else_is_raised(text: str) -> None:
    refused(text)


@pytest.mark.parametrize("algorithms", [("none",), ("HS256",), ("RS256", "HS512"), ()])
def test_no_deployment_can_allow_an_algorithm_that_proves_nothing(algorithms: tuple[str, ...]) -> None:
    with pytest.raises(ValueError):
        TokenVerifier(ProviderKeys(ISSUER), "hansard", algorithms)
    with pytest.raises(ValueError):
        TokenVerifier(ProviderKeys(ISSUER), "")
