"""A pooler in transaction mode, as PgBouncer is one: it refuses startup parameters that it does not know, and what a session
keeps (settings, prepared statements, temporary tables) is gone when a transaction ends."""

import asyncio
import contextlib
import struct
import threading
from collections.abc import Iterator

KNOWN = {"user", "database", "client_encoding", "application_name", "datestyle", "timezone", "standard_conforming_strings"}
SSL, GSS = 80877103, 80877104
FORGET = b"Q" + struct.pack("!I", 4 + len(b"discard all\0")) + b"discard all\0"


async def _message(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(5)
    return head + await reader.readexactly(int.from_bytes(head[1:]) - 4)


async def _startup(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """The startup packet; empty where the connection is refused."""
    while True:
        size = await reader.readexactly(4)
        packet = await reader.readexactly(int.from_bytes(size) - 4)
        if int.from_bytes(packet[:4]) not in (SSL, GSS):
            break
        writer.write(b"N")
    words = packet[4:].split(b"\0")
    for name in (word.decode() for word in words[::2] if word):
        if name.lower() not in KNOWN:
            fields = b"SFATAL\0C08P01\0M" + f"unsupported startup parameter: {name}".encode() + b"\0\0"
            writer.write(b"E" + struct.pack("!I", 4 + len(fields)) + fields)
            await writer.drain()
            return b""
    return size + packet


async def _serve(port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError), contextlib.closing(writer):
        if not (packet := await _startup(reader, writer)):
            return
        from_server, server = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.closing(server):
            server.write(packet)
            asking = asyncio.create_task(_ask(reader, server))
            try:
                while True:
                    message = await _message(from_server)
                    if message[:1] == b"Z" and message[5:] == b"I":  # idle: the transaction is over
                        server.write(FORGET)
                        while (await _message(from_server))[:1] != b"Z":
                            pass
                    writer.write(message)
            finally:
                asking.cancel()


async def _ask(reader: asyncio.StreamReader, server: asyncio.StreamWriter) -> None:
    while given := await reader.read(1 << 16):
        server.write(given)
    server.close()


@contextlib.contextmanager
def pooler(port: int) -> Iterator[int]:
    """Runs one before the Postgres of this port; gives its own port."""
    loop, started = asyncio.new_event_loop(), threading.Event()
    ports: list[int] = []

    async def run() -> None:
        listening = await asyncio.start_server(lambda *streams: _serve(port, *streams), "127.0.0.1", 0)
        ports.append(listening.sockets[0].getsockname()[1])
        started.set()

    loop.create_task(run())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    started.wait(30)
    try:
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
