"""Waits until a reader of everything sees all that was stored until now."""

import asyncio
import time
from collections.abc import Callable
from datetime import datetime

from shared.eventstore.ports import RecordReader


async def settle(store: RecordReader, seconds: float, waiting: Callable[[datetime], object]) -> datetime | None:
    """Waits for `seconds` at most until every transaction that runs now has ended.

    None where they have; else when the oldest began that has not: it may still store something, and readers of everything stop
    before it. `waiting` is called once with that time if there is something to wait for.
    """
    bound, end, told = await store.next_transaction(), time.monotonic() + seconds, False
    while (since := await store.unsettled_since(bound)) is not None and time.monotonic() < end:
        if not told:
            waiting(since)
            told = True
        await asyncio.sleep(0.1)
    return since
