"""After an unclean end: what was being heard then is suspected of having ended the process, and heard with care."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from shared.kafka.record import Record
from shared.store.record import Store

Partition = tuple[str, int]


@dataclass
class Suspects:
    """The first `depth` records of each partition are counted before they are heard.

    The first time they are heard together; from the second unclean end on one by one, so that the one that does it is
    found alone; one that has been tried `attempts` times is dead.
    """

    store: Store
    service: str
    depth: int
    attempts: int
    _counted: dict[Partition, int] = field(default_factory=dict)

    @classmethod
    def none(cls, store: Store, service: str) -> "Suspects":
        return cls(store, service, 0, 0)

    async def sort(self, records: Sequence[Record]) -> list[tuple[list[Record], int]]:
        """The records in order, in groups to be heard together, each with the attempts before this one."""
        suspected = [record for record in records if self._suspect(record)]
        if not suspected:
            return [(list(records), 0)]
        counts = await self.store.attempts(self.service, [(r.topic, r.partition, r.offset) for r in suspected])
        if max(counts) < 2:
            return [(list(records), 0)]
        before = {(r.topic, r.partition, r.offset): count - 1 for r, count in zip(suspected, counts, strict=True)}
        return [([record], before.get((record.topic, record.partition, record.offset), 0)) for record in records]

    def _suspect(self, record: Record) -> bool:
        place = (record.topic, record.partition)
        seen = self._counted.get(place, 0)
        if seen >= self.depth:
            return False
        self._counted[place] = seen + 1
        return True
