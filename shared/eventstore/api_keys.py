"""API keys as the store has them, and the store in memory. A key itself is kept nowhere: only its hash."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

from shared.eventstore.model import StoreRefused

USE_NOTED_EVERY = timedelta(minutes=1)


@dataclass(frozen=True)
class ApiKey:
    """A key of a program: `kinds` are those of messages that it may submit, for its tenant alone. `hash`: SHA-256 of the key."""

    id: str
    hash: bytes = field(repr=False)
    tenant: str
    name: str
    kinds: tuple[str, ...]
    created_by: str
    created_at: datetime | None = None
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None


class ApiKeyStore(Protocol):
    """Keys of programs. Each method raises StoreUnavailable."""

    async def add(self, key: ApiKey) -> None:
        """Stores a new key, of now. Raises StoreRefused where its id is there already."""
        ...

    async def find(self, id: str) -> ApiKey | None:
        """The key of this id, revoked or not."""
        ...

    async def list(self, tenant: str) -> "list[ApiKey]":
        """All keys of a tenant, the oldest first."""
        ...

    async def revoke(self, tenant: str, id: str) -> bool:
        """Revokes it from now on; False where the tenant has no such key that is not revoked."""
        ...

    async def used(self, id: str) -> None:
        """Notes that it is used now, at most once a minute."""
        ...


class InMemoryApiKeys:
    """`ApiKeyStore` in plain Python."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._keys: dict[str, ApiKey] = {}

    async def add(self, key: ApiKey) -> None:
        if key.id in self._keys:
            raise StoreRefused(f"there is a key {key.id} already")
        self._keys[key.id] = replace(key, created_at=self._clock())

    async def find(self, id: str) -> ApiKey | None:
        return self._keys.get(id)

    async def list(self, tenant: str) -> "list[ApiKey]":
        return [key for key in self._keys.values() if key.tenant == tenant]

    async def revoke(self, tenant: str, id: str) -> bool:
        key = self._keys.get(id)
        if key is None or key.tenant != tenant or key.revoked_at is not None:
            return False
        self._keys[id] = replace(key, revoked_at=self._clock())
        return True

    async def used(self, id: str) -> None:
        key, now = self._keys.get(id), self._clock()
        if key is not None and (key.last_used_at is None or now - key.last_used_at >= USE_NOTED_EVERY):
            self._keys[id] = replace(key, last_used_at=now)
