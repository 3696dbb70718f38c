"""`submit`: many requests from a file, and their results."""

import asyncio
import json
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from hansard.envelope import TENANT
from hansard.identity import line_id
from infra.audit.message import ShownMessage
from infra.cli import base, screen
from infra.cli.bus import Bus, Listener
from infra.cli.options import Json, Tenant
from infra.cli.problem import Problem
from infra.cli.requests import Answer, NewRequest, is_end, leave, new_request, until
from infra.cli.watching import print_result, shown_message
from shared.settings import Settings


def lines(text: str, tenant: str, *, fresh: bool = False) -> Iterator[NewRequest]:
    """Requests from JSON lines. Without an id, a line's id is made from its content, so that the same file is the same requests.

    The n-th repetition of a line within a file is a request of its own. Raises Problem, which names every invalid line.
    """
    seen: dict[str, int] = {}
    wrong: list[str] = []
    found: list[NewRequest] = []
    for number, raw in enumerate(text.splitlines(), 1):
        if not raw.strip():
            continue
        try:
            given = json.loads(raw)
            given = {"text": given} if isinstance(given, str) else given
            if not isinstance(given, dict):
                raise Problem("it is neither a JSON object nor a JSON string")
            body = dict(given)
            id_, workflow = str(body.pop("id", "")), str(body.pop("correlationid", "") or body.pop("correlationId", ""))
            owner = str(body.pop("tenant", "") or tenant)
            canonical = json.dumps([owner, workflow, body], sort_keys=True)
            seen[canonical] = seen.get(canonical, 0) + 1
            id_ = id_ or (uuid.uuid4().hex if fresh else line_id(canonical, seen[canonical]))
            found.append(new_request(body, id_=id_, workflow=workflow, tenant=owner))
        except (ValueError, Problem) as bad:
            wrong.append(f"line {number}: {bad}")
    if wrong:
        more = f"\n… and {len(wrong) - 10} more" if len(wrong) > 10 else ""
        raise Problem("Nothing was published.\n" + "\n".join(wrong[:10]) + more, code=2)
    yield from found


def submit(
    file: Annotated[str, typer.Argument(help="A file of JSON lines, or `-` for standard input.")],
    wait: Annotated[bool, typer.Option("--wait", help="Wait for every result and print it.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Make new requests, even if this file was submitted before.")] = False,
    seconds: Annotated[float, typer.Option(help="With --wait: give up after so many seconds.")] = 600,
    tenant: Tenant = TENANT,
    json_: Json = False,
) -> None:
    """Submit many requests: one JSON string or object a line, as `{"text": …}` or `{"type": …, "data": …}`.

    A line may name its `id`, `correlationid` and `tenant`. Without an id, one is made from the line: submitting the same
    file again changes nothing and, with --wait, prints the results it had. With --wait it exits 1 unless all were answered, 3 if
    all were and some answers are degraded.

    Example: echo '"What is a quorum?"' | hansard submit - --wait
    """
    try:
        text = sys.stdin.buffer.read().decode("utf-8") if file == "-" else Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as bad:
        raise Problem(f"{file} cannot be read: {bad}", code=2) from None
    requests = list(lines(text, tenant, fresh=fresh))
    if not requests:
        raise Problem(f"{file} holds no request: write one JSON string or object a line.", code=2)
    settings = base.running(kafka=True)
    answers = base.run(_submit(settings, requests, wait=wait, seconds=seconds, json_=json_))
    if not wait:
        screen.note(f"{len(requests)} requests are published. `hansard results --follow` prints their results.")
        return
    missing = [asked.workflow for asked in requests if asked.workflow not in answers]
    good, worse = sum(answer.good for answer in answers.values()), sum(answer.degraded for answer in answers.values())
    screen.note(
        f"{good} answered ({worse} of them degraded), {len(answers) - good} not answered, {len(missing)} without a result"
    )
    leave(good == len(answers) and not missing, bool(worse))


async def _submit(
    settings: Settings, requests: list[NewRequest], *, wait: bool, seconds: float, json_: bool
) -> dict[str, Answer]:
    """Publishes them all; with `wait`, prints each result as it comes. The answers, by workflow."""
    answers: dict[str, Answer] = {}
    bar = _bar()
    async with Bus(settings) as bus:
        with bar:
            task = bar.add_task("publishing", total=len(requests))
            for start in range(0, len(requests), 500):
                some = requests[start : start + 500]
                await asyncio.gather(*(bus.publish("requests", asked.envelope) for asked in some))
                bar.advance(task, len(some))
        if not wait:
            return answers
        began = time.monotonic()
        async with bus.listen(["results", "dead-letters"], "beginning") as listener:
            with bar:
                task = bar.add_task("answered", total=len({asked.workflow for asked in requests}))
                async for asked, message in _ends(listener, requests, began + seconds):
                    answers[asked.workflow] = Answer(message.kind, message.data, time.monotonic() - began)
                    bar.advance(task)
                    print_result(message, json_=json_)
    return answers


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=screen.err_console(), transient=True)


async def _ends(listener: Listener, requests: Iterable[NewRequest], end: float) -> AsyncIterator[tuple[NewRequest, ShownMessage]]:
    """Each request with its terminal message, once, as it comes."""
    by_workflow = {(asked.tenant, asked.workflow): asked for asked in requests}
    by_id = {asked.id: asked for asked in requests}
    async for received in until(listener, end):
        message = shown_message(received)
        if message is None:
            continue
        asked = by_workflow.get((message.tenant, message.workflow)) or by_id.get(str(message.data.get("message_id")))
        if asked is None or not is_end(message, asked):
            continue
        if by_workflow.pop((asked.tenant, asked.workflow), None) is not None:
            yield asked, message
        if not by_workflow:
            return
