"""The event store in PostgreSQL, and the only place that speaks to Postgres. What it promises is in `shared.eventstore.ports`."""

from shared.eventstore.postgres.store import PostgresEventStore

__all__ = ["PostgresEventStore"]
