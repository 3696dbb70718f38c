"""Wakes streams when they are due: a deadline that has passed, a retry whose time has come, a performer that fell silent."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from shared.backoff import Backoff
from shared.eventstore.model import StoreUnavailable
from shared.eventstore.ports import WakeUpStore
from shared.runtime.loop import Loop
from shared.runtime.performer import AttemptRunner

AT_ONCE = 200
LOOK = 1.0  # seconds between looks for what other instances recorded; our own is known at once


@dataclass
class WakeUps:
    service: str
    store: WakeUpStore
    loop: Loop
    lease: float
    attempts: AttemptRunner | None = None

    async def run(self) -> None:
        backoff = Backoff(most=2.0)
        while True:
            try:
                await self._once()
                backoff.reset()
            except StoreUnavailable:
                await backoff.wait()

    async def _once(self) -> None:
        self.loop.next_due.clear()
        room = AT_ONCE if self.attempts is None else min(AT_ONCE, self.attempts.free)
        if room == 0 and self.attempts is not None:
            self.attempts.freed.clear()
            await self.attempts.freed.wait()
            return
        due_wake_ups, until_next = await self.store.claim_wake_ups(self.service, room, self.lease)
        await self.loop.wake([due_ for due_ in due_wake_ups if self.attempts is None or not self.attempts.holds(due_.stream)])
        if len(due_wake_ups) < room:
            await self._rest(min(until_next, LOOK))

    async def _rest(self, seconds: float) -> None:
        self.loop.soonest = self.store.now() + timedelta(seconds=seconds)
        try:
            await asyncio.wait_for(self.loop.next_due.wait(), max(seconds, 0.001))
        except TimeoutError:
            return
