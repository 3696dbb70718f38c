"""The floor: the same steps with one INSERT and commit a step by asyncpg, a pool of 20, and nothing else. `… DSN SCHEMA MODEL`"""

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

        async def kept(workflow: uuid.UUID, step: int, result: T) -> T:
            await pool.execute(insert, workflow, step, json.dumps(result))
            return result

        async def w1() -> work.Json:
            me = uuid.uuid4()
            routed = await kept(me, 1, work.route(work.QUESTION))
            passages = await kept(me, 2, work.retrieve(routed))
            answer = await kept(me, 3, await work.generate(model, work.QUESTION, passages))
            verdict = await kept(me, 4, work.verify(answer, passages))
            return await kept(me, 5, work.finish(answer, verdict))

        async def w2() -> work.Json:
            me = uuid.uuid4()
            steps = await kept(me, 0, work.plan(work.FAN))
            answers = await asyncio.gather(*(kept(me, n, work.perform(step)) for n, step in enumerate(steps, 1)))
            return await kept(me, work.FAN + 1, work.join(answers))

        await work.serve({"w1": w1, "w2": w2})


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
