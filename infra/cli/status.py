"""`status`: what runs on this machine."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any

import typer

from infra import processes
from infra.cli import base, screen
from infra.cli.loading import with_own
from infra.cli.problem import Problem
from infra.servers import Servers, ServerStatus
from shared.settings import Settings


def status(
    json_: Annotated[bool, typer.Option("--json", help="One object a line, for programs.")] = False,
) -> None:
    """What runs: servers, services (pid, health, lag, memory).

    Example: hansard status
    """
    settings = base.local()
    servers = Servers(settings.home).status()
    state = processes.read(settings.home)
    try:
        settings = with_own(settings)
    except Problem as problem:  # what runs is shown all the same
        screen.note(str(problem))
    addressed = base.addressed(settings)
    lags = asyncio.run(_lags(addressed, [one.name for one in state.services] if state else ()))
    rows = [
        {
            "service": one.name,
            "pid": one.pid,
            "alive": one.alive,
            **dict(zip(("ready", "says"), one.health(), strict=True)),
            "lag": lags.get(one.name),
            "memory": one.memory,
            "restarts": one.restarts,
            "http": one.http,
            "log": one.log,
        }
        for one in (state.services if state else ())
    ]
    if json_:
        for server in servers:
            row = {"server": server.name, "pid": server.pid, "alive": server.alive, "address": server.address}
            screen.put_json(row)
        for row in rows:
            screen.put_json(row)
    else:
        _show(servers, rows, lags)
    if not rows or not all(row["ready"] for row in rows) or not all(one.alive for one in servers):
        raise typer.Exit(1)


def _show(servers: Sequence[ServerStatus], rows: Sequence[dict[str, Any]], lags: dict[str, int]) -> None:
    if servers:
        told = [(s.name, "up" if s.alive else "dead", s.pid, s.address, "kept" if s.kept else "", s.log) for s in servers]
        screen.out.print(screen.table(("server", "", "pid", "address", "", "log"), told))
    if rows:
        table = [
            (
                row["service"],
                "ready" if row["ready"] else "up" if row["alive"] else "dead",
                row["pid"],
                "" if row["lag"] is None else row["lag"],
                f"{row['memory'] / 1e6:.0f} MB" if row["memory"] else "",
                row["restarts"] or "",
                row["http"],
                row["log"],
            )
            for row in rows
        ]
        screen.out.print(screen.table(("service", "", "pid", "lag", "memory", "restarts", "http", "log"), table))
        for row in rows:
            if not row["ready"]:
                screen.out.print(f"{row['service']}: {row['says']}")
    elif lags:
        screen.out.print(screen.table(("service (runs elsewhere)", "lag"), list(lags.items())))
    if not rows and not servers:
        screen.out.print(base.NOTHING_RUNS)


async def _lags(settings: Settings, running: Sequence[str] = ()) -> dict[str, int]:
    """Messages not yet processed, by service: ours, yours, and what else is running. Nothing where Kafka does not answer."""
    if not settings.kafka:
        return {}
    from shared.kafka.groups import lag

    with suppress(Exception):  # KafkaError, OSError, what a task of aiokafka's raised: what runs is shown without lags
        return {name: await lag(settings, name) for name in dict.fromkeys((*settings.ours, *settings.topics.added, *running))}
    return {}
