"""Passwords that are made at random, once, and kept in files that only their owner can read.

`python -m infra.servers.passwords FOLDER` makes the files that docker-compose.yml needs: a folder for each kind of container, so
that services have their own login and never the owner's.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import sys
import tempfile
from base64 import urlsafe_b64encode
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

LONGEST = 63  # bytes of a name in Postgres
OWNER, SERVICE, DATABASE = "hansard", "hansard_service", "hansard"
USERS = {"postgres": 999, "setup": 10001, "service": 10001}  # who reads what: the image of Postgres, and ours


def kept(file: Path, first: str = "") -> str:
    """The password in this file: made once and atomically, at random unless the first is given."""
    if not file.exists() or not file.stat().st_size:
        written(file, first or secrets.token_urlsafe(24))
    file.chmod(0o600)
    return file.read_text("utf-8").strip()


def derived(secret: str, name: str) -> str:
    """A password that follows from another and a name: whoever has that one has this one too, and not the other way round."""
    return urlsafe_b64encode(hmac.digest(secret.encode(), name.encode(), "sha256")).decode().rstrip("=")


def service_login(address: str, *services: str) -> str:
    """The address of a login for these services alone, made of that of the login for all, from whose password its own follows."""
    parts, name = urlsplit(address), f"service-{'+'.join(sorted(services))}"
    if len(name.encode()) > LONGEST:
        name = f"service-{hashlib.sha256(name.encode()).hexdigest()[:32]}"
    login = f"{quote(name, safe='')}:{derived(unquote(parts.password or ''), name)}"
    return parts._replace(netloc=f"{login}@{parts.netloc.rpartition('@')[2]}").geturl()


def written(file: Path, content: str) -> None:
    """Replaces the file, readable by its owner alone."""
    descriptor, partial = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")  # its mode is 0600
    os.close(descriptor)
    Path(partial).write_text(content, "utf-8")
    Path(partial).replace(file)


def for_compose(folder: Path) -> None:
    """What each kind of container finds as a file: Postgres its first password, `setup` both addresses, services their own."""
    owner = kept(folder / "postgres" / "password", os.environ.get("POSTGRES_PASSWORD", ""))
    service = kept(folder / "setup" / "service.password")
    addresses = {
        "hansard_postgres_owner": f"postgresql://{OWNER}:{quote(owner, safe='')}@postgres:5432/{DATABASE}",
        "hansard_postgres": f"postgresql://{SERVICE}:{service}@postgres:5432/{DATABASE}",
    }
    for name, address in addresses.items():
        written(folder / "setup" / name, address)
    written(folder / "service" / "hansard_postgres", addresses["hansard_postgres"])
    for kind, user in USERS.items():
        for path in (*(folder / kind).iterdir(), folder / kind):
            path.chmod(0o700 if path.is_dir() else 0o600)
            os.chown(path, user, -1)


if __name__ == "__main__":
    for_compose(Path(sys.argv[1]))
