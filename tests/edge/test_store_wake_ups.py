"""Claiming wake-ups in Postgres by several processes, and what a claim costs."""

import asyncio
import re

import asyncpg
import pytest

from shared.eventstore.model import StoreRefused, Stream
from shared.eventstore.postgres import PostgresEventStore, session
from tests.edge.postgres_store_kit import several
from tests.edge.store_kit import EARLIER, FAR, a_stream, an_append

pytestmark = pytest.mark.usefixtures("patient")


async def test_of_several_processes_that_claim_each_wake_up_goes_to_one(
    postgres_dsn: str, schema: str, store: PostgresEventStore
) -> None:
    streams = {a_stream(f"planner/{n}") for n in range(200)}
    await store.append([an_append(s, wake_at=EARLIER) for s in streams])

    async def claim(one: PostgresEventStore) -> list[Stream]:
        claimed: list[Stream] = []
        while True:
            some, seconds = await one.claim_wake_ups("planner", 7, 600)
            claimed += [wake_up.stream for wake_up in some]
            if not some and seconds > 1:
                return claimed

    async with several(postgres_dsn, schema, 4) as stores:
        claims = await asyncio.gather(*map(claim, stores))
    assert sorted(s for claimed in claims for s in claimed) == sorted(streams)
    assert sum(map(bool, claims)) > 1, "they did share"


async def test_a_claim_does_not_wait_for_another_process(store: PostgresEventStore, raw: asyncpg.Connection) -> None:
    first, second = a_stream("planner/1"), a_stream("planner/2")
    await store.append([an_append(first, wake_at=EARLIER), an_append(second, wake_at=EARLIER)])
    async with raw.transaction():
        await raw.execute("select from wake_ups where stream = 'planner/1' for update")
        claimed, seconds = await asyncio.wait_for(store.claim_wake_ups("planner", 10, 60), 10)
        assert [wake_up.stream for wake_up in claimed] == [second] and seconds < 1, (
            "what another process holds may be free again soon"
        )


async def test_wake_ups_that_are_not_due_cost_a_claim_nothing(store: PostgresEventStore, raw: asyncpg.Connection) -> None:
    await raw.execute(
        "insert into wake_ups (at, wanted, tenant, workflow, stream, service, holder)"
        " select now() + n * interval '1 minute', now(), 't', n::text, 'planner/x', 'planner', ''"
        " from generate_series(1, 200000) n"
    )
    await store.append([an_append(a_stream("planner/now"), wake_at=EARLIER)])
    trial = raw.transaction()
    await trial.start()
    for setting, value in session.SETTINGS.items():
        await raw.execute(f"set local {setting} = '{value}'")
    await raw.execute(f"prepare claim(text, bigint, float8) as {store.session.sql['claim_wake_ups']}")
    explained = "explain (analyze, buffers, costs off, timing off) execute claim('planner', 100, 30)"
    plans = ["\n".join(line for (line,) in await raw.fetch(explained)) for _ in range(2)]
    await trial.rollback()
    for plan in plans:
        assert "Seq Scan" not in plan and "wake_ups_next" in plan, plan
        touched = re.search(r"Buffers: shared hit=(\d+)(?: read=(\d+))?", plan)
        assert touched and sum(int(n or 0) for n in touched.groups()) < 60, plan
    claimed, seconds = await store.claim_wake_ups("planner", 100, 30)
    assert len(claimed) == 1 and seconds <= 30


async def test_times_in_the_far_future_are_stored(store: PostgresEventStore) -> None:
    stream = a_stream("planner/x")
    far = EARLIER + FAR * 1000
    await store.append([an_append(stream, wake_at=far)])
    [wake_up] = await store.session.fetch(f'select at from "{store.session.schema}".wake_ups')
    assert wake_up["at"] == far
    with pytest.raises(StoreRefused):
        await store.append([an_append(a_stream(), wake_at=EARLIER.replace(tzinfo=None))])
