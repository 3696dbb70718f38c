"""Runs the attempts of this process and processes their outcomes. No slow attempt delays another."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from hansard.message import Intent, Outcome
from hansard.references import by_reference
from hansard.service import Perform
from shared.backoff import until_available
from shared.content.ports import ContentStore
from shared.eventstore.model import StoreRefused, Stream
from shared.runtime.inbound import Inbound, outcome_message
from shared.telemetry.logs import log
from shared.telemetry.traces import continued


@dataclass
class AttemptRunner:
    """Starts an attempt once its intent is stored. As long as this process sends heartbeats, no other takes the stream over
    while the attempt runs. `limit`: attempts at once."""

    perform: Perform[Any, Any]
    limit: int
    process: Callable[[Sequence[Inbound]], Awaitable[None]]
    contents: ContentStore | None = None
    _tasks: dict[tuple[Stream, int], asyncio.Task[None]] = field(default_factory=dict)
    _slot_freed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def free_slots(self) -> int:
        return max(0, self.limit - len(self._tasks))

    async def wait_for_slot(self) -> None:
        """Waits until an attempt ends."""
        self._slot_freed.clear()
        await self._slot_freed.wait()

    def is_running(self, stream: Stream) -> bool:
        return any(mine == stream for mine, _ in self._tasks)

    def start(self, stream: Stream, state: Any, intent: Intent, traceparent: str = "") -> None:
        """Starts the attempt. `state`: the stream's state after the intent was stored."""
        key = (stream, intent.attempt)
        task = asyncio.create_task(self._attempt(stream, state, intent, traceparent), name=f"{stream.name}#{intent.attempt}")
        self._tasks[key] = task
        task.add_done_callback(lambda _: self._ended(key))

    async def _attempt(self, stream: Stream, state: Any, intent: Intent, traceparent: str) -> None:
        try:
            with continued(traceparent):
                outcome = outcome_message(stream, await self._carried(stream, await self.perform(state, intent, stream)))
        except Exception:  # a performer must not raise; if it does, the stream's wake-up finds the attempt lost
            log.exception("an attempt raised an error", stream=str(stream), attempt=intent.attempt)
            return
        await self.process([outcome])

    async def _carried(self, stream: Stream, outcome: Outcome) -> Outcome:
        """The outcome as it is stored: what is too long for a message is put into the content store first."""
        contents = self.contents
        if contents is None:
            return outcome
        try:
            small, wholes = by_reference(outcome, outcome.inline)
            for reference, data in wholes.items():
                await until_available(partial(contents.put, stream.tenant, reference, data))
        except (StoreRefused, ValueError):  # ValueError: it cannot be written as JSON
            return outcome  # its stream stores a dead letter, which says why
        return small

    def _ended(self, key: tuple[Stream, int]) -> None:
        self._tasks.pop(key, None)
        self._slot_freed.set()

    async def drain(self, seconds: float) -> None:
        """Waits for the running attempts; cancels them after `seconds`."""
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()), timeout=seconds)
        for task in list(self._tasks.values()):
            task.cancel()
