"""The certificates of a deployment, as Python's own TLS takes or refuses them."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from infra.servers import certificates
from infra.servers.certificates import Certificate, certificate


@contextmanager
def listening(one: Certificate) -> Iterator[int]:
    """A TLS server with this certificate, for one client; its port."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(one.pem)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            try:
                with context.wrap_socket(server.accept()[0], server_side=True) as client:
                    client.sendall(b"hello")
            except (OSError, ssl.SSLError):  # the client refused us
                pass

        thread = threading.Thread(target=greet)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


def greeted(port: int, authority: Path, name: str) -> bytes:
    """What a client receives that trusts this authority alone and expects this name."""
    context = ssl.create_default_context(cafile=str(authority))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=name) as client,
    ):
        return client.recv(5)


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "kafka"])
def test_a_client_that_trusts_the_authority_is_served_under_each_name(tmp_path: Path, name: str) -> None:
    made = certificate(tmp_path, "kafka", ("127.0.0.1", "localhost", "kafka"))
    with listening(made) as port:
        assert greeted(port, made.authority, name) == b"hello"


def test_a_client_refuses_another_name(tmp_path: Path) -> None:
    made = certificate(tmp_path, "kafka")
    with listening(made) as port, pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        greeted(port, made.authority, "kafka.example.org")


def test_a_client_refuses_another_deployments_server(tmp_path: Path) -> None:
    ours, theirs = certificate(tmp_path / "a", "kafka"), certificate(tmp_path / "b", "kafka")
    with listening(theirs) as port, pytest.raises(ssl.SSLCertVerificationError):
        greeted(port, ours.authority, "localhost")


def test_two_servers_of_a_deployment_have_one_authority_and_a_key_each(tmp_path: Path) -> None:
    kafka, postgres = certificate(tmp_path, "kafka"), certificate(tmp_path, "postgres")
    assert kafka.authority == postgres.authority
    assert kafka.pem.read_text() != postgres.pem.read_text()
    with listening(postgres) as port:
        assert greeted(port, kafka.authority, "localhost") == b"hello"


def test_a_certificate_is_made_once_and_again_for_other_names(tmp_path: Path) -> None:
    first = certificate(tmp_path, "kafka").pem.read_text()
    assert certificate(tmp_path, "kafka").pem.read_text() == first
    assert certificate(tmp_path, "kafka", ("kafka",)).pem.read_text() != first


def test_only_the_owner_can_read_the_files(tmp_path: Path) -> None:
    certificate(tmp_path / "tls", "kafka")
    assert {file.name: oct(file.stat().st_mode & 0o777) for file in (tmp_path / "tls").iterdir()} == {
        "ca.key": "0o600",
        "ca.pem": "0o600",
        "kafka.pem": "0o600",
    }
    assert oct((tmp_path / "tls").stat().st_mode & 0o777) == "0o700"


def test_what_ends_soon_is_renewed_and_a_client_needs_nothing_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as brief:
        brief.setattr(certificates, "LIFE_OF_AUTHORITY", timedelta(days=1, hours=1))
        brief.setattr(certificates, "LIFE_OF_SERVER", timedelta(days=1, hours=1))
        old = certificate(tmp_path, "kafka")
    known = tmp_path / "known.pem"  # what a client copied then
    known.write_bytes(old.authority.read_bytes())
    before = old.pem.read_text()

    renewed = certificate(tmp_path, "kafka")
    assert renewed.pem.read_text() != before
    assert renewed.authority.read_bytes() != known.read_bytes()
    with listening(renewed) as port:
        assert greeted(port, known, "localhost") == b"hello"


def test_files_that_do_not_belong_together_are_made_again(tmp_path: Path) -> None:
    made = certificate(tmp_path, "kafka")
    other = certificate(tmp_path / "other", "kafka")
    made.authority.write_bytes(other.authority.read_bytes())
    made.pem.write_text("cut off")
    again = certificate(tmp_path, "kafka")
    with listening(again) as port:
        assert greeted(port, again.authority, "localhost") == b"hello"
