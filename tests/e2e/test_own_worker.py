"""What `hansard init worker` writes runs at once: in an empty folder, and beside folders that are called as ours are."""

import asyncio
import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

import hansard.__main__
from infra import processes
from infra.servers import Servers

FOLDERS = ("services", "shared", "contracts", "infra")
POISON = "raise RuntimeError('the folder of the user was imported in place of ours')\n"


class Shell:
    """A terminal in a folder of the user's, which is also first on PYTHONPATH."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.environment = folder, environment

    def hansard(self, *words: str, code: int = 0) -> str:
        return self.run(processes.command(*words), code=code, PYTHONPATH=str(self.folder))

    def fails(self, *words: str) -> str:
        """Runs what is to fail; what it wrote to both outputs."""
        command, environment = processes.command(*words), self.environment | {"PYTHONPATH": str(self.folder)}
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=180)
        assert done.returncode, done.stdout + done.stderr
        return done.stdout + done.stderr

    def run(self, command: list[str], code: int = 0, **more: str) -> str:
        done = subprocess.run(command, cwd=self.folder, env=self.environment | more, capture_output=True, text=True, timeout=180)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(params=["empty", "crowded"])
def shell(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Shell]:
    addresses = servers.up(model=False)
    name = f"t{secrets.token_hex(4)}"
    with tempfile.TemporaryDirectory(prefix="hansard-own-") as made:
        folder = Path(made)
        for taken in FOLDERS if request.param == "crowded" else ():
            (folder / taken).mkdir()
            (folder / taken / "__init__.py").write_text(POISON)
        kept = {key: value for key, value in os.environ.items() if not key.startswith("HANSARD_")}
        mine = {
            "HANSARD_HOME": str(folder / ".hansard"),
            "HANSARD_POSTGRES_SCHEMA": name,
            "HANSARD_TOPIC_PREFIX": f"{name}.",
            "HANSARD_PARTITIONS": "2",
            "HANSARD_MODEL_URL": "http://127.0.0.1:1/v1",  # no step of its plan asks a model
            "HANSARD_MODEL_NAME": "none",
            "HANSARD_SERVICES": "worker.py:service",
        }
        shell = Shell(folder, kept | addresses.environment(owner=True) | mine)
        try:
            yield shell
        finally:
            shell.hansard("down")
            asyncio.run(_forget(addresses.owner, name))


async def _forget(dsn: str, schema: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(f'drop schema if exists "{schema}" cascade')
    finally:
        await connection.close()


def test_a_worker_that_was_just_written_is_served_answers_and_is_audited(shell: Shell) -> None:
    written = shell.hansard("init", "worker", "tasting", ".")
    assert "hansard plans run plan.yaml" in written and (shell.folder / "worker.py").is_file()
    spec = [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    assert "4 passed" in shell.run(spec, PYTHONPATH=str(hansard.__main__.HERE.parent))

    shell.hansard("up", "--detach")
    services = [json.loads(line) for line in shell.hansard("status", "--json").splitlines()]
    assert {one["service"] for one in services if one.get("ready")} >= {"planner", "tasting"}

    answer = json.loads(shell.hansard("plans", "run", "plan.yaml", "Count these four words", "--json"))
    assert answer["type"] == "hansard.results.completed.v1"
    assert answer["data"]["text"] == "4 words: Count these four words"

    shown = shell.hansard("audit", "show", answer["workflow"])
    assert "words-counted" in shown and "tasting/count.1" in shown
    audited = json.loads(shell.hansard("audit", "verify", "--json"))
    assert audited["differences"] == 0 and audited["forged"] == [] and audited["streams"] == 3

    code = shell.folder / "worker.py"
    code.write_text(code.read_text().replace("{words} words:", "{words} WORDS:"))
    assert "tasting/count.1" in shell.hansard("audit", "verify", code=1), "what decides otherwise today is found"

    looked = [json.loads(line) for line in shell.hansard("doctor", "--json", code=1).splitlines()]
    found = {one["check"]: one["ok"] for one in looked}
    assert found["service tasting"] and found["topics"] and not found["model"]
