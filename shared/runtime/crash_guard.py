"""Finds the record that ends the process, after an unclean end: it may be any of those that were processed at that time."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from shared.backoff import until_available
from shared.eventstore.ports import AttemptCounter
from shared.kafka.record import Record

Partition = tuple[str, int]
Place = tuple[str, int, int]  # topic, partition, offset


@dataclass
class CrashGuard:
    """Counts the first `depth` records of each partition before they are processed. It waits while the store is unavailable.

    After one unclean end, records are processed together. After a second, one by one, so that no neighbour is blamed. Then an
    attempt counts from when the record's decision begins until it has ended: whoever ends the process while it waits for the
    store blames nobody.
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

    async def crashes(self, group: Sequence[Record]) -> int:
        """How many earlier attempts at a record that is processed alone ended the process; 0 for a group of several."""
        places = self._watched(group)
        return (await self._count(self._blamed, places, 0))[0] if len(group) == 1 and places else 0

    @asynccontextmanager
    async def watch(self, records: Iterable[Record]) -> AsyncIterator[None]:
        """Inside, nothing may wait: if the process ends here, the record that is processed alone is the cause."""
        places = self._watched(records)
        if places:
            await self._count(self._blamed, places)
        yield
        if places:
            await self._count(self._blamed, places, -1)

    def passed(self, records: Iterable[Record]) -> None:
        """These are stored: they are watched no longer."""
        self._alone.difference_update(map(_place, records))

    @property
    def _blamed(self) -> str:
        return f"{self.service}/alone"

    def _watched(self, records: Iterable[Record]) -> list[Place]:
        return [place for record in records if (place := _place(record)) in self._alone]

    async def _count(self, name: str, places: Sequence[Place], by: int = 1) -> list[int]:
        return await until_available(lambda: self.store.count_attempts(name, places, by))

    def _is_counted(self, record: Record, counted: dict[Partition, int]) -> bool:
        partition = (record.topic, record.partition)
        before = counted.get(partition, 0)
        if before >= self.depth:
            return False
        counted[partition] = before + 1
        return True


def _place(record: Record) -> Place:
    return record.topic, record.partition, record.offset
