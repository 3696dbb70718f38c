"""Several processes that store the same message from outside in Postgres at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import asyncpg
import pytest

from tests.edge.postgres_store_kit import count_retries, several, waits
from tests.edge.store_kit import a_stream, an_append, door, until

pytestmark = pytest.mark.usefixtures("patient")


@asynccontextmanager
async def none_sees_the_others(raw: asyncpg.Connection, workflow: str, causation_id: UUID) -> AsyncIterator[None]:
    """All who store this message meanwhile see none and wait; then all go on at once."""
    uncommitted = raw.transaction()
    await uncommitted.start()
    await raw.execute(
        "insert into door_identities (tenant, causation_id, hash, workflow) values ('default', $1, '', $2)",
        causation_id,
        workflow,
    )
    yield
    await uncommitted.rollback()


async def test_processes_that_race_store_a_message_from_outside_once(
    postgres_dsn: str, schema: str, raw: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    races = count_retries(monkeypatch)
    workflow, causation_id = f"wf-{uuid4()}", uuid4()
    streams = [a_stream(name, workflow=workflow) for name in ("gateway", "planner", "router", "verifier")]
    outside = door(streams[0], causation_id)
    async with several(postgres_dsn, schema, 4) as stores:
        async with none_sees_the_others(raw, workflow, causation_id):
            appending = [
                asyncio.ensure_future(store.append([an_append(s, causation_id=causation_id, doors=[outside])]))
                for store, s in zip(stores, streams, strict=True)
            ]
            await until(lambda: waits(raw, 4))
        assert [(await one).accepted for one in appending] == [{stream} for stream in streams]
        assert await stores[0].door_messages("default", workflow) == {causation_id: outside}
    assert set(races) == {"23505"}, "they did race"


async def test_of_processes_that_race_with_one_id_in_two_workflows_one_is_accepted_and_the_other_learns_which(
    postgres_dsn: str, schema: str, raw: asyncpg.Connection
) -> None:
    causation_id = uuid4()
    streams = [a_stream("router"), a_stream("router")]
    async with several(postgres_dsn, schema, 2) as stores:
        async with none_sees_the_others(raw, "another", causation_id):
            both = [
                asyncio.ensure_future(store.append([an_append(s, causation_id=causation_id, doors=[door(s, causation_id)])]))
                for store, s in zip(stores, streams, strict=True)
            ]
            await until(lambda: waits(raw, 2))
        outcomes = [await one for one in both]
    (first,) = [stream for outcome in outcomes for stream in outcome.accepted]
    assert [one.workflow for outcome in outcomes for one in outcome.taken.values()] == [first.workflow]


async def test_of_processes_that_race_with_two_bodies_under_one_id_one_is_accepted(
    postgres_dsn: str, schema: str, raw: asyncpg.Connection
) -> None:
    workflow, causation_id = f"wf-{uuid4()}", uuid4()
    streams = [a_stream(name, workflow=workflow) for name in ("gateway", "planner")]
    async with several(postgres_dsn, schema, 2) as stores:
        async with none_sees_the_others(raw, workflow, causation_id):
            both = [
                asyncio.ensure_future(
                    store.append([an_append(s, causation_id=causation_id, doors=[door(s, causation_id, body)])])
                )
                for store, s, body in zip(stores, streams, (b"1", b"2"), strict=True)
            ]
            await until(lambda: waits(raw, 2))
        outcomes = await asyncio.gather(*both)
        assert sorted(len(outcome.accepted) for outcome in outcomes) == [0, 1]
        assert [one.workflow for outcome in outcomes for one in outcome.taken.values()] == [workflow]
        loaded = await stores[0].load(streams)
    assert sorted(history.processed for history in loaded.values()) == [0, 1]
