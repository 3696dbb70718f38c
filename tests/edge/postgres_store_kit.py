"""Several processes on one Postgres event store, and what they wait for."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
import pytest

from shared.eventstore.postgres import PostgresEventStore, session


@asynccontextmanager
async def several(dsn: str, schema: str, count: int) -> AsyncIterator[list[PostgresEventStore]]:
    """So many stores, as in so many processes: each with its own connections."""
    async with AsyncExitStack() as stack:
        stores = []
        for _ in range(count):
            stores.append(await PostgresEventStore.open(dsn, schema=schema, pool=2))
            stack.push_async_callback(stores[-1].close)
        yield stores


async def waits(raw: asyncpg.Connection, least: int = 1) -> bool:
    """Whether at least so many statements in this schema wait for a lock."""
    schema = await raw.fetchval("select current_schema()")
    await raw.execute("select pg_stat_clear_snapshot()")  # else a transaction goes on seeing what it saw first
    return bool(
        await raw.fetchval(
            "select count(*) >= $2 from pg_stat_activity where wait_event_type = 'Lock' and query like '%' || $1 || '%'",
            schema,
            least,
        )
    )


def count_retries(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """SQL states of the errors after which the stores of this process tried again."""
    seen: list[str | None] = []
    ask = session.may_succeed_next_time

    def spy(error: Exception) -> bool:
        again = ask(error)
        if again:
            seen.append(getattr(error, "sqlstate", None))
        return again

    monkeypatch.setattr(session, "may_succeed_next_time", spy)
    return seen
