"""Passwords that are made at random, once, and kept in files that only their owner can read.

`python -m infra.servers.passwords FOLDER` makes the files that docker-compose.yml needs: a folder for each kind of container and
for each service, so that a service has a login of its own and never another's.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import sys
import tempfile
from base64 import urlsafe_b64encode
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from contracts.catalog import OURS

LONGEST = 63  # bytes of a name in Postgres
OWNER, SERVICE, DATABASE = "hansard", "hansard_service", "hansard"
EVERY = "all"  # the folder of the login with the rights of all services
HBA = "local all all scram-sha-256\nhostssl all all all scram-sha-256\n"  # nothing without TLS
USERS = {"postgres": 999, "kafka": 1000, "setup": 10001, "service": 10001}  # who reads what: their images, and ours


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
    """What each kind of container finds as files: servers their certificates and first passwords, `setup` every login, each
    service its own, and the commands that people run that of a login for all."""
    from infra.servers.certificates import certificate
    from infra.servers.principals import kafka_in_compose

    made = certificate(folder / "authority", "postgres", ("postgres", "localhost", "127.0.0.1"))
    owner = kept(folder / "postgres" / "password", os.environ.get("POSTGRES_PASSWORD", ""))
    service = kept(folder / "setup" / "service.password")
    place = f"postgres:5432/{DATABASE}?sslmode=verify-full&sslrootcert=/run/secrets/ca.pem"
    shared = f"postgresql://{SERVICE}:{service}@{place}"
    own = {name: service_login(shared, name) for name in OURS}
    files = {
        "postgres/server.pem": made.pem.read_text("ascii"),
        "postgres/pg_hba.conf": HBA,
        "setup/hansard_postgres_owner": f"postgresql://{OWNER}:{quote(owner, safe='')}@{place}",
        "setup/hansard_postgres": shared,
        "setup/hansard_postgres_logins": json.dumps(own),
        **{f"service/{name}/hansard_postgres": address for name, address in {EVERY: shared, **own}.items()},
    }
    readers = ("setup", *(f"service/{name}" for name in (EVERY, *own)))
    files |= {f"{reader}/ca.pem": made.authority.read_text("ascii") for reader in readers}
    files |= kafka_in_compose(folder, (*OURS, EVERY), people())
    (folder / "service" / "hansard_postgres").unlink(missing_ok=True)  # of release 0.2.0, where all services shared one login
    for name, content in files.items():
        (folder / name).parent.mkdir(0o700, exist_ok=True)
        written(folder / name, content)
    for kind, user in USERS.items():
        for path in (*(folder / kind).rglob("*"), folder / kind):
            path.chmod(0o700 if path.is_dir() else 0o600)
            os.chown(path, user, -1)


def people() -> tuple[str, ...]:
    """The principals of people with a topic of their own, as HANSARD_REVIEWER_TOPICS names these."""
    from infra.access_rules import of_people
    from shared.settings import Settings

    return of_people(Settings())


if __name__ == "__main__":
    for_compose(Path(sys.argv[1]))
