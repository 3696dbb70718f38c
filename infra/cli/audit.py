"""`audit …` and `replay`: what the record tells, and whether it holds."""

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
from infra.audit import show as showing
from infra.audit import verify as verifying
from infra.audit.words import Minutes, dollars, one_line
from infra.cli import base, screen
from infra.cli.base import Problem
from infra.cli.bus import Bus, make_topic
from infra.cli.progress import progress
from infra.cli.running import services
from shared.eventstore.model import NotEmpty
from shared.settings import Settings

app = typer.Typer(help="What the record tells, and whether it holds.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="One JSON object a line, for programs.")]
Tenant = Annotated[str, typer.Option(help="Whose workflow it is.")]
T = TypeVar("T")
UNACKNOWLEDGED = 5000  # replayed events that may be on their way to the broker


def moment(text: str) -> datetime | None:
    """A time as people write one; without a zone it is this machine's. Raises Problem."""
    if not text:
        return None
    try:
        return dates.parse(text).astimezone()
    except (ValueError, OverflowError):
        raise Problem(f"{text!r} is no time: 2026-01-31T12:00, or 12:00 for today.", code=2) from None


@app.command()
def show(
    workflow: Annotated[str, typer.Argument(metavar="ID", help="The workflow: the request's id, or its correlation id.")],
    tree: Annotated[bool, typer.Option("--tree", help="By cause, not by time.")] = False,
    bodies: Annotated[bool, typer.Option("--bodies", help="Every body, whole.")] = False,
    tenant: Tenant = TENANT,
    json_: Json = False,
) -> None:
    """The whole story of one workflow: what was heard at the door, who said what because of what, what it cost.

    Example: hansard audit show ask-1f0b6f7a9c11 --tree
    """
    settings = base.running(postgres=True)
    story = base.run(_story(settings, tenant, workflow))
    if story is None:
        raise Problem(f"Nothing is on the record of workflow {workflow} (tenant {tenant}).")
    if json_:
        for line in showing.as_json(story):
            print(screen.as_json(line))
        return
    if tree:
        screen.out.print(_tree(story))
    else:
        screen.put(screen.heading())
    minutes = Minutes()
    for word in () if tree else story.words:
        screen.put(screen.line(word, minutes, story.began))
        if bodies:
            screen.out.print_json(data=dict(word.data), indent=2)
    _summary(story)


async def _story(settings: Settings, tenant: str, workflow: str) -> showing.Story | None:
    async with base.record(settings) as store:
        return await showing.story(store, settings.topics, tenant, workflow)


def _tree(story: showing.Story) -> Tree:
    root = Tree(Text(f"workflow {story.workflow}", "bold"))
    at: dict[str, Any] = {}
    for word in story.words:
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append(f"{word.stream or 'a client'} ", screen.colour(word.service))
        text.append(f"{word.name} ", "bold " + screen.colour(word.service))
        if word.spent:
            text.append(f"{dollars(word.spent)} ", "bold green")
        text.append(one_line(word.gist, 80), "dim")
        at[word.id] = at.get(word.causation_id, root).add(text)
    return root


def _summary(story: showing.Story) -> None:
    result, began = story.result, story.began
    seconds = (result.at - began).total_seconds() if result and began else None
    if result:
        screen.out.print(screen.result(result.kind, result.data, seconds))
    else:
        screen.out.print("There is no result yet.")
    paid = dollars(story.cost) or "$0"
    streams = len(story.entries)
    entry = sum(len(mine) for mine in story.entries.values())
    screen.say(f"{len(story.words)} messages, {streams} streams, {entry} hearings ({story.silent} silent), {paid}")


@app.command()
def verify(
    workflow: Annotated[str, typer.Option(help="Only this workflow.")] = "",
    since: Annotated[str, typer.Option(help="Only workflows that said something since then.")] = "",
    tenant: Tenant = TENANT,
    json_: Json = False,
) -> None:
    """Decide every recorded hearing again and compare: the same words, the same ids, the same bytes, and no gap anywhere.

    Today's code decides, by the policy of then. Exits 1 on any difference. A performer's outcomes are trusted: they came
    from outside.

    Example: hansard audit verify    ·    hansard audit verify --workflow ask-1f0b6f7a9c11
    """
    settings = base.running(postgres=True)
    found = base.run(_verify(settings, moment(since), (tenant, workflow) if workflow else None, _Found(json_)))
    found.verdict()
    if workflow and not found.streams:
        raise Problem(f"Nothing is on the record of workflow {workflow} (tenant {tenant}).")
    if found.differences:
        raise typer.Exit(1)


SHOWN = 1000  # findings that are told one by one; the rest is counted


@dataclass
class _Found:
    """What an audit has found so far: told as it comes, and counted."""

    json: bool
    workflows: int = 0
    streams: int = 0
    decided: int = 0
    trusted: int = 0
    differences: int = 0
    strangers: list[str] = field(default_factory=list)
    more_strangers: int = 0

    def add(self, report: verifying.Report) -> None:
        self.workflows += 1
        self.streams += report.streams
        self.decided += report.decided
        self.trusted += report.trusted
        for one in first_of_each(report.differences):
            self.differences += 1
            if self.differences <= SHOWN:
                self._differs(one)
        for stranger in report.strangers:
            if len(self.strangers) >= SHOWN:
                self.more_strangers += 1
                continue
            self.strangers.append(stranger)
            if not self.json:
                screen.out.print(f"not on the record: {stranger}", style="yellow", markup=False)

    def _differs(self, one: verifying.Difference) -> None:
        if self.json:
            print(screen.as_json(asdict(one) | {"stream": str(one.stream)}), flush=True)
        else:
            screen.out.print(f"{one.stream}, hearing {one.sequence}: {one.what}", style="bold red", markup=False)
            screen.out.print(screen.table(("", ""), [("recorded", one.recorded), ("today", one.today)]))

    def verdict(self) -> None:
        if self.json:
            print(screen.as_json({name: count for name, count in vars(self).items() if name != "json"}))
            return
        for count, what in ((self.differences - SHOWN, "streams differ"), (self.more_strangers, "are not on the record")):
            if count > 0:
                screen.out.print(f"and {count} more {what}", style="bold red")
        screen.out.print(
            f"{f'{self.differences} streams differ' if self.differences else 'the record holds'}: {self.workflows} workflows, "
            f"{self.streams} streams, {self.decided} hearings decided again, {self.trusted} trusted",
            style="bold red" if self.differences else "bold green",
        )


def first_of_each(differences: list[verifying.Difference]) -> list[verifying.Difference]:
    """The first difference of every stream: what follows may only follow from it."""
    first: dict[Any, verifying.Difference] = {}
    for one in differences:
        first.setdefault(one.stream, one)
    return list(first.values())


async def _verify(settings: Settings, since: datetime | None, only: tuple[str, str] | None, found: _Found) -> _Found:
    known = services(settings)
    async with base.record(settings) as store:
        if only:
            found.add(await verifying.verify(store, known, settings.topics, *only))
            return found
        with progress("verifying", await store.estimate_size()) as passed:
            async for report in verifying.verify_all(store, known, settings.topics, since, passed):
                if report.differences or report.strangers:
                    with passed.aside():
                        found.add(report)
                else:
                    found.add(report)
    return found


@app.command()
def rebuild(
    to: Annotated[str, typer.Option(help="Where to: SCHEMA, or DSN/SCHEMA (postgresql://user@host/database/schema).")],
) -> None:
    """Rebuild the store from Kafka's topics alone, into an empty schema.

    Example: hansard audit rebuild --to rebuilt && hansard audit compare --with rebuilt
    """
    settings = base.running(kafka=True)
    dsn, schema = place(settings, to)
    made = base.run(_rebuild(settings, dsn, schema))
    for what, count, some in (
        ("records that are not ours", made.rejected, made.rejections),
        ("streams that lack messages", made.gapped, made.gaps),
    ):
        for one in some:
            screen.out.print(one, style="yellow", markup=False)
        if count > len(some):
            screen.out.print(f"and {count - len(some)} more {what}", style="yellow")
    screen.out.print(
        f"{made.records} records read, {made.repeats} repeats: {made.messages} messages of {made.streams} streams and "
        f"{made.door_messages} messages from outside are in {schema}"
    )
    if made.gapped:
        raise typer.Exit(1)


def place(settings: Settings, text: str) -> tuple[str, str]:
    """The DSN and the schema that are meant. Raises Problem."""
    dsn, slash, schema = text.rpartition("/")
    if not slash:
        dsn, schema = settings.postgres.get_secret_value(), text
    if not dsn or not schema.isidentifier() or schema != schema.lower():
        raise Problem(f"{text!r} is no place: SCHEMA, or postgresql://user@host/database/SCHEMA.", code=2)
    return dsn, schema


async def _rebuild(settings: Settings, dsn: str, schema: str) -> rebuilding.Rebuilt:
    from infra.migrations import migrate

    await migrate(dsn, schema)
    try:
        async with (
            rebuilding.rebuilding(dsn, schema, settings.topics) as into,
            Bus(settings) as bus,
            bus.listen(settings.topics.by_name, "beginning") as listener,
        ):
            with progress("reading", await listener.extent()) as passed:
                async for some in batches(listener.to_the_end(), 2000):
                    await into.add(entry.record for entry in some)
                    passed(len(some))
            screen.say(f"putting {into.rebuilt.staged:,} messages in order")
            return await into.insert()
    except NotEmpty as refused:
        raise Problem(f"Nothing was rebuilt: {refused}.") from None


async def batches(source: AsyncIterator[T], size: int) -> AsyncIterator[list[T]]:
    """The same, so many at a time."""
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
    other: Annotated[str, typer.Option("--with", help="The other store: SCHEMA, or DSN/SCHEMA.")],
) -> None:
    """Compare two stores, stream by stream, hash for hash. Exits 1 where they differ.

    Example: hansard audit compare --with rebuilt
    """
    settings = base.running(postgres=True)
    dsn, schema = place(settings, other)
    compared = base.run(_compare(settings, dsn, schema))
    for one in compared.unlike:
        screen.out.print(f"{one.stream}: {one.what}", style="bold red", markup=False)
        screen.out.print(screen.table(("", ""), [("here", one.one), ("there", one.other)]))
    verdict = f"{compared.differ} streams differ" if compared.differ else "the same, hash for hash"
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
    to: Annotated[str, typer.Option(help="A topic of your own; made where it is not there.")],
    from_: Annotated[str, typer.Option("--from", help="Only what was said from then on.")] = "",
    until: Annotated[str, typer.Option(help="Only what was said before then.")] = "",
    kind: Annotated[list[str] | None, typer.Option(help="Only these kinds: `model-replied`, `hansard.results.*`.")] = None,
    workflow: Annotated[str, typer.Option(help="Only this workflow.")] = "",
) -> None:
    """Say recorded events again, on a topic of your own, marked as replayed (`ce_replayed`). Nothing is decided by it.

    Example: hansard replay --to my-analysis --kind 'hansard.results.*' --from 2026-01-31
    """
    settings = base.running(kafka=True, postgres=True)
    try:
        replaying.allowed(to, settings.topics, settings.topic_prefix)
    except replaying.Forbidden as forbidden:
        raise Problem(f"Refused: {forbidden}.", code=2) from None
    choice = replaying.Choice(moment(from_), moment(until), tuple(kind or ()), workflow)
    count = base.run(_replay(settings, to, choice))
    screen.say(f"{count} events are on {to}.")


async def _replay(settings: Settings, to: str, choice: replaying.Choice) -> int:
    await make_topic(settings, to)
    plain = settings.model_copy(update={"topic_prefix": ""})
    now = datetime.now(UTC)
    waiting: deque[asyncio.Future[Any]] = deque()
    async with base.record(settings) as store, Bus(plain) as bus:
        with progress("replaying", await store.estimate_size()) as passed:
            count = 0
            async for stored in replaying.events(store, choice, passed):
                envelope = replaying.envelope(stored, now)
                waiting.append(await bus.send(to, envelope.correlation_id.encode(), envelope.data, headers(envelope)))
                count += 1
                if len(waiting) > UNACKNOWLEDGED:
                    await waiting.popleft()
            await asyncio.gather(*waiting)
    return count
