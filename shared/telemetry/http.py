"""HTTP of a process: /health (does it run), /ready (does every part work), /metrics. Nothing else, no payloads."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

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


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The process handles its signals itself."""
        yield


@contextlib.asynccontextmanager
async def serve_http(address: str, services: Sequence[Reporting]) -> AsyncIterator[None]:
    """Serves on `host:port` until it is left; serves nothing where the address is empty."""
    if not address:
        yield
        return
    host, _, port = address.rpartition(":")
    config = uvicorn.Config(
        _app(services),
        host=host or "127.0.0.1",
        port=int(port),
        log_config=None,  # its lines go the way of all others
        log_level="warning",
        lifespan="off",
        access_log=False,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve())
    try:
        yield
    finally:
        server.should_exit = True
        await asyncio.gather(task, return_exceptions=True)


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
