"""Real servers for a bare machine: Kafka, Postgres and a small language model, from Python packages alone.

They keep data, logs and one state file in a home folder (`HANSARD_HOME`, else `.hansard/` in the project), listen on
127.0.0.1 only, end with the process that started them unless it keeps them, and are found again by the next process.
An address in the environment (`HANSARD_KAFKA`, `HANSARD_POSTGRES`, `HANSARD_MODEL_URL`) is used instead of starting one.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from urllib.parse import urlsplit

from infra.servers import kafka as _kafka
from infra.servers import model as _model
from infra.servers import postgres as _postgres
from infra.servers import principals, process
from infra.servers.home import Home
from infra.servers.process import Planned, Running, ServerError
from infra.servers.reach import found_outside
from shared.masking import is_secret

__all__ = ["MODEL_NAME", "Addresses", "ServerError", "ServerStatus", "Servers"]

MODEL_NAME = _model.NAME
PATIENCE = 90.0  # seconds a server may take to answer
REASONS = {
    r"libgomp\.so": "The model needs the OpenMP runtime. On Debian or Ubuntu: apt install libgomp1.",
    r"Address already in use|Failed to init server": "Another program took its port: try again.",
    r"Failed to acquire lock on file": "A Kafka that is not in the state file uses its data folder: stop it first.",
    r"No space left on device": "The disk is full.",
    r"Cannot allocate memory|insufficient memory|OutOfMemoryError": "There is too little memory.",
}


@dataclass(frozen=True)
class Addresses:
    """The addresses of the servers; empty where there is none."""

    kafka: str = ""  # "127.0.0.1:20001,127.0.0.1:20002"
    kafka_security: str = ""  # "SASL_SSL" where Kafka was started with access rules; then this is the administrator's login
    kafka_mechanism: str = ""
    kafka_username: str = ""
    kafka_password: str = field(default="", repr=False)
    kafka_ca: str = ""
    postgres: str = field(default="", repr=False)  # "postgresql://hansard_service:…@127.0.0.1:20003/hansard"
    postgres_owner: str = field(default="", repr=False)  # of the tables' owner, for migrations alone
    model: str = ""  # "http://127.0.0.1:20004/v1"

    @classmethod
    def from_environment(cls) -> Addresses:
        """The addresses that the environment gives."""
        return cls(**{kind: os.environ.get(name, "") for kind, name in _SETTINGS.items()})

    def environment(self, *, owner: bool = False) -> dict[str, str]:
        """The same as environment variables, for processes that use these servers; `owner`: also for one that migrates."""
        known = {kind: address for kind, address in asdict(self).items() if address}
        return {_SETTINGS[kind]: address for kind, address in known.items() if owner or kind != "postgres_owner"}

    @property
    def owner(self) -> str:
        """The address of the tables' owner: that of services where no other is known."""
        return self.postgres_owner or self.postgres

    def __or__(self, other: Addresses) -> Addresses:
        merged = {kind: address or getattr(other, kind) for kind, address in asdict(self).items()}
        if self.postgres:  # the owner of another server is none here
            merged["postgres_owner"] = self.postgres_owner
        if self.kafka:
            merged |= {kind: getattr(self, kind) for kind in merged if kind.startswith("kafka_")}
        return Addresses(**merged)


_SETTINGS = {one.name: f"HANSARD_{one.name.upper()}" for one in fields(Addresses)} | {"model": "HANSARD_MODEL_URL"}


@dataclass(frozen=True)
class ServerStatus:
    """One server, for a person: the address has no password."""

    name: str  # kafka-1, kafka-2, kafka-3, postgres, model
    pid: int
    address: str
    log: Path
    alive: bool
    kept: bool  # keeps running when the process that started it ends


def _quiet(_: str) -> None:
    pass


