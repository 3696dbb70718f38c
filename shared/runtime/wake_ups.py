"""Claims the wake-ups of a service when they are due: a deadline, the time of a retry, an attempt whose process fell silent."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from shared.backoff import Backoff
from shared.eventstore.model import StoreUnavailable
from shared.eventstore.ports import WakeUpStore
from shared.runtime.loop import Loop
from shared.runtime.performer import AttemptRunner
from shared.tasks import within

MAX_CLAIMED = 200
CLAIM_EVERY = 1.0  # seconds; needed for wake-ups that other processes stored: those of this process are known at once


@dataclass
class WakeUps:
    """Claims and processes due wake-ups. `lease`: seconds for which a claim keeps other processes away."""

    service: str
    store: WakeUpStore
    loop: Loop
    lease: float
    attempt_runner: AttemptRunner | None = None

    async def run(self) -> None:
        backoff = Backoff(most=2.0)
        while True:
            try:
                await self._claim()
                backoff.reset()
            except StoreUnavailable:
                await backoff.wait()

    async def _claim(self) -> None:
        self.loop.claim_now.clear()
        limit, runner = MAX_CLAIMED, self.attempt_runner
        if runner is not None:
            limit = min(limit, runner.free_slots)
            if limit == 0:
                await runner.wait_for_slot()
                return
        claimed, until_next = await self.store.claim_wake_ups(self.service, limit, self.lease)
        await self.loop.process_wake_ups([claim for claim in claimed if runner is None or not runner.is_running(claim.stream)])
        if len(claimed) < limit:
            await self._wait(min(until_next, CLAIM_EVERY))

    async def _wait(self, seconds: float) -> None:
        self.loop.next_claim_at = self.store.now() + timedelta(seconds=seconds)
        with suppress(TimeoutError):
            await within(max(seconds, 0.001), self.loop.claim_now.wait())
