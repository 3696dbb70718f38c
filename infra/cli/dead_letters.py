"""`dead-letters …`: list them, show one, have one processed again."""

import base64
import uuid
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from contracts.control import RedriveDeadLetter
from contracts.dead_letters import DeadLettered
from hansard.identity import client_id
from hansard.values import RecordContent, carried
from infra.audit.projections import StoredDeadLetter, dead_letters
from infra.audit.text import one_line, short
from infra.cli import base, screen
from infra.cli.bus import Bus, record_at, request
from infra.cli.options import Json
from infra.cli.problem import Problem
from shared.eventstore.model import InboxEntry
from shared.runtime.dead_letters import content
from shared.runtime.inbound import MAX_REDRIVE
from shared.settings import Settings

app = typer.Typer(help="Messages that could not be processed: list them, show one, redrive one.", no_args_is_help=True)


async def all_dead_letters(settings: Settings) -> list[tuple[StoredDeadLetter, bool]]:
    """Every dead letter, also earlier ones of a message that is dead again; and whether its inbox entry is still dead."""
    async with base.record(settings) as store:
        messages = [stored async for batch in store.read_all() for stored in batch]
        found = dead_letters(messages, settings.topics)
        histories = await store.load(list({one.stored.stream for one in found}))
        return [(one, _is_dead(histories[one.stored.stream].entries.get(one.stored.causation_id))) for one in found]


def _is_dead(entry: InboxEntry | None) -> bool:
    return entry is None or entry.dead


@app.command("list")
def list_dead_letters(
    all_: Annotated[bool, typer.Option("--all", help="Also those that were processed after a redrive.")] = False,
    json_: Json = False,
) -> None:
    """List every message that is still dead.

    Example: hansard dead-letters list
    """
    every = base.run(all_dead_letters(base.running(postgres=True)))
    found = [(one, dead) for one, dead in every if one.again is None and (dead or all_)]
    if json_:
        for one, dead in found:
            about = {"id": str(one.stored.id), "at": one.stored.at, "dead": dead}
            screen.put_json(about | one.letter.model_dump(mode="json"))
        return
    rows = [
        (
            str(one.stored.id)[:8],
            f"{one.stored.at:%Y-%m-%d %H:%M:%S}" if one.stored.at else "",
            one.letter.service,
            one.letter.reason,
            short(one.letter.message_kind) or "?",
            f"{one.letter.topic}/{one.letter.partition}/{one.letter.offset}",
            one_line(one.letter.detail, 60),
            "" if dead else became(one, dead=False),
        )
        for one, dead in found
    ]
    if not rows:
        screen.out.print("There are no dead letters.")
        return
    screen.out.print(screen.table(("id", "when", "service", "reason", "message", "was at", "detail", ""), rows))
    screen.note("hansard dead-letters show ID    ·    hansard dead-letters redrive ID")


def choose(found: Iterable[tuple[StoredDeadLetter, bool]], id_: str) -> tuple[StoredDeadLetter, bool]:
    """The dead letter that an id names: its own (or the beginning of it), its message's, its workflow's. Raises Problem."""
    letters = list(found)
    for names in (
        lambda one: (str(one.stored.id), one.letter.causation_id),
        lambda one: (one.letter.message_id, one.stored.stream.workflow),
    ):
        exact = [pair for pair in letters if id_ in names(pair[0])]
        if exact:
            return exact[-1]
    begun = [pair for pair in letters if str(pair[0].stored.id).startswith(id_)]
    if len(begun) == 1:
        return begun[0]
    raise Problem(f"{id_} names {'several dead letters' if begun else 'no dead letter'}: `hansard dead-letters list --all`.")


def became(one: StoredDeadLetter, *, dead: bool) -> str:
    """What became of the message of a dead letter."""
    if not dead:
        return "was redriven, and processed"
    return f"was redriven, and is dead again as {one.again}" if one.again else "dead"


