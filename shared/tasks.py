"""Tasks that run until they are ended."""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

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
