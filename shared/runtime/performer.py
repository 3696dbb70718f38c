"""The hands: what is performed in this process, and what it brings back. No slow call delays another."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hansard.message import Intent, Outcome
from shared.eventstore.model import StoreUnavailable, Stream
from shared.eventstore.ports import InstanceStore
from shared.runtime.inbound import Inbound, outcome_message
from shared.telemetry.logs import log
from shared.telemetry.traces import under

Key = tuple[Stream, int]


@dataclass
class AttemptRunner:
    """Starts an attempt when its intent is on the record. While it runs, its stream is this process's, as long as that gives
    signs of life."""

    perform: Callable[[Any, Any, Stream], Awaitable[Outcome]]
    limit: int
    process: Callable[[Sequence[Inbound]], Awaitable[None]]
    freed: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: dict[Key, asyncio.Task[None]] = field(default_factory=dict)

    @property
    def free(self) -> int:
        return max(0, self.limit - len(self._tasks))

    def holds(self, stream: Stream) -> bool:
        return any(mine == stream for mine, _ in self._tasks)

    def start(self, stream: Stream, state: Any, intent: Intent, trace: str = "") -> None:
        key = (stream, intent.attempt)
        task = asyncio.create_task(self._attempt(stream, state, intent, trace), name=f"{stream.name}#{intent.attempt}")
        self._tasks[key] = task
        task.add_done_callback(lambda _: self._released(key))

    async def _attempt(self, stream: Stream, state: Any, intent: Intent, trace: str) -> None:
        try:
            with under(trace):
                outcome = await self.perform(state, intent, stream)
        except Exception:  # its contract forbids it; the stream is woken in its time, and the attempt is found to be lost
            log.exception("an attempt raised", stream=str(stream), attempt=intent.attempt)
            return
        await self.process([outcome_message(stream, outcome)])

    def _released(self, key: Key) -> None:
        self._tasks.pop(key, None)
        self.freed.set()

    async def drain(self, seconds: float) -> None:
        """Waits for what runs; what is left after that is called off."""
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()), timeout=seconds)
        for task in list(self._tasks.values()):
            task.cancel()


async def keep_heartbeat(store: InstanceStore, service: str, process: str, silence: float) -> None:
    """Gives signs of life, and takes what they hold from those that gave none for `silence` seconds.

    Silence is measured by this process's own monotonic time, whatever the store's clock does; and whoever comes back from
    a silence of its own begins to listen anew: the others may have been kept from speaking by the same cause.
    """
    signs = Heartbeats(silence)
    while True:
        try:
            signs.processed(await store.heartbeat(service, process, signs.silent(time.monotonic())), time.monotonic())
        except StoreUnavailable:
            log.warning("no sign of life: the event store is away", service=service)
        await asyncio.sleep(silence / 5)


@dataclass
class Heartbeats:
    """Of each other process its last sign of life, and since when there was no other. Times are monotonic seconds."""

    silence: float
    last: float = float("-inf")
    seen: dict[str, tuple[Any, float]] = field(default_factory=dict)

    def silent(self, now: float) -> dict[str, Any]:
        """Those that are, with their last signs."""
        if now - self.last > self.silence / 2:
            self.seen = {}
        return {process: sign for process, (sign, since) in self.seen.items() if now - since > self.silence}

    def processed(self, signs: Mapping[str, Any], now: float) -> None:
        before, self.last = self.seen, now
        self.seen = {who: before[who] if who in before and before[who][0] == sign else (sign, now) for who, sign in signs.items()}
