"""The servers of a bare machine: they are found again, never left behind, and processes of others are never touched."""

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from openai import AsyncOpenAI

from infra.servers import MODEL_NAME, Addresses, ServerError, Servers, kafka
from infra.servers.home import Home
from infra.servers.model import openmp
from infra.servers.process import Running, Spec, born, wait_for

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(autouse=True, scope="module")
def no_address_given() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HANSARD_KAFKA", "HANSARD_POSTGRES", "HANSARD_POSTGRES_OWNER", "HANSARD_MODEL_URL"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture
def servers() -> Iterator[Servers]:
    yield from _in_new_home()


@pytest.fixture(scope="module")
def all_three() -> Iterator[Servers]:
    """Kafka, Postgres and the model, in a home in which an earlier start was interrupted."""
    for servers in _in_new_home():
        half = servers.home / "data" / "kafka-1-brokers" / "broker-1"
        half.mkdir(parents=True)
        (half / "meta.properties").write_text("node.id=7\n")
        (servers.home / "data" / "postgres-18.partial").mkdir()
        servers.up()
        yield servers


def _in_new_home() -> Iterator[Servers]:
    home = Path(tempfile.mkdtemp(prefix="hansard-test-"))
    home.chmod(0o711)
    servers = Servers(home)
    try:
        yield servers
    finally:
        servers.erase()


def _found(servers: Servers) -> Addresses:
    found = servers.found()
    assert found is not None
    return found


def _pids(servers: Servers) -> dict[str, int]:
    return {one.name: one.pid for one in servers.status() if one.alive}


def _gone(pids: list[int]) -> bool:
    return wait_for(lambda: all(born(pid) is None for pid in pids), seconds=30)


async def _received(bootstrap: str) -> list[bytes | None]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([TopicPartition("kept", 0)])
        await consumer.seek_to_beginning()
        return [(await consumer.getone()).value]
    finally:
        await consumer.stop()


async def test_kafka_keeps_acknowledged_messages_through_a_kill(all_three: Servers) -> None:
    bootstrap = _found(all_three).kafka
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic("kept", 1, 1)])
    await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    await producer.send_and_wait("kept", b"order, order")
    await producer.stop()

    all_three.stop_broker(1, kill=True)
    assert _found(all_three).kafka == ""
    all_three.start_broker(1)

    assert await _received(bootstrap) == [b"order, order"]


async def test_postgres_keeps_what_was_committed_through_a_kill(all_three: Servers) -> None:
    address = _found(all_three).owner
    connection = await asyncpg.connect(address)
    assert [await connection.fetchval(f"SHOW {name}") for name in ("fsync", "synchronous_commit")] == ["on", "on"]
    await connection.execute("CREATE EXTENSION vector; CREATE TABLE kept AS SELECT '[1,2]'::vector AS value")

    all_three.restart_postgres(kill=True)

    connection = await asyncpg.connect(address)
    assert await connection.fetchval("SELECT value::text FROM kept") == "[1,2]"
    await connection.close()


async def test_postgres_refuses_a_wrong_password_and_never_shows_the_right_one(all_three: Servers) -> None:
    at = urlsplit(_found(all_three).postgres)
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(f"postgresql://{at.username}:guess@{at.hostname}:{at.port}{at.path}")
    assert not any(at.password in f"{status}" for status in all_three.status() if at.password)
    assert at.password and at.password not in repr(all_three.found())


async def test_the_model_answers_under_its_own_name(all_three: Servers) -> None:
    client = AsyncOpenAI(base_url=_found(all_three).model, api_key="none")
    answer = await client.chat.completions.create(
        model=MODEL_NAME, messages=[{"role": "user", "content": "Say hello."}], max_tokens=16
    )
    assert answer.model == MODEL_NAME
    assert answer.choices[0].message.content
    assert answer.usage and answer.usage.completion_tokens > 0


def test_running_servers_are_found_by_the_next_process(all_three: Servers) -> None:
    before = _pids(all_three)
    assert set(before) == {"kafka-1", "postgres", "model"}
    second = Servers(all_three.home)
    assert second.found() == all_three.found() == second.up()
    assert _pids(second) == before


def test_a_cluster_of_a_different_size_is_refused(all_three: Servers) -> None:
    with pytest.raises(ServerError, match="1 broker"):
        all_three.up(brokers=3)


def test_down_leaves_nothing_running_and_all_data(all_three: Servers) -> None:
    pids = [*_pids(all_three).values()]
    assert len(pids) == 3
    Servers(all_three.home).down()
    assert _gone(pids)
    assert all_three.found() is None
    assert all_three.status() == []
    assert {one.name for one in (all_three.home / "data").iterdir()} >= {"kafka-1-brokers"}


