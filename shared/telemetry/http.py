"""What a process tells over HTTP: /health (is it alive), /ready (does every part work), /metrics. Nothing else, no payloads."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Protocol

import uvicorn
from prometheus_client import make_asgi_app

from shared.telemetry import metrics


class Healthy(Protocol):
    """A part of the process that says what it waits for."""

    @property
    def name(self) -> str: ...
    @property
    def alive(self) -> bool: ...
    @property
    def health(self) -> dict[str, str]: ...
    @property
    def notes(self) -> dict[str, str]: ...


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The process has its own way to leave."""
        yield


@contextlib.asynccontextmanager
async def serve_http(address: str, parts: Sequence[Healthy]) -> AsyncIterator[None]:
    """Serves on `host:port` for as long as it is open; nothing where the address is empty."""
    if not address:
        yield
        return
    host, _, port = address.rpartition(":")
    config = uvicorn.Config(
        _app(parts), host=host or "127.0.0.1", port=int(port), log_level="warning", lifespan="off", access_log=False
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve())
    try:
        yield
    finally:
        server.should_exit = True
        await asyncio.gather(task, return_exceptions=True)


def _app(parts: Sequence[Healthy]) -> Any:
    exposed = make_asgi_app()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        path = scope.get("path", "")
        if path.startswith("/metrics"):
            for part in parts:
                for name, trouble in part.health.items():
                    metrics.healthy.labels(part.name, name).set(not trouble)
            await exposed(scope, receive, send)
        elif path in ("/health", "/ready"):
            ok = all(part.alive for part in parts)
            if path == "/ready":
                ok = ok and len(parts) > 0 and not any(any(part.health.values()) for part in parts)
            await _answer(
                send, 200 if ok else 503, {part.name: {"alive": part.alive} | part.health | part.notes for part in parts}
            )
        else:
            await _answer(send, 404, {"try": ["/health", "/ready", "/metrics"]})

    return app


async def _answer(send: Any, status: int, body: Any) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})
