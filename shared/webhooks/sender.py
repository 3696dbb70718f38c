"""Posts webhooks. A client for all endpoints of a process: no redirect is followed, TLS is verified, an answer is bounded."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

import httpx2

from shared.masking import mask, masked
from shared.retry_after import retry_after
from shared.text_files import read_text
from shared.webhooks.endpoints import Endpoint, Endpoints
from shared.webhooks.signing import headers, secrets_in

LARGEST = 2048  # bytes of an answer that are read
DETAIL = 300  # characters of it that are kept
SHORTEST = 12  # characters of a path or query that may be secret, as some chats have it; a shorter one is in many texts


class Reply(NamedTuple):
    """What came of one attempt. `status` is 0 where there was no answer."""

    status: int = 0
    problem: Literal["", "timeout", "connection", "busy"] = ""
    detail: str = ""
    retry_at: datetime | None = None
    latency_ms: float = 0


@dataclass
class Sender:
    """Sends to the endpoints of a configuration. An endpoint that is slow keeps no other waiting."""

    endpoints: Mapping[str, Endpoint]
    secrets: Mapping[str, Sequence[str]]
    client: httpx2.AsyncClient
    _out: dict[str, int] = field(default_factory=dict)

    async def send(self, name: str, id: str, body: str, *, now: datetime, seconds: float) -> Reply:
        """Makes one attempt, for so many seconds at most. Never raises for what is outside. KeyError: no such endpoint."""
        endpoint = self.endpoints[name]
        if self._out.get(name, 0) >= endpoint.concurrency:
            return Reply(problem="busy", detail=f"{endpoint.concurrency} attempts are out already")
        self._out[name] = self._out.get(name, 0) + 1
        began = time.perf_counter()
        try:
            async with asyncio.timeout(min(seconds, endpoint.timeout)):
                reply = await self._post(endpoint, headers(id, now, body, self.secrets[name]), body, now)
        except (TimeoutError, httpx2.TimeoutException):
            reply = Reply(problem="timeout", detail=f"no answer within {min(seconds, endpoint.timeout):.3g} s")
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as away:  # ValueError: no HTTP is spoken there
            reply = Reply(problem="connection", detail=_shown(f"{type(away).__name__}: {away}"))
        finally:
            self._out[name] -= 1
        return reply._replace(latency_ms=round((time.perf_counter() - began) * 1000, 3))

    async def _post(self, endpoint: Endpoint, signed: Mapping[str, str], body: str, now: datetime) -> Reply:
        async with self.client.stream("POST", endpoint.url, content=body.encode(), headers=signed) as response:
            status = response.status_code
            if response.is_success:
                return Reply(status)
            given = await _beginning(response)
            return Reply(status, detail=_shown(given), retry_at=retry_after(response.headers, now))


async def _beginning(response: httpx2.Response) -> str:
    """The first bytes of an answer, which may have no end; nothing where they cannot be read: the status is known."""
    read = bytearray()
    try:
        async for chunk in response.aiter_raw():  # as it came: a small body may unfold to a huge one
            read += chunk
            if len(read) >= LARGEST:
                break
    except httpx2.HTTPError:
        pass
    return bytes(read[:LARGEST]).decode(errors="replace")


def _shown(text: str) -> str:
    return masked(text).replace("\x00", "\ufffd").encode("utf-8", "replace").decode()[:DETAIL]


@asynccontextmanager
async def open_sender(endpoints: Endpoints) -> AsyncIterator[Sender]:
    """Raises ValueError or OSError where the secret of an endpoint is missing or is none."""
    secrets = {one.name: secrets_of(one) for one in endpoints.endpoints}
    for one in endpoints.endpoints:
        mask(*secrets[one.name], one.url, *(part for part in urlsplit(one.url)[2:4] if len(part) >= SHORTEST))
    agent = {"user-agent": "hansard", "accept": "*/*", "accept-encoding": "identity"}
    unlimited = httpx2.Limits(max_connections=None)  # each endpoint has its own: a common one would let the slow take it all
    async with httpx2.AsyncClient(follow_redirects=False, timeout=None, limits=unlimited, headers=agent) as client:
        yield Sender(endpoints.by_name, secrets, client)


def secrets_of(endpoint: Endpoint) -> tuple[str, ...]:
    """Raises ValueError, which names the endpoint; OSError where its file cannot be read."""
    given = read_text(endpoint.secret_file) if endpoint.secret_file else os.environ.get(endpoint.secret_env, "")
    place = endpoint.secret_file or endpoint.secret_env
    if not given.strip():
        raise ValueError(f"the webhook {endpoint.name} cannot be signed: {place} holds no secret")
    try:
        return secrets_in(given)
    except ValueError as bad:
        raise ValueError(f"the webhook {endpoint.name} cannot be signed: {place}: {bad}") from None
