"""An endpoint on 127.0.0.1 whose responses a test writes itself, byte by byte; without end if it wants."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from types import TracebackType
from typing import Any, NamedTuple

Body = bytes | Iterable[bytes]


class Response(NamedTuple):
    """`body`: bytes, or pieces of a chunked response."""

    body: Body
    status: int = 200
    headers: dict[str, str] = {}  # noqa: RUF012


class RawEndpoint:
    """`async with RawEndpoint(answer) as endpoint:` calls `answer` with the path and the body of each request."""

    def __init__(self, answer: Callable[[str, Any], Response]) -> None:
        self.answer = answer
        self.seen: list[Any] = []
        self.keys: list[str] = []
        self.sent = 0  # bytes of bodies
        self.cut = 0  # responses that the client did not read to their end
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    async def __aenter__(self) -> "RawEndpoint":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
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
        try:
            async for path, body in self._requests(reader):
                self.seen.append(body)
                await self._send(writer, self.answer(path, body))
        except ConnectionError:
            self.cut += 1
        finally:
            writer.close()

    async def _requests(self, reader: asyncio.StreamReader) -> AsyncIterator[tuple[str, Any]]:
        while True:
            try:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            except asyncio.IncompleteReadError:
                return
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
            self.keys.append(headers.get("idempotency-key", ""))
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            yield head[0].split(" ")[1], json.loads(body or b"null")

    async def _send(self, writer: asyncio.StreamWriter, response: Response) -> None:
        headers = {"content-type": "application/json", **response.headers}
        whole = isinstance(response.body, bytes)
        headers |= (
            {"content-length": str(len(response.body))} if isinstance(response.body, bytes) else {"transfer-encoding": "chunked"}
        )
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"HTTP/1.1 {response.status} Raw\r\n{lines}\r\n".encode())
        for piece in [response.body] if isinstance(response.body, bytes) else response.body:
            writer.write(piece if whole else b"%x\r\n%s\r\n" % (len(piece), piece))
            self.sent += len(piece)
            await writer.drain()
            await asyncio.sleep(0)  # drain alone lets nobody else run
        if not whole:
            writer.write(b"0\r\n\r\n")
        await writer.drain()
