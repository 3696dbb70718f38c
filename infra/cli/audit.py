"""`audit …` and `replay`: what the record holds, whether it holds true, and how to publish or rebuild it."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import typer
from dateutil import parser as dates
from rich.text import Text
from rich.tree import Tree

from hansard.envelope import TENANT, headers
from infra.audit import rebuild as rebuilding
from infra.audit import replay as replaying
from infra.audit import timeline as timelines
from infra.audit import verify as verifying
from infra.audit.differences import Difference
from infra.audit.message import Numbering
from infra.audit.text import counted, dollars, one_line
from infra.cli import base, screen
from infra.cli.bus import Bus, make_topic
from infra.cli.options import Json, Tenant
from infra.cli.problem import Problem
from infra.cli.progress import progress
from infra.cli.running import services
from shared.eventstore.model import NotEmpty, Stream
from shared.postgres_address import BadAddress, address
from shared.settings import Settings

app = typer.Typer(help="Look at the record, verify it, rebuild it from Kafka.", no_args_is_help=True)

T = TypeVar("T")
UNACKNOWLEDGED = 5000  # replayed messages that may wait for the broker at a time


def moment(text: str) -> datetime | None:
    """A time as people write one, in this machine's time zone unless it names one; None for an empty text. Raises Problem."""
    if not text:
        return None
    try:
        return dates.parse(text).astimezone()
    except (ValueError, OverflowError):
        raise Problem(f"{text!r} is not a time: write 2026-01-31T12:00, or 12:00 for today.", code=2) from None


@app.command()
def show(
    workflow: Annotated[str, typer.Argument(metavar="ID", help="The workflow: the id of its request, or its correlation id.")],
    tree: Annotated[
        bool,
        typer.Option("--tree", help="Show each message below what caused it."),
    ] = False,
    bodies: Annotated[bool, typer.Option("--bodies", help="Print the data of every message in full.")] = False,
    tenant: Tenant = TENANT,
    json_: Json = False,
) -> None:
    """Print every message of one workflow: its service, its cause, its cost; then the result.

    Example: hansard audit show ask-1f0b6f7a9c11 --tree
    """
    settings = base.running(postgres=True)
    timeline = base.run(_timeline(settings, tenant, workflow))
    if timeline is None:
        raise _nothing_of(workflow, tenant)
    if json_:
        for line in timelines.as_json(timeline):
            screen.put_json(line)
        return
    if tree:
        screen.out.print(_tree(timeline))
    else:
        screen.put(screen.heading())
    numbering = Numbering()
    for message in () if tree else timeline.messages:
        screen.put(screen.line(message, numbering, timeline.began))
        if bodies:
            screen.put_json(dict(message.data), indent=2)
    _summary(timeline)


def _nothing_of(workflow: str, tenant: str) -> Problem:
    return Problem(f"Nothing is on the record of workflow {workflow} of tenant {tenant}. Check the id; `--tenant` names another.")


async def _timeline(settings: Settings, tenant: str, workflow: str) -> timelines.Timeline | None:
    async with base.record(settings) as store:
        return await timelines.timeline(store, tenant, workflow)


def _tree(timeline: timelines.Timeline) -> Tree:
    root = Tree(Text(f"workflow {timeline.workflow}", "bold"))
    nodes: dict[str, Tree] = {}
    attempts: dict[tuple[str, str], Tree] = {}  # the node of an attempt's intent, by its stream and `attempt 2`
    for message in timeline.messages:
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append(f"{message.stream or 'a client'} ", screen.colour(message.service))
        text.append(f"{message.name} ", "bold " + screen.colour(message.service))
        if message.cost:
            text.append(f"{dollars(message.cost)} ", "bold green")
        text.append(one_line(message.summary, 80), "dim")
        if message.cause and message.causation_id not in nodes:
            above = attempts.get((message.stream, message.cause), root)
            nodes[message.causation_id] = above.add(Text(f"{message.stream} {message.cause}", "italic"))
        node = nodes[message.id] = nodes.get(message.causation_id, root).add(text)
        if "attempt" in message.data and "safety" in message.data:
            attempts.setdefault((message.stream, f"attempt {message.data['attempt']}"), node)
    return root


def _summary(timeline: timelines.Timeline) -> None:
    result, began = timeline.result, timeline.began
    seconds = (result.at - began).total_seconds() if result and began else None
    if result:
        screen.out.print(screen.result(result.kind, result.data, seconds))
    else:
        screen.out.print(without_result(timeline))
    entries = counted(sum(map(len, timeline.entries.values())), "inbox entry", "inbox entries")
    screen.note(
        f"{counted(len(timeline.messages), 'message')}, {counted(len(timeline.entries), 'stream')}, {entries} "
        f"({timeline.without_message} without a message), {dollars(timeline.cost) or '$0'}"
    )


def without_result(timeline: timelines.Timeline) -> str:
    """Why there is no result: only a request has one, and a workflow may also be an endpoint's stream or an unreadable record."""
    requests = [message for message in timeline.messages if message.topic == "requests"]
    if any(message.kind != timelines.UNREADABLE for message in requests):
        return "There is no result yet."
    return f"This workflow has no result: {'its request cannot be read' if requests else 'no request began it'}."


