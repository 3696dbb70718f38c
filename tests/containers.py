"""Kafka and Postgres in containers, for tests: those of docker-compose.yml, started by testcontainers.

HANSARD_TEST_CONTAINERS=1 turns them on; they need a Docker engine. Ports are on 127.0.0.1, and all is removed at the end.
"""

import contextlib
import os
import re
import secrets
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.servers import Addresses
from infra.servers.kafka import ready as kafka_ready
from infra.servers.postgres import ready as postgres_ready
from infra.servers.process import free_port, wait_for

COMPOSE = Path(__file__).parents[1] / "docker-compose.yml"
PLAIN = {"KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "INTERNAL:PLAINTEXT,HOST:PLAINTEXT,CONTROLLER:PLAINTEXT"}  # nor are its secrets
PATIENCE = 120.0  # seconds from a container's start to its first answer


def wanted() -> bool:
    """Whether HANSARD_TEST_CONTAINERS asks for containers."""
    return os.environ.get("HANSARD_TEST_CONTAINERS", "0") not in ("", "0")


@contextlib.contextmanager
def given() -> Iterator[None]:
    """Starts containers for the addresses that the environment lacks, and sets these. Does nothing unless `wanted`."""
    if not wanted():
        yield
        return
    with contextlib.ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name, address in _started(stack, Addresses.from_environment()).environment(owner=True).items():
            patch.setenv(name, address)
        yield


def _started(stack: contextlib.ExitStack, known: Addresses) -> Addresses:
    """Starts those without a known address, in parallel; the stack removes them. The addresses of all."""
    kafka, postgres, password = free_port(), free_port(), secrets.token_hex(16)
    given = {"KAFKA_PORT": str(kafka), "POSTGRES_PORT": str(postgres)}
    started = Addresses(
        kafka="" if known.kafka else f"127.0.0.1:{kafka}",
        postgres="" if known.postgres else f"postgresql://hansard_service:{password}@127.0.0.1:{postgres}/hansard",
        postgres_owner="" if known.postgres else f"postgresql://hansard:{password}@127.0.0.1:{postgres}/hansard",
    )
    candidates: list[tuple[str, str, Callable[[str], bool]]] = [
        ("kafka", started.kafka, partial(kafka_ready, home=Path())),
        ("postgres", started.postgres_owner, partial(postgres_ready, service=started.postgres)),
    ]
    running = [(stack.enter_context(_container(name, given, password)), at, ready) for name, at, ready in candidates if at]
    for container, at, ready in running:
        if not wait_for(partial(ready, at), seconds=PATIENCE):
            log = b"".join(container.get_logs()).decode(errors="replace")
            raise AssertionError(f"{container.image} does not answer after {PATIENCE:.0f} s\n{log[-2000:]}")
    return known | started


def _container(name: str, given: dict[str, str], password: str) -> Any:
    """A service of the compose file, with its `${NAME:-default}` filled in; `with` starts and removes it. Its password is given
    here, and not in a file."""
    os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")  # `with` removes them already
    from testcontainers.core.container import DockerContainer

    service = yaml.safe_load(COMPOSE.read_text())["services"][name]

    def filled(value: object) -> str:
        return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda m: given.get(m[1], m[2]), str(value))

    container: Any = DockerContainer(filled(service["image"]))
    container.env = {key: filled(value) for key, value in service["environment"].items()} | {
        "POSTGRES_PASSWORD": password,
        **PLAIN,
    }
    for published in service["ports"]:
        host, outer, inner = filled(published).split(":")
        container.ports[f"{inner}/tcp"] = (host, int(outer))
    return container
