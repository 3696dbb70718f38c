"""Wakes streams when they are due: a deadline that has passed, a retry whose time has come, a performer that fell silent."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from shared.backoff import Backoff
from shared.runtime.loop import Loop
from shared.runtime.performer import Performing
from shared.store.record import Store, Unavailable

AT_ONCE = 200
LOOK = 1.0  # seconds between looks for what other instances recorded; our own is known at once


@dataclass
class Waker:
    service: str
    store: Store
    loop: Loop
    lease: float
    hands: Performing | None = None

    async def run(self) -> None:
        backoff = Backoff(most=2.0)
        while True:
            try:
                await self._once()
                backoff.reset()
            except Unavailable:
                await backoff.wait()

    async def _once(self) -> None:
        self.loop.next_due.clear()
        room = AT_ONCE if self.hands is None else min(AT_ONCE, self.hands.free)
        if room == 0 and self.hands is not None:
            self.hands.freed.clear()
            await self.hands.freed.wait()
            return
        dues, until_next = await self.store.claim(self.service, room, self.lease)
        await self.loop.wake([due for due in dues if self.hands is None or not self.hands.holds(due.stream)])
        if len(dues) < room:
            await self._rest(min(until_next, LOOK))

    async def _rest(self, seconds: float) -> None:
        self.loop.soonest = self.store.now() + timedelta(seconds=seconds)
        try:
            await asyncio.wait_for(self.loop.next_due.wait(), max(seconds, 0.001))
        except TimeoutError:
            return