@app.command("show")
def show(id_: Annotated[str, typer.Argument(metavar="ID")], json_: Json = False) -> None:
    """Print one dead letter: why the message could not be processed, and the message itself.

    Example: hansard dead-letters show 3f2a91c0
    """
    settings = base.running(postgres=True)
    one, dead = choose(base.run(all_dead_letters(settings)), id_)
    letter = one.letter
    if json_:
        again = str(one.again) if one.again else None
        screen.put_json({"id": str(one.stored.id), "dead": dead, "dead_again_as": again, **letter.model_dump(mode="json")})
        return
    rows = [
        ("id", one.stored.id),
        ("stream", one.stored.stream),
        ("when", one.stored.at),
        ("service", letter.service),
        ("reason", letter.reason),
        ("detail", letter.detail),
        ("attempts", letter.attempts),
        ("message", f"{letter.message_kind or '?'} {letter.message_id}"),
        ("was at", f"{letter.topic}, partition {letter.partition}, offset {letter.offset}"),
        ("now", became(one, dead=dead)),
        *((f"header {name}", _readable(value)) for name, value in letter.headers),
        ("body", _readable(letter.body)),
        *(("", f"the {part}: too large to be carried here, see where it was") for part in letter.omitted),
    ]
    screen.out.print(screen.table(("", ""), rows))


def _readable(value: str | None) -> str:
    raw = base64.b64decode(value or "")
    return raw.decode("utf-8", "backslashreplace")


@app.command("redrive")
def redrive(id_: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Have the service that failed process the message again: after an upgrade, or once the cause is removed.

    Example: hansard dead-letters redrive 3f2a91c0
    """
    settings = base.running(kafka=True, postgres=True)
    chosen, dead = choose(base.run(all_dead_letters(settings)), id_)
    redrivable(chosen, dead=dead)
    base.run(_redrive(settings, chosen))
    workflow = chosen.stored.stream.workflow
    screen.note(f"The redrive by {chosen.letter.service} is published; `hansard watch {workflow}` shows what follows.")


def redrivable(one: StoredDeadLetter, *, dead: bool) -> None:
    """Raises Problem for a dead letter whose message was redriven already."""
    if not dead:
        raise Problem(f"{one.stored.id} {became(one, dead=dead)}: there is nothing to redrive.")
    if one.again:
        raise Problem(f"{one.stored.id} {became(one, dead=dead)}: `hansard dead-letters redrive {one.again}`.")


def _is_elsewhere(letter: DeadLettered) -> bool:
    return bool(letter.omitted or (letter.body is None and letter.topic))


async def _content_at_origin(settings: Settings, letter: DeadLettered) -> dict[str, Any]:
    """Key, headers and body as Kafka has them. Raises Problem."""
    record = await record_at(settings, letter.topic, letter.partition, letter.offset)
    if record is None:
        place = f"{letter.topic}/{letter.partition}/{letter.offset}"
        raise Problem(f"The message cannot be redriven: Kafka has removed its record at {place}.")
    return content(record)


async def _redrive(settings: Settings, chosen: StoredDeadLetter) -> None:
    letter, stream = chosen.letter, chosen.stored.stream
    command = RedriveDeadLetter(
        service=letter.service,
        topic=letter.topic,
        partition=letter.partition,
        offset=letter.offset,
        timestamp=letter.timestamp,
        **(await _content_at_origin(settings, letter) if _is_elsewhere(letter) else carried(letter, RecordContent)),
    )
    data = command.model_dump_json().encode()
    if len(data) > MAX_REDRIVE:
        raise Problem(f"The message cannot be redriven: with {len(data)} bytes it is too large to be sent again.")
    envelope = request(
        client_id("redrive", uuid.uuid4()),
        RedriveDeadLetter.kind,
        data,
        workflow=stream.workflow,
        tenant=stream.tenant,
    )
    async with Bus(settings) as bus:
        await bus.publish("control", envelope)
