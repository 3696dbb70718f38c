"""The servers of a bare machine keep files that nobody else can read, and are told no secret."""

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.servers import Servers, kafka
from infra.servers.home import Home

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    for name in ("KAFKA", "POSTGRES", "POSTGRES_OWNER", "MODEL_URL"):
        monkeypatch.delenv(f"HANSARD_{name}", raising=False)
    home = Path(tempfile.mkdtemp(prefix="hansard-test-"))
    home.chmod(0o711)
    servers = Servers(home)
    try:
        yield servers
    finally:
        servers.erase()


def open_to_others(home: Path) -> set[str]:
    """Files and folders of a home that are not their owner's alone; the folders above Postgres's data may be entered."""
    entered = {home / "data"} if os.geteuid() == 0 else set()
    modes = {path: path.stat().st_mode & 0o777 for path in home.rglob("*") if not path.is_symlink()}
    return {f"{path}: {mode:o}" for path, mode in modes.items() if mode & 0o077 and (path not in entered or mode & 0o066)}


def test_other_users_can_read_nothing_in_a_home(servers: Servers) -> None:
    servers.up(model=False)
    assert (servers.home / "data" / "kafka-1-brokers" / "broker-1" / "meta.properties").exists()
    assert open_to_others(servers.home) == set()


def test_folders_of_an_earlier_version_are_closed(servers: Servers) -> None:
    data = servers.home / "data" / "kafka-1-brokers"
    for folder in (data, servers.home / "logs"):
        folder.mkdir(parents=True)
    kafka._cluster(data)
    (data / "cluster.json").write_text(json.dumps({"cluster": "c", "kafka": kafka.VERSION}))
    for folder in (data, servers.home / "logs", servers.home / "data"):
        folder.chmod(0o755)
    kafka._cluster(data)
    with Home(servers.home).alone(print):
        assert [(servers.home / name).stat().st_mode & 0o077 for name in ("logs", "data/kafka-1-brokers")] == [0, 0]


def test_a_server_is_told_no_secret(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HANSARD_MODEL_KEY", "OPENAI_API_KEY", "HANSARD_HOME"):
        monkeypatch.setenv(name, "told-to-nobody")
    servers.up(kafka=False, model=False)
    (pid,) = (one.pid for one in servers.status() if one.alive)
    told = Path(f"/proc/{pid}/environ").read_bytes()
    assert b"PATH=" in told and b"told-to-nobody" not in told
