"""A Postgres that takes TLS alone: who trusts its authority is served, and everyone else is told what to do."""

import socket
import ssl
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from pydantic import SecretStr

from contracts.catalog import OURS
from infra.cli import logins
from infra.cli.login_checks import encryption
from infra.migrations import migrate
from infra.servers import Servers
from infra.servers.certificates import HERE, certificate
from infra.servers.postgres import BEFORE
from infra.servers.postgres_tls import SSL_REQUEST
from infra.servers.process import ServerError
from shared.eventstore.model import StoreUnavailable
from shared.eventstore.postgres import PostgresEventStore
from shared.settings import Settings
from tests.edge.store_kit import a_stream, an_append

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def secure() -> Iterator[Servers]:
    home = Path(tempfile.mkdtemp(prefix="hansard test é-"))  # its path is not plain
    home.chmod(0o711)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HANSARD_KAFKA", "HANSARD_POSTGRES", "HANSARD_POSTGRES_OWNER", "HANSARD_MODEL_URL"):
            patch.delenv(name, raising=False)
        servers = Servers(home)
        try:
            servers.up(kafka=False, model=False, secure=True)
            yield servers
        finally:
            servers.erase()


def addresses(servers: Servers) -> tuple[str, str]:
    """The owner's, and that for services."""
    found = servers.found()
    assert found
    return found.owner, found.postgres


def plain(dsn: str, query: str = "sslmode=disable") -> str:
    return urlsplit(dsn)._replace(query=query).geturl()


async def opened(dsn: str, schema: str) -> None:
    await (await PostgresEventStore.open(dsn, schema=schema)).close()


async def test_services_are_served_over_verified_tls_by_logins_of_their_own(secure: Servers) -> None:
    owner, service = addresses(secure)
    assert "sslmode=verify-full" in service and encryption("it", service) == []
    settings = Settings(postgres=SecretStr(service), postgres_owner=SecretStr(owner), home=secure.home)
    await logins.migrated(settings)
    for name in OURS:
        dsn = logins.of(settings, name)
        assert urlsplit(dsn).query == urlsplit(service).query and urlsplit(dsn).username == f"service-{name}"
        store = await PostgresEventStore.open(dsn)
        stream = a_stream(name)
        assert (await store.append([an_append(stream, b"1" * 100_000)])).accepted == {stream}
        assert len((await store.load([stream]))[stream].messages[0].data) == 100_000
        await store.close()


async def test_a_connection_in_plain_text_is_refused_with_what_to_do(secure: Servers) -> None:
    owner, service = addresses(secure)
    for dsn in (plain(service), plain(owner)):
        with pytest.raises(StoreUnavailable, match=r"encrypted connections only.*sslmode=verify-full&sslrootcert"):
            await opened(dsn, "hansard")


async def test_a_server_that_another_authority_signed_for_is_refused_with_what_to_do(secure: Servers, tmp_path: Path) -> None:
    _, service = addresses(secure)
    theirs = certificate(tmp_path, "postgres").authority
    with pytest.raises(StoreUnavailable, match="name the file of the authority"):
        await opened(plain(service, f"sslmode=verify-full&sslrootcert={theirs}"), "hansard")


async def test_a_server_with_the_certificate_of_another_name_is_refused_with_what_to_do(secure: Servers) -> None:
    _, service = addresses(secure)
    try:
        certificate(secure.home / "tls", "postgres", ("db.example.org",))
        secure.stop(BEFORE)
        secure.start(BEFORE)
        with pytest.raises(StoreUnavailable, match="for another name"):
            await opened(service, "hansard")
    finally:
        certificate(secure.home / "tls", "postgres", HERE)
        secure.stop(BEFORE)
        secure.start(BEFORE)
    await (await asyncpg.connect(service)).close()


async def test_a_server_without_tls_is_refused_by_whoever_asks_for_it(service_dsn: str, secure: Servers) -> None:
    _, encrypted = addresses(secure)
    with pytest.raises(StoreUnavailable, match="the server has no TLS"):
        await opened(plain(service_dsn, urlsplit(encrypted).query), "hansard")


def test_what_follows_in_plain_text_never_counts_as_sent_under_tls(secure: Servers) -> None:
    port = urlsplit(addresses(secure)[1]).port
    startup = struct.pack("!ii", 8, 196608)
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(struct.pack("!ii", 8, SSL_REQUEST) + startup)
        assert client.recv(1) == b"S"
        context = ssl.create_default_context(cafile=str(secure.home / "tls" / "ca.pem"))
        with pytest.raises((ssl.SSLError, ConnectionError)):
            context.wrap_socket(client, server_hostname="127.0.0.1")


@pytest.mark.parametrize("first", [b"", b"GET / HTTP/1.1\r\n\r\n", struct.pack("!ii", 8, 196608), b"\x16\x03\x01\x00\xff" * 4])
def test_whoever_begins_otherwise_gets_an_answer_or_an_end(secure: Servers, first: bytes) -> None:
    port = urlsplit(addresses(secure)[1]).port
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(first)
        client.shutdown(socket.SHUT_WR)
        answer = client.makefile("rb").read()
        assert answer == b"" or (answer[:1] == b"E" and b"encrypted connections only" in answer)


async def test_it_listens_nowhere_else_and_comes_back_after_a_kill(secure: Servers) -> None:
    owner, service = addresses(secure)
    connection = await asyncpg.connect(owner)
    assert await connection.fetchval("select current_setting('listen_addresses')") == ""
    assert [tuple(row) for row in await connection.fetch("select type, auth_method from pg_hba_file_rules")] == [
        ("local", "scram-sha-256")
    ]
    secure.restart_postgres(kill=True)
    with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.InterfaceError, OSError)):
        await connection.fetchval("select 1")
    await (await asyncpg.connect(service)).close()


def test_a_server_of_the_other_kind_is_not_started_beside_it_and_the_kind_is_kept(secure: Servers) -> None:
    with pytest.raises(ServerError, match="Postgres runs here with TLS: stop it first"):
        secure.up(kafka=False, model=False, secure=False)
    secure.down()
    assert "verify-full" in secure.up(kafka=False, model=False).postgres
    secure.down()
    assert "sslmode=disable" in secure.up(kafka=False, model=False, secure=False).postgres
    secure.down()
    assert "verify-full" in secure.up(kafka=False, model=False, secure=True).postgres


async def test_migrate_says_what_is_wrong_with_the_encryption(secure: Servers) -> None:
    with pytest.raises(StoreUnavailable, match="encrypted connections only"):
        await migrate(plain(addresses(secure)[0]))
