"""What every command that reads all of the record shares: it waits for transactions that may still store something."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from dateutil import parser as dates

from infra.audit.settled import settle
from infra.cli import screen
from infra.cli.problem import Problem
from shared.eventstore.ports import RecordReader

WAIT = 30.0
Wait = Annotated[
    float,
    typer.Option(help="Seconds to wait at most for transactions that run in Postgres: readers of everything stop before them."),
]


def unseen(since: str) -> str:
    return f"A transaction of {since} still runs in Postgres: what it may store, nobody can see yet. End it, or give it --wait."


async def settled(store: RecordReader, wait: float) -> str:
    """Waits for transactions that run now; since when one still runs, or ""."""
    since = await settle(store, wait, lambda since: screen.note(f"waiting for a transaction of {since:%Y-%m-%d %H:%M:%S} UTC"))
    return f"{since.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if since else ""


async def warn_if_unsettled(store: RecordReader) -> None:
    """Waits likewise; says on standard error what cannot be seen."""
    if since := await settled(store, WAIT):
        screen.note(unseen(since))


def moment(text: str) -> datetime | None:
    """A time as people write one, in this machine's time zone unless it names one; None for an empty text. Raises Problem."""
    if not text:
        return None
    try:
        return dates.parse(text).astimezone()
    except (ValueError, OverflowError):
        raise Problem(f"{text!r} is not a time: write 2026-01-31T12:00, or 12:00 for today.", code=2) from None


def nothing_of(workflow: str, tenant: str) -> Problem:
    return Problem(f"Nothing is on the record of workflow {workflow} of tenant {tenant}. Check the id; `--tenant` names another.")
