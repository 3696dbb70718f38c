"""The event store in PostgreSQL, and the only place that uses Postgres. Its promises are in `shared.eventstore.ports`."""

from shared.eventstore.postgres.store import PostgresEventStore

__all__ = ["PostgresEventStore"]
