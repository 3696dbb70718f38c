"""A process: one service or several, until SIGTERM or SIGINT."""

import asyncio
import gc
import signal
from collections.abc import Awaitable, Sequence
from typing import Any, TypeVar

from hansard.service import Service
from shared.backoff import until_available
from shared.eventstore.postgres import PostgresEventStore
from shared.kafka.access import check_reviewers
from shared.kafka.admin import check_doors
from shared.runtime.assembly import ServiceRunner
from shared.settings import Settings
from shared.tasks import end
from shared.telemetry import logs, traces
from shared.telemetry.http import serve_http
from shared.telemetry.logs import log

GRACE = 10.0  # seconds that a service gets to stop

Result = TypeVar("Result")


async def serve(services: Sequence[Service[Any]], settings: Settings) -> None:
    """Runs these services until SIGTERM or SIGINT, then drains and returns. Waits for servers that are unavailable."""
    logs.configure(settings.log_level, settings.log_format, settings.log_payloads)
    asyncio.get_running_loop().set_exception_handler(logs.report_unhandled)
    gc.freeze()  # a batch makes thousands of objects and no garbage cycles: a full collection would be a pause for nothing
    gc.set_threshold(50_000, 20, 50)
    traces.configure("+".join(service.name for service in services), settings.otlp)
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    runners: list[ServiceRunner] = []
    async with serve_http(settings.http, runners):
        store = await _unless_stopped(stopping, until_available(lambda: _open_store(services, settings)))
        if store is None:
            return
        runners += [ServiceRunner(service, settings, store) for service in services]
        started: list[ServiceRunner] = []
        try:
            names = [service.name for service in services]
            await _unless_stopped(stopping, check_doors(settings, names))
            await _unless_stopped(stopping, check_reviewers(settings, names))
            for runner in runners:
                if stopping.is_set():
                    break
                await _unless_stopped(stopping, runner.start())
                started.append(runner)
            await stopping.wait()
        finally:
            log.info("stopping", services=[runner.name for runner in started])
            await asyncio.gather(*(runner.stop(GRACE) for runner in started))
            await store.close()


async def _open_store(services: Sequence[Service[Any]], settings: Settings) -> PostgresEventStore:
    return await PostgresEventStore.open(
        settings.postgres_of(*(service.name for service in services)),
        schema=settings.postgres_schema,
        pool=settings.postgres_pool,
        pooler=settings.postgres_pooler,
    )


async def _unless_stopped(stopping: asyncio.Event, work: Awaitable[Result]) -> Result | None:
    """Returns the result of `work`; None if the process is stopped first."""
    task, stop = asyncio.ensure_future(work), asyncio.create_task(stopping.wait())
    await asyncio.wait((task, stop), return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if task.done():
        return task.result()
    await end([task])
    return None
