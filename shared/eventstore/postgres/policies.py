"""The data that a policy's version stands for."""

from collections.abc import Sequence

from shared.eventstore.model import StoreRefused
from shared.eventstore.postgres.session import Session


class Policies:
    """`PolicyStore` in Postgres."""

    session: Session

    async def store_policy(self, service: str, version: str, data: bytes) -> None:
        await self.session.ask("store_policy", service, version, data)
        if await self.load_policies([(service, version)]) != {(service, version): data}:
            raise StoreRefused(f"the policy {version} of {service} has other data already")

    async def load_policies(self, versions: Sequence[tuple[str, str]]) -> dict[tuple[str, str], bytes]:
        services, names = [service for service, _ in versions], [version for _, version in versions]
        return {(row[0], row[1]): row[2] for row in await self.session.ask("load_policies", services, names)}
