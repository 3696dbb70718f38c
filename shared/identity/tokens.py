"""Tokens of an OpenID provider: whose they are, or why they are nobody's.

A token counts if a key of the provider signed it by an algorithm that we allow, for this deployment, now. What the token names
itself (`jku`, `x5u`, `jwk`) is never followed.
"""

import base64
import binascii
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from joserfc import jwk, jws
from joserfc.errors import JoseError

from shared.identity.provider import KeysUnavailable, ProviderKeys
from shared.json_text import BadJson, parsed

LARGEST = 16 * 1024  # characters of a token
SKEW = 60.0  # seconds by which the provider's clock and ours may be apart
LEAST_RSA = 2048  # bits
LONGEST_SUBJECT = 255
TYPES = ("jwt", "at+jwt", "application/jwt", "application/at+jwt")  # an access or identity token; not one for a logout, …

_KEYS = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}  # by the beginning of an algorithm
ALGORITHMS = (*(f"{family}{bits}" for family in ("RS", "PS", "ES") for bits in (256, 384, 512)), "EdDSA", "Ed25519")


class BadToken(Exception):
    """The token proves nobody. The text says why and holds nothing of it."""


class Identity(NamedTuple):
    """Whom a token stands for."""

    issuer: str
    subject: str
    claims: Mapping[str, Any]

    @property
    def name(self) -> str:
        """As `people add --identity` registers it."""
        return f"{self.issuer} {self.subject}"


@dataclass(frozen=True)
class TokenVerifier:
    """Verifies tokens of one provider, for one audience. `clock`: seconds since 1970."""

    keys: ProviderKeys
    audience: str
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    skew: float = SKEW
    clock: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        if not self.audience or not self.algorithms or not set(self.algorithms) <= set(ALGORITHMS):
            raise ValueError(f"tokens need an audience, and algorithms of {', '.join(ALGORITHMS)}")

    async def verify(self, token: str) -> Identity:
        """Whom the token stands for. Raises BadToken; KeysUnavailable where the provider does not answer."""
        header, payload = _parts(token)
        algorithm = self._algorithm(header)
        kid = header.get("kid")
        if kid is not None and not isinstance(kid, str):
            raise BadToken("`kid` is no string")
        found = [key for key in await self.keys.named(kid) if _fits(key, algorithm)]
        if not found:
            raise BadToken("it names no key that the provider has for this algorithm")
        if kid is None and len(found) > 1:
            raise BadToken("it names no key, and the provider has several")
        if not any(_is_signed_by(token, key, algorithm) for key in found):
            raise BadToken("its signature is not the provider's")
        return self._identity(payload)

    def _algorithm(self, header: Mapping[str, Any]) -> str:
        algorithm, kind = header.get("alg"), header.get("typ", "JWT")
        if algorithm not in self.algorithms:
            raise BadToken("it is signed by an algorithm that is not allowed here, or by none")
        if not isinstance(kind, str) or kind.lower() not in TYPES:
            raise BadToken("it is a token of another kind")
        if "crit" in header or "b64" in header:
            raise BadToken("it demands extensions that are not known here")
        return str(algorithm)

    def _identity(self, claims: Mapping[str, Any]) -> Identity:
        issuer, subject = claims.get("iss"), claims.get("sub")
        if issuer != self.keys.issuer:
            raise BadToken("it is of another issuer")
        if self.audience not in _audiences(claims.get("aud")):
            raise BadToken("it is for another audience")
        self._check_times(claims)
        if not isinstance(subject, str) or not 0 < len(subject) <= LONGEST_SUBJECT or not subject.isprintable():
            raise BadToken("`sub` names nobody")
        return Identity(self.keys.issuer, subject, claims)

    def _check_times(self, claims: Mapping[str, Any]) -> None:
        now = self.clock()
        if _time(claims, "exp", needed=True) + self.skew <= now:
            raise BadToken("it has expired")
        if _time(claims, "nbf") - self.skew > now:
            raise BadToken("it is not valid yet")
        if _time(claims, "iat") - self.skew > now:
            raise BadToken("it is issued in the future")


def _parts(token: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Header and claims of a token in the compact form."""
    if len(token) > LARGEST:
        raise BadToken(f"it has more than {LARGEST} characters")
    parts = token.split(".")
    if len(parts) != 3:
        raise BadToken("it is no signed token: three parts with dots between them")
    raw = [_unwritten(part) for part in parts]
    return _object(raw[0]), _object(raw[1])


def _unwritten(part: str) -> bytes:
    """The bytes of their one right base64url, without padding."""
    try:
        raw = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise BadToken("it is not written as base64url") from None
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != part:
        raise BadToken("it is not written as base64url")
    return raw


def _object(raw: bytes) -> Mapping[str, Any]:
    try:
        found = parsed(raw.decode())
    except (BadJson, UnicodeDecodeError):
        raise BadToken("it holds no JSON") from None
    if not isinstance(found, dict):
        raise BadToken("it holds no JSON object")
    return found


def _fits(key: Mapping[str, Any], algorithm: str) -> bool:
    return key.get("kty") == _KEYS[algorithm[:2]] and key.get("alg", algorithm) == algorithm


def _is_signed_by(token: str, key: Mapping[str, Any], algorithm: str) -> bool:
    registry = jws.JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    registry.max_header_length = registry.max_payload_length = LARGEST
    try:
        imported = jwk.import_key({name: value for name, value in key.items() if name not in ("use", "key_ops", "alg")})
        if isinstance(imported, jwk.RSAKey) and imported.raw_value.key_size < LEAST_RSA:
            return False
        jws.deserialize_compact(token, imported, algorithms=[algorithm], registry=registry)
    except (JoseError, ValueError, TypeError, KeyError):
        return False
    return True


def _audiences(given: object) -> Iterable[object]:
    return given if isinstance(given, list) else (given,)


def _time(claims: Mapping[str, Any], name: str, *, needed: bool = False) -> float:
    """A time in seconds since 1970; that of long ago where it is not there and need not be."""
    given = claims.get(name)
    if given is None and not needed:
        return 0.0
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given < 2**53:
        raise BadToken(f"`{name}` is no time")
    return float(given)


__all__ = ["ALGORITHMS", "BadToken", "Identity", "KeysUnavailable", "TokenVerifier"]
