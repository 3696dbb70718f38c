"""Contents in Postgres, beside the record."""

from collections.abc import AsyncIterator
from datetime import datetime

import asyncpg

from shared.content.ports import StoredContent
from shared.eventstore.postgres.session import Session

PAGE = 1000


class PostgresPlace:
    """`Place` in the table `content`. Services may add to it; only its owner may delete."""

    name = "Postgres"

    def __init__(self, session: Session) -> None:
        self._session = session

    async def put(self, tenant: str, sha256: str, data: bytes, media_type: str) -> None:
        await self._session.ask("content/put", tenant, bytes.fromhex(sha256), media_type, data)

    async def get(self, tenant: str, sha256: str) -> bytes | None:
        rows = await self._session.ask("content/get", tenant, bytes.fromhex(sha256))
        return rows[0][0] if rows else None

    async def stat(self, tenant: str, sha256: str) -> StoredContent | None:
        rows = await self._session.ask("content/stat", tenant, bytes.fromhex(sha256))
        return self._stored(rows[0]) if rows else None

    async def list(self) -> AsyncIterator[list[StoredContent]]:
        tenant, sha256 = "", b""
        while rows := await self._session.ask("content/list", tenant, sha256, PAGE):
            yield [self._stored(row) for row in rows]
            tenant, sha256 = rows[-1][0], rows[-1][1]

    async def delete(self, tenant: str, sha256: str, before: datetime) -> bool:
        return bool(await self._session.ask("content/delete", tenant, bytes.fromhex(sha256), before))

    def _stored(self, row: asyncpg.Record) -> StoredContent:
        tenant, sha256, size, at, media_type = row
        return StoredContent(tenant, sha256.hex(), size, at, media_type, self.name)
