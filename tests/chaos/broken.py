"""Services that are broken on purpose, for `hansard serve tests.chaos.broken:NAME`."""

import os
import signal
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from contracts.message import Message
from contracts.planner import RunPlan
from contracts.requests import SubmitRequest
from contracts.topics import Topics
from services.planner.app import build as build_planner
from services.router.app import build as build_router
from shared.decider import Context
from shared.service import Service
from shared.settings import Settings

Decide = Callable[[Any, Message, Context], Iterable[Message]]


def _with(service: Service[Any], before: Callable[[Message, Context], None]) -> Service[Any]:
    decider = service.decider

    def decide(state: Any, heard: Message, context: Context) -> Iterable[Message]:
        before(heard, context)
        return decider.decide(state, heard, context)

    return replace(service, decider=replace(decider, decide=decide), informed=None)


def poisoned_planner(settings: Settings) -> Service[Any]:
    """Its decision fails for a plan whose goal says so."""

    def fail(heard: Message, context: Context) -> None:
        if isinstance(heard, RunPlan) and "poison" in heard.goal:
            raise ZeroDivisionError("one of those days")

    return _with(build_planner(settings), fail)


def forgetful_planner(settings: Settings) -> Service[Any]:
    """A plan never reaches it."""
    service = build_planner(settings)
    return replace(service, hears={kind: find for kind, find in service.hears.items() if kind is not RunPlan})


def crashing_router(settings: Settings) -> Service[Any]:
    """A request that says so ends the process."""

    def crash(heard: Message, context: Context) -> None:
        if isinstance(heard, SubmitRequest) and "crash" in (heard.text or ""):
            os._exit(3)

    return _with(build_router(settings), crash)


def sleeping_planner(settings: Settings) -> Service[Any]:
    """Falls asleep once, between a decision and its append, for a plan whose goal says so."""
    asleep = Path(settings.home) / "asleep"

    def sleep(heard: Message, context: Context) -> None:
        if isinstance(heard, RunPlan) and "sleep" in heard.goal and not asleep.exists():
            asleep.touch()
            os.kill(os.getpid(), signal.SIGSTOP)

    return _with(build_planner(settings), sleep)


def changed_router(settings: Settings) -> Service[Any]:
    """The next version: it gives a workflow half the time."""
    return build_router(settings.model_copy(update={"workflow_seconds": settings.workflow_seconds / 2}))


def ignorant_router(settings: Settings) -> Service[Any]:
    """An old version, from before there were requests of this kind."""
    known = Topics.kinds.func(settings.topics)  # type: ignore[attr-defined]
    vars(settings.topics)["kinds"] = {name: kind for name, kind in known.items() if kind is not SubmitRequest}
    return build_router(settings)
