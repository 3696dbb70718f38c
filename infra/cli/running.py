"""`up`, `down`, `serve`: servers and services on this machine."""

import asyncio
import importlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from contracts.catalog import OPTIONAL, OURS, SERVICES
from hansard.service import Service
from infra import processes
from infra.cli import access, base, logins, screen
from infra.cli.loading import file_of, listed, taken, with_own
from infra.cli.loading import load as load_own
from infra.cli.problem import Problem
from infra.servers import Servers
from infra.servers import process as server_process
from infra.servers.home import Home
from shared.settings import Settings

Report = Callable[[str], None]  # shows a line to whoever typed the command
READY = 60.0  # seconds the services may take to be ready


def prepare(settings: Settings, report: Report, *, brokers: int = 1, keep: bool = False, secure: bool | None = None) -> Settings:
    """Starts the servers that have no address, migrates the schema, makes the topics and their access rules. Raises ServerError,
    Problem."""
    servers = Servers(settings.home)
    found = servers.up(
        brokers=brokers,
        kafka=not settings.kafka,
        postgres=not settings.postgres.get_secret_value(),
        model=not (settings.model_url or settings.gateway),
        keep=keep,
        secure=settings.secure if secure is None else secure,
        progress=report,
    )
    ready = with_own(base.with_addresses(settings, found))
    asyncio.run(provide(ready, report))
    return access.acting_as(ready)


async def provide(settings: Settings, report: Report) -> None:
    """Migrates, makes topics and their access rules; each does nothing where nothing is to be done."""
    from infra.cli.operate import make_topics

    with base.as_owner():
        applied = await logins.migrated(settings)
    if applied:
        report(f"Postgres: applied {', '.join(applied)} in schema {settings.postgres_schema}")
    made = await make_topics(settings)
    if made:
        report(f"Kafka: made {made} topics")
    await access.provide(settings, report)


def supervisor_of(settings: Settings, report: Report) -> processes.Supervisor:
    """Supervises every service: ours, the HTTP door if it has an address, those of your own. All get this one's environment."""
    specs = {service.name: spec for spec, service in listed(settings).items()}
    for secret in ("HANSARD_POSTGRES_OWNER", "HANSARD_POSTGRES_LOGINS"):  # a service has its own rights, and no other's
        os.environ.pop(secret, None)
    os.environ.update(base.for_children(settings))

    def command(name: str, http: str) -> list[str]:
        return processes.served(specs.get(name, name), http)

    def own(name: str) -> dict[str, str]:
        return base.for_service(settings, name)

    return processes.Supervisor(settings.home, (*settings.ours, *specs), report, command, own)


def start_services(settings: Settings, report: Report) -> processes.Supervisor:
    """Every service as a process of its own, ready. Raises Problem, with the log of the one that is not."""
    supervisor = supervisor_of(settings, report)
    names = supervisor.names
    began = time.monotonic()
    supervisor.start()
    try:
        wait_ready(supervisor.statuses, supervisor.restart_ended)
    except BaseException:  # Problem where a service is not ready in time, Ctrl-C: no service stays behind
        supervisor.stop()
        raise
    report(f"{len(names)} services are ready ({time.monotonic() - began:.1f} s): {', '.join(names)}")
    return supervisor


def wait_ready(statuses: Callable[[], Sequence[processes.ServiceStatus]], look: Callable[[], None] = lambda: None) -> None:
    """Returns when every service is ready."""
    end = time.monotonic() + READY
    while True:
        look()
        unready = [one for one in statuses() if not one.health()[0]]
        if not unready:
            return
        first = unready[0]
        if time.monotonic() > end or first.restarts >= 3:
            words = server_process.last_words(Path(first.log))
            raise Problem(f"{first.name} does not get ready ({first.health()[1].strip() or 'no answer'}). {words}")
        time.sleep(0.1)