def test_a_parent_that_is_killed_leaves_no_orphan(all_three: Servers) -> None:
    up = f"from infra.servers import *; Servers(Path({str(all_three.home)!r})).up(); print('up', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", f"from pathlib import Path; {up}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    ) as parent:
        assert parent.stdout and parent.stdout.readline() == b"up\n"
        pids = [*_pids(all_three).values()]
        assert len(pids) == 3
        parent.kill()
    assert _gone(pids)


def test_kept_servers_outlive_their_parent_until_they_are_stopped(servers: Servers) -> None:
    up = f"Servers(Path({str(servers.home)!r})).up(kafka=False, model=False, keep=True)"
    program = f"from pathlib import Path; from infra.servers import *; {up}"
    subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[2], check=True)
    (kept,) = servers.status()
    assert kept.alive and kept.kept
    servers.down()
    assert born(kept.pid) is None


def test_two_processes_that_start_at_once_share_one_server(servers: Servers) -> None:
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(Servers(servers.home).up, kafka=False, model=False) for _ in range(2)]
        first, second = (one.result() for one in both)
    assert first == second == servers.found()


def test_postgres_starts_with_a_stale_postmaster_pid(servers: Servers) -> None:
    servers.up(kafka=False, model=False)
    (status,) = servers.status()
    data = Path(Home(servers.home).known()["postgres"].spec.cwd)
    lock = (data / "postmaster.pid").read_text()
    servers.stop("postgres", kill=True)
    (data / "postmaster.pid").write_text(lock.replace(str(status.pid), str(os.getpid()), 1))
    assert servers.up(kafka=False, model=False).postgres
    assert _pids(servers)["postgres"] != status.pid


def test_a_foreign_process_with_the_pid_of_a_server_is_never_touched(servers: Servers) -> None:
    with subprocess.Popen(["sleep", "60"]) as foreign:
        spec = Spec(["postgres"], "/", str(servers.home / "logs" / "postgres.log"), signal.SIGINT, patience=1)
        Home(servers.home).remember(Running("postgres", "postgresql://h@127.0.0.1:1/h", foreign.pid, "long ago", True, spec))
        assert servers.found() is None
        servers.down()
        assert foreign.poll() is None
        foreign.kill()


def test_a_given_address_is_used_instead_of_starting_a_server(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANSARD_POSTGRES", "postgresql://elsewhere/db")
    addresses = servers.up(kafka=False, model=False)
    assert addresses == Addresses(postgres="postgresql://elsewhere/db")
    assert addresses.environment() == {"HANSARD_POSTGRES": "postgresql://elsewhere/db"}
    assert servers.status() == []


def test_a_port_in_use_is_replaced(servers: Servers) -> None:
    home = Home(servers.home)
    before = home.port("postgres", taken=set())
    assert home.port("postgres", taken=set()) == before
    with socket.create_server(("127.0.0.1", before)):
        assert home.port("postgres", taken=set()) != before


def test_a_server_whose_port_is_in_use_cannot_start_again_and_says_why(servers: Servers) -> None:
    servers.up(kafka=False, model=False)
    servers.stop("postgres")
    with (
        socket.create_server(("127.0.0.1", urlsplit(servers.status()[0].address).port or 0)),
        pytest.raises(ServerError, match="another program took its port"),
    ):
        servers.start("postgres")


def test_a_server_that_cannot_start_shows_the_end_of_its_log(servers: Servers) -> None:
    servers.up(kafka=False, model=False)
    data = Path(Home(servers.home).known()["postgres"].spec.cwd)
    servers.down()
    (data / "PG_VERSION").write_text("9.6\n")
    with pytest.raises(ServerError, match=r"incompatible with server[\s\S]*") as failed:
        servers.up(kafka=False, model=False)
    assert str(servers.home / "logs" / "postgres.log") in str(failed.value)
    assert servers.found() is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root must run Postgres as another user")
def test_a_home_that_others_cannot_enter_has_its_data_outside_and_says_so() -> None:
    closed = Path(tempfile.mkdtemp(prefix="hansard-test-"))
    servers, lines = Servers(closed / "home"), list[str]()
    try:
        assert servers.up(kafka=False, model=False, progress=lines.append).postgres
        assert "cannot enter" in lines[0]
        assert not closed.stat().st_mode & 0o011
        closed.chmod(0o711)
        servers.down()
        assert servers.up(kafka=False, model=False, progress=lines.append).postgres
        assert Path(Home(servers.home).known()["postgres"].spec.cwd) == (closed / "home" / "outside").resolve() / "postgres-18"
    finally:
        servers.erase()
        shutil.rmtree(closed)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root must run Postgres as another user")
def test_data_that_cannot_be_reached_any_more_is_an_error_and_not_made_again(servers: Servers) -> None:
    servers.up(kafka=False, model=False)
    servers.down()
    servers.home.chmod(0o700)
    with pytest.raises(ServerError, match=r"cannot enter .*chmod o\+x"):
        servers.up(kafka=False, model=False)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_data_that_was_given_to_root_is_given_back(servers: Servers) -> None:
    servers.up(kafka=False, model=False)
    servers.down()
    subprocess.run(["chown", "-R", "0:0", str(servers.home)], check=True)
    assert servers.up(kafka=False, model=False).postgres


def test_an_empty_password_file_is_written_again(servers: Servers) -> None:
    (servers.home / "postgres.password").touch()
    assert urlsplit(servers.up(kafka=False, model=False).postgres).password


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a server outlives a guard that is killed")
def test_a_server_ends_with_its_guard(servers: Servers) -> None:
    servers.up(kafka=False, model=False)
    (pid,) = _pids(servers).values()
    os.kill(int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]), signal.SIGKILL)
    assert _gone([pid])
    assert servers.up(kafka=False, model=False).postgres


