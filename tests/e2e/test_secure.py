"""`hansard up --secure`: every service reaches Kafka as a user of its own, apart and fused, and nobody needs to know how."""

import asyncio
import json
import os
import signal
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import TopicAuthorizationFailedError

from contracts.catalog import OURS, SERVICES
from hansard.client import Client, ClientError
from infra import processes as supervised
from infra.cli import base
from infra.servers import Servers, principals, process
from infra.servers.process import Planned, Running, Spec
from shared.kafka.access import Rule, add_rules, found_rules
from tests import processes
from tests.processes import LONG, ROOT, given_environment, until

ALICE = "approvals.reviews.alice"
TYPED = ("--type", "calculate_tax", "--data", '{"amount": "99.99"}', "--json")
OUTSIDE = "hansard-outside"


class Folder:
    """A home with everything in it, as a person has it who typed `hansard up --secure`."""

    def __init__(self, home: Path, model: str) -> None:
        self.home = home
        own = {key: value for key, value in os.environ.items() if not key.startswith("HANSARD_")}
        self.edge = f"127.0.0.1:{process.free_port()}"
        self.environment = own | {"HANSARD_HOME": str(home), "HANSARD_MODEL_URL": model, "HANSARD_LOG_FORMAT": "json"}
        self.environment |= {"HANSARD_EDGE": self.edge, "HANSARD_REVIEWER_TOPICS": ALICE}

    async def hansard(self, *words: str, code: int = 0, **environment: Any) -> str:
        """Runs the command; what it wrote to both outputs."""
        pipe, merged = asyncio.subprocess.PIPE, asyncio.subprocess.STDOUT
        command = [sys.executable, "-m", "infra.cli", *words]
        done = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, env=self.environment | environment, stdout=pipe, stderr=merged
        )
        out, _ = await asyncio.wait_for(done.communicate(), LONG * 2)
        assert done.returncode == code, out.decode()
        return out.decode()

    def fused(self) -> Running:
        """All services in one process."""
        http, log = f"127.0.0.1:{process.free_port()}", self.home / "logs" / "fused.log"
        command = [sys.executable, "-m", "infra.cli", "serve", "all", "--http", http]
        spec = Spec(command, str(ROOT), str(log), signal.SIGTERM, patience=20)
        return process.start(Planned("fused", http, spec), keep=False, environment=self.environment)

    def logs(self) -> str:
        return "".join((self.home / "logs" / f"{name}.log").read_text() for name in OURS)

    def options(self, principal: str, **other: str) -> dict[str, Any]:
        """aiokafka's, with this principal's login."""
        login = principals.login(self.home, principal) | other
        return {
            "security_protocol": login["kafka_security"],
            "sasl_mechanism": login["kafka_mechanism"],
            "sasl_plain_username": login["kafka_username"],
            "sasl_plain_password": login["kafka_password"],
            "ssl_context": ssl.create_default_context(cafile=login["kafka_ca"]),
        }

    @property
    def kafka(self) -> str:
        found = Servers(self.home).found()
        assert found and found.kafka_security == "SASL_SSL"
        return found.kafka


@pytest.fixture(scope="module")
def folder(secure_servers: Servers) -> Iterator[Folder]:
    model = processes.model(secure_servers)
    made = Folder(secure_servers.home, model.address)
    try:
        asyncio.run(made.hansard("up", "--secure", "--detach"))
        yield made
    finally:
        supervised.stop(made.home)
        process.stop(model)


async def test_a_request_is_answered_and_every_command_finds_its_login(folder: Folder) -> None:
    assert "107.99" in await folder.hansard("ask", *TYPED)
    await folder.hansard("ask", "What is a quorum?", "--quiet")
    assert '"ready": true' in await folder.hansard("status", "--json")
    checked = [json.loads(line) for line in (await folder.hansard("doctor", "--json")).splitlines()]
    assert [one for one in checked if not one["ok"]] == []
    assert [one["found"] for one in checked if one["check"] == "access rules"] == [
        "as the catalogue wants them; this is hansard-console"
    ]
    assert "The access rules are those of the catalogue." in await folder.hansard("topics")
    await folder.hansard("audit", "verify", "--against-kafka")
    await folder.hansard("replay", "--to", "elsewhere")
    for trouble in ("access rules do not let", "AuthorizationFailed", "was not compared"):
        assert trouble not in folder.logs()


