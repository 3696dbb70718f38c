"""`python -m tests.scripted [PORT]`: prints its address, serves until SIGINT or SIGTERM."""

import asyncio
import signal
import sys

from tests.scripted.server import Scripted


async def main(port: int) -> None:
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    async with Scripted(port) as server:
        print(server.url, flush=True)
        await stop.wait()


asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
