"""Contents in memory, for tests."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

from shared.content.ports import StoredContent


class InMemoryPlace:
    """`Place` in plain Python. `clock` gives its time."""

    name = "memory"

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._clock = clock
        self.kept: dict[tuple[str, str], tuple[bytes, str, datetime]] = {}

    async def put(self, tenant: str, sha256: str, data: bytes, media_type: str) -> None:
        self.kept[tenant, sha256] = (data, media_type, self._clock())

    async def get(self, tenant: str, sha256: str) -> bytes | None:
        found = self.kept.get((tenant, sha256))
        return found and found[0]

    async def stat(self, tenant: str, sha256: str) -> StoredContent | None:
        if (found := self.kept.get((tenant, sha256))) is None:
            return None
        data, media_type, at = found
        return StoredContent(tenant, sha256, len(data), at, media_type, self.name)

    async def list(self) -> AsyncIterator[list[StoredContent]]:
        found = [await self.stat(*name) for name in sorted(self.kept)]
        yield [one for one in found if one is not None]

    async def delete(self, tenant: str, sha256: str, before: datetime) -> bool:
        found = await self.stat(tenant, sha256)
        if found is None or found.at >= before:
            return False
        del self.kept[tenant, sha256]
        return True
