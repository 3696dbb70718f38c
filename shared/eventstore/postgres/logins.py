"""Logins of Postgres: how an address names one, and how it is made."""

import base64
import hashlib
import hmac
import secrets
import unicodedata
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg

ROUNDS = 4096  # as Postgres itself does it


@dataclass(frozen=True)
class Login:
    """A user of Postgres; without a password where the address holds none."""

    name: str
    password: str = field(default="", repr=False)

    @classmethod
    def of(cls, dsn: str) -> "Login | None":
        """The login that an address names; None where it names none."""
        parts = urlsplit(dsn)
        given = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        name = unquote(parts.username or "") or given.get("user", "")
        return cls(name, unquote(parts.password or "") or given.get("password", "")) if name else None

    @property
    def quoted(self) -> str:
        """The name as SQL has it."""
        doubled = self.name.replace('"', '""')
        return f'"{doubled}"'

    def verifier(self) -> str:
        """What Postgres stores in place of the password (RFC 5803). A statement with it tells no log the password."""
        salt = secrets.token_bytes(16)
        salted = hashlib.pbkdf2_hmac("sha256", unicodedata.normalize("NFKC", self.password).encode(), salt, ROUNDS)
        key = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
        parts = [base64.b64encode(part).decode() for part in (salt, key, hmac.digest(salted, b"Server Key", "sha256"))]
        return f"SCRAM-SHA-256${ROUNDS}:{parts[0]}${parts[1]}:{parts[2]}"


async def make_login(connection: asyncpg.Connection, login: Login, *, renew: bool = False) -> None:
    """Makes this login where there is none; `renew` sets the password of one that exists. It has no other right.

    Raises InsufficientPrivilegeError.
    """
    known = await connection.fetchval("select 1 from pg_roles where rolname = $1", login.name)
    if known and not renew:
        return
    password = f" password '{login.verifier()}'" if login.password else ""
    try:
        async with connection.transaction():
            await connection.execute(f"{'alter' if known else 'create'} role {login.quoted} login{password}")
    except (asyncpg.DuplicateObjectError, asyncpg.UniqueViolationError):
        pass  # another process has just made it
