"""API keys in Postgres."""

from shared.eventstore.api_keys import ApiKey
from shared.eventstore.postgres.session import Session


class PostgresApiKeys:
    """`ApiKeyStore` in Postgres."""

    def __init__(self, session: Session) -> None:
        self.session = session

    async def add(self, key: ApiKey) -> None:
        await self.session.ask("api_keys/add", key.id, key.hash, key.tenant, key.name, list(key.kinds), key.created_by)

    async def find(self, id: str) -> ApiKey | None:
        rows = await self.session.ask("api_keys/find", id)
        return _key(*rows[0]) if rows else None

    async def list(self, tenant: str) -> list[ApiKey]:
        return [_key(*row) for row in await self.session.ask("api_keys/list", tenant)]

    async def revoke(self, tenant: str, id: str) -> bool:
        return bool(await self.session.ask("api_keys/revoke", tenant, id))

    async def used(self, id: str) -> None:
        await self.session.ask("api_keys/used", id)


def _key(id, hash, tenant, name, kinds, created_by, created_at, last_used_at, revoked_at) -> ApiKey:  # type: ignore[no-untyped-def]
    return ApiKey(id, bytes(hash), tenant, name, tuple(kinds), created_by, created_at, last_used_at, revoked_at)
