"""An HTTP server inside of a process that has its own signals and logs."""

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]
AT_ONCE = 256  # connections
OF_ONE = 64  # connections of one address: a proxy has one, too
IDLE = 10.0  # seconds for the next request's head, and for the rest of a body that nobody waits for
DRAIN = 5  # seconds for requests in hand, when it stops


_TOO_MANY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class _Connection(H11Protocol):
    """No address takes all connections, and none is held for long by whoever sends slowly, or nothing."""

    _idle: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        mine = [one for one in self.connections if isinstance(one, _Connection) and _sender(one) == _sender(self)]
        if len(mine) > OF_ONE:
            self.connections.discard(self)
            transport.write(_TOO_MANY)
            transport.close()
        else:
            self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._wait()  # from the first byte on: more of them give no more time
        else:
            self._go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        self._go_on()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self._idle is None:
            self._idle = self.loop.call_later(IDLE, self.transport.abort)

    def _go_on(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None


def _sender(connection: _Connection) -> str:
    """Its address; of IPv6, which gives each customer 2**64 of them, the network."""
    host = (connection.client or ("", 0))[0].partition("%")[0]
    return str(ipaddress.ip_network((host, 64), strict=False)) if ":" in host else host


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The process handles its signals itself."""
        yield


@contextlib.asynccontextmanager
async def serving(app: App, address: str) -> AsyncIterator[int]:
    """Serves on `host:port` until it is left; gives the port. Raises OSError where the address cannot be had."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    listening = socket.create_server((host, int(port)), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    config = uvicorn.Config(
        app,
        http=_Connection,
        log_config=None,  # its lines go the way of all others
        log_level="warning",
        lifespan="off",
        access_log=False,
        server_header=False,
        limit_concurrency=AT_ONCE,
        timeout_graceful_shutdown=DRAIN,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        await asyncio.gather(task, return_exceptions=True)
        listening.close()
