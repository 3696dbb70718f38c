"""`migrate`, `topics`, `dead-letters`, `effects`, `stats`: looking after what runs."""

import base64
import contextlib
import uuid
from collections.abc import Awaitable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import typer
from rich.text import Text

from contracts.control import RedriveDeadLetter
from contracts.requests import SubmitRequest
from contracts.results import Result
from contracts.router import RequestRouted
from hansard.codec import Invalid, decode
from hansard.envelope import Unreadable, read
from hansard.identity import client_id
from hansard.message import Message
from infra.audit import projections
from infra.audit.words import dollars, one_line, short
from infra.cli import base, screen
from infra.cli.base import Problem
from infra.cli.bus import Bus, record_at, request
from infra.cli.bus import reached as bus_reached
from shared.eventstore.model import DoorMessage, StoredMessage
from shared.eventstore.ports import EventStore
from shared.settings import Settings

T = TypeVar("T")
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line, for programs.")]


def migrate(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
) -> None:
    """Bring the event store's schema to where this version wants it.

    Example: hansard migrate --dry-run
    """
    from infra.migrations import migrate as apply
    from infra.migrations import pending

    settings = base.running(postgres=True)
    work = (pending if dry_run else apply)(settings.postgres.get_secret_value(), settings.postgres_schema)
    names = base.run(work)
    if not names:
        screen.out.print(f"Schema {settings.postgres_schema} is as it should be.")
    for name in names:
        screen.out.print(f"{'would apply' if dry_run else 'applied'} {name}", markup=False)


async def make_topics(settings: Settings) -> int:
    """Makes what is missing; how many that were. Raises Problem where a topic that is missing cannot be made."""
    from infra.topics import apply

    done = await apply(settings)
    refused = [change for change in done if change.kind == "create" and change.error]
    if refused:
        raise Problem(f"{refused[0]}. Have an administrator make the topics: `hansard topics --dry-run` lists them.")
    return sum(change.kind == "create" for change in done)


def topics(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    acls: Annotated[bool, typer.Option("--acls", help="Print the access rules of the table, for kafka-acls.sh.")] = False,
) -> None:
    """Make every topic of the table that is not there yet, and set what is not as it should be.

    Example: hansard topics --dry-run    ·    hansard topics --acls | sh
    """
    from infra.topics import acls as rules
    from infra.topics import apply

    if acls:
        for rule in rules(Settings()):
            typer.echo(rule)
        return
    settings = base.running(kafka=True)
    done = base.run(reached(settings, apply(settings, dry_run=dry_run)))
    for change in done:
        verb = "cannot" if change.error else "would" if dry_run else "did"
        screen.out.print(f"{verb}: {change}", markup=False)
    if not done:
        screen.out.print(f"All {len(settings.topics.all)} topics are as they should be.")
    if any(change.error for change in done):
        raise typer.Exit(1)


async def reached(settings: Settings, work: Awaitable[T]) -> T:
    """The work's result. Raises Problem where Kafka is away."""
    with bus_reached(settings):
        return await work


dead_letters = typer.Typer(
    help="What could not be heard: see it, mend what was wrong, have it heard again.", no_args_is_help=True
)


async def everything(store: EventStore) -> list[StoredMessage]:
    """All that was said, in order."""
    return [stored async for batch in store.read_all() for stored in batch]


async def all_letters(settings: Settings) -> list[tuple[projections.Letter, bool]]:
    """Every dead letter, and whether its hearing is dead still."""
    async with base.record(settings) as store:
        found = projections.letters(await everything(store), settings.topics)
        histories = await store.load(list({one.stored.stream for one in found}))
        return [(one, _is_dead(histories[one.stored.stream].entries.get(one.stored.causation_id))) for one in found]


def _is_dead(entry: Any) -> bool:
    return entry is None or bool(entry.dead)


@dead_letters.command("list")
def list_letters(
    all_: Annotated[bool, typer.Option("--all", help="Those that were heard after a redrive too.")] = False,
    json_: Json = False,
) -> None:
    """Every dead letter that is dead still.

    Example: hansard dead-letters list
    """
    found = [(one, dead) for one, dead in base.run(all_letters(base.running(postgres=True))) if dead or all_]
    if json_:
        for one, dead in found:
            about = {"id": str(one.stored.id), "at": one.stored.at, "dead": dead}
            print(screen.as_json(about | one.letter.model_dump(mode="json")))
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
            "" if dead else "heard since",
        )
        for one, dead in found
    ]
    if not rows:
        screen.out.print("There is no dead letter.")
        return
    screen.out.print(screen.table(("id", "when", "service", "reason", "message", "was at", "detail", ""), rows))
    screen.say("hansard dead-letters show ID    ·    hansard dead-letters redrive ID")


