"""HTTP of a process: /health (does it run), /ready (does every part work), /metrics. Nothing else, no payloads."""

import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from shared.http_server import serving
from shared.masking import masked
from shared.telemetry import metrics

# As ASGI has them.
Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]


class Reporting(Protocol):
    """A service of this process. `health` and `warnings` are by part; an empty text means that the part works."""

    @property
    def name(self) -> str: ...
    @property
    def alive(self) -> bool: ...
    @property
    def health(self) -> dict[str, str]: ...
    @property
    def warnings(self) -> dict[str, str]: ...


@contextlib.asynccontextmanager
async def serve_http(address: str, services: Sequence[Reporting]) -> AsyncIterator[None]:
    """Serves on `host:port` until it is left; serves nothing where the address is empty."""
    if not address:
        yield
        return
    async with serving(_app(services), address):
        yield


def _app(services: Sequence[Reporting]) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if path.startswith("/metrics"):
            for service in services:
                for part, trouble in service.health.items():
                    metrics.healthy.labels(service.name, part).set(not trouble)
            await _respond(send, 200, generate_latest().decode(), CONTENT_TYPE_LATEST)
        elif path in ("/health", "/ready"):
            ok = all(service.alive for service in services)
            if path == "/ready":
                ok = ok and len(services) > 0 and not any(any(service.health.values()) for service in services)
            body = {service.name: {"alive": service.alive, **service.health, **service.warnings} for service in services}
            await _respond(send, 200 if ok else 503, json.dumps(body))
        else:
            await _respond(send, 404, json.dumps({"try": ["/health", "/ready", "/metrics"]}))

    return app


async def _respond(send: Send, status: int, body: str, content_type: str = "application/json") -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", content_type.encode())]})
    await send({"type": "http.response.body", "body": masked(body).encode()})
