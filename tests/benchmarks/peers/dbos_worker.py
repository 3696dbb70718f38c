"""DBOS Transact: workflows and steps by its async interface, its system database in Postgres. `… DSN SCHEMA MODEL`

Its pool does not ping before each use, and four threads make its database calls: its best figures here.
"""

# mypy: disable-error-code="import-not-found, untyped-decorator"

import asyncio
import sys
from typing import Any

import uvloop
from dbos import DBOS

from tests.benchmarks.peers import work

MODEL = sys.argv[3] if len(sys.argv) > 3 else ""


@DBOS.step()
async def route(question: str) -> work.Json:
    return work.route(question)


@DBOS.step()
async def retrieve(routed: work.Json) -> list[work.Json]:
    return work.retrieve(routed)


@DBOS.step()
async def generate(question: str, passages: list[work.Json]) -> str:
    return await work.generate(MODEL, question, passages)


@DBOS.step()
async def verify(answer: str, passages: list[work.Json]) -> work.Json:
    return work.verify(answer, passages)


@DBOS.step()
async def finish(answer: str, verdict: work.Json) -> work.Json:
    return work.finish(answer, verdict)


@DBOS.workflow()
async def w1() -> Any:
    passages = await retrieve(await route(work.QUESTION))
    answer = await generate(work.QUESTION, passages)
    return await finish(answer, await verify(answer, passages))


@DBOS.step()
async def plan(steps: int) -> list[work.Json]:
    return work.plan(steps)


@DBOS.step()
async def perform(step: work.Json) -> work.Json:
    return work.perform(step)


@DBOS.step()
async def join(answers: list[work.Json]) -> work.Json:
    return work.join(answers)


@DBOS.workflow()
async def w2() -> Any:
    return await join(await asyncio.gather(*(perform(step) for step in await plan(work.FAN))))


async def main(dsn: str, schema: str) -> None:
    DBOS(
        config={
            "name": "bench",
            "system_database_url": dsn.replace("postgresql://", "postgresql+psycopg://"),
            "dbos_system_schema": schema,
            "sys_db_pool_size": 20,
            "db_engine_kwargs": {"pool_pre_ping": False},
            "max_executor_threads": 4,
            "application_version": "1",
            "executor_id": "local",
            "log_level": "WARNING",
            "enable_otlp": False,
        }
    )
    DBOS.launch()
    try:
        await work.serve({"w1": w1, "w2": w2})
    finally:
        DBOS.destroy()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:3]))
