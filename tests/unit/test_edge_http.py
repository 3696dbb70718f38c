"""The HTTP door: what is taken, what is recorded or published of it, and what is refused, over real HTTP."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from joserfc import jwk, jwt

from contracts.approval import ReviewAction
from contracts.control import CancelWorkflow
from contracts.requests import SubmitRequest
from hansard.envelope import Envelope
from services.edge.facts import ReviewGiven
from services.edge.performer import http
from services.edge.performer.http import Door, app_of
from shared import http_server
from shared.eventstore.api_keys import InMemoryApiKeys
from shared.eventstore.model import StoreUnavailable
from shared.http_server import serving
from shared.identity.api_keys import new_api_key
from shared.identity.provider import KeysUnavailable, ProviderKeys
from shared.identity.tokens import TokenVerifier

ISSUER, NOW = "https://id.example.org", 1_800_000_000
KEY = jwk.ECKey.generate_key("P-256", {"kid": "e1"})
CLAIMS = {"iss": ISSUER, "aud": "hansard", "sub": "anna", "exp": NOW + 300}
REVIEW = {"review": "6f1d0c2a", "action_id": "pay.1", "sha256": "ab" * 32, "decision": "approve", "reviewer": "alice"}
BODY = {"tenant": "acme", "workflow": "order-77", "review": REVIEW}


def now() -> datetime:
    return datetime.fromtimestamp(NOW, UTC)


def token(**claims: object) -> str:
    return jwt.encode({"alg": "ES256", "kid": "e1"}, CLAIMS | claims, KEY)


@dataclass
class Behind:
    """What lies behind the door: it notes what it is given, or fails."""

    recorded: list[tuple[str, str, ReviewGiven, str]] = field(default_factory=list)
    published: list[Envelope] = field(default_factory=list)
    api_keys: InMemoryApiKeys = field(default_factory=lambda: InMemoryApiKeys(now))
    trouble: BaseException | None = None
    provider_away: bool = False

    async def record(self, tenant: str, workflow: str, given: ReviewGiven, name: str) -> None:
        await self.fails()
        self.recorded.append((tenant, workflow, given, name))

    async def publish(self, envelope: Envelope) -> None:
        await self.fails()
        self.published.append(envelope)

    async def fails(self) -> None:
        if isinstance(self.trouble, asyncio.CancelledError):
            await asyncio.Event().wait()
        if self.trouble is not None:
            raise self.trouble

    async def keys(self, _: str) -> bytes:
        if self.provider_away:
            raise KeysUnavailable("it is away")
        return json.dumps({"keys": [KEY.as_dict(private=False)]}).encode()

    def door(self, *, with_provider: bool = True) -> Door:
        keys = ProviderKeys(ISSUER, f"{ISSUER}/keys", fetch=self.keys)
        tokens = TokenVerifier(keys, "hansard", clock=lambda: NOW) if with_provider else None
        return Door(tokens, self.api_keys, now, self.record, self.publish, 4000)

    async def new_key(self, *kinds: str) -> str:
        text, key = new_api_key("acme", "import", kinds or (SubmitRequest.kind,), "ops")
        await self.api_keys.add(key)
        return text


@asynccontextmanager
async def opened(door: Door) -> AsyncIterator[aiohttp.ClientSession]:
    async with (
        serving(app_of(door), "127.0.0.1:0") as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
    ):
        yield session


async def posted(
    behind: Behind,
    path: str,
    body: object,
    credential: str | None,
    headers: dict[str, str] | None = None,
    *,
    door: Door | None = None,
) -> tuple[int, dict[str, Any], dict[str, str]]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = (headers or {}) | ({"Authorization": f"Bearer {credential}"} if credential is not None else {})
    async with opened(door or behind.door()) as session, session.post(path, data=data, headers=given) as answer:
        text = await answer.text()
        assert credential is None or len(credential) < 20 or credential not in text
        return answer.status, json.loads(text), dict(answer.headers)


async def test_a_review_is_recorded_with_the_identity_that_its_token_proved() -> None:
    behind = Behind()
    status, answer, headers = await posted(behind, "/v1/reviews", BODY, token())
    assert (status, answer) == (202, {"workflow": "order-77", "action_id": "pay.1", "review": "6f1d0c2a"})
    assert headers["Cache-Control"] == "no-store" and "Server" not in headers
    [(tenant, workflow, given, name)] = behind.recorded
    assert (tenant, workflow, given.identity) == ("acme", "order-77", f"{ISSUER} anna")
    assert given.review == ReviewAction.model_validate(REVIEW)
    await posted(behind, "/v1/reviews", BODY, token(exp=NOW + 200))
    assert behind.recorded[1][3] == name, "sent again, with a newer token, it is the same review"
    await posted(behind, "/v1/reviews", BODY | {"review": REVIEW | {"notes": "x"}}, token())
    assert behind.recorded[2][3] != name


async def test_a_request_goes_to_its_door_in_the_tenant_of_its_key() -> None:
    behind = Behind()
    key = await behind.new_key()
    body = b'{"text": "What is a quorum?"}'
    status, answer, _ = await posted(behind, "/v1/requests", body, key, {"Idempotency-Key": "order-77"})
    assert (status, answer) == (202, {"workflow": "order-77", "tenant": "acme"})
    [sent] = behind.published
    assert (sent.data, sent.tenant, sent.id, sent.correlation_id) == (body, "acme", "order-77", "order-77")
    assert (sent.type, sent.source) == (SubmitRequest.kind, f"/api-keys/{key.split('_')[1]}")
    _, answer, _ = await posted(behind, "/v1/requests", body, key)
    assert answer["workflow"].startswith("http-") and answer["workflow"] != "order-77"


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": ""}, {"Authorization": "Bearer"}, {"Authorization": "Basic YTpi"}, {"Authorization": "Bearer a b"}],
)
@pytest.mark.parametrize("path", ["/v1/reviews", "/v1/requests"])
async def test_whoever_shows_nothing_is_asked_for_a_credential(path: str, headers: dict[str, str]) -> None:
    behind = Behind()
    status, _, answered = await posted(behind, path, BODY, None, headers)
    assert (status, answered["WWW-Authenticate"]) == (401, "Bearer")
    assert (behind.recorded, behind.published) == ([], [])


async def test_a_credential_that_does_not_count_is_refused_without_a_reason() -> None:
    behind = Behind()
    key = await behind.new_key()
    other = key[:-1] + ("A" if key[-1] != "A" else "B")
    unknown, revoked = new_api_key("acme", "x", (), "ops")[0], await behind.new_key()
    await behind.api_keys.revoke("acme", revoked.split("_")[1])
    tokens = [token(exp=NOW - 100), token(aud="billing"), token(iss="https://evil.example"), token()[:-4], "a.b.c", key]
    answers = [await posted(behind, "/v1/reviews", BODY, one) for one in tokens]
    answers += [await posted(behind, "/v1/requests", {"text": "x"}, one) for one in (other, unknown, revoked, token())]
    assert {status for status, _, _ in answers} == {401}
    assert {answer["error"] for _, answer, _ in answers} == {"this credential does not count here"}
    assert (behind.recorded, behind.published) == ([], [])


async def test_two_credentials_are_none() -> None:
    behind = Behind()
    async with opened(behind.door()) as session:
        headers = [("Authorization", f"Bearer {token()}"), ("Authorization", "Bearer x")]
        async with session.post("/v1/reviews", json=BODY, headers=headers) as answer:
            assert answer.status == 401


async def test_a_key_for_another_kind_submits_no_request() -> None:
    behind = Behind()
    status, _, _ = await posted(behind, "/v1/requests", {"text": "x"}, await behind.new_key(CancelWorkflow.kind))
    assert (status, behind.published) == (403, [])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"x"',
        b"\xff",
        b'{"workflow": "a", "workflow": "b"}',
        {},
        {"workflow": "w"},
        {"review": REVIEW},
        BODY | {"workflow": ""},
        BODY | {"workflow": 7},
        BODY | {"workflow": "a\nb"},
        BODY | {"workflow": "x" * 513},
        BODY | {"tenant": None},
        BODY | {"review": None},
        BODY | {"review": REVIEW | {"decision": "wave through"}},
        BODY | {"review": REVIEW | {"action_id": "../../people"}},
        BODY | {"review": REVIEW | {"action_id": "person:alice"}},
        BODY | {"review": {key: value for key, value in REVIEW.items() if key != "reviewer"}},
    ],
)
async def test_what_is_no_review_is_refused_in_words(body: object) -> None:
    behind = Behind()
    status, answer, _ = await posted(behind, "/v1/reviews", body, token())
    assert (status, behind.recorded) == (400, [])
    assert answer["error"]


@pytest.mark.parametrize("body", [b"", b"[]", {}, {"text": ""}, {"text": "x", "type": "y"}, b'{"text": "a", "text": "b"}'])
async def test_what_is_no_request_is_refused_in_words(body: object) -> None:
    behind = Behind()
    status, answer, _ = await posted(behind, "/v1/requests", body, await behind.new_key())
    assert (status, behind.published) == (400, [])
    assert answer["error"]


async def test_a_body_that_is_too_large_is_not_read_to_its_end() -> None:
    behind = Behind()
    status, _, _ = await posted(behind, "/v1/requests", {"text": "x" * 4000}, await behind.new_key())
    assert status == 413


@pytest.mark.parametrize("trouble", [StoreUnavailable("away"), OSError("gone"), TimeoutError(), asyncio.CancelledError()])
async def test_what_cannot_be_handed_on_is_to_be_sent_again(trouble: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "PATIENCE", 0.2 if isinstance(trouble, asyncio.CancelledError) else 60)
    behind = Behind(trouble=trouble)
    status, answer, headers = await posted(behind, "/v1/reviews", BODY, token())
    assert (status, headers["Retry-After"]) == (503, "5") and "away" not in answer["error"]


async def test_while_the_provider_is_away_nobody_is_called_a_stranger() -> None:
    status, _, headers = await posted(Behind(provider_away=True), "/v1/reviews", BODY, token())
    assert (status, headers["Retry-After"]) == (503, "5")


async def test_without_a_provider_no_token_is_taken() -> None:
    behind = Behind()
    status, _, _ = await posted(behind, "/v1/reviews", BODY, token(), door=behind.door(with_provider=False))
    assert (status, behind.recorded) == (404, [])


async def test_nothing_else_is_served() -> None:
    behind = Behind()
    async with opened(behind.door()) as session:
        for method, path in (
            ("GET", "/v1/reviews"),
            ("GET", "/"),
            ("POST", "/v1/people"),
            ("POST", "/v1/reviews/"),
            ("GET", "/docs"),
        ):
            async with session.request(method, path, allow_redirects=False) as answer:
                assert answer.status in (404, 405, 307)


Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]
HEAD = b"POST /v1/reviews HTTP/1.1\r\nHost: x\r\n"


@asynccontextmanager
async def connections(port: int, count: int, address: str = "127.0.0.1") -> AsyncIterator[list[Pair]]:
    """So many, from this address of the machine."""
    opened = [await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0)) for _ in range(count)]
    yield opened
    for _, writer in opened:
        writer.close()


@pytest.mark.parametrize(
    "first",
    [b"", HEAD, HEAD + b"\r\n" + HEAD, HEAD + b"Content-Length: 9\r\n\r\n{"],
    ids=["nothing", "half a head", "half of a second head", "half a body that nobody reads"],
)
async def test_whoever_sends_nothing_more_is_not_waited_for(first: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "IDLE", 0.2)
    async with serving(app_of(Behind().door()), "127.0.0.1:0") as port, connections(port, 1) as [(reader, writer)]:
        writer.write(first)
        answered = first.count(b"\r\n\r\n")
        for _ in range(answered):
            assert b"401" in await reader.readuntil(b"}")
        for _ in range(1000):  # each further byte gives no more time
            writer.write(b"x")
            try:
                async with asyncio.timeout(0.02):
                    await reader.read()
                break
            except ConnectionResetError:
                break
            except TimeoutError:
                continue
        else:
            pytest.fail("it is waited for")


async def test_one_address_does_not_keep_others_out() -> None:
    async with (
        serving(app_of(Behind().door()), "127.0.0.1:0") as port,
        connections(port, 2 * http_server.AT_ONCE, "127.0.0.2") as many,
    ):
        reader, _ = many[-1]
        async with asyncio.timeout(30):
            assert b"503" in await reader.read(), "too many of one address"
        async with connections(port, 1) as [(reader, writer)]:
            writer.write(HEAD + b"\r\n")
            assert b"401" in await reader.readline(), "others are served"


async def test_an_address_that_is_taken_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError):
        async with serving(app_of(Behind().door()), f"127.0.0.1:{taken.getsockname()[1]}"):
            pass
