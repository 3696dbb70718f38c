"""A process that serves: one service or several, until it is told to leave."""

import asyncio
import gc
import signal
from collections.abc import Awaitable, Sequence
from typing import Any

from shared.eventstore.postgres import PostgresEventStore
from shared.kafka.admin import check_doors
from shared.runtime.assembly import ServiceRunner, patiently
from shared.service import Service
from shared.settings import Settings
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
    workers: list[ServiceRunner] = []
    async with serve_http(settings.http, workers):
        store = await _unless(leave, _store(settings))
        if store is None:
            return
        workers += [ServiceRunner(service, settings, store) for service in services]
        started: list[ServiceRunner] = []
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


async def _store(settings: Settings) -> PostgresEventStore:
    def opened() -> Awaitable[PostgresEventStore]:
        return PostgresEventStore.open(
            settings.postgres.get_secret_value(),
            schema=settings.postgres_schema,
            pool=settings.postgres_pool,
            pooler=settings.postgres_pooler,
        )

    store: PostgresEventStore = await patiently(opened, "the event store")
    return store


async def _unless(leave: asyncio.Event, pending: Any) -> Any:
    """The work's result, or None when we are told to leave first."""
    task, told = asyncio.ensure_future(pending), asyncio.create_task(leave.wait())
    await asyncio.wait((task, told), return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
    if task.done():
        return task.result()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return None
