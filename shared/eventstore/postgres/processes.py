"""The processes of a service: the wake-ups that they claim, their heartbeats, and how often they tried a record."""

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from math import inf

from shared.eventstore.model import DueWakeUp, Stream
from shared.eventstore.postgres.session import Session


class PostgresProcesses:
    """`WakeUpStore` (without its clock), `InstanceStore`, `TaskKeyStore` and `AttemptCounter` in Postgres."""

    session: Session

    async def claim_wake_ups(self, service: str, limit: int, lease: float) -> tuple[list[DueWakeUp], float]:
        asked = time.monotonic()
        rows = await self.session.ask("claim_wake_ups", service, limit, lease)
        now, until_next, due = rows[0][:3]
        self.session.clock.answered(now, asked)
        claimed = [DueWakeUp(Stream(*row[3:6]), row[6], row[7]) for row in rows if row[3] is not None]
        if len(claimed) >= limit:
            return claimed, 0.0
        if due > len(claimed):
            return claimed, 0.1  # another process has just claimed the others and has not committed yet
        seconds = inf if until_next is None else max(0.0, until_next)
        return claimed, min(seconds, lease) if claimed else seconds

    async def task_key(self) -> bytes:
        return bytes((await self.session.ask("task_key"))[0][0])

    async def process_started(self, service: str, instance: str, process: str, alone: bool) -> bool:
        return bool((await self.session.ask("process_started", service, instance, process, alone))[0][0])

    async def heartbeat(self, service: str, process: str, silent: Mapping[str, datetime]) -> dict[str, datetime]:
        asked = time.monotonic()
        rows = await self.session.ask("heartbeat", service, process, list(silent), list(silent.values()))
        self.session.clock.answered(rows[0][0], asked)
        return {other: seen for _, other, seen in rows if other is not None}

    async def process_ended(self, service: str, process: str) -> None:
        await self.session.ask("process_ended", service, process)

    async def count_attempts(self, service: str, records: Sequence[tuple[str, int, int]], by: int = 1) -> list[int]:
        if not records:
            return []
        topics, partitions, offsets = (list(column) for column in zip(*dict.fromkeys(records), strict=True))
        rows = await self.session.ask("count_attempts", service, topics, partitions, offsets, by)
        counts = {(topic, partition, offset): count for topic, partition, offset, count in rows}
        return [counts[record] for record in records]
