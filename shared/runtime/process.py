"""A process that serves: one service or several, until it is told to leave."""

import asyncio
import gc
import signal
from collections.abc import Awaitable, Sequence
from typing import Any

from shared.kafka.topics import check_doors
from shared.runtime.worker import Worker, patiently
from shared.service import Service
from shared.settings import Settings
from shared.store.postgres import PostgresStore
from shared.telemetry import logs, traces
from shared.telemetry.http import serve_http
from shared.telemetry.logs import log

GRACE = 10.0  # seconds for what runs, on the way out


async def serve(services: Sequence[Service[Any]], settings: Settings) -> None:
    """Runs these services until SIGTERM or SIGINT, drains and returns. Waits for servers that are away."""
    logs.configure(settings.log_level, settings.log_format)
    gc.freeze()  # a batch makes thousands of objects and no garbage cycles: a full collection is a pause for nothing
    gc.set_threshold(50_000, 20, 50)
    traces.configure("+".join(service.name for service in services), settings.otlp)
    leave = asyncio.Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sign, leave.set)
    workers: list[Worker] = []
    async with serve_http(settings.http, workers):
        store = await _unless(leave, _store(settings))
        if store is None:
            return
        workers += [Worker(service, settings, store) for service in services]
        started: list[Worker] = []
        try:
            await _unless(leave, check_doors(settings))
            for worker in workers:
                if leave.is_set():
                    break
                await _unless(leave, worker.start())
                started.append(worker)
            await leave.wait()
        finally:
            log.info("draining", services=[worker.service.name for worker in started])
            await asyncio.gather(*(worker.stop(GRACE) for worker in started))
            await store.close()


async def _store(settings: Settings) -> PostgresStore:
    def opened() -> Awaitable[PostgresStore]:
        return PostgresStore.open(
            settings.postgres.get_secret_value(),
            schema=settings.postgres_schema,
            pool=settings.postgres_pool,
            pooler=settings.postgres_pooler,
        )

    store: PostgresStore = await patiently(opened, "the event store")
    return store


async def _unless(leave: asyncio.Event, work: Any) -> Any:
    """The work's result, or None when we are told to leave first."""
    task, told = asyncio.ensure_future(work), asyncio.create_task(leave.wait())
    await asyncio.wait((task, told), return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
    if task.done():
        return task.result()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return None