def up(
    brokers: Annotated[int, typer.Option(help="Kafka brokers of our own: 1 or 3.")] = 1,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when all is ready; `hansard down` stops it.")] = False,
    secure: Annotated[
        bool | None,
        typer.Option(help="TLS, and access rules in Kafka (HANSARD_SECURE). Not given: as before in this folder."),
    ] = None,
) -> None:
    """Start Kafka, Postgres, a model and every service.

    A server whose address is given (HANSARD_KAFKA, HANSARD_POSTGRES, HANSARD_MODEL_URL) is used, not started.

    With --secure each service reaches Kafka as a user of its own, which may do what the catalogue says of it (`hansard topics
    --acls`). Whoever is outside may publish at the doors and read `results`, as the user hansard-outside, whose password is in
    the folder `principals` of the home; commands of this folder find theirs. Postgres takes TLS alone. (In Postgres each service
    has a login of its own with --secure and without.)

    Example: hansard up --detach && hansard ask "What is a quorum?"
    """
    if brokers not in (1, 3):
        raise Problem("--brokers is 1 or 3.", code=2)
    settings = base.local()
    if (there := processes.read(settings.home)) is not None:
        raise Problem(f"It is running already (supervisor {there.pid}): `hansard status`, or `hansard down` first.")
    with_own(settings)  # a service that cannot be loaded is found before anything is started
    if detach:
        _detached(settings, brokers, secure)
    else:
        _attached(settings, brokers, secure)


def _attached(settings: Settings, brokers: int, secure: bool | None) -> None:
    try:
        ready = prepare(settings, screen.note, brokers=brokers, secure=secure)
        supervisor = start_services(ready, screen.note)
        with ended_by_signal() as ended:
            screen.out.print(hints(ready))
            screen.note("Ctrl-C stops everything.")
            supervisor.watch(ended)
    finally:
        screen.note("stopping")
        down_ours(settings)


def down_ours(settings: Settings) -> None:
    """Stops the servers that were started here, unless they are to be kept."""
    servers = Servers(settings.home)
    if not any(one.kept for one in servers.status() if one.alive):
        servers.down()


def _detached(settings: Settings, brokers: int, secure: bool | None) -> None:
    ready = prepare(settings, screen.note, brokers=brokers, keep=True, secure=secure)
    log = settings.home / "logs" / "supervisor.log"
    with Home(settings.home).open_log("supervisor") as target:
        supervisor = subprocess.Popen(
            processes.command("supervise"),
            env={k: v for k, v in os.environ.items() if k != "HANSARD_POSTGRES_OWNER"} | base.environment(ready),
            stdin=subprocess.DEVNULL,
            stdout=target,
            stderr=target,
            start_new_session=True,
        )

    def statuses() -> Sequence[processes.ServiceStatus]:
        if supervisor.poll() is not None:
            raise Problem(f"The supervisor ended. {server_process.last_words(log)}")
        state = processes.read(settings.home)
        return state.services if state else ()

    began = time.monotonic()
    try:
        if not server_process.wait_for(lambda: bool(statuses()), seconds=20):
            raise Problem(f"The supervisor does not start its services. {server_process.last_words(log)}")
        wait_ready(statuses)
    except BaseException:  # Problem where a service is not ready in time, Ctrl-C: no service stays behind
        processes.stop(settings.home)
        screen.note("The services are stopped again; `hansard down` stops the servers.")
        raise
    screen.note(f"{len(statuses())} services are ready ({time.monotonic() - began:.1f} s)")
    screen.out.print(hints(ready))


def supervise() -> None:
    """Supervise the services until SIGTERM (what `up --detach` leaves behind)."""
    settings = base.running(kafka=True, postgres=True)
    with ended_by_signal() as ended:
        supervisor = supervisor_of(settings, screen.note)
        supervisor.start()
        supervisor.watch(ended)


class ended_by_signal:
    """`with ended_by_signal() as ended:` — inside, the first Ctrl-C or SIGTERM makes `ended()` true; the second interrupts."""

    def __enter__(self) -> Callable[[], bool]:
        self._signalled = False
        self._before = {number: signal.signal(number, self._signal) for number in (signal.SIGINT, signal.SIGTERM)}
        return lambda: self._signalled

    def _signal(self, *_: object) -> None:
        if self._signalled:
            raise KeyboardInterrupt
        self._signalled = True

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def hints(settings: Settings) -> Table:
    """What to type next, as it can be typed here. The last lines are for Kafka clients that are not ours."""
    me = "hansard" if shutil.which("hansard") else sys.argv[0]
    return screen.table(
        ("", ""),
        [
            (f'{me} ask "Why do parliaments keep a verbatim record?"', "ask, and watch it being answered"),
            (f"""{me} ask --type calculate_tax --data '{{"amount": "120.50"}}'""", "a typed request"),
            (f"{me} watch", "every message, as it is published"),
            (f"{me} audit show ID", "everything about one workflow"),
            (f"{me} audit verify", "decide everything on the record again"),
            (f"{me} status", "processes, health, lag"),
            (f"{me} down", "stop everything"),
            (f"BROKERS={settings.kafka}", "for kcat and every other Kafka client"),
            *access.hints(settings),
        ],
        title="In another terminal:",
    )


