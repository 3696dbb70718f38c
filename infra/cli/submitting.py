"""`submit`: many requests from a file, and their results."""

import asyncio
import json
import re
import sys
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from hansard.envelope import TENANT
from hansard.identity import line_id
from infra.audit.message import ShownMessage
from infra.cli import base, screen
from infra.cli.asked import Ends, Key, NewRequest, new_request, signed_by, signer_of
from infra.cli.bus import Bus, Listener
from infra.cli.contents import small_enough
from infra.cli.options import As, Json, PrivateKey, Tenant
from infra.cli.problem import Problem
from infra.cli.requests import Answer, ended, leave
from infra.cli.watching import print_result
from shared.json_text import parsed
from shared.settings import Settings
from shared.text_files import decoded

_LINE_END = re.compile(r"\r\n|\n|\r")  # no others: U+2028 may stand inside of a JSON string


def lines(text: str, tenant: str, *, fresh: bool = False) -> Iterator[NewRequest]:
    """Requests from JSON lines. Without an id, a line's id is made from its content, so that the same file is the same requests.

    The n-th repetition of a line within a file is a request of its own, unless it names its id. Raises Problem, which names
    every invalid line.
    """
    repeats: Counter[str] = Counter()
    wrong: list[str] = []
    found: dict[int, NewRequest] = {}
    for number, raw in enumerate(_LINE_END.split(text.removeprefix("\ufeff")), 1):
        if not raw.strip():
            continue
        try:
            found[number] = _line(raw, tenant, repeats, fresh=fresh)
        except (ValueError, Problem) as bad:
            wrong.append(f"line {number}: {bad}")
    wrong += _twice(found)
    if wrong:
        more = f"\n… and {len(wrong) - 10} more" if len(wrong) > 10 else ""
        raise Problem("Nothing was published.\n" + "\n".join(wrong[:10]) + more, code=2)
    yield from found.values()


def _line(raw: str, tenant: str, repeats: Counter[str], *, fresh: bool) -> NewRequest:
    """The request of one line. Raises ValueError, Problem."""
    given = parsed(raw)
    body = {"text": given} if isinstance(given, str) else given
    if not isinstance(body, dict):
        raise Problem("it is neither a JSON object nor a JSON string")
    id_, workflow = _name(body, "id"), _name(body, "correlationid", "correlationId")
    owner = _name(body, "tenant") or tenant
    canonical = json.dumps([owner, workflow, body], sort_keys=True)
    if not id_:
        repeats[canonical] += 1
        id_ = uuid.uuid4().hex if fresh else line_id(canonical, repeats[canonical])
    return new_request(body, id_=id_, workflow=workflow, tenant=owner)


def _name(body: dict[str, Any], *spellings: str) -> str:
    """Takes a name out of the body: "" where there is none, or null. Raises ValueError for what is no name."""
    given = [value for value in (body.pop(spelling, None) for spelling in spellings) if value not in (None, "")]
    if len(given) > 1 and given[0] != given[1]:
        raise ValueError(f"it names both `{'` and `'.join(spellings)}`: name one")
    for value in given:
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise ValueError(f"`{spellings[0]}` must be a string")
        return str(value)
    return ""


def _twice(found: dict[int, NewRequest]) -> Iterator[str]:
    """Lines that would not be requests of their own: each id, and each workflow, is one request."""
    ids: dict[Key, int] = {}
    workflows: dict[Key, int] = {}
    for number, asked in found.items():
        first = ids.setdefault((asked.tenant, asked.id), number)
        if first != number:
            yield f"line {number}: its id {asked.id!r} is that of line {first}, and an id is one request"
            continue
        first = workflows.setdefault(asked.key, number)
        if first != number:
            yield f"line {number}: its workflow {asked.workflow!r} is that of line {first}, and a workflow has one request"


def submit(
    file: Annotated[str, typer.Argument(help="A file of JSON lines, or `-` for standard input.")],
    wait: Annotated[bool, typer.Option("--wait", help="Wait for every result and print it.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Make new requests, even if this file was submitted before.")] = False,
    seconds: Annotated[float, typer.Option(help="With --wait: give up after so many seconds.")] = 600,
    tenant: Tenant = TENANT,
    name: As = "",
    key: PrivateKey = "",
    json_: Json = False,
) -> None:
    """Submit many requests: one JSON string or object a line, as `{"text": …}` or `{"type": …, "data": …}`.

    A line may name its `id`, `correlationid` and `tenant`. Without an id, one is made from the line: submitting the same
    file again changes nothing and, with --wait, prints the results it had. With --wait it exits 1 unless all were answered, 3 if
    all were and some answers are degraded.

    Example: echo '"What is a quorum?"' | hansard submit - --wait
    """
    try:
        text = decoded(sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes())
    except (OSError, ValueError) as bad:  # ValueError: NotText, or a name of a file that holds a NUL
        raise Problem(f"{'Standard input' if file == '-' else file} cannot be read: {bad}", code=2) from None
    signer = signer_of(name, key)
    requests = [signed_by(one, signer) for one in lines(text, tenant, fresh=fresh)]
    if not requests:
        raise Problem(f"{file} holds no request: write one JSON string or object a line.", code=2)
    settings = base.running(kafka=True)
    answers = base.run(_submit(settings, requests, wait=wait, seconds=seconds, json_=json_))
    if not wait:
        screen.note(f"{len(requests)} requests are published. `hansard results --follow` prints their results.")
        return
    missing = [asked for asked in requests if asked.key not in answers]
    good, worse = sum(answer.good for answer in answers.values()), sum(answer.degraded for answer in answers.values())
    screen.note(
        f"{good} answered ({worse} of them degraded), {len(answers) - good} not answered, {len(missing)} without a result"
    )
    leave(good == len(answers) and not missing, bool(worse))


async def _submit(
    settings: Settings, requests: list[NewRequest], *, wait: bool, seconds: float, json_: bool
) -> dict[Key, Answer]:
    """Publishes them all; with `wait`, prints each result as it comes. The answers, by tenant and workflow."""
    answers: dict[Key, Answer] = {}
    bar = _bar()
    requests = await small_enough(settings, requests)
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
        async with (
            base.known_record(settings) as record,
            bus.listen(["requests", "results", "dead-letters"], "beginning", record=record) as listener,
        ):
            with bar:
                task = bar.add_task("answered", total=len(requests))
                async for asked, message in _ends(listener, Ends.of(requests), began + seconds):
                    answers[asked.key] = Answer(message.kind, message.data, time.monotonic() - began)
                    bar.advance(task)
                    print_result(message, json_=json_)
    return answers


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=screen.err_console(), transient=True)


async def _ends(listener: Listener, ends: Ends, until: float) -> AsyncIterator[tuple[NewRequest, ShownMessage]]:
    """Each request with its terminal message, as it comes, until this process's monotonic clock reaches `until`."""
    while ends.waiting and time.monotonic() < until:
        for one in ended(ends, await listener.batch()):
            yield one
