"""What `doctor` says about the logins of services: who may write what, and whether the server is the right one."""

from typing import TYPE_CHECKING

from contracts.catalog import OURS
from infra.cli import logins as own
from infra.cli.finding import Finding
from shared.postgres_address import is_here, is_verified
from shared.settings import FUSED, Settings

if TYPE_CHECKING:
    from shared.eventstore.postgres.admin import SchemaInspection


async def logins(settings: Settings, seen: "SchemaInspection") -> list[Finding]:
    """Which login may write as which service: one a service, or one for all; and what runs together in one process."""
    from shared.eventstore.postgres.admin import Unreachable, inspect
    from shared.eventstore.postgres.rights import with_roles

    found: list[Finding] = []
    known = own.every(settings)
    for services, dsn in known.items():
        names = services.split(FUSED)
        try:
            one = (await inspect(dsn, settings.postgres_schema, pooler=settings.postgres_pooler, topics=settings.topics)).schema
        except Unreachable as away:
            fix = f"`hansard migrate` makes it, or correct it in HANSARD_POSTGRES_LOGINS ({away})"
            found.append(Finding(f"login of {services}", "cannot connect", fix))
            continue
        found += encryption(f"the login of {services}", dsn)
        others = sorted({*(one.writes_as if one else ())} - {*names})
        lacking = sorted({*names} - {*(one.writes_as if one else ())})
        if lacking:
            found.append(Finding(f"login of {services}", f"may not write as {', '.join(lacking)}", "hansard migrate"))
        elif others:
            fix = "revoke the roles of the others from it, or give it none but its own"
            found.append(Finding(f"login of {services}", f"may write as {', '.join(others)} too", fix))
    every = with_roles(settings.topics)
    apart = [name for name in every if name in known]
    shared = [name for name in every if name not in known and (name in settings.ours or name not in OURS)]
    if apart and all(finding.ok for finding in found):
        found.append(Finding("logins", f"a login of its own, which writes rows of its own alone: {', '.join(apart)}"))
    if len(seen.writes_as) < len(with_roles(settings.topics)):
        found.append(Finding("logins", f"this one writes rows of {', '.join(seen.writes_as) or 'no service'} alone"))
    elif shared:
        what = f"one login for {', '.join(shared)}, so each may write what is another's"
        found.append(Finding("shared login", f"{what}: `hansard migrate --help` tells how to give each its own"))
    for some in seen.together:
        found.append(Finding("fused", f"{', '.join(some)} run in one process: in Postgres it may do what each of them may"))
    return found


def encryption(what: str, dsn: str) -> list[Finding]:
    """Whether a server elsewhere is asked for its certificate: without it, who sits between reads and changes the record."""
    if is_here(dsn) or is_verified(dsn):
        return []
    fix = "put sslmode=verify-full&sslrootcert=FILE into the address; `sslrootcert=system` trusts what this machine trusts"
    return [Finding("encryption", f"{what} names a server elsewhere, whose certificate is not verified", fix)]
