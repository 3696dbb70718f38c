"""`keys …`: API keys of programs that submit requests over HTTP."""

import getpass
import socket
from typing import Annotated

import typer
from pydantic import SecretStr

from contracts.control import CancelWorkflow
from contracts.requests import SubmitRequest
from hansard.envelope import TENANT
from infra.audit.text import short
from infra.cli import base, screen
from infra.cli.options import Json, Tenant
from infra.cli.problem import Problem
from shared.eventstore.api_keys import ApiKey
from shared.identity.api_keys import new_api_key
from shared.settings import Settings

app = typer.Typer(
    help="API keys of programs that submit requests over HTTP: each is for one tenant and some kinds of message. A key is shown "
    "once; the store has its hash.",
    no_args_is_help=True,
)
SUBMITTED = (SubmitRequest, CancelWorkflow)  # what programs may submit: a review needs a person, whom no key proves


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Which program it is for: nightly-import.")],
    kinds: Annotated[
        list[str] | None, typer.Option("--kind", help="What may be submitted by it; without it, requests. Repeat it for more.")
    ] = None,
    tenant: Tenant = TENANT,
    json_: Json = False,
) -> None:
    """Make a key, and print it: it is shown this once.

    Example: hansard keys add nightly-import --tenant acme
    """
    if not name.strip() or len(name) > 256 or not name.isprintable():
        raise Problem("A key needs a name of at most 256 characters, without control characters.", code=2)
    settings = _settings()
    allowed = [_kind(kind) for kind in kinds or (SubmitRequest.kind,)]
    text, key = new_api_key(tenant, name, allowed, f"{getpass.getuser()}@{socket.gethostname()}")

    async def added() -> None:
        async with base.record(settings) as store:
            with base.as_owner():
                await store.api_keys.add(key)

    base.run(added())
    if json_:
        screen.put_json(_fields(key) | {"key": text})
        return
    screen.write(text)
    screen.note(f"The key {key.id} of {key.name} in the tenant {tenant}, shown this once. Send it as `Authorization: Bearer …`.")


@app.command("list")
def list_keys(tenant: Tenant = TENANT, json_: Json = False) -> None:
    """List the keys of a tenant: never the keys themselves, but their ids, and when each was used last.

    Example: hansard keys list
    """
    settings = base.running(postgres=True)

    async def listed() -> list[ApiKey]:
        async with base.record(settings) as store:
            return await store.api_keys.list(tenant)

    keys = base.run(listed())
    if json_:
        for key in keys:
            screen.put_json(_fields(key))
    elif keys:
        rows = [
            (
                key.id,
                key.name,
                ", ".join(map(short, key.kinds)),
                f"{_time(key.created_at)} by {key.created_by}",
                _time(key.last_used_at) or "never",
                f"revoked {_time(key.revoked_at)}" if key.revoked_at else "",
            )
            for key in keys
        ]
        screen.out.print(screen.table(("id", "name", "kinds", "made", "last used", ""), rows))
    else:
        screen.out.print(f"The tenant {tenant} has no keys: `hansard keys add NAME`.")


@app.command("revoke")
def revoke(
    id_: Annotated[str, typer.Argument(metavar="ID", help="As `hansard keys list` shows it.")], tenant: Tenant = TENANT
) -> None:
    """Revoke a key: from now on it counts nowhere.

    Example: hansard keys revoke 0123456789abcdef
    """
    settings = _settings()

    async def revoked() -> bool:
        async with base.record(settings) as store:
            with base.as_owner():
                return await store.api_keys.revoke(tenant, id_)

    if not base.run(revoked()):
        raise Problem(f"The tenant {tenant} has no key {id_} that counts: `hansard keys list`.")
    screen.out.print(f"The key {id_} is revoked.")


def _settings() -> Settings:
    """Those of the tables' owner: a service's login may make no key. Raises Problem."""
    settings = base.running(postgres=True)
    return settings.model_copy(update={"postgres": SecretStr(settings.owner)})


def _kind(given: str) -> str:
    """The whole name of a kind that a program may submit. Raises Problem."""
    found = {name: kind.kind for kind in SUBMITTED for name in (kind.kind, short(kind.kind))}
    if given not in found:
        raise Problem(f"--kind: {given!r} is none of {', '.join(short(kind.kind) for kind in SUBMITTED)}.", code=2)
    return found[given]


def _fields(key: ApiKey) -> dict[str, object]:
    return {
        "id": key.id,
        "name": key.name,
        "tenant": key.tenant,
        "kinds": key.kinds,
        "created_at": key.created_at,
        "created_by": key.created_by,
        "last_used_at": key.last_used_at,
        "revoked_at": key.revoked_at,
    }


def _time(at: object) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}" if at else ""
