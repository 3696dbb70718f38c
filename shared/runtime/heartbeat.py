"""Heartbeats find the processes of a service that have fallen silent. Wake-ups that these hold are due at once."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

from shared.eventstore.model import StoreUnavailable
from shared.eventstore.ports import InstanceStore
from shared.telemetry.logs import log

Heartbeat = TypeVar("Heartbeat")


async def keep_heartbeat(store: InstanceStore, service: str, process: str, silence: float) -> None:
    """Sends heartbeats, and frees the streams of processes that have sent none for `silence` seconds.

    Silence is measured by this process's own monotonic time, whatever the store's clock does. A process that was silent
    itself starts over: the others may have been kept from sending for the same reason.
    """
    heartbeats = Heartbeats[datetime](silence)
    while True:
        try:
            heartbeats.received(await store.heartbeat(service, process, heartbeats.silent(time.monotonic())), time.monotonic())
        except StoreUnavailable:
            log.warning("no heartbeat was sent: the event store is unavailable", service=service)
        await asyncio.sleep(silence / 5)


@dataclass
class Heartbeats(Generic[Heartbeat]):
    """The last heartbeat of each other process, with the time since which it has not changed (monotonic seconds)."""

    silence: float
    last_received: float = float("-inf")
    by_process: dict[str, tuple[Heartbeat, float]] = field(default_factory=dict)

    def silent(self, now: float) -> dict[str, Heartbeat]:
        """The silent processes, with their last heartbeats."""
        if now - self.last_received > self.silence / 2:
            self.by_process = {}
        return {process: last for process, (last, since) in self.by_process.items() if now - since > self.silence}

    def received(self, heartbeats: Mapping[str, Heartbeat], now: float) -> None:
        before, self.last_received = self.by_process, now
        self.by_process = {
            process: before[process] if process in before and before[process][0] == heartbeat else (heartbeat, now)
            for process, heartbeat in heartbeats.items()
        }
