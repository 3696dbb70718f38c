"""The whole event store in PostgreSQL 15 or later."""

from functools import cached_property

from shared.eventstore.postgres.answers import PostgresAnswers
from shared.eventstore.postgres.api_keys import PostgresApiKeys
from shared.eventstore.postgres.contents import PostgresPlace
from shared.eventstore.postgres.outbox import PostgresOutbox
from shared.eventstore.postgres.policies import PostgresPolicies
from shared.eventstore.postgres.processes import PostgresProcesses
from shared.eventstore.postgres.readers import PostgresMessages, PostgresRecord, PostgresWorkflows
from shared.eventstore.postgres.session import Session
from shared.eventstore.postgres.streams import PostgresStreams


class PostgresEventStore(
    PostgresStreams,
    PostgresOutbox,
    PostgresProcesses,
    PostgresMessages,
    PostgresWorkflows,
    PostgresRecord,
    PostgresPolicies,
    PostgresAnswers,
):
    """`EventStore` in PostgreSQL. Made by `open`; safe for many tasks of one event loop."""

    @classmethod
    async def open(cls, dsn: str, *, schema: str = "hansard", pool: int = 4, pooler: bool = False) -> "PostgresEventStore":
        """One connection for appends, up to `pool` for the rest.

        `pooler`: connections go through a transaction pooler, so no session keeps anything. Raises ValueError for a schema
        that cannot be one; StoreUnavailable if the server cannot be reached, is too old or is not in UTF-8, or if the schema
        is not migrated.
        """
        return cls(await Session.open(dsn, schema, pool, pooler))

    @cached_property
    def contents(self) -> PostgresPlace:
        return PostgresPlace(self.session)

    @cached_property
    def api_keys(self) -> PostgresApiKeys:
        return PostgresApiKeys(self.session)

    async def ping(self) -> None:
        await self.session.fetch("select 1")

    async def close(self) -> None:
        await self.session.close()
