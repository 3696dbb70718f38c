"""The keys of an OpenID provider: fetched once, kept, rotated, and used a while longer when the provider is away."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from shared.identity import provider
from shared.identity.addresses import BadAddress, checked_address
from shared.identity.provider import KeysUnavailable, ProviderKeys, fetch

ISSUER = "https://id.example.org"


def key(kid: str, **more: Any) -> dict[str, Any]:
    return {"kty": "RSA", "kid": kid, "n": "n", "e": "AQAB"} | more


@dataclass
class Provider:
    """One that counts how often it is asked."""

    keys: list[Any] = field(default_factory=lambda: [key("k1")])
    away: bool = False
    asked: list[str] = field(default_factory=list)
    at: float = 1000.0
    configuration: dict[str, Any] = field(default_factory=lambda: {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/keys"})

    async def fetch(self, url: str) -> bytes:
        self.asked.append(url)
        await asyncio.sleep(0)
        if self.away:
            raise KeysUnavailable("it is away")
        return json.dumps(self.configuration if url.endswith(provider.DISCOVERY) else {"keys": self.keys}).encode()

    def ours(self, address: str = f"{ISSUER}/keys") -> ProviderKeys:
        return ProviderKeys(ISSUER, address, fetch=self.fetch, clock=lambda: self.at)


async def ids(keys: ProviderKeys, kid: str | None = None) -> list[str]:
    return [str(one["kid"]) for one in await keys.named(kid)]


async def test_keys_are_fetched_once_however_many_ask_together() -> None:
    there = Provider(keys=[key("k1"), key("k2")])
    keys = there.ours()
    assert await asyncio.gather(*(ids(keys, "k1") for _ in range(50))) == [["k1"]] * 50
    assert (await ids(keys, "k2"), await ids(keys)) == (["k2"], ["k1", "k2"])
    assert len(there.asked) == 1


async def test_a_key_that_is_not_there_is_looked_for_and_strangers_cannot_make_us_ask_often() -> None:
    there = Provider()
    keys = there.ours()
    assert await ids(keys, "k1") == ["k1"]
    there.keys.append(key("k2"))  # the provider has a new key
    assert await ids(keys, "k2") == []
    there.at += provider.PAUSE
    assert await ids(keys, "k2") == ["k2"]
    for n in range(100):
        assert await ids(keys, f"unknown-{n}") == []
    assert len(there.asked) == 2


async def test_a_key_that_was_withdrawn_no_longer_counts_when_the_keys_are_old() -> None:
    there = Provider(keys=[key("k1"), key("k2")])
    keys = there.ours()
    await ids(keys)
    there.keys = [key("k2")]
    assert await ids(keys, "k1") == ["k1"]
    there.at += provider.FRESH + 1
    assert await ids(keys, "k1") == []


async def test_while_the_provider_is_away_its_keys_count_for_an_hour_and_no_longer() -> None:
    there = Provider()
    keys = there.ours()
    await ids(keys)
    there.away = True
    there.at += provider.OLDEST
    assert await ids(keys, "k1") == ["k1"]
    there.at += 1
    with pytest.raises(KeysUnavailable, match="it is away"):
        await ids(keys, "k1")
    there.away = False
    there.at += provider.PAUSE
    assert await ids(keys, "k1") == ["k1"]


async def test_a_provider_that_never_answered_is_asked_again_after_a_pause() -> None:
    there = Provider(away=True)
    keys = there.ours()
    for _ in range(10):
        with pytest.raises(KeysUnavailable, match="it is away"):
            await ids(keys)
    assert len(there.asked) == 1


async def test_its_configuration_names_where_the_keys_are() -> None:
    there = Provider()
    assert await ids(there.ours("")) == ["k1"]
    assert there.asked == [f"{ISSUER}{provider.DISCOVERY}", f"{ISSUER}/keys"]


@pytest.mark.parametrize(
    "configuration",
    [
        {"issuer": "https://evil.example", "jwks_uri": f"{ISSUER}/keys"},
        {"jwks_uri": f"{ISSUER}/keys"},
        {"issuer": ISSUER},
        {"issuer": ISSUER, "jwks_uri": "http://id.example.org/keys"},
        {"issuer": ISSUER, "jwks_uri": "file:///etc/passwd"},
        {"issuer": ISSUER, "jwks_uri": 7},
        {"issuer": ISSUER, "jwks_uri": "https://user:secret@id.example.org/keys"},
    ],
)
async def test_a_configuration_that_is_not_the_issuers_or_leads_elsewhere_is_refused(configuration: dict[str, Any]) -> None:
    with pytest.raises(KeysUnavailable):
        await ids(Provider(configuration=configuration).ours(""))


async def test_only_public_keys_for_signatures_are_kept() -> None:
    odd = [7, "key", None, key("enc", use="enc"), key("ops", key_ops=["sign"]), key("oct", kty="oct"), key("odd", key_ops=1)]
    there = Provider(keys=[*odd, key("k1", use="sig", key_ops=["verify"]), key("k2")])
    assert await ids(there.ours()) == ["k1", "k2"]


@pytest.mark.parametrize("keys", [[key(str(n)) for n in range(101)], {"k1": key("k1")}, None])
async def test_what_is_no_set_of_keys_is_refused(keys: Any) -> None:
    with pytest.raises(KeysUnavailable, match="no set of at most 100 keys"):
        await ids(Provider(keys=keys).ours())


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"keys": [], "keys": []}', b"\xff", b"[" * 100_000])
async def test_an_answer_that_is_no_json_object_is_refused(body: bytes) -> None:
    async def answers(_: str) -> bytes:
        return body

    with pytest.raises(KeysUnavailable):
        await ids(ProviderKeys(ISSUER, f"{ISSUER}/keys", fetch=answers))


@pytest.mark.parametrize(
    "url", ["http://id.example.org", "ftp://x", "https://", "//x", "", "https://x/#y", "http://127.0.0.1.evil"]
)
def test_an_address_is_https_or_on_this_machine(url: str) -> None:
    with pytest.raises(BadAddress):
        checked_address(url)


@pytest.mark.parametrize(
    "url", ["https://id.example.org/keys", "http://127.0.0.1:8080/keys", "http://localhost/k", "http://[::1]:1/"]
)
def test_addresses_that_may_be_fetched(url: str) -> None:
    assert checked_address(url) == url


# What a server may do


@asynccontextmanager
async def serving(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/keys", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/keys"
    finally:
        await runner.cleanup()


async def test_an_answer_is_fetched_over_http() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"keys": [key("k1")]})

    async with serving(answer) as url:
        assert await ids(ProviderKeys(ISSUER, url)) == ["k1"]


async def test_no_redirect_is_followed() -> None:
    async def answer(_: web.Request) -> web.Response:
        raise web.HTTPFound("https://evil.example/keys")

    async with serving(answer) as url:
        with pytest.raises(KeysUnavailable, match="status 302"):
            await fetch(url)


async def test_an_endless_answer_is_cut_off() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with pytest.raises(ConnectionError):
            while True:
                await response.write(b" " * 65536)
        return response

    async with serving(answer) as url:
        with pytest.raises(KeysUnavailable, match="more than 262144 bytes"):
            await fetch(url)


async def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider, "PATIENCE", 0.05)
    over = asyncio.Event()

    async def answer(_: web.Request) -> web.Response:
        await over.wait()
        return web.Response()

    async with serving(answer) as url:
        with pytest.raises(KeysUnavailable, match="does not answer"):
            await fetch(url)
        over.set()


async def test_an_address_that_is_not_allowed_is_not_asked() -> None:
    with pytest.raises(KeysUnavailable, match="must be an https"):
        await fetch("http://192.0.2.1/keys")
