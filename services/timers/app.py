"""What runs."""

from contracts.timers import CancelTimer, SetTimer
from services.timers.decider import Timer, timers
from shared.service import Service
from shared.settings import Settings


def build(_: Settings) -> Service[Timer]:
    return Service(
        name="timers",
        decider=timers,
        hears={SetTimer: lambda asked: asked.timer, CancelTimer: lambda asked: asked.timer},
    )