def chosen(found: Iterable[tuple[projections.Letter, bool]], id_: str) -> tuple[projections.Letter, bool]:
    """The one meant by an id: the letter's own (or its beginning), the message's, or the workflow's. Raises Problem."""
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
    raise Problem(f"{id_} {'could be several' if begun else 'is no'} dead letter: `hansard dead-letters list --all`.")


@dead_letters.command("show")
def show_letter(id_: Annotated[str, typer.Argument(metavar="ID")], json_: Json = False) -> None:
    """One dead letter: why, what it was, word for word.

    Example: hansard dead-letters show 3f2a91c0
    """
    settings = base.running(postgres=True)
    one, dead = chosen(base.run(all_letters(settings)), id_)
    letter = one.letter
    if json_:
        print(screen.as_json({"id": str(one.stored.id), "dead": dead, **letter.model_dump(mode="json")}))
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
        ("state", "dead" if dead else "heard since"),
        *((f"header {name}", _readable(value)) for name, value in letter.headers),
        ("body", _readable(letter.body) if letter.body is not None else "(not carried: it is at its origin)"),
    ]
    screen.out.print(screen.table(("", ""), rows))


def _readable(value: str | None) -> str:
    raw = base64.b64decode(value or "")
    return raw.decode("utf-8", "backslashreplace")


@dead_letters.command("redrive")
def redrive(
    id_: Annotated[str, typer.Argument(metavar="ID")],
) -> None:
    """Have the service that failed hear it again, under the same cause: after an upgrade, or once what was wrong is mended.

    Example: hansard dead-letters redrive 3f2a91c0
    """
    settings = base.running(kafka=True, postgres=True)
    one, dead = chosen(base.run(all_letters(settings)), id_)
    if not dead:
        raise Problem(f"{one.stored.id} was heard since: nothing to redrive.")
    base.run(_redrive(settings, one))
    workflow = one.stored.stream.workflow
    screen.say(f"{one.letter.service} is asked to hear it again; `hansard watch {workflow}` shows what comes of it.")


async def _redrive(settings: Settings, one_: projections.Letter) -> None:
    letter = one_.letter
    key, headers, body = letter.key, letter.headers, letter.body
    if body is None and letter.topic:
        record = await record_at(settings, letter.topic, letter.partition, letter.offset)
        if record is None:
            raise Problem(f"Its bytes are gone: {letter.topic}/{letter.partition}/{letter.offset} is not in Kafka any more.")
        body = None if record.value is None else base64.b64encode(record.value).decode()
    command = RedriveDeadLetter(
        service=letter.service,
        topic=letter.topic,
        partition=letter.partition,
        offset=letter.offset,
        timestamp=letter.timestamp,
        key=key,
        headers=headers,
        body=body,
    )
    stream = one_.stored.stream
    envelope = request(
        client_id("redrive", uuid.uuid4()),
        RedriveDeadLetter.kind,
        command.model_dump_json().encode(),
        workflow=stream.workflow,
        tenant=stream.tenant,
    )
    async with Bus(settings) as bus:
        await bus.publish("control", envelope)


def effects(
    in_doubt: Annotated[bool, typer.Option("--in-doubt", help="Only those of which nobody knows whether they happened.")] = False,
    all_: Annotated[bool, typer.Option("--all", help="Those with a receipt too.")] = False,
    json_: Json = False,
) -> None:
    """What left the house: intents on the record that have no receipt.

    Example: hansard effects --in-doubt
    """
    settings = base.running(postgres=True)
    now = datetime.now(UTC)
    found = [(one, one.status(now)) for one in base.run(_effects(settings))]
    found = [(one, status) for one, status in found if all_ or status == "in doubt" or (status == "in flight" and not in_doubt)]
    if json_:
        for one, status in found:
            told = {"stream": str(one.stream), "type": one.kind, "at": one.at, "status": status}
            print(screen.as_json(told | {"intent": one.intent.model_dump(mode="json")}))
        return
    rows = [
        (
            f"{one.at:%Y-%m-%d %H:%M:%S}",
            one.stream.workflow,
            one.stream.name,
            short(one.kind),
            one.intent.attempt,
            one.intent.safety,
            Text(status, "red" if status == "in doubt" else ""),
            one.intent.key,
        )
        for one, status in found
    ]
    if not rows:
        screen.out.print("No effect is in doubt." if in_doubt else "Nothing is without its receipt.")
        return
    screen.out.print(screen.table(("when", "workflow", "stream", "intent", "attempt", "safety", "status", "key"), rows))


