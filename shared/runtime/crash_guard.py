"""After an unclean end: what was being heard then is suspected of having ended the process, and heard with care."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from shared.eventstore.ports import AttemptCounter
from shared.kafka.record import Record

Partition = tuple[str, int]


@dataclass
class CrashGuard:
    """The first `depth` records of each partition are counted before they are heard.

    The first time they are heard together. From the second unclean end on they are heard one by one, each counted again
    right before, so that nothing is held against its neighbours; one that was tried alone `attempts` times is dead.
    """

    store: AttemptCounter
    service: str
    depth: int
    attempts: int
    _counted: dict[Partition, int] = field(default_factory=dict)
    _alone: set[tuple[str, int, int]] = field(default_factory=set)

    @classmethod
    def none(cls, store: AttemptCounter, service: str) -> "CrashGuard":
        return cls(store, service, 0, 0)

    async def sort(self, records: Sequence[Record]) -> list[list[Record]]:
        """The records in order, in groups to be heard together."""
        counted = dict(self._counted)
        suspected = [_place(record) for record in records if self._suspect(record, counted)]
        counts = await self.store.count_attempts(self.service, suspected) if suspected else [0]
        self._counted = counted
        if max(counts) < 2:
            return [list(records)]
        self._alone.update(suspected)
        return [[record] for record in records]

    async def before(self, group: Sequence[Record]) -> int:
        """How often this was heard alone before, and the process ended over it."""
        place = _place(group[0]) if len(group) == 1 else None
        if place not in self._alone or place is None:
            return 0
        [count] = await self.store.count_attempts(f"{self.service}/alone", [place])
        self._alone.discard(place)
        return count - 1

    def _suspect(self, record: Record, counted: dict[Partition, int]) -> bool:
        place = (record.topic, record.partition)
        seen = counted.get(place, 0)
        if seen >= self.depth:
            return False
        counted[place] = seen + 1
        return True


def _place(record: Record) -> tuple[str, int, int]:
    return record.topic, record.partition, record.offset
