"""A receiver of webhooks on 127.0.0.1, whose answers a test writes byte by byte. It keeps what it received."""

import asyncio
import ssl
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import NamedTuple

from standardwebhooks import Webhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLjhWc3VwZXItc2VjcmV0"


class Request(NamedTuple):
    """One request, as it came."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def verified(self, secret: str = SECRET) -> object:
        """The payload. Raises WebhookVerificationError where it was not signed with this secret, or not now."""
        return Webhook(secret).verify(self.body, dict(self.headers))


def answer(status: int, body: bytes = b"", **headers: str) -> bytes:
    """A whole response."""
    named = {"content-length": str(len(body)), "connection": "close"} | {n.replace("_", "-"): v for n, v in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"HTTP/1.1 {status} Scripted\r\n{head}\r\n".encode() + body


TAKEN = answer(204)
SILENT = b"silent"  # nothing is answered, and the connection stays open
ENDLESS = b"endless"  # a body without end

Answer = Callable[[Request, int], bytes]


class Receiver:
    """`async with Receiver(answer) as receiver:` calls `answer` with each request and how many came before it."""

    def __init__(self, answer: Answer = lambda *_: TAKEN, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.answer, self.tls, self.port = answer, tls, port
        self.received: list[Request] = []
        self.at_once = self.most_at_once = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}/hook"

    async def __aenter__(self) -> "Receiver":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            request = await _read(reader)
            before = len(self.received)
            self.received.append(request)
            await self._send(self.answer(request, before), reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.at_once -= 1
            writer.close()

    async def _send(self, wanted: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if wanted == SILENT:
            await reader.read()  # until the client goes
        elif wanted == ENDLESS:
            writer.write(b"HTTP/1.1 500 Scripted\r\ntransfer-encoding: chunked\r\n\r\n")
            while True:
                writer.write(b"400\r\n" + b"x" * 0x400 + b"\r\n")
                await writer.drain()
        else:
            writer.write(wanted)
            await writer.drain()


async def _read(reader: asyncio.StreamReader) -> Request:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Request(first.split(" ")[1], headers, await reader.readexactly(int(headers.get("content-length", 0))))
