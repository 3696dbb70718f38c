"""How long to wait before trying again: doubling, with jitter, so that many processes do not come back at once."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from shared.eventstore.model import StoreUnavailable

log = logging.getLogger(__name__)

Result = TypeVar("Result")


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


async def until_available(call: Callable[[], Awaitable[Result]]) -> Result:
    """The result of a call to the event store. Tries again while the store is unavailable."""
    backoff = Backoff(most=2.0)
    while True:
        try:
            return await call()
        except StoreUnavailable as unavailable:
            log.warning("waiting for the event store: %s", unavailable)
            await backoff.wait()
