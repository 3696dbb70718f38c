"""The certificates of a deployment: an authority of its own, and what it signs for the servers.

Everything is made once in one folder and used again; what has less than half of its life left is made anew, so that a server
which starts now may run for a year. The authority keeps its key: a client that trusts it needs nothing new.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from infra.servers.passwords import written
from infra.servers.reach import OWN, made

HERE = ("localhost", "127.0.0.1", "::1")
LIFE_OF_AUTHORITY, LIFE_OF_SERVER = timedelta(days=3650), timedelta(days=825)
SKEW = timedelta(days=1)  # valid from the day before: clocks differ
Key = ec.EllipticCurvePrivateKey
KEY_USES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


@dataclass(frozen=True)
class Certificate:
    """A server's certificate as PEM files, readable by their owner alone."""

    authority: Path  # the authority's certificate: what clients trust
    pem: Path  # the server's key (PKCS 8) and after it its certificate: one file, so that they always belong together


def certificate(folder: Path, server: str, names: Iterable[str] = HERE) -> Certificate:
    """The certificate of this server for these names and IP addresses: kept in `folder`, made or renewed where it must be.

    The caller sees to it that one process at a time does so. Raises OSError where the folder cannot be written.
    """
    made(folder, OWN)
    key, authority = _authority(folder)
    file, wanted = folder / f"{server}.pem", tuple(dict.fromkeys(names))
    if not _serves(_read(file), authority, wanted):
        own = ec.generate_private_key(ec.SECP256R1())
        written(file, _pem(own) + _pem(_signed(server, own, wanted, key, authority)))
    file.chmod(0o600)
    return Certificate(folder / "ca.pem", file)


def _authority(folder: Path) -> tuple[Key, x509.Certificate]:
    """The authority's key, made once, and its certificate, which is renewed under the same key and name."""
    secret, file = folder / "ca.key", folder / "ca.pem"
    if secret.exists():
        key = serialization.load_pem_private_key(secret.read_bytes(), None)
        assert isinstance(key, Key), f"{secret} holds another kind of key than was written there"
    else:
        key = ec.generate_private_key(ec.SECP256R1())
        written(secret, _pem(key))
    found = _read(file)
    if found is None or found.public_key() != key.public_key() or _old(found):
        name = found.subject if found else _name(f"Hansard deployment {secrets.token_hex(4)}")
        found = _self_signed(name, key)
        written(file, _pem(found))
    return key, found


def _serves(found: x509.Certificate | None, authority: x509.Certificate, names: tuple[str, ...]) -> bool:
    """Whether this certificate can be used: of this authority, for exactly these names, with half of its life to go."""
    if found is None or _old(found):
        return False
    try:
        found.verify_directly_issued_by(authority)
    except Exception:  # ValueError, TypeError, InvalidSignature: it is not of this authority
        return False
    return found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value == _alternatives(names)


def _old(found: x509.Certificate) -> bool:
    life = found.not_valid_after_utc - found.not_valid_before_utc
    return datetime.now(UTC) > found.not_valid_before_utc + life / 2


def _read(file: Path) -> x509.Certificate | None:
    """The certificate of a PEM file; None where there is none that can be read."""
    with suppress(FileNotFoundError, ValueError):
        return x509.load_pem_x509_certificates(file.read_bytes())[0]
    return None


def _self_signed(name: x509.Name, key: Key) -> x509.Certificate:
    known = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        _built(name, name, key, LIFE_OF_AUTHORITY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_uses("key_cert_sign", "crl_sign"), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(known), critical=False)
        .sign(key, hashes.SHA256())
    )


def _signed(server: str, own: Key, names: tuple[str, ...], key: Key, authority: x509.Certificate) -> x509.Certificate:
    issuer = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return (
        _built(_name(server), authority.subject, own, LIFE_OF_SERVER)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_uses("digital_signature"), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(_alternatives(names), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer), critical=False)
        .sign(key, hashes.SHA256())
    )


def _built(subject: x509.Name, issuer: x509.Name, key: Key, life: timedelta) -> x509.CertificateBuilder:
    begins = datetime.now(UTC) - SKEW
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _alternatives(names: tuple[str, ...]) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([_alternative(name) for name in names])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _uses(*uses: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{use: use in uses for use in KEY_USES})


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _pem(one: Key | x509.Certificate) -> str:
    if isinstance(one, x509.Certificate):
        return one.public_bytes(serialization.Encoding.PEM).decode()
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return one.private_bytes(serialization.Encoding.PEM, form, plain).decode()
