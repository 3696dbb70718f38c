"""After an unclean end: the records that were processed then may have ended the process, so they are tried with care."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from shared.backoff import until_available
from shared.eventstore.ports import AttemptCounter
from shared.kafka.record import Record

Partition = tuple[str, int]
Place = tuple[str, int, int]  # topic, partition, offset


@dataclass
class CrashGuard:
    """Counts the first `depth` records of each partition before they are processed. It waits while the store is unavailable.

    The first time they are processed together. From the second unclean end on they are processed one by one, each counted
    again right before, so that none is counted for its neighbours.
    """

    store: AttemptCounter
    service: str
    depth: int
    _counted: dict[Partition, int] = field(default_factory=dict)
    _alone: set[Place] = field(default_factory=set)

    @classmethod
    def disabled(cls, store: AttemptCounter, service: str) -> "CrashGuard":
        return cls(store, service, 0)

    async def groups(self, records: Sequence[Record]) -> list[list[Record]]:
        """The records in order, in groups to be processed together."""
        counted = dict(self._counted)
        places = [_place(record) for record in records if self._is_counted(record, counted)]
        counts = await self._count(self.service, places) if places else [0]
        self._counted = counted
        if max(counts) < 2:
            return [list(records)]
        self._alone.update(places)
        return [[record] for record in records]

    async def crashes(self, group: Sequence[Record]) -> int:
        """How often the process ended while it processed this record alone; 0 for a group of several."""
        place = _place(group[0]) if len(group) == 1 else None
        if place not in self._alone or place is None:
            return 0
        [count] = await self._count(f"{self.service}/alone", [place])
        self._alone.discard(place)
        return count - 1

    async def _count(self, name: str, places: Sequence[Place]) -> list[int]:
        return await until_available(lambda: self.store.count_attempts(name, places))

    def _is_counted(self, record: Record, counted: dict[Partition, int]) -> bool:
        partition = (record.topic, record.partition)
        before = counted.get(partition, 0)
        if before >= self.depth:
            return False
        counted[partition] = before + 1
        return True


def _place(record: Record) -> Place:
    return record.topic, record.partition, record.offset