def test_a_server_whose_owner_was_killed_is_replaced_once_it_has_ended(servers: Servers) -> None:
    program = "from pathlib import Path; from infra.servers import *; import os, signal; "
    up = f"Servers(Path({str(servers.home)!r})).up(kafka=False, model=False); os.kill(os.getpid(), signal.SIGKILL)"
    subprocess.run([sys.executable, "-c", program + up], cwd=Path(__file__).parents[2])
    (left,) = servers.status()
    assert servers.up(kafka=False, model=False).postgres
    assert _pids(servers)["postgres"] != left.pid


async def test_the_model_runs_on_the_openmp_runtime_of_a_wheel(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = servers.home / "hidden"
    hidden.mkdir()
    (hidden / "libgomp.so.1").touch()  # found first and empty: as if the system had none
    monkeypatch.setenv("LD_LIBRARY_PATH", str(hidden))
    address = servers.up(kafka=False, postgres=False).model
    (pid,) = _pids(servers).values()
    assert str(openmp() / "libgomp.so.1") in Path(f"/proc/{pid}/maps").read_text()
    client = AsyncOpenAI(base_url=address, api_key="none")
    answer = await client.chat.completions.create(
        model=MODEL_NAME, messages=[{"role": "user", "content": "Say hello."}], max_tokens=16
    )
    assert answer.usage and answer.usage.completion_tokens > 0


def test_without_an_openmp_runtime_all_but_the_model_starts(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, lines = servers.home / "hidden", list[str]()
    hidden.mkdir()
    (hidden / "libgomp.so.1").touch()
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{hidden}:{openmp()}")  # the wheel's was tried already
    found = servers.up(kafka=False, progress=lines.append)
    assert found.postgres and not found.model
    assert set(_pids(servers)) == {"postgres"} == {one.name for one in servers.status()}
    assert any(f"Going on without {MODEL_NAME}" in line and "apt install libgomp1" in line for line in lines)


def test_kafka_keeps_its_data_in_a_folder_whose_name_is_not_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    above = Path(tempfile.mkdtemp(prefix="hansard-test-"))
    servers = Servers(above / "Übung, größer, 日本 🏛")
    try:
        assert servers.up(postgres=False, model=False).kafka
        assert (servers.home / "data" / "kafka-1-brokers" / "broker-1" / "bootstrap.checkpoint").exists()
        assert [path.name for path in above.iterdir()] == [servers.home.name]
    finally:
        servers.erase()
        shutil.rmtree(above)


def test_a_user_who_may_not_write_the_maven_cache_uses_one_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("M2_REPO", str(tmp_path / "m2"))
    assert kafka._maven(["org.slf4j:slf4j-api:1.7.36"]).repo_cache == tmp_path / "m2"
    monkeypatch.setenv("M2_REPO", str(tmp_path / "file" / "m2"))
    assert kafka._maven(["org.slf4j:slf4j-api:1.7.36"]).repo_cache.is_relative_to(sys.prefix)


def test_a_jar_with_another_hash_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Artifact:
        def resolve(self) -> Path:
            (tmp_path / "kafka.jar").write_bytes(b"not Kafka")
            return tmp_path / "kafka.jar"

    monkeypatch.setattr(kafka, "_artifact", lambda *_: Artifact())
    with pytest.raises(ServerError, match="something on the way changes it"):
        kafka._jar(None, "org.apache.kafka:kafka:1", hashlib.sha256(b"Kafka").hexdigest())  # type: ignore[arg-type]


def test_data_of_a_newer_kafka_is_not_changed(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    data = servers.home / "data"
    kafka._cluster(data)
    (data / "cluster.json").write_text('{"cluster": "c", "kafka": "99.0.0"}')
    with pytest.raises(ServerError, match=r"written by Kafka 99\.0\.0"):
        kafka._cluster(data)
    assert (data / "cluster.json").exists()