@app.command()
def verify(
    workflow: Annotated[str, typer.Option(help="Only this workflow.")] = "",
    since: Annotated[str, typer.Option(help="Only workflows that stored a message since this time.")] = "",
    tenant: Tenant = TENANT,
    json_: Json = False,
) -> None:
    """Decide every inbox entry again and compare: the same messages, ids and bytes, and no gap anywhere.

    Today's code decides, by the policy of then. Exits 1 on any difference. A performer's outcomes are not decided again,
    since they came from outside; nor are dead letters, which decided nothing.

    Example: hansard audit verify    ·    hansard audit verify --workflow ask-1f0b6f7a9c11
    """
    settings = base.running(postgres=True)
    found = base.run(_verify(settings, moment(since), (tenant, workflow) if workflow else None, _Found(json_)))
    found.print_totals()
    if workflow and not found.streams:
        raise _nothing_of(workflow, tenant)
    if found.differences or found.unknown_workers:
        raise typer.Exit(1)


SHOWN = 1000  # findings that are printed one by one; the rest is counted


@dataclass
class _Found:
    """What an audit has found so far: printed as it comes, and counted."""

    json: bool
    workflows: int = 0
    streams: int = 0
    decided: int = 0
    dead_letters: int = 0
    outcomes: int = 0
    of_unknown_services: int = 0
    differences: int = 0
    forged: list[str] = field(default_factory=list)
    more_forged: int = 0
    unknown_workers: list[str] = field(default_factory=list)

    def add(self, report: verifying.Report) -> None:
        self.workflows += 1
        self.streams += report.streams
        self.decided += report.decided
        self.dead_letters += report.dead
        self.outcomes += report.outcomes
        self.of_unknown_services += report.unknown
        for name in sorted(report.unknown_workers - set(self.unknown_workers)):
            self.unknown_workers.append(name)
            if not self.json:
                what = f"the record names a worker `{name}` that neither HANSARD_SERVICES nor HANSARD_WORKERS names"
                screen.out.print(what, style="bold red", soft_wrap=True)
        for difference in first_of_each(report.differences):
            self.differences += 1
            if self.differences <= SHOWN:
                self._differs(difference)
        for forged in report.forged:
            if len(self.forged) >= SHOWN:
                self.more_forged += 1
                continue
            self.forged.append(forged)
            if not self.json:
                screen.out.print(f"not on the record: {forged}", style="yellow")

    def _differs(self, difference: Difference) -> None:
        if self.json:
            screen.put_json(asdict(difference) | {"stream": str(difference.stream)})
            return
        where = f"{difference.stream}, inbox entry {difference.sequence}"
        screen.out.print(f"{where}: {difference.what}", style="bold red")
        screen.out.print(screen.table(("", ""), [("recorded", difference.recorded), ("today", difference.today)]))

    def print_totals(self) -> None:
        if self.json:
            screen.put_json({name: count for name, count in vars(self).items() if name != "json"})
            return
        more = self.differences - SHOWN
        if more > 0:
            screen.out.print(f"and {counted(more, 'more stream differs', 'more streams differ')}", style="bold red")
        if self.more_forged:
            what = counted(self.more_forged, "more message is", "more messages are")
            screen.out.print(f"and {what} not on the record", style="bold red")
        screen.out.print(self.totals(), style="bold red" if self.differences or self.unknown_workers else "bold green")

    def totals(self) -> str:
        """The last line: whether anything differs, and how much was decided again."""
        differ = counted(self.differences, "stream differs", "streams differ")
        others = (
            (self.dead_letters, counted(self.dead_letters, "dead letter")),
            (self.outcomes, counted(self.outcomes, "outcome")),
            (self.of_unknown_services, f"{counted(self.of_unknown_services, 'message')} of services that are not known here"),
        )
        left = ", ".join(text for count, text in others if count)
        return (
            f"{differ if self.differences else 'No differences'}: {counted(self.workflows, 'workflow')}, "
            f"{counted(self.decided, 'message')} decided again{left and f'; not decided again: {left}'}"
        )


def first_of_each(differences: list[Difference]) -> list[Difference]:
    """The first difference of every stream: later ones may only follow from it."""
    first: dict[Stream, Difference] = {}
    for difference in differences:
        first.setdefault(difference.stream, difference)
    return list(first.values())


async def _verify(settings: Settings, since: datetime | None, only: tuple[str, str] | None, found: _Found) -> _Found:
    known = services(settings)
    async with base.record(settings) as store:
        if only:
            found.add(await verifying.verify(store, known, settings.topics, *only))
            return found
        with progress("verifying", await store.estimate_size()) as passed:
            async for report in verifying.verify_all(store, known, settings.topics, since, passed):
                if report.differences or report.forged or report.unknown_workers:
                    with passed.aside():
                        found.add(report)
                else:
                    found.add(report)
    return found


