"""Compares Kafka's tail with the record while a service runs: before it consumes in a new epoch, at its start, and on a timer."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import chain, repeat

from shared.backoff import until_available
from shared.eventstore.model import StoredMessage, StoreUnavailable
from shared.eventstore.ports import TailStore
from shared.kafka.errors import KafkaError
from shared.runtime import tail
from shared.settings import Settings
from shared.telemetry.logs import log

COMPARE_AGAIN = 5.0  # seconds, while a new epoch's tail differs
COMPARE_EVERY = 300.0
COMPARE_SOON = tail.IN_FLIGHT.total_seconds() + 5  # what was on its way at the first look is not at the second


@dataclass
class TailWatch:
    """Of one service. `publish` takes what Kafka has lost. `trouble`: why the service does not start; empty if it may."""

    settings: Settings
    store: TailStore
    service: str
    publish: Callable[[Sequence[StoredMessage]], Awaitable[None]]
    trouble: str = ""

    async def wait_until_compared(self) -> None:
        """Returns at once, unless a new epoch has begun: then the whole tail of Kafka must be on the record first."""
        while not (await until_available(self.store.epoch)).compared:
            try:
                unknown = await tail.compare(self.settings, self.store)
            except (KafkaError, OSError, StoreUnavailable) as failed:
                self._wait_for(f"the event store was restored, and Kafka cannot be compared with it: {failed}")
            else:
                if not unknown.count:
                    continue
                self._wait_for(restored(unknown))
            await asyncio.sleep(COMPARE_AGAIN)
        self.trouble = ""

    async def keep_comparing(self) -> None:
        """Publishes what Kafka has lost of this service's messages again: at once, soon after, then on a timer."""
        for pause in chain([COMPARE_SOON], repeat(COMPARE_EVERY)):
            try:
                if lost := await tail.lost(self.settings, self.store, self.service):
                    log.error("Kafka has lost messages: they are published again", service=self.service, messages=len(lost))
                    await self.publish(lost)
            except (KafkaError, OSError, StoreUnavailable) as failed:
                log.warning("Kafka's tail was not compared with the record", service=self.service, trouble=str(failed))
            await asyncio.sleep(pause)

    def _wait_for(self, trouble: str) -> None:
        if trouble != self.trouble:
            log.error("waiting: the event store begins a new epoch", service=self.service, trouble=trouble)
        self.trouble = trouble


def restored(unknown: tail.Unknown) -> str:
    """What to do about messages in Kafka that a restored store lacks."""
    return (
        f"the event store was restored: later than the newest message on the record, Kafka has {unknown}."
        " If they are ours, `hansard audit rebuild` makes a store of all that Kafka has; if they are forged or may be lost,"
        " `hansard epoch accept`"
    )
