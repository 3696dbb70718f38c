"""Reads all messages in order, and whole workflows for audits."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from shared.eventstore.model import (
    Claim,
    Cursor,
    Disorder,
    DoorIdentity,
    DoorMessage,
    Epoch,
    EpochChanged,
    History,
    InboxEntry,
    LastAppend,
    ListedWorkflow,
    StoredMessage,
    Stream,
    WorkflowHistory,
)
from shared.eventstore.postgres import columns
from shared.eventstore.postgres.session import Session

_WORKFLOW = ("workflow_streams", "workflow_messages", "workflow_entries", "workflow_door_messages", "workflow_identities")


class PostgresMessages:
    """`MessageReader` and `TailStore` in Postgres."""

    session: Session

    async def cursor(self) -> Cursor:
        epoch, _ = await _settled(self.session)
        return Cursor(epoch)

    async def read_all(self, since: Cursor | None = None, *, batch: int = 1000) -> AsyncIterator[list[StoredMessage]]:
        epoch, bound = await _settled(self.session)
        if since is not None and since.epoch != epoch:
            raise EpochChanged(
                f"the cursor is of epoch {since.epoch}, the store of {epoch}: the store was restored; read all of it again"
            )
        transaction, position = (since.transaction, since.position) if since else (0, 0)
        while rows := await self.session.ask("read_all", transaction, position, bound, batch):
            yield [columns.message(row) for row in rows]
            transaction, position = rows[-1]["xact"], rows[-1]["position"]

    async def epoch(self) -> Epoch:
        return Epoch(*(await self.session.ask("epoch"))[0])

    async def epoch_compared(self, epoch: str) -> None:
        await self.session.ask("epoch_compared", epoch)

    async def read_published_back(self, *, batch: int = 1000) -> AsyncIterator[list[StoredMessage]]:
        transaction, position = 2**63 - 1, 2**63 - 1
        while rows := await self.session.ask("read_published_back", transaction, position, batch):
            yield [columns.message(tuple(row)[:-1]) for row in rows if row["published"]]
            transaction, position = rows[-1]["xact"], rows[-1]["position"]

    async def read_streams(self, *, batch: int = 1000) -> AsyncIterator[list[StoredMessage]]:
        _, bound = await _settled(self.session)
        last: Sequence[Any] = ("", "", "", 0)
        while rows := await self.session.ask("read_streams", *last, bound, batch):
            yield [columns.message(row) for row in rows]
            last = rows[-1][:4]

    async def read_last(self, kinds: Sequence[str], messages: int, tenant: str = "") -> list[StoredMessage]:
        return [columns.message(row) for row in await self.session.ask("read_last", list(kinds), messages, tenant)]

    async def find_messages(self, ids: Sequence[UUID]) -> dict[UUID, StoredMessage]:
        rows = await self.session.ask("find_messages", list(ids))
        return {message.id: message for message in map(columns.message, rows)}

    async def not_on_record(self, claims: Sequence[Claim]) -> set[Claim]:
        return {claims[row["o"] - 1] for row in await self.session.ask("not_on_record", *columns.CLAIM.arrays(claims))}

    async def estimate_size(self) -> int:
        return int((await self.session.ask("estimate_size", f'"{self.session.schema}".messages'))[0][0])

    async def reader_lag(self) -> float:
        return float((await self.session.ask("reader_lag"))[0][0])


class PostgresWorkflows:
    """`WorkflowReader` in Postgres, without `load_workflow`."""

    session: Session

    async def list_workflows(self, since: datetime | None = None, *, batch: int = 1000) -> AsyncIterator[list[ListedWorkflow]]:
        last: Sequence[Any] = ("", "")
        while rows := await self.session.ask("list_workflows", *last, since, batch):
            yield [ListedWorkflow(*row) for row in rows]
            last = rows[-1][:2]

    async def load_workflows(self, workflows: Sequence[tuple[str, str]]) -> list[WorkflowHistory]:
        names = [tenant for tenant, _ in workflows], [workflow for _, workflow in workflows]

        async def ask() -> list[list[asyncpg.Record]]:
            async with (
                self.session.pool.acquire() as connection,
                connection.transaction(isolation="repeatable_read", readonly=True),
            ):
                return [await connection.fetch(self.session.sql[statement], *names) for statement in _WORKFLOW]

        return _put_together(workflows, *await self.session.again(ask))

    async def inbox_entries(self, stream: Stream) -> list[InboxEntry]:
        return [InboxEntry(*row) for row in await self.session.ask("inbox_entries", *stream)]

    async def door_messages(self, tenant: str, workflow: str, causation_ids: Sequence[UUID] = ()) -> dict[UUID, DoorMessage]:
        rows = await self.session.ask("door_messages", tenant, workflow, list(causation_ids))
        return {door.causation_id: door for door in map(columns.door, rows)}


class PostgresRecord:
    """`RecordReader` in Postgres."""

    session: Session

    async def unsettled_since(self, transaction: int) -> datetime | None:
        [(unsettled, since)] = await self.session.ask("unsettled_since", transaction)
        return since if unsettled else None

    async def next_transaction(self) -> int:
        return int((await self.session.ask("next_transaction"))[0][0])

    async def disorder(self, slack: float, limit: int) -> list[Disorder]:
        return [Disorder(*row) for row in await self.session.ask("disorder", slack, limit)]

    async def identities_without_door(self, limit: int) -> list[tuple[str, UUID, str]]:
        return [(row[0], row[1], row[2]) for row in await self.session.ask("identities_without_door", limit)]


async def _settled(session: Session) -> tuple[str, int]:
    """The epoch, and the transaction below which no other can still commit."""
    [(epoch, bound, foreign)] = await session.ask("settled")
    if foreign:
        raise EpochChanged("the messages were restored from another server and bear its transactions: begin a new epoch")
    return epoch, bound


def _put_together(
    workflows: Sequence[tuple[str, str]],
    streams: Sequence[asyncpg.Record],
    messages: Sequence[asyncpg.Record],
    entries: Sequence[asyncpg.Record],
    doors: Sequence[asyncpg.Record],
    identities: Sequence[asyncpg.Record],
) -> list[WorkflowHistory]:
    """Puts the rows of the statements together; a stream may lack its row in `streams`."""
    found = {names: WorkflowHistory(*names) for names in workflows}

    def history(tenant: str, workflow: str, name: str) -> History:
        mine, stream = found[tenant, workflow], Stream(tenant, workflow, name)
        if stream not in mine.histories:
            mine.histories[stream], mine.entries[stream] = History(stream), []
        return mine.histories[stream]

    for row in streams:
        known = history(*row[:3])
        known.processed, known.version, known.published, *last = row[3:]
        found[row[0], row[1]].last_appends[known.stream] = LastAppend(*last)
    for row in messages:
        known = history(*row[:3])
        known.messages.append(StoredMessage(known.stream, *row[3:]))
    for row in entries:
        known, entry = history(*row[:3]), InboxEntry(*row[3:])
        known.entries[entry.causation_id] = entry
        found[row[0], row[1]].entries[known.stream].append(entry)
    for door in map(columns.door, doors):
        found[door.tenant, door.workflow].door_messages[door.causation_id] = door
    for tenant, workflow, causation_id, *identity in identities:
        found[tenant, workflow].identities[causation_id] = DoorIdentity(*identity)
    return [found[names] for names in workflows]