@app.command()
def rebuild(
    to: Annotated[str, typer.Option(help="The target: SCHEMA, or DSN/SCHEMA (postgresql://user@host/database/schema).")],
) -> None:
    """Rebuild the event store from Kafka's topics alone, in an empty schema.

    Example: hansard audit rebuild --to rebuilt && hansard audit compare --with rebuilt
    """
    settings = base.running(kafka=True)
    dsn, schema = place(settings.owner, to)
    with base.as_owner():
        made = base.run(_rebuild(settings, dsn, schema))
    for what, count, some in (
        ("foreign records", made.rejected, made.rejections),
        ("streams that lack messages", made.gapped, made.gaps),
    ):
        for one in some:
            screen.out.print(one, style="yellow")
        if count > len(some):
            screen.out.print(f"and {count - len(some)} more {what}", style="yellow")
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
    try:
        address(dsn)
    except BadAddress as bad:
        raise Problem(f"The address of {schema} is not valid: {bad}.", code=2) from None
    return dsn, schema


async def _rebuild(settings: Settings, dsn: str, schema: str) -> rebuilding.Rebuilt:
    from infra.migrations import migrate

    with base.as_owner():
        await migrate(dsn, schema, service=settings.postgres.get_secret_value() if dsn == settings.owner else "")
    try:
        async with (
            rebuilding.rebuilding(dsn, schema, settings.topics, pooler=settings.postgres_pooler) as into,
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


async def batches(source: AsyncIterator[T], size: int) -> AsyncIterator[list[T]]:
    """The same items, `size` at a time."""
    some: list[T] = []
    async for one in source:
        some.append(one)
        if len(some) == size:
            yield some
            some = []
    if some:
        yield some


@app.command()
def compare(
    other: Annotated[str, typer.Option("--with", help="The other event store: SCHEMA, or DSN/SCHEMA.")],
) -> None:
    """Compare two event stores, stream by stream, hash for hash. Exits 1 where they differ.

    Example: hansard audit compare --with rebuilt
    """
    settings = base.running(postgres=True)
    dsn, schema = place(settings.postgres.get_secret_value(), other)
    compared = base.run(_compare(settings, dsn, schema))
    for one in compared.unlike:
        screen.out.print(f"{one.stream}: {one.what}", style="bold red")
        screen.out.print(screen.table(("", ""), [("here", one.one), ("there", one.other)]))
    verdict = f"{compared.differ} streams differ" if compared.differ else "both stores are the same, hash for hash"
    screen.out.print(f"{compared.streams} streams, {compared.messages} messages: {verdict}")
    if compared.differ:
        raise typer.Exit(1)


async def _compare(settings: Settings, dsn: str, schema: str) -> rebuilding.Compared:
    from pydantic import SecretStr

    other = settings.model_copy(update={"postgres": SecretStr(dsn), "postgres_schema": schema})
    async with base.record(settings) as here, base.record(other) as there:
        with progress("comparing", await here.estimate_size()) as passed:
            return await rebuilding.compare(here, there, passed)


def replay(
    to: Annotated[str, typer.Option(help="A topic of your own; it is created if it does not exist.")],
    from_: Annotated[str, typer.Option("--from", help="Only messages stored at this time or later.")] = "",
    until: Annotated[str, typer.Option(help="Only messages stored before this time.")] = "",
    kind: Annotated[list[str] | None, typer.Option(help="Only these kinds: `model-replied`, `hansard.results.*`.")] = None,
    workflow: Annotated[str, typer.Option(help="Only this workflow.")] = "",
) -> None:
    """Publish stored messages again, on a topic of your own, marked as replayed (`ce_replayed`). No service processes them.

    Example: hansard replay --to my-analysis --kind 'hansard.results.*' --from 2026-01-31
    """
    settings = base.running(kafka=True, postgres=True)
    try:
        replaying.allowed(to, settings.topics, settings.topic_prefix)
    except replaying.Forbidden as forbidden:
        raise Problem(f"Nothing was replayed: {forbidden}. Name a topic of your own.", code=2) from None
    choice = replaying.Choice(moment(from_), moment(until), tuple(kind or ()), workflow)
    count = base.run(_replay(settings, to, choice))
    screen.note(f"{count} messages are on {to}.")


async def _replay(settings: Settings, to: str, choice: replaying.Choice) -> int:
    await make_topic(settings, to)
    plain = settings.model_copy(update={"topic_prefix": ""})
    now = datetime.now(UTC)
    waiting: deque[asyncio.Future[Any]] = deque()
    async with base.record(settings) as store, Bus(plain) as bus:
        with progress("replaying", await store.estimate_size()) as passed:
            count = 0
            async for stored in replaying.messages(store, choice, passed):
                envelope = replaying.envelope(stored, now)
                waiting.append(await bus.send(to, envelope.correlation_id.encode(), envelope.data, headers(envelope)))
                count += 1
                if len(waiting) > UNACKNOWLEDGED:
                    await waiting.popleft()
            await asyncio.gather(*waiting)
    return count
