"""Messages that no broker has acknowledged yet."""

from collections.abc import Mapping

from shared.eventstore.model import StoredMessage, Stream
from shared.eventstore.postgres import columns
from shared.eventstore.postgres.session import Session


class Outbox:
    """`OutboxStore` in Postgres."""

    session: Session

    async def mark_published(self, versions: Mapping[Stream, int]) -> None:
        if versions:
            await self.session.ask("mark_published", *columns.versions(versions))

    async def unpublished(self, service: str, older_than: float, limit: int = 1000) -> list[StoredMessage]:
        rows = await self.session.ask("unpublished", service, older_than, limit)
        return sorted(map(columns.message, rows), key=lambda message: (message.stream, message.version))

    async def outbox_age(self, service: str) -> float:
        return float((await self.session.ask("outbox_age", service))[0][0])
