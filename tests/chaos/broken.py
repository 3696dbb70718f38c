"""Services that are broken on purpose, for `hansard serve tests.chaos.broken:NAME`."""

import os
import signal
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from contracts.catalog import Topics
from contracts.planner import RunPlan
from contracts.requests import SubmitRequest
from hansard.decider import Context
from hansard.message import Message
from hansard.service import Perform, Service
from services.gateway.app import build as build_gateway
from services.ledger.app import build as build_ledger
from services.planner.app import build as build_planner
from services.router.app import build as build_router
from shared.settings import Settings

Decide = Callable[[Any, Message, Context], Iterable[Message]]


def _with(service: Service[Any], before: Callable[[Message, Context], None]) -> Service[Any]:
    decider = service.decider

    def decide(state: Any, received: Message, context: Context) -> Iterable[Message]:
        before(received, context)
        return decider.decide(state, received, context)

    return replace(service, decider=replace(decider, decide=decide), prepare=None)


def poisoned_planner(settings: Settings) -> Service[Any]:
    """Its decision fails for a plan with `poison` in its goal."""

    def fail(received: Message, context: Context) -> None:
        if isinstance(received, RunPlan) and "poison" in received.goal:
            raise ZeroDivisionError("scripted failure")

    return _with(build_planner(settings), fail)


def telling_planner(settings: Settings) -> Service[Any]:
    """The error of its failed decision tells the whole plan, as careless code does."""

    def fail(received: Message, context: Context) -> None:
        if isinstance(received, RunPlan) and "poison" in received.goal:
            raise ValueError(f"no way to run {received}")

    return _with(build_planner(settings), fail)


def telling_gateway(settings: Settings) -> Service[Any]:
    """Its performer raises an error that tells what was asked, at first attempts of a question with `raise` in it."""
    service = build_gateway(settings)
    performer = service.performer
    assert performer is not None

    @asynccontextmanager
    async def opened(context: Any) -> AsyncIterator[Perform[Any, Any]]:
        async with performer.open(context) as perform:

            async def telling(state: Any, intent: Any, stream: Any) -> Any:
                if "raise" in str(state) and intent.attempt == 1:
                    raise RuntimeError(f"no answer to {state}")
                return await perform(state, intent, stream)

            yield telling

    return replace(service, performer=replace(performer, open=opened))


def forgetful_planner(settings: Settings) -> Service[Any]:
    """It does not receive plans."""
    service = build_planner(settings)
    return replace(service, receives={kind: find for kind, find in service.receives.items() if kind is not RunPlan})


def crashing_router(settings: Settings) -> Service[Any]:
    """A request with `crash` in its text ends the process."""

    def crash(received: Message, context: Context) -> None:
        if isinstance(received, SubmitRequest) and "crash" in (received.text or ""):
            os._exit(3)

    return _with(build_router(settings), crash)


def sleeping_planner(settings: Settings) -> Service[Any]:
    """Stops once (SIGSTOP), between a decision and its append, for a plan with `sleep` in its goal."""
    asleep = Path(settings.home) / "asleep"

    def sleep(received: Message, context: Context) -> None:
        if isinstance(received, RunPlan) and "sleep" in received.goal and not asleep.exists():
            asleep.touch()
            os.kill(os.getpid(), signal.SIGSTOP)

    return _with(build_planner(settings), sleep)


def changed_router(settings: Settings) -> Service[Any]:
    """The next version: workflows have half the time."""
    return build_router(settings.model_copy(update={"workflow_seconds": settings.workflow_seconds / 2}))


def ignorant_router(settings: Settings) -> Service[Any]:
    """An old version that does not know the kind of requests."""
    kinds_of = Topics.kinds.func  # type: ignore[attr-defined]
    Topics.kinds = property(lambda topics: {n: k for n, k in kinds_of(topics).items() if k is not SubmitRequest})  # type: ignore[assignment, method-assign]
    return build_router(settings)


def dying_ledger(settings: Settings) -> Service[Any]:
    """At first attempts, the process is killed after the entry was made and before the outcome is stored. With the file `early`
    in its home: before the entry is made."""
    service = build_ledger(settings)
    performer = service.performer
    assert performer is not None

    @asynccontextmanager
    async def opened(context: Any) -> AsyncIterator[Perform[Any, Any]]:
        async with performer.open(context) as perform:

            async def dying(state: Any, intent: Any, stream: Any) -> Any:
                early = (Path(settings.home) / "early").exists()
                outcome = None if early and intent.attempt == 1 else await perform(state, intent, stream)
                if intent.attempt == 1:
                    os.kill(os.getpid(), signal.SIGKILL)
                return outcome

            yield dying

    return replace(service, performer=replace(performer, open=opened))
