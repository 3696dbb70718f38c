"""How long to wait before trying again: doubling, with jitter, so that a crowd does not come back at once."""

import asyncio
import random


class Backoff:
    """`await backoff.wait()` after a failure, `backoff.reset()` after a success. In seconds."""

    def __init__(self, first: float = 0.1, most: float = 3.0) -> None:
        self._first, self._most = first, most
        self._next = first

    def reset(self) -> None:
        self._next = self._first

    async def wait(self) -> None:
        bound, self._next = self._next, min(self._next * 2, self._most)
        await asyncio.sleep(bound * random.uniform(0.5, 1.0))