async def test_every_service_is_a_user_of_its_own(folder: Folder) -> None:
    state = supervised.read(folder.home)
    assert state is not None
    for one in state.services:
        variables = Path(f"/proc/{one.pid}/environ").read_bytes().decode().split("\0")
        assert f"HANSARD_KAFKA_USERNAME=hansard-{one.name}" in variables
    assert tuple(one.name for one in state.services) == OURS, "the HTTP door too, since it has an address"
    assert len({(folder.home / "principals" / f"hansard-{name}").read_text() for name in OURS}) == len(OURS)
    for file in (folder.home / "principals").iterdir():
        assert file.stat().st_mode & 0o777 == 0o600


async def test_anyone_may_ask_and_read_the_result_over_kafka_alone(folder: Folder) -> None:
    async with Client(folder.kafka, prefix="", **folder.options(OUTSIDE)) as client:
        id = await client.submit(type="calculate_tax", data={"amount": "99.99"})
        followed = [message.topic async for message in client.follow(id, timeout=LONG)]
        assert set(followed) == {"results"}, "what services publish between themselves is not for everyone"
        assert "107.99" in (await client.result(id)).text


async def test_the_http_door_hands_on_what_a_program_asks(folder: Folder) -> None:
    key = json.loads(await folder.hansard("keys", "add", "import", "--json"))["key"]
    async with httpx.AsyncClient(base_url=f"http://{folder.edge}", timeout=LONG) as client:
        asked = {"type": "calculate_tax", "data": {"amount": "99.99"}}
        answer = await client.post("/v1/requests", json=asked, headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 202, answer.text
    async with Client(folder.kafka, prefix="", **folder.options(OUTSIDE)) as client:
        assert "107.99" in (await client.result(answer.json()["workflow"])).text


async def test_a_person_writes_to_their_own_topic_and_nobody_else_does(folder: Folder) -> None:
    for who, may in (("hansard-person:alice", True), (OUTSIDE, False), ("hansard-console", False), ("hansard-approval", False)):
        producer = AIOKafkaProducer(bootstrap_servers=folder.kafka, **folder.options(who))
        await producer.start()
        try:
            await producer.send_and_wait(ALICE, b"{}")
            assert may, who
        except TopicAuthorizationFailedError:
            assert not may, who
        finally:
            await producer.stop()


async def test_a_wrong_password_says_so(folder: Folder) -> None:
    wrong = folder.options(OUTSIDE, kafka_password="guessed")
    with pytest.raises(ClientError, match="refuses the password of the user 'hansard-outside'"):
        async with Client(folder.kafka, prefix="", **wrong):
            pass
    login = {f"HANSARD_{name.upper()}": value for name, value in principals.login(folder.home, OUTSIDE).items()}
    wrongly = login | {
        "HANSARD_KAFKA": folder.kafka,
        "HANSARD_KAFKA_PASSWORD": "guessed",
        "HANSARD_HOME": str(folder.home / "no"),
    }
    assert "refuses the password of the user 'hansard-outside'" in await folder.hansard("ask", *TYPED, code=1, **wrongly)


async def test_a_client_without_tls_is_told_what_to_set(folder: Folder) -> None:
    with pytest.raises(ClientError, match="speaks TLS, and this client does not: set HANSARD_KAFKA_SECURITY=SASL_SSL"):
        async with Client(folder.kafka, prefix="", security_protocol="PLAINTEXT"):
            pass
    elsewhere = {"HANSARD_KAFKA": folder.kafka, "HANSARD_HOME": str(folder.home / "no")}
    assert "HANSARD_KAFKA_SECURITY=SASL_SSL" in await folder.hansard("ask", *TYPED, code=1, **elsewhere)


async def test_a_client_without_a_user_is_told_so(folder: Folder) -> None:
    anonymous = {"security_protocol": "SSL", "ssl_context": folder.options(OUTSIDE)["ssl_context"]}
    with pytest.raises(ClientError, match="asks for a user"):
        async with Client(folder.kafka, prefix="", **anonymous):
            pass


async def test_a_client_that_trusts_another_authority_is_told_so(folder: Folder) -> None:
    distrustful = folder.options(OUTSIDE) | {"ssl_context": ssl.create_default_context()}
    with pytest.raises(ClientError, match="certificate is not trusted"):
        async with Client(folder.kafka, prefix="", **distrustful):
            pass


async def test_a_user_who_may_not_read_a_topic_is_told_who_lacks_what(folder: Folder) -> None:
    login = {f"HANSARD_{name.upper()}": value for name, value in principals.login(folder.home, OUTSIDE).items()}
    outside = login | {"HANSARD_KAFKA": folder.kafka, "HANSARD_HOME": str(folder.home / "no")}
    shown = await folder.hansard("watch", code=1, **outside)
    assert "access rules do not let hansard-outside use the topic" in shown and "hansard topics" in shown


async def test_rules_that_are_in_the_catalogue_no_longer_are_named_and_removed_when_asked(folder: Folder) -> None:
    with given_environment(folder.environment):
        administrator = base.addressed(base.local(), administrator=True)
    gone = Rule("hansard-gone", "Read", "topic", "results")
    await add_rules(administrator, [gone])
    assert f"in the catalogue no longer: {gone}" in await folder.hansard("topics")
    assert "hansard topics --remove-rules" in await folder.hansard("doctor", code=1)
    assert f"would remove: {gone}" in await folder.hansard("topics", "--dry-run", "--remove-rules")
    assert f"removed: {gone}" in await folder.hansard("topics", "--remove-rules")
    assert gone not in (await found_rules(administrator) or ())


async def test_passwords_of_a_folder_become_those_of_the_principals(folder: Folder, tmp_path: Path) -> None:
    """As on a cluster of one's own, whose passwords are made elsewhere."""
    (tmp_path / OUTSIDE).write_text("made-elsewhere\n")
    login = {f"HANSARD_{name.upper()}": value for name, value in principals.login(folder.home, "hansard-admin").items()}
    elsewhere = login | {"HANSARD_KAFKA": folder.kafka, "HANSARD_HOME": str(tmp_path / "no")}
    shown = await folder.hansard("topics", "--passwords", str(tmp_path), code=0, **elsewhere)
    assert "set the passwords of 1 principals" in shown and "has no password for hansard-router" in shown
    async with Client(folder.kafka, prefix="", **folder.options(OUTSIDE, kafka_password="made-elsewhere")):
        pass
    await folder.hansard("topics")  # in the home: its own passwords again
    async with Client(folder.kafka, prefix="", **folder.options(OUTSIDE)):
        pass


async def test_services_in_one_process_have_the_union_of_their_rights(folder: Folder) -> None:
    supervised.stop(folder.home)
    fused = folder.fused()
    try:
        await until(lambda: _is_ready(fused), "the fused process is ready")
        assert "107.99" in await folder.hansard("ask", *TYPED)
        shown = await folder.hansard("doctor", "--json")
        assert f"hansard-{'+'.join(sorted(SERVICES))} has the union of its services' rights" in shown
        assert "access rules do not let" not in (folder.home / "logs" / "fused.log").read_text()
    finally:
        process.stop(fused)


def _is_ready(one: Running) -> bool:
    assert process.alive(one), process.last_words(Path(one.spec.log), lines=30)
    status = supervised.ServiceStatus("all", one.pid, one.born, one.address, 0, one.spec.log)
    return status.health()[0]