def down() -> None:
    """Stop the services and the servers that we started; data and logs stay.

    Example: hansard down
    """
    settings = base.local()
    services = processes.stop(settings.home)
    servers = [one for one in Servers(settings.home).status() if one.alive]
    Servers(settings.home).down()
    if not services and not servers:
        screen.note("Nothing was running.")
    else:
        screen.note(
            f"Stopped: {'services, ' if services else ''}{', '.join(one.name for one in servers) or 'no servers of ours'}."
        )


def load(name: str, settings: Settings) -> Service[Any]:
    """A service of ours by its name, or one of your own: by its name in HANSARD_SERVICES, or where it is loaded from."""
    if name in OURS:
        built: Service[Any] = importlib.import_module(f"services.{name}.app").build(settings)
        return built
    known = next((service for service in settings.loaded if service.name == name), None)
    if known is None and ":" not in name and file_of(name) is None:
        raise Problem(
            f"There is no service {name}: {', '.join(services(settings))}, all, worker.py:service or module:service.", code=2
        )
    return known or load_own(name, settings)


def summaries() -> dict[str, str]:
    """What each service of ours does, in one line: the first of its package's docstring. Never fails: every command needs it."""
    return {name: _summary(name) for name in OURS}


def _summary(name: str) -> str:
    try:
        return (importlib.import_module(f"services.{name}").__doc__ or "").partition("\n")[0]
    except Exception:  # whatever the package's code raises while it is imported: `hansard doctor` says what
        return "cannot be loaded: see `hansard doctor`"


def services(settings: Settings) -> dict[str, Service[Any]]:
    """Every service of this installation, by name."""
    own = {service.name: service for service in settings.loaded}
    return {name: load(name, settings) for name in (*OPTIONAL, *SERVICES)} | own


def chosen(names: Sequence[str], settings: Settings) -> tuple[list[Service[Any]], Settings]:
    """The services that these words mean, and the settings whose catalogue has what they bring. Raises Problem."""
    every = (*SERVICES, *(service.name for service in settings.loaded))
    wanted = tuple(dict.fromkeys(name for given in names for name in (every if given == "all" else (given,))))
    own = {name: load(name, settings) for name in wanted if name not in OURS}
    settings = taken(settings, list(own.values()))
    return [own[name] if name in own else load(name, settings) for name in wanted], settings


def serve(
    names: Annotated[
        list[str], typer.Argument(metavar="SERVICE…", help="Names, `all`, worker.py:service or package.module:service.")
    ],
    instance: Annotated[str, typer.Option(help="Name of this process: stable over a restart (HANSARD_INSTANCE).")] = "",
    http: Annotated[str, typer.Option(help="host:port of /health, /ready, /metrics (HANSARD_HTTP).")] = "",
) -> None:
    """Run one service, or several in one process, until SIGTERM; then finish the work in hand and stop.

    A service of your own is a `hansard.Service` in a file or a package. The planner has to know it too: name it in
    HANSARD_SERVICES (`hansard up` then starts it), or in HANSARD_WORKERS where it is started elsewhere.

    Example: hansard serve router planner    ·    hansard serve ./worker.py:service
    """
    logging.disable(logging.NOTSET)
    settings = base.running(kafka=True, postgres=True)
    given = {name: value for name, value in (("instance", instance), ("http", http)) if value}
    found, settings = chosen(names, settings.model_copy(update=given))
    asyncio_run_fast(_serve(found, settings))


async def _serve(chosen: Sequence[Service[Any]], settings: Settings) -> None:
    from infra.cli.bus import reached
    from shared.kafka.access import OthersMayWrite
    from shared.kafka.admin import DoorError
    from shared.runtime.process import serve as run

    names = [service.name for service in chosen]
    with reached(settings):
        settings = await access.admit(settings, *names)
    with base.as_owner():
        settings = await logins.admit(settings, *names)
    try:
        await run(chosen, settings)
    except (DoorError, OthersMayWrite) as refused:
        raise Problem(str(refused)) from None


def asyncio_run_fast(work: Coroutine[Any, Any, None]) -> None:
    """On uvloop where there is one."""
    try:
        import uvloop
    except ImportError:  # no uvloop on this platform
        asyncio.run(work)
    else:
        uvloop.run(work)
