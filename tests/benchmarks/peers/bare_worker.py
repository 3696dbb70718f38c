"""The lower bound: the same steps with one INSERT and commit a step by asyncpg, and a pool of 20. `… DSN SCHEMA MODEL`"""

import asyncio
import json
import sys
import uuid
from typing import TypeVar

import asyncpg
import uvloop

from tests.benchmarks.peers import work

T = TypeVar("T")


async def main(dsn: str, schema: str, model: str) -> None:
    async with asyncpg.create_pool(dsn, min_size=20, max_size=20) as pool:
        await pool.execute(f"create schema {schema}")
        await pool.execute(
            f"create table {schema}.steps (workflow uuid, step int, result jsonb not null, at timestamptz default now(),"
            f" primary key (workflow, step))"
        )
        insert = f"insert into {schema}.steps (workflow, step, result) values ($1, $2, $3)"

        async def stored(workflow: uuid.UUID, step: int, result: T) -> T:
            await pool.execute(insert, workflow, step, json.dumps(result))
            return result

        async def w1() -> work.Json:
            me = uuid.uuid4()
            routed = await stored(me, 1, work.route(work.QUESTION))
            passages = await stored(me, 2, work.retrieve(routed))
            answer = await stored(me, 3, await work.generate(model, work.QUESTION, passages))
            verdict = await stored(me, 4, work.verify(answer, passages))
            return await stored(me, 5, work.finish(answer, verdict))

        async def w2() -> work.Json:
            me = uuid.uuid4()
            steps = await stored(me, 0, work.plan(work.FAN))
            answers = await asyncio.gather(*(stored(me, n, work.perform(step)) for n, step in enumerate(steps, 1)))
            return await stored(me, work.FAN + 1, work.join(answers))

        await work.serve({"w1": w1, "w2": w2})


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
