"""`demo`: starts everything where nothing runs, and shows one of the architectures at work, with real input.

A demonstration is a module here with a function `play`: it works in a deployment that runs, prints what happens, and returns
what prints the conclusion.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Annotated, Any

import typer

from infra import processes
from infra.cli import base, screen
from infra.cli.loading import with_own
from infra.cli.problem import Problem
from infra.cli.running import down_ours, ended_by_signal, hints, prepare, start_services
from shared.settings import Settings

DEMOS = ("requests", "approval")
Play = Callable[[Settings, Callable[[], bool]], Awaitable[Callable[[], None]]]


def demo(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help=f"Which: {', '.join(DEMOS)}.")] = DEMOS[0],
) -> None:
    """Start everything, do real work, print every message and a summary. On a terminal it stays up until Ctrl-C.

    Example: hansard demo    ·    hansard demo approval
    """
    play = named(name)
    settings = base.local()
    if processes.read(settings.home) is not None:
        base.run(_played(play, base.running(kafka=True)))()
    else:
        _alone(settings, play)


def named(name: str) -> Play:
    """Raises Problem."""
    if name not in DEMOS:
        raise Problem(f"There is no demonstration {name}: {', '.join(DEMOS)}.", code=2)
    module: Any = import_module(f"infra.cli.demos.{name}")
    play: Play = module.play
    return play


async def _played(play: Play, settings: Settings, ended: Callable[[], bool] = lambda: False) -> Callable[[], None]:
    return await play(settings, ended)


def _alone(settings: Settings, play: Play) -> None:
    with_own(settings)  # a service that cannot be loaded is found before anything is started
    try:
        ready = prepare(settings, screen.note)
        supervisor = start_services(ready, screen.note)
        with ended_by_signal() as ended, supervised(supervisor):
            asyncio.run(_played(play, ready, ended))()
            if base.terminal_in() and not ended():
                screen.out.print(hints(ready))
                screen.note("Everything stays up. Ctrl-C stops it.")
                while not ended():
                    time.sleep(0.2)
    finally:
        screen.note("stopping")
        down_ours(settings)


@contextmanager
def supervised(supervisor: processes.Supervisor) -> Iterator[None]:
    """Lets the supervisor watch its services meanwhile; stops them at the end."""
    leave = threading.Event()
    watcher = threading.Thread(target=supervisor.watch, args=(leave.is_set,), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        leave.set()
        watcher.join(processes.DRAIN + 10)
