"""The closed loop, the same for everyone that is measured. Imports nothing that a peer's environment may lack."""

import asyncio
import time
from collections.abc import Awaitable, Callable


async def closed(call: Callable[[], Awaitable[object]], concurrency: int, count: int) -> tuple[float, list[float]]:
    """`concurrency` callers, `count` calls in all. Calls per second, and the seconds of each."""
    left, taken = iter(range(count)), []

    async def caller() -> None:
        for _ in left:
            began = time.perf_counter()
            await call()
            taken.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(concurrency)))
    return count / (time.perf_counter() - began), taken
