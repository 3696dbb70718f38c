"""The whole event store in PostgreSQL 15 or later."""

from shared.eventstore.postgres.answers import Answers
from shared.eventstore.postgres.outbox import Outbox
from shared.eventstore.postgres.policies import Policies
from shared.eventstore.postgres.processes import Processes
from shared.eventstore.postgres.readers import Messages, Workflows
from shared.eventstore.postgres.session import Session
from shared.eventstore.postgres.streams import Streams


class PostgresEventStore(Streams, Outbox, Processes, Messages, Workflows, Policies, Answers):
    """`EventStore` in PostgreSQL. Made by `open`; safe for many tasks of one event loop."""

    @classmethod
    async def open(cls, dsn: str, *, schema: str = "hansard", pool: int = 4, pooler: bool = False) -> "PostgresEventStore":
        """One connection for appends, up to `pool` for the rest.

        `pooler`: a transaction pooler stands between, so nothing is kept in a session. Raises ValueError for a schema that
        cannot be one; StoreUnavailable where the server cannot be reached, is too old or is not in UTF-8, or the schema is
        not migrated.
        """
        return cls(await Session.open(dsn, schema, pool, pooler))

    async def ping(self) -> None:
        await self.session.fetch("select 1")

    async def close(self) -> None:
        await self.session.close()
