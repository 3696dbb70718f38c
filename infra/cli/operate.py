"""`migrate` and `topics`: the event store's schema and Kafka's topics, as this version needs them."""

from collections.abc import Awaitable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from infra.cli import access, base, logins, screen
from infra.cli.bus import reached as bus_reached
from infra.cli.loading import with_own
from infra.cli.problem import Problem
from shared.settings import Settings

T = TypeVar("T")


def migrate(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be applied.")] = False,
) -> None:
    """Apply the migrations that the event store's schema lacks, and make the roles of services.

    Each service has a role in Postgres, SCHEMA-NAME (hansard-router), which reads the record and writes rows of its own alone.
    The login of HANSARD_POSTGRES gets the rights of all. To give each service a login of its own, name their addresses, as JSON,
    for this command and for `hansard up`; a login that is not there is made:

    HANSARD_POSTGRES_LOGINS='{"router": "postgresql://router:…@host/db", "planner": "…", "specialists+verifier": "…"}'

    (The last is that of a process of two services: it has the rights of both.) What `hansard serve` starts needs its own address
    alone, as HANSARD_POSTGRES. Run this again when you have added a service of your own.

    Example: hansard migrate --dry-run
    """
    from infra.migrations import pending

    settings = base.running(postgres=True)
    with base.as_owner():
        names = base.run(pending(settings.owner, settings.postgres_schema) if dry_run else logins.migrated(settings))
    if not names:
        screen.out.print(f"Schema {settings.postgres_schema} has every migration of this version.")
    for name in names:
        screen.out.print(f"{'would apply' if dry_run else 'applied'} {name}")


async def make_topics(settings: Settings) -> int:
    """Creates the topics that are missing and returns how many it created. Raises Problem where one cannot be created."""
    from shared.kafka.admin import apply

    done = await apply(settings)
    refused = [change for change in done if change.kind == "create" and change.error]
    if refused:
        raise Problem(f"{refused[0]}. Ask an administrator to create the topics: `hansard topics --dry-run` lists them.")
    return sum(change.kind == "create" for change in done)


def topics(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be changed.")] = False,
    acls: Annotated[bool, typer.Option("--acls", help="Print the access rules of the catalogue, for kafka-acls.sh.")] = False,
    remove_rules: Annotated[
        bool, typer.Option("--remove-rules", help="Remove access rules of our principals that are in the catalogue no longer.")
    ] = False,
    passwords: Annotated[
        Path | None,
        typer.Option(help="Folder with a file for each principal that holds its password: set them (SCRAM-SHA-512)."),
    ] = None,
) -> None:
    """Create every topic of the catalogue that is missing, and correct settings that differ from it.

    Where the brokers have access rules, it also adds those of the catalogue: one principal a service, hansard-NAME; the people
    who operate it are hansard-console, and anyone else hansard-outside. To a topic of HANSARD_REVIEWER_TOPICS, as
    approvals.reviews.alice, the principal hansard-person:alice alone may write.

    Example: hansard topics --dry-run    ·    hansard topics --acls | sh
    """
    from infra.access_rules import acls as lines
    from shared.kafka.admin import apply

    if acls:
        for line in lines(with_own(base.local())):
            screen.write(line)
        return
    settings = base.running(kafka=True, administrator=True)
    done = base.run(reached(settings, apply(settings, dry_run=dry_run)))
    for change in done:
        verb = "cannot" if change.error else "would" if dry_run else "did"
        screen.out.print(f"{verb}: {change}")
    if not done:
        screen.out.print(f"All {len(settings.topics.all)} topics are as the catalogue describes them.")
    agreed = base.run(reached(settings, access.settle(settings, passwords, dry_run=dry_run, remove=remove_rules)))
    if any(change.error for change in done) or not agreed:
        raise typer.Exit(1)


async def reached(settings: Settings, work: Awaitable[T]) -> T:
    """The work's result. Raises Problem where Kafka does not answer."""
    with bus_reached(settings):
        return await work
