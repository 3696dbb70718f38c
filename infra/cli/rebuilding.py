"""`audit rebuild` and `audit compare`: a second event store, made of Kafka's topics alone, and compared with the first."""

from typing import Annotated

import typer

from infra.audit import rebuild as rebuilding
from infra.cli import base, logins, screen
from infra.cli.bus import Bus, batches
from infra.cli.problem import Problem
from infra.cli.progress import progress
from infra.cli.unsettled import WAIT, Wait, settled, unseen
from shared.eventstore.model import NotEmpty
from shared.settings import Settings


def rebuild(
    to: Annotated[str, typer.Option(help="The target: SCHEMA, or DSN/SCHEMA (postgresql://user@host/database/schema).")],
    without: Annotated[
        list[str] | None, typer.Option(metavar="TOPIC/PARTITION/OFFSET", help="Leave out this record, since it is forged.")
    ] = None,
) -> None:
    """Rebuild the event store from Kafka's topics alone, in an empty schema.

    Every message comes back. Inbox entries without a message, policies and what performers brought back are not in Kafka.
    Where Kafka has two different messages at one version or under one id, nothing is rebuilt until you say which is forged.

    Example: hansard audit rebuild --to rebuilt && hansard audit compare --with rebuilt
    """
    settings = base.running(kafka=True)
    dsn, schema = place(settings.owner, to)
    with base.as_owner():
        made = base.run(_rebuild(settings, dsn, schema, frozenset(without or ())))
    for what, count, some in (
        ("foreign records", made.rejected, made.rejections),
        ("streams that lack messages", made.gapped, made.gaps),
        ("contradictions", made.contradicted, made.contradictions),
    ):
        for one in some:
            screen.out.print(one, style="yellow")
        if count > len(some):
            screen.out.print(f"and {count - len(some)} more {what}", style="yellow")
    if made.contradicted:
        what = "Kafka contradicts itself. Name the forged records by --without TOPIC/PARTITION/OFFSET"
        raise Problem(f"Nothing was rebuilt: {what}.")
    if made.left_out < len(without or ()):
        raise Problem("Something was rebuilt, but not every record that --without names is there: check its place.")
    screen.out.print(
        f"{made.records} records read, {made.repeats} of them repeats: {made.messages} messages of {made.streams} streams and "
        f"{made.door_messages} messages from outside are in {schema}"
    )
    if made.gapped:
        raise typer.Exit(1)


def place(here: str, text: str) -> tuple[str, str]:
    """The DSN and the schema that a text names; `here` is the DSN of a schema alone. Raises Problem."""
    dsn, slash, schema = text.rpartition("/")
    if not slash:
        dsn, schema = here, text
    if not dsn or not schema.isidentifier() or schema != schema.lower():
        raise Problem(f"{text!r} names no schema: write SCHEMA, or postgresql://user@host/database/SCHEMA.", code=2)
    return dsn, schema


async def _rebuild(settings: Settings, dsn: str, schema: str, without: frozenset[str]) -> rebuilding.Rebuilt:
    from infra.migrations import migrate

    is_here = dsn == settings.owner
    service, own = settings.postgres.get_secret_value() if is_here else "", logins.every(settings) if is_here else {}
    await migrate(dsn, schema, service=service, topics=settings.topics, logins=own)
    try:
        async with (
            rebuilding.rebuilding(dsn, schema, settings.topics, without, pooler=settings.postgres_pooler) as into,
            Bus(settings) as bus,
            bus.listen(settings.topics.by_name, "beginning") as listener,
        ):
            with progress("reading", await listener.extent()) as passed:
                async for some in batches(listener.to_the_end(), 2000):
                    await into.add(entry.record for entry in some)
                    passed(len(some))
            screen.note(f"ordering {into.rebuilt.staged:,} messages")
            return await into.insert()
    except NotEmpty as refused:
        raise Problem(f"Nothing was rebuilt: {refused}.") from None


def compare(
    other: Annotated[str, typer.Option("--with", help="The other event store: SCHEMA, or DSN/SCHEMA.")],
    wait: Wait = WAIT,
) -> None:
    """Compare two event stores, stream by stream, hash for hash. Exits 1 where they differ.

    Example: hansard audit compare --with rebuilt
    """
    settings = base.running(postgres=True)
    dsn, schema = place(settings.postgres.get_secret_value(), other)
    compared, unsettled = base.run(_compare(settings, dsn, schema, wait))
    for one in compared.unlike:
        screen.out.print(f"{one.stream}: {one.what}", style="bold red")
        screen.out.print(screen.table(("", ""), [("here", one.one), ("there", one.other)]))
    verdict = f"{compared.differ} streams differ" if compared.differ else "both stores are the same, hash for hash"
    screen.out.print(f"{compared.streams} streams, {compared.messages} messages: {verdict}")
    if unsettled:
        raise Problem(unseen(unsettled))
    if compared.differ:
        raise typer.Exit(1)


async def _compare(settings: Settings, dsn: str, schema: str, wait: float) -> tuple[rebuilding.Compared, str]:
    from pydantic import SecretStr

    other = settings.model_copy(update={"postgres": SecretStr(dsn), "postgres_schema": schema})
    async with base.record(settings) as here, base.record(other) as there:
        unsettled = await settled(here, wait) or await settled(there, wait)
        with progress("comparing", await here.estimate_size()) as passed:
            return await rebuilding.compare(here, there, passed), unsettled
