"""The public keys of an OpenID provider: where they are, fetched, kept for a while, fetched again when one is missing."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from shared.identity.addresses import BadAddress, checked_address
from shared.json_text import BadJson, parsed

DISCOVERY = "/.well-known/openid-configuration"
LARGEST = 256 * 1024  # bytes of an answer
MOST = 100  # keys of a set
PATIENCE = 5.0  # seconds for one answer
FRESH = 600.0  # seconds after which the keys are fetched again
OLDEST = 3600.0  # seconds for which keys count while the provider does not answer
PAUSE = 10.0  # seconds between two fetches, whatever the tokens name

Fetch = Callable[[str], Awaitable[bytes]]


class KeysUnavailable(Exception):
    """The provider's keys cannot be had now: nothing is wrong with the token. The text is for the operator."""


async def fetch(url: str) -> bytes:
    """What is at this address. Follows no redirect. Raises KeysUnavailable."""
    timeout = aiohttp.ClientTimeout(total=PATIENCE)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, headers={"Accept": "application/json"}) as session,
            session.get(checked_address(url), allow_redirects=False) as answer,
        ):
            if answer.status != 200:
                raise KeysUnavailable(f"{url} answers with status {answer.status}")
            body = await _read(answer.content, url)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as failed:
        raise KeysUnavailable(f"{url} does not answer: {failed or type(failed).__name__}") from None
    return body


async def _read(content: aiohttp.StreamReader, url: str) -> bytes:
    body = bytearray()
    async for part in content.iter_any():
        body += part
        if len(body) > LARGEST:
            raise KeysUnavailable(f"{url} answers with more than {LARGEST} bytes")
    return bytes(body)


@dataclass
class ProviderKeys:
    """The keys of one provider, as JWKs. `address`: of the set; "": as the provider's configuration names it."""

    issuer: str
    address: str = ""
    fetch: Fetch = fetch
    clock: Callable[[], float] = time.monotonic
    _keys: tuple[Mapping[str, Any], ...] = ()
    _fetched_at: float = float("-inf")
    _tried_at: float = float("-inf")
    _trouble: str = ""
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def named(self, kid: str | None) -> tuple[Mapping[str, Any], ...]:
        """The keys with this id; without an id all. Fetches them where they are old, or none has it. Raises KeysUnavailable."""
        if self._age() > FRESH or not self._with(kid):
            async with self._lock:  # many that ask together wait for one fetch
                if (self._age() > FRESH or not self._with(kid)) and self.clock() - self._tried_at >= PAUSE:
                    await self._refresh()
        if self._age() > OLDEST:
            raise KeysUnavailable(self._trouble or "the provider's keys were not fetched yet")
        return self._with(kid)

    def _age(self) -> float:
        return self.clock() - self._fetched_at

    def _with(self, kid: str | None) -> tuple[Mapping[str, Any], ...]:
        return self._keys if kid is None else tuple(key for key in self._keys if key.get("kid") == kid)

    async def _refresh(self) -> None:
        self._tried_at = self.clock()
        try:
            self._keys, self._trouble = await self._fetched(), ""
            self._fetched_at = self.clock()
        except KeysUnavailable as unavailable:
            self._trouble = str(unavailable)

    async def _fetched(self) -> tuple[Mapping[str, Any], ...]:
        address = self.address or await self._discovered()
        keys = _object(await self.fetch(address), address).get("keys")
        if not isinstance(keys, list) or len(keys) > MOST:
            raise KeysUnavailable(f"{address} holds no set of at most {MOST} keys")
        return tuple(_public(keys))

    async def _discovered(self) -> str:
        url = self.issuer.rstrip("/") + DISCOVERY
        found = _object(await self.fetch(url), url)
        if found.get("issuer") != self.issuer:
            raise KeysUnavailable(f"{url} is of another issuer: {str(found.get('issuer'))[:200]!r}")
        try:
            return checked_address(str(found.get("jwks_uri", "")))
        except BadAddress as bad:
            raise KeysUnavailable(f"{url} names no address of keys: {bad}") from None


def _object(body: bytes, url: str) -> Mapping[str, Any]:
    try:
        found = parsed(body.decode())
    except (BadJson, ValueError) as bad:
        raise KeysUnavailable(f"{url} answers with no JSON: {bad}") from None
    if not isinstance(found, dict):
        raise KeysUnavailable(f"{url} answers with no JSON object")
    return found


def _public(keys: Iterable[object]) -> Iterable[Mapping[str, Any]]:
    """Those that may verify signatures. A symmetric key in a public set is everybody's."""
    for key in keys:
        if isinstance(key, dict) and key.get("kty") in ("RSA", "EC", "OKP") and key.get("use", "sig") == "sig":
            operations = key.get("key_ops", ["verify"])
            if isinstance(operations, list) and "verify" in operations:
                yield key