class Servers:
    """The servers of one home folder. Several processes may use it at once; `with` stops the servers at the end."""

    def __init__(self, home: Path | None = None) -> None:
        project = Path(__file__).parents[2]
        self.home = (home or Path(os.environ.get("HANSARD_HOME") or project / ".hansard")).resolve()
        self._home = Home(self.home)

    def up(
        self,
        *,
        brokers: int = 1,
        kafka: bool = True,
        postgres: bool = True,
        model: bool = True,
        keep: bool = False,
        secure: bool | None = None,
        progress: Callable[[str], None] = _quiet,
    ) -> Addresses:
        """Returns when these servers answer: given by the environment, found running, or started now, in parallel.

        `secure`: whether Kafka has TLS, passwords and access rules, and Postgres TLS; None: as before in this home, at first not.
        A model that cannot be started is no error: `progress` gets the reason, and its address stays empty.
        Raises ServerError; servers that this call had started by then are stopped again.
        """
        given = Addresses.from_environment()
        with self._home.alone(progress):
            process.stop_all(server for server in self._home.alive().values() if process.leaving(server))
            running = set(self._home.alive())
            wanted: dict[str, Callable[[], list[Planned]]] = {}
            taken: set[int] = set()
            if kafka and not given.kafka and not self._whole_cluster(running, brokers, secure):
                rules = _kafka.was_secure(self.home, brokers) if secure is None else secure
                process.stop_all(server for name, server in self._home.alive().items() if name.startswith("kafka-"))
                pairs = [
                    (
                        self._home.port(f"kafka-{n}", taken=taken),
                        self._home.port(f"controller-{n}", taken=taken),
                    )
                    for n in range(1, brokers + 1)
                ]
                wanted["Kafka"] = lambda: _kafka.plan(pairs, self.home, progress, secure=rules)
            if postgres and not given.postgres and not self._whole_postgres(running, secure):
                encrypted = _postgres.was_secure(self.home) if secure is None else secure
                process.stop_all(server for name, server in self._home.alive().items() if name.startswith("postgres"))
                self._home.forget("postgres", _postgres.BEFORE)
                postgres_port = self._home.port("postgres", taken=taken)
                wanted["Postgres"] = lambda: _postgres.plan(postgres_port, self.home, progress, secure=encrypted)
            if model and not given.model and "model" not in running:
                model_port = self._home.port("model", taken=taken)
                wanted[MODEL_NAME] = lambda: _model.plan(model_port, self.home)
            self._in_parallel(wanted, running, keep, progress)
        return self.found() or given

    def found(self) -> Addresses | None:
        """The addresses given by the environment, or of servers that run now; None when there is no server at all."""
        alive = self._home.alive()
        listed = [server.address for name, server in alive.items() if name.startswith("kafka-")]
        brokers = [address.rpartition("//")[2] for address in listed]
        others = {name: alive[name].address for name in ("model",) if name in alive}
        if any(map(_kafka.is_secure, listed)):
            others |= principals.login(self.home, principals.ADMINISTRATOR)
        if self._whole_postgres(set(alive)):
            owner = alive["postgres"].address
            others |= {"postgres": _postgres.for_services(owner, self.home), "postgres_owner": owner}
        found = Addresses.from_environment() | Addresses(kafka=",".join(brokers), **others)
        return found if found != Addresses() else None

    def down(self) -> None:
        """Stop every server of this home, whichever process started it. Data and logs stay."""
        if self.home.exists():
            with self._home.alone(_quiet):
                process.stop_all(self._home.known().values())
                self._home.forget()

    def erase(self) -> None:
        """Stop the servers and remove their data and logs, also those outside the home. This cannot be undone."""
        self.down()
        if outside := found_outside(self.home):
            shutil.rmtree(outside, ignore_errors=True)
        shutil.rmtree(self.home, ignore_errors=True)

    def status(self) -> list[ServerStatus]:
        """Every server that was started here and not stopped by `down`, alive or not."""
        return [
            ServerStatus(one.name, one.pid, _shown(one.address), Path(one.spec.log), process.alive(one), one.kept)
            for one in self._home.known().values()
        ]

    def stop(self, name: str, *, kill: bool = False) -> None:
        """Stop one server, or kill it with SIGKILL; `start` starts it again with its data at the same address."""
        process.stop(self._one(name), kill=kill)

    def start(self, name: str) -> None:
        """Start a stopped server again at the same address and wait until it answers. It ends with this process."""
        with self._home.alone(_quiet):
            server = self._one(name)
            if process.alive(server):
                return
            port = urlsplit(f"//{server.address.rpartition('//')[2]}").port or 0
            on_socket = name == "postgres" and _postgres.is_secure(server.address)
            if not on_socket and not process.wait_for(lambda: process.is_free(port), seconds=3):
                raise ServerError(f"{name} cannot start again: another program took its port {port}.")
            self._until_ready(self._launch(Planned(name, server.address, server.spec), keep=False))

    def stop_broker(self, n: int, *, kill: bool = False) -> None:
        """Stop broker 1, 2 or 3."""
        self.stop(f"kafka-{n}", kill=kill)

    def start_broker(self, n: int) -> None:
        """Start broker 1, 2 or 3 again."""
        self.start(f"kafka-{n}")

    def restart_postgres(self, *, kill: bool = False) -> None:
        """Stop Postgres, cleanly or with SIGKILL, and start it again."""
        self.stop("postgres", kill=kill)
        self.start("postgres")

    def __enter__(self) -> Servers:
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    def _one(self, name: str) -> Running:
        try:
            return self._home.known()[name]
        except KeyError:
            raise ServerError(f"No {name} was started in {self.home}.") from None

    def _whole_cluster(self, running: set[str], brokers: int, secure: bool | None) -> bool:
        """Whether a cluster of this size and kind runs. Raises ServerError for another one."""
        known = {name: server.address for name, server in self._home.known().items() if name.startswith("kafka-")}
        started, alive = len(known), sum(name.startswith("kafka-") for name in running)
        if alive and started != brokers:
            raise ServerError(f"Kafka runs here with {started} broker(s), not {brokers}: stop it first (`hansard down`).")
        if alive and secure is not None and secure is not any(map(_kafka.is_secure, known.values())):
            kind = "without" if secure else "with"
            raise ServerError(f"Kafka runs here {kind} access rules: stop it first (`hansard down`).")
        return alive == brokers

    def _whole_postgres(self, running: set[str], secure: bool | None = None) -> bool:
        """Whether Postgres runs, with what takes TLS for it where it does. Raises ServerError for one of another kind."""
        if "postgres" not in running:
            return False
        encrypted = _postgres.is_secure(self._home.known()["postgres"].address)
        if secure is not None and secure is not encrypted:
            kind = "without" if secure else "with"
            raise ServerError(f"Postgres runs here {kind} TLS: stop it first (`hansard down`).")
        return not encrypted or _postgres.BEFORE in running

    def _in_parallel(
        self,
        wanted: dict[str, Callable[[], list[Planned]]],
        before: set[str],
        keep: bool,
        progress: Callable[[str], None],
    ) -> None:
        with ThreadPoolExecutor(len(wanted) or 1) as pool:
            futures = [
                pool.submit(self._try_start if name == MODEL_NAME else self._start, name, plan, keep, progress)
                for name, plan in wanted.items()
            ]
            try:
                wait(futures)
                for future in futures:
                    future.result()
            except BaseException:  # also Ctrl-C: no half of the servers stays behind
                process.stop_all(server for name, server in self._home.alive().items() if name not in before)
                raise

    def _start(self, name: str, plan: Callable[[], list[Planned]], keep: bool, progress: Callable[[str], None]) -> None:
        began = time.monotonic()
        started = [self._launch(planned, keep=keep) for planned in plan()]
        for server in started:
            self._until_ready(server)
        many = f", {len(started)} brokers" if name == "Kafka" and len(started) > 1 else ""
        progress(f"{name} answers ({time.monotonic() - began:.1f} s{many})")

    def _try_start(self, name: str, plan: Callable[[], list[Planned]], keep: bool, progress: Callable[[str], None]) -> None:
        """The same for the model: everything else works without it, with rules or with a model of the user's own."""
        try:
            self._start(name, plan, keep, progress)
        except ServerError as failed:
            process.stop_all(server for known, server in self._home.alive().items() if known == "model")
            self._home.forget("model")
            progress(f"Going on without {name} (HANSARD_MODEL_URL names a different model): {str(failed).splitlines()[0]}")

    def _launch(self, planned: Planned, *, keep: bool) -> Running:
        self._home.fresh_log(Path(planned.spec.log))
        theirs = {name: value for name, value in os.environ.items() if not name.startswith("HANSARD_") and not is_secret(name)}
        return process.start(planned, keep=keep, remember=self._home.remember, environment=theirs)

    def _until_ready(self, server: Running) -> None:
        end = time.monotonic() + PATIENCE
        while not self._ready(server):
            log = Path(server.spec.log)
            if time.monotonic() > end:
                raise ServerError(f"{server.name} does not answer after {PATIENCE:.0f} s. {process.last_words(log)}")
            if not process.alive(server):
                output = log.read_text("utf-8", errors="replace")
                if not (server.name == "postgres" and _postgres.must_wait(output)):
                    reason = next((f"{why} " for what, why in REASONS.items() if re.search(what, output)), "")
                    raise ServerError(f"{server.name} ended while it started. {reason}{process.last_words(log)}")
                server = self._launch(Planned(server.name, server.address, server.spec), keep=server.kept)
            time.sleep(0.05)

    def _ready(self, server: Running) -> bool:
        if server.name == _postgres.BEFORE:
            return not process.is_free(urlsplit(server.address).port or 0)
        if server.name == "postgres":
            return _postgres.ready(server.address, _postgres.for_services(server.address, self.home))
        return _model.ready(server.address) if server.name == "model" else _kafka.ready(server.address, self.home)


def _shown(address: str) -> str:
    return re.sub(r"(?<=//)([^:/@]+):[^@]+@", r"\1@", address)
