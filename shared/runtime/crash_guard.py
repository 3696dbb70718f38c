"""Finds the record that ends the process, after an unclean end: it may be any of those that were processed at that time."""

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

    After one unclean end, records are processed together. After a second, one by one; each is counted just before, so that no
    neighbour is blamed.
    """

    store: AttemptCounter
    service: str
    depth: int
    _counted: dict[Partition, int] = field(default_factory=dict)
    _alone: set[Place] = field(default_factory=set)

    async def count_and_group(self, records: Sequence[Record]) -> list[list[Record]]:
        """Counts an attempt at each record. Returns the records in order, in groups that may be processed together."""
        counted = dict(self._counted)
        places = [_place(record) for record in records if self._is_counted(record, counted)]
        counts = await self._count(self.service, places) if places else [0]
        self._counted = counted
        if max(counts) < 2:
            return [list(records)]
        self._alone.update(places)
        return [[record] for record in records]

    async def count_attempt(self, group: Sequence[Record]) -> int:
        """Counts one more attempt at a record that is processed alone. Returns how many earlier attempts ended the process; 0 for
        a group of several."""
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