async def _effects(settings: Settings) -> list[projections.Effect]:
    async with base.record(settings) as store:
        stored = await everything(store)
        first = projections.effects(stored, settings.topics)
        open_ = list({one.stream for one in first if not one.receipt})
        entry = {stream: set(history.entries) for stream, history in (await store.load(open_)).items()} if open_ else {}
        return projections.effects(stored, settings.topics, entry)


def stats(json_: Json = False) -> None:
    """What the record adds up to: paths, tiers, calls, cost.

    Example: hansard stats
    """
    settings = base.running(postgres=True)
    totals, extra = base.run(_totals(settings))
    if json_:
        print(screen.as_json(totals.as_json() | extra))
        return
    told = totals.as_json()
    first = [
        ("events", told["events"]),
        ("workflows", told["workflows"]),
        ("model calls", told["calls"]),
        ("cost", dollars(totals.cost) or "$0"),
        *((f"results: {name}", count) for name, count in sorted(told["results"].items())),
        *((f"path: {name}", count) for name, count in sorted(told["paths"].items())),
        *((f"dead letters: {name}", count) for name, count in sorted(told["dead_letters"].items())),
        *((f"{whose}: {name}", _shown(value)) for whose, known in extra.items() for name, value in known.items()),
    ]
    screen.out.print(screen.table(("", ""), first))
    tiers = [
        (name, t["answers"], t["attempts"], ", ".join(f"{why} {n}" for why, n in t["falls"].items()), f"${t['cost']}",
         f"{t['input_tokens']}+{t['output_tokens']}", t["mean_ms"] or "")
        for name, t in told["tiers"].items()
    ]  # fmt: skip
    if tiers:
        screen.out.print(screen.table(("tier", "answers", "attempts", "fell", "cost", "tokens", "mean ms"), tiers))
    screen.out.print(screen.table(("handler", "requests"), totals.handlers.most_common(15)))


def _shown(value: Any) -> str:
    return one_line(", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value)


def router_statistics(known: Iterable[tuple[tuple[str, str], Message]]) -> dict[str, Any]:
    """What the router's own statistics say of these decisions."""
    from services.router.statistics import routed_workflows, summary

    told = summary(routed_workflows(known))
    return {
        "requests": told.total_requests,
        "by rule": told.deterministic,
        "by rule, %": told.deterministic_pct,
        "by a model": told.llm_calls,
        "mean cost of a request": told.avg_cost_per_request,
        "estimated cost": told.estimated_cost,
        "judged": dict(told.verdicts),
        "wasted on what a rule could do": told.wasted_cost,
    }


JUDGED = 2000  # workflows of which the request itself is read, the latest


async def _totals(settings: Settings) -> tuple[projections.Totals, dict[str, Any]]:
    from services.gateway.statistics import Statistics

    totals, calls = projections.Totals(), Statistics()
    told: list[tuple[tuple[str, str], Message]] = []
    async with base.record(settings) as store:
        async for batch in store.read_all():
            for stored in batch:
                message = projections.read(stored, settings.topics)
                totals.add(stored, message)
                if message is not None:
                    calls.add(message)
                if isinstance(message, RequestRouted | Result):
                    told.append(((stored.stream.tenant, stored.stream.workflow), message))
        for workflow in list(dict.fromkeys(key for key, _ in told))[-JUDGED:]:
            told.extend((workflow, one) for one in _requests((await store.door_messages(*workflow)).values()))
    return totals, {"router": router_statistics(told), "gateway": calls.as_json()}


def _requests(doors: Iterable[DoorMessage]) -> Iterator[SubmitRequest]:
    for door in doors:
        if door.topic == "requests":
            with contextlib.suppress(Unreadable, Invalid):
                yield decode(SubmitRequest, read(door.body, door.headers).data)
