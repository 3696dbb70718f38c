"""`submit`: many requests from a file, and what comes of them."""

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
from infra.audit.words import Word
from infra.cli import base, screen
from infra.cli.base import Problem
from infra.cli.bus import Bus, Listener
from infra.cli.requests import Answer, Asked, Json, Tenant, asked, is_end, print_result, until, word
from shared.settings import Settings


def lines(text: str, tenant: str, *, fresh: bool = False) -> Iterator[Asked]:
    """Requests from JSON lines. An id that is not given comes from the line itself, so that the same file is the same requests.

    The n-th repetition of a line within a file is a request of its own. Raises Problem, naming every line that is none.
    """
    seen: dict[str, int] = {}
    wrong: list[str] = []
    found: list[Asked] = []
    for number, raw in enumerate(text.splitlines(), 1):
        if not raw.strip():
            continue
        try:
            given = json.loads(raw)
            given = {"text": given} if isinstance(given, str) else given
            if not isinstance(given, dict):
                raise Problem("neither a JSON object nor a JSON string")
            body = dict(given)
            id_, workflow = str(body.pop("id", "")), str(body.pop("correlationid", "") or body.pop("correlationId", ""))
            owner = str(body.pop("tenant", "") or tenant)
            canonical = json.dumps([owner, workflow, body], sort_keys=True)
            seen[canonical] = seen.get(canonical, 0) + 1
            id_ = id_ or (uuid.uuid4().hex if fresh else line_id(canonical, seen[canonical]))
            found.append(asked(body, id_=id_, workflow=workflow, tenant=owner))
        except (ValueError, Problem) as bad:
            wrong.append(f"line {number}: {bad}")
    if wrong:
        more = f"\n… and {len(wrong) - 10} more" if len(wrong) > 10 else ""
        raise Problem("Nothing was sent.\n" + "\n".join(wrong[:10]) + more, code=2)
    yield from found


def submit(
    file: Annotated[str, typer.Argument(help="JSON lines, or `-` for standard input.")],
    wait: Annotated[bool, typer.Option("--wait", help="Wait for every result and print it.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="New requests, even if this file was submitted before.")] = False,
    seconds: Annotated[float, typer.Option(help="With --wait: give up after so long.")] = 600,
    tenant: Tenant = TENANT,
    json_: Json = False,
) -> None:
    """Submit many requests: one JSON string or object a line, as `{"text": …}` or `{"type": …, "data": …}`.

    A line may bring its `id`, `correlationid` and `tenant`. Without an id, the line itself gives it: submitting the same
    file again is harmless and, with --wait, prints the results it had.

    Example: echo '"What is a quorum?"' | hansard submit - --wait
    """
    try:
        text = sys.stdin.buffer.read().decode("utf-8") if file == "-" else Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as bad:
        raise Problem(f"{file} cannot be read: {bad}", code=2) from None
    puts = list(lines(text, tenant, fresh=fresh))
    if not puts:
        raise Problem(f"There is no request in {file}.", code=2)
    settings = base.running(kafka=True)
    answers = base.run(_submit(settings, puts, wait=wait, seconds=seconds, json_=json_))
    if not wait:
        screen.say(f"{len(puts)} requests are published. `hansard results --follow` shows what comes of them.")
        return
    missing = [put.workflow for put in puts if put.workflow not in answers]
    good = sum(answer.good for answer in answers.values())
    screen.say(f"{good} answered, {len(answers) - good} not answered, {len(missing)} without a result")
    if missing or good < len(answers):
        raise typer.Exit(1)


async def _submit(settings: Settings, puts: list[Asked], *, wait: bool, seconds: float, json_: bool) -> dict[str, Answer]:
    answers: dict[str, Answer] = {}
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=screen.err_console(),
        transient=True,
    )
    async with Bus(settings) as bus:
        with bar:
            task = bar.add_task("publishing", total=len(puts))
            for start in range(0, len(puts), 500):
                some = puts[start : start + 500]
                await asyncio.gather(*(bus.publish("requests", put.envelope) for put in some))
                bar.advance(task, len(some))
        if not wait:
            return answers
        began = time.monotonic()
        async with bus.listen(["results", "dead-letters"], "beginning") as listener:
            with bar:
                task = bar.add_task("answered", total=len({put.workflow for put in puts}))
                async for put, stored in _ends(listener, puts, began + seconds):
                    answers[put.workflow] = Answer(stored.kind, stored.data, time.monotonic() - began)
                    bar.advance(task)
                    print_result(stored, json_=json_)
    return answers


async def _ends(listener: Listener, puts: Iterable[Asked], end: float) -> AsyncIterator[tuple[Asked, Word]]:
    """Each request's end, once, as it comes."""
    by_workflow = {(put.tenant, put.workflow): put for put in puts}
    by_id = {put.id: put for put in puts}
    async for entry in until(listener, end):
        stored = word(entry)
        if stored is None:
            continue
        put = by_workflow.get((stored.tenant, stored.workflow)) or by_id.get(str(stored.data.get("message_id")))
        if put is None or not is_end(stored, put):
            continue
        if by_workflow.pop((put.tenant, put.workflow), None) is not None:
            yield put, stored
        if not by_workflow:
            return
