"""Compares the record with Kafka's copy of it, message by message."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from contracts.catalog import Topics
from infra.audit.differences import Difference
from infra.audit.forged import forged
from infra.audit.rebuild import Rebuilding, place
from shared.eventstore.model import Stream
from shared.kafka.record import Record

if TYPE_CHECKING:
    from shared.eventstore.ports import MessageReader
    from shared.eventstore.postgres.rebuild import Comparison


@dataclass
class AgainstKafka:
    """Takes Kafka's records from the first on. `beginnings`: the first offset of each (topic, partition)."""

    beside: "Comparison"
    topics: Topics
    beginnings: Mapping[tuple[str, int], int]
    store: "MessageReader"
    forged: list[str] = field(default_factory=list)  # the places of what lies on internal topics and is not on the record
    firsts: dict[tuple[str, int], datetime] = field(default_factory=dict)

    async def add(self, batches: AsyncIterator[list[Record]]) -> None:
        staging = Rebuilding(self.beside, self.topics)
        async for batch in batches:
            for record in batch:
                self.firsts.setdefault((record.topic, record.partition), record.at)
            self.forged += [place(record) for record in await forged(batch, self.topics, self.store)]
            await staging.add(batch)

    async def differences(self, limit: int) -> list[Difference]:
        """Where the record and Kafka differ, with the version as the number; nothing is said of what retention has removed."""
        kept = [
            (topic, partition, first, self.firsts[topic, partition])
            for (topic, partition), first in self.beginnings.items()
            if first > 0 and (topic, partition) in self.firsts
        ]
        found = await self.beside.unlike(kept, limit)
        differing = {one.place for one in found}
        self.forged = [one for one in self.forged if one not in differing]
        return [Difference(Stream(*one[:3]), one.version, f"{one.what} ({one.place})", one.here, one.there) for one in found]
