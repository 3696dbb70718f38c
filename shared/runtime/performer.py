"""The hands: what is performed in this process, and what it brings back. No slow call delays another."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from contracts.message import Intent, Outcome
from shared.runtime.hearing import Heard, returned
from shared.runtime.loop import now
from shared.store.record import Store, Stream, Unavailable
from shared.telemetry.logs import log
from shared.telemetry.traces import under

Key = tuple[Stream, int]


@dataclass
class Performing:
    """Starts an attempt when its intent is on the record. Its lease is renewed while it runs."""

    perform: Callable[[Any, Any, Stream], Awaitable[Outcome]]
    limit: int
    store: Store
    lease: float
    hear: Callable[[Sequence[Heard]], Awaitable[None]]
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
        except Exception:  # its contract forbids it; the lease ends, and the attempt is found to be lost
            log.exception("an attempt raised", stream=str(stream), attempt=intent.attempt)
            return
        await self.hear([returned(stream, outcome, now())])

    def _released(self, key: Key) -> None:
        self._tasks.pop(key, None)
        self.freed.set()

    async def keep_leases(self) -> None:
        while True:
            await asyncio.sleep(self.lease / 3)
            if streams := list({stream for stream, _ in self._tasks}):
                try:
                    await self.store.renew(streams, self.lease)
                except Unavailable:
                    log.warning("leases not renewed: the event store is away", streams=len(streams))

    async def drain(self, seconds: float) -> None:
        """Waits for what runs; what is left after that is handed over at once."""
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()), timeout=seconds)
        left = list({stream for stream, _ in self._tasks})
        for task in list(self._tasks.values()):
            task.cancel()
        if left:
            try:
                await self.store.renew(left, 0)
            except Unavailable:
                log.warning("not handed over: the leases must end by themselves", streams=len(left))
