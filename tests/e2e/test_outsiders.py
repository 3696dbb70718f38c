"""Any Kafka client can submit a request, without any code of this project."""

import asyncio
import json
import os
import secrets
import shutil
import sys
from pathlib import Path

import pytest

from tests import npm
from tests.deployment import Deployment
from tests.processes import LONG, until

CLIENTS = Path(__file__).parents[1] / "clients"


@pytest.fixture(autouse=True)
def topics_without_prefix(e2e_deployment: Deployment) -> None:
    if e2e_deployment.settings.topic_prefix:
        pytest.skip("on a Kafka that was given, the topics have a prefix")


async def test_the_python_client_is_answered(deployment: Deployment) -> None:
    done = await run(sys.executable, str(CLIENTS / "client.py"), deployment.settings.kafka, "What is a quorum?")
    assert json.loads(done)["type"] == "hansard.results.completed.v1"


async def test_the_node_client_is_answered(deployment: Deployment) -> None:
    done = await asyncio.to_thread(npm.node, CLIENTS / "client.mjs", deployment.settings.kafka, "What is a quorum?", seconds=LONG)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["type"] == "hansard.results.completed.v1"


@pytest.mark.skipif(shutil.which("kcat") is None, reason="kcat is not installed (Debian: apt install kcat)")
async def test_two_lines_of_shell_are_answered(deployment: Deployment) -> None:
    id_ = f"kcat-{secrets.token_hex(4)}"
    publish, read = [line for line in (CLIENTS / "kcat.sh").read_text().splitlines() if not line.startswith("#")]
    environment = {"BROKERS": deployment.settings.kafka, "ID": id_, "PATH": os.environ["PATH"]}
    await run("sh", "-c", publish, env=environment)
    lines: list[str] = []

    async def answered() -> bool:
        lines[:] = (await run("sh", "-c", read, env=environment, code=None)).splitlines()
        return bool(lines)

    await until(answered, "kcat reads the result")
    assert len(lines) == 1
    assert lines[0].startswith(id_)
    assert "hansard.results.completed.v1" in lines[0]


async def run(*command: str, env: dict[str, str] | None = None, code: int | None = 0) -> str:
    pipe = asyncio.subprocess.PIPE
    done = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, env=env)
    out, err = await asyncio.wait_for(done.communicate(), LONG)
    assert code is None or done.returncode == code, err.decode()
    return out.decode()
