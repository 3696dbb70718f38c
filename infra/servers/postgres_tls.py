"""TLS before the Postgres of a bare machine: the binaries of the wheel are built without it.

`python -m infra.servers.postgres_tls PORT CERTIFICATE FOLDER` listens on 127.0.0.1:PORT and takes nothing but TLS. What it
decrypts it passes to the socket of Postgres in that folder, which nobody but Postgres's user and root can enter. It reads no
message beyond the first, which asks for TLS: passwords are proven to Postgres itself.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import struct
import sys
from contextlib import suppress
from pathlib import Path

SSL_REQUEST, GSS_REQUEST = 80877103, 80877104  # in place of a protocol version (PostgreSQL, "Message Formats")
PATIENCE = 10.0  # seconds for a client's first bytes, and for the handshake
PIECE = 1 << 16
PLAIN = "this server takes encrypted connections only: put sslmode=verify-full&sslrootcert=…/tls/ca.pem into the address"


def refusal(text: str) -> bytes:
    """A fatal error as Postgres sends it."""
    told = ((b"S", "FATAL"), (b"V", "FATAL"), (b"C", "28000"), (b"M", text))
    fields = b"".join(kind + value.encode() + b"\0" for kind, value in told)
    return b"E" + struct.pack("!i", len(fields) + 5) + fields + b"\0"


async def _exactly(client: socket.socket, count: int) -> bytes:
    """So many bytes and not one more: what follows in plain text is never taken for what was said under TLS."""
    got = b""
    while len(got) < count:
        piece = await asyncio.get_running_loop().sock_recv(client, count - len(got))
        if not piece:
            raise ConnectionError("the client left")
        got += piece
    return got


async def asks_for_tls(client: socket.socket) -> bool:
    """Whether the client asks for TLS first, and is told that it may go on. Any other beginning is refused with a reason."""
    loop = asyncio.get_running_loop()
    while True:
        length, code = struct.unpack("!ii", await _exactly(client, 8))
        if (length, code) == (8, SSL_REQUEST):
            await loop.sock_sendall(client, b"S")
            return True
        if (length, code) != (8, GSS_REQUEST):
            await loop.sock_sendall(client, refusal(PLAIN))
            client.shutdown(socket.SHUT_WR)
            while await loop.sock_recv(client, PIECE):
                pass  # a socket that is closed on unread bytes is reset, and the reason with it
            return False
        await loop.sock_sendall(client, b"N")


async def _pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while piece := await source.read(PIECE):
        target.write(piece)
        await target.drain()


async def serve_client(client: socket.socket, context: ssl.SSLContext, behind: str) -> None:
    """One connection, until either side ends it."""
    loop, writers = asyncio.get_running_loop(), list[asyncio.StreamWriter]()
    try:
        async with asyncio.timeout(PATIENCE):
            if not await asks_for_tls(client):
                client.close()
                return
            reader = asyncio.StreamReader(PIECE)
            transport, protocol = await loop.connect_accepted_socket(  # from here on it closes the socket
                lambda: asyncio.StreamReaderProtocol(reader), client, ssl=context, ssl_handshake_timeout=PATIENCE
            )
            writers.append(asyncio.StreamWriter(transport, protocol, reader, loop))
            answers, server = await asyncio.open_unix_connection(behind)
            writers.append(server)
        tasks = {asyncio.create_task(_pass_on(reader, server)), asyncio.create_task(_pass_on(answers, writers[0]))}
        _, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in others:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    except (OSError, TimeoutError) as ended:  # the client left, or does not trust the certificate, or Postgres is away
        print(f"a connection ended: {type(ended).__name__}: {ended}", flush=True)
        if not writers:
            client.close()
    finally:
        for writer in writers:
            writer.close()


async def serve(port: int, certificate: Path, behind: str) -> None:
    """Until the process is told to end."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate)
    loop, clients = asyncio.get_running_loop(), set[asyncio.Task[None]]()
    with socket.create_server(("127.0.0.1", port), backlog=200) as listening:
        listening.setblocking(False)
        while True:
            client, _ = await loop.sock_accept(listening)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = asyncio.create_task(serve_client(client, context, behind))
            clients.add(task)
            task.add_done_callback(clients.discard)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with suppress(KeyboardInterrupt):
        port, certificate = int(sys.argv[1]), Path(sys.argv[2]).resolve()
        os.chdir(sys.argv[3])  # the path of a socket may have a hundred bytes
        asyncio.run(serve(port, certificate, f".s.PGSQL.{port}"))
