"""The store's clock, as a process knows it."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from shared.eventstore.model import LONG_AGO


@dataclass(slots=True)
class Clock:
    """The store's last answer plus the monotonic time since it arrived. It is behind by the answer's time on the way."""

    answer: datetime = LONG_AGO
    arrived: float = 0.0  # seconds of time.monotonic
    ahead: float = 0.0  # seconds by which this machine's clock was ahead of the store's at that answer

    def answered(self, now: datetime, asked: float) -> None:
        """Takes the store's answer `now`. `asked`: when it was asked, in seconds of time.monotonic. If two answers were under way
        at once, the later time counts."""
        if asked < self.arrived and now < self.now():
            return
        self.answer, self.arrived = now, time.monotonic()
        self.ahead = (datetime.now(UTC) - now).total_seconds()

    def now(self) -> datetime:
        return self.answer + timedelta(seconds=time.monotonic() - self.arrived)
