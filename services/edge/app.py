"""The HTTP door as a service."""

from contextlib import AbstractAsyncContextManager
from typing import Any

from hansard.message import Intent
from hansard.service import Perform, Performer, Service
from services.edge.decider import edge
from services.edge.facts import ReviewGiven
from shared.settings import Settings


def build(settings: Settings) -> Service[None]:
    def open_performer(context: Any) -> AbstractAsyncContextManager[Perform[None, Intent]]:
        from services.edge import performer  # a process that decides alone serves nothing

        return performer.open_performer(settings, context)

    return Service(
        name="edge",
        decider=edge,
        receives={ReviewGiven: lambda _: None},  # its performer's only
        performer=Performer(Intent, open_performer),
    )
