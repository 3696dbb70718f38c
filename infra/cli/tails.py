"""`republish` and `epoch`: Kafka's tail and the record, compared."""

from collections.abc import Sequence
from typing import Annotated

import typer

from infra.cli import base, screen
from infra.cli.bus import reached
from infra.cli.problem import Problem
from infra.cli.unsettled import moment
from shared.eventstore.model import Epoch, StoredMessage
from shared.runtime import tail
from shared.runtime.republishing import publish_again
from shared.runtime.tail_watch import restored
from shared.settings import Settings
from shared.task_tokens import NO_TOKENS, TaskTokens


def republish(
    since: Annotated[str, typer.Option(help="From when on: 2026-01-31T12:00, or 12:00 for today.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what Kafka lacks.")] = False,
) -> None:
    """Publish again what is on the record and Kafka has lost. Services do so by themselves, for the end of each partition, at
    their start and every few minutes.

    Example: hansard republish --since 12:00 --dry-run
    """
    settings = base.running(kafka=True, postgres=True, administrator=True)
    lost = base.run(_lost(settings, since))
    for topic in sorted({message.topic for message in lost}):
        screen.out.print(f"{topic}: {sum(message.topic == topic for message in lost)} are missing")
    if not lost:
        screen.out.print("Kafka lacks nothing of what was published since then.")
    elif dry_run:
        screen.note("Without --dry-run they are published again, as they were.")
    else:
        base.run(_publish_again(settings, lost))
        screen.out.print(f"{len(lost)} are published again.")


async def _lost(settings: Settings, since: str) -> list[StoredMessage]:
    if (at := moment(since)) is None:
        raise Problem("--since needs a time.", code=2)
    async with base.record(settings) as store:
        with reached(settings):
            return await tail.lost_since(settings, store, at)


async def _publish_again(settings: Settings, messages: Sequence[StoredMessage]) -> None:
    async with base.record(settings) as store:
        workers = frozenset(settings.outside_workers)
        tokens = TaskTokens(await store.task_key(), workers) if workers else NO_TOKENS
    with reached(settings):
        await publish_again(settings, messages, tokens)


app = typer.Typer(help="The store's epochs: what a restore leaves to decide.", no_args_is_help=True)


@app.command("show")
def show() -> None:
    """Print the present epoch, and what Kafka has that is not on the record.

    Example: hansard epoch show
    """
    epoch, unknown = base.run(_compared(base.running(kafka=True, postgres=True)))
    screen.out.print(f"epoch {epoch.epoch}: {'compared with Kafka' if epoch.compared else 'not compared with Kafka yet'}")
    if unknown.count:
        screen.out.print(f"Later than the newest message on the record, Kafka has {unknown}.")
    else:
        screen.out.print("Kafka has nothing later than the newest message on the record.")


@app.command("compare")
def compare() -> None:
    """After a restore: compare all that Kafka has with the record, and let services start if nothing differs. Services do so by
    themselves where access rules let them read everything. Exits 1 where something differs.

    Example: hansard epoch compare
    """
    settings = base.running(kafka=True, postgres=True)
    unknown = base.run(compared(settings))
    if unknown.count:
        raise Problem(f"Services wait: {restored(unknown)}.")
    screen.out.print("All that Kafka has is on the record: services start.")


async def compared(settings: Settings) -> tail.Unknown:
    """What Kafka has that is not on the record; nothing in an epoch that was compared already."""
    async with base.record(settings) as store:
        if (await store.epoch()).compared:
            return tail.Unknown()
        with reached(settings):
            return await tail.compare(settings, store)


@app.command("accept")
def accept() -> None:
    """After a restore: let services start, though Kafka has messages that are not on the record. They count as forged from then
    on. Where they are ours, rebuild the store first: `hansard audit rebuild --help`.

    Example: hansard epoch accept
    """
    settings = base.running(postgres=True)

    async def accepted() -> Epoch:
        async with base.record(settings) as store:
            epoch = await store.epoch()
            await store.epoch_compared(epoch.epoch)
            return epoch

    epoch = base.run(accepted())
    screen.out.print(
        f"Services start in epoch {epoch.epoch}." if not epoch.compared else "Nothing waits: this epoch was compared already."
    )


async def _compared(settings: Settings) -> tuple[Epoch, tail.Unknown]:
    async with base.record(settings) as store:
        with reached(settings):
            return await store.epoch(), await tail.unknown(settings, store)
