"""Tasks that run until they are ended, and work that may take so long only."""

import asyncio
import logging
from collections.abc import Awaitable, Iterable
from typing import Any, TypeVar

Result = TypeVar("Result")

log = logging.getLogger(__name__)

AGAIN = 5.0  # seconds: longer than any task of ours needs to clean up


async def end(tasks: Iterable["asyncio.Task[Any]"]) -> None:
    """Cancels these and waits until they have ended, whatever they raise. One that swallows its cancellation, as a library's code
    may, is cancelled again."""
    left = set(tasks)
    for task in left:
        task.cancel()
    while left:
        ended, left = await asyncio.wait(left, timeout=AGAIN)
        await asyncio.gather(*ended, return_exceptions=True)  # nobody else asks for what they raised
        for task in left:
            log.warning("a task goes on although it was cancelled, and is cancelled again: %r", task)
            task.cancel()


async def within(seconds: float, work: Awaitable[Result]) -> Result:
    """The result of this work. Raises TimeoutError after so many seconds. `asyncio.wait_for` of Python 3.11 may forget that its
    caller is cancelled, so that it goes on for ever."""
    async with asyncio.timeout(seconds):
        return await work
