"""`audit …` and `replay`: what the record holds, whether it holds true, and how to publish or rebuild it."""

import asyncio
from collections import deque
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.text import Text
from rich.tree import Tree

from hansard.envelope import TENANT, headers
from infra.audit import replay as replaying
from infra.audit import timeline as timelines
from infra.audit.message import Numbering
from infra.audit.text import counted, dollars, one_line
from infra.cli import base, screen
from infra.cli.bus import Bus, make_topic
from infra.cli.contents import with_whole_result
from infra.cli.options import Json, Tenant
from infra.cli.problem import Problem
from infra.cli.progress import progress
from infra.cli.rebuilding import compare, rebuild
from infra.cli.unsettled import WAIT, Wait, moment, nothing_of, settled, unseen
from infra.cli.verifying import verify
from shared.settings import Settings

app = typer.Typer(help="Look at the record, verify it, rebuild it from Kafka.", no_args_is_help=True)
for command in (verify, rebuild, compare):
    app.command()(command)

UNACKNOWLEDGED = 5000  # replayed messages that may wait for the broker at a time


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
        raise nothing_of(workflow, tenant)
    if json_:
        for line in timelines.as_json(timeline):
            screen.put_json(line)
        return
    timeline = base.run(with_whole_result(settings, timeline))
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


def replay(
    to: Annotated[str, typer.Option(help="A topic of your own; it is created if it does not exist.")],
    from_: Annotated[str, typer.Option("--from", help="Only messages stored at this time or later.")] = "",
    until: Annotated[str, typer.Option(help="Only messages stored before this time.")] = "",
    kind: Annotated[list[str] | None, typer.Option(help="Only these kinds: `model-replied`, `hansard.results.*`.")] = None,
    workflow: Annotated[str, typer.Option(help="Only this workflow.")] = "",
    wait: Wait = WAIT,
) -> None:
    """Publish stored messages again, on a topic of your own, marked as replayed (`ce_replayed`). No service processes them.

    Example: hansard replay --to my-analysis --kind 'hansard.results.*' --from 2026-01-31
    """
    settings = base.running(kafka=True, postgres=True, administrator=True)
    try:
        replaying.allowed(to, settings.topics, settings.topic_prefix)
    except replaying.Forbidden as forbidden:
        raise Problem(f"Nothing was replayed: {forbidden}. Name a topic of your own.", code=2) from None
    choice = replaying.Choice(moment(from_), moment(until), tuple(kind or ()), workflow)
    count, unsettled = base.run(_replay(settings, to, choice, wait))
    screen.note(f"{count} messages are on {to}.")
    if unsettled:
        raise Problem(unseen(unsettled))


async def _replay(settings: Settings, to: str, choice: replaying.Choice, wait: float) -> tuple[int, str]:
    await make_topic(settings, to)
    plain = settings.model_copy(update={"topic_prefix": ""})
    now = datetime.now(UTC)
    waiting: deque[asyncio.Future[Any]] = deque()
    async with base.record(settings) as store, Bus(plain) as bus:
        unsettled = await settled(store, wait)
        with progress("replaying", await store.estimate_size()) as passed:
            count = 0
            async for stored in replaying.messages(store, choice, passed):
                envelope = replaying.envelope(stored, now)
                waiting.append(await bus.send(to, envelope.correlation_id.encode(), envelope.data, headers(envelope)))
                count += 1
                if len(waiting) > UNACKNOWLEDGED:
                    await waiting.popleft()
            await asyncio.gather(*waiting)
    return count, unsettled
