"""The store's clock, as a process knows it."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from shared.eventstore.model import LONG_AGO


@dataclass(slots=True)
class Clock:
    """What was last answered, plus the monotonic time since it arrived: behind the store's clock by the way of that answer."""

    answer: datetime = LONG_AGO
    arrived: float = 0.0  # seconds of time.monotonic
    ahead: float = 0.0  # seconds by which this machine's clock was ahead of the store's then

    def answered(self, now: datetime, asked: float) -> None:
        """`asked`: when, in seconds of time.monotonic. Of two that were under way at once the later time counts."""
        if asked < self.arrived and now < self.now():
            return
        self.answer, self.arrived = now, time.monotonic()
        self.ahead = (datetime.now(UTC) - now).total_seconds()

    def now(self) -> datetime:
        return self.answer + timedelta(seconds=time.monotonic() - self.arrived)
