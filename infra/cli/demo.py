"""`demo`: everything is started, real requests go in, every message goes by, and a table says what came of it."""

import asyncio
import json
import threading
import time
import uuid
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import typer
from rich.text import Text

from contracts.requests import SubmitRequest
from hansard.envelope import Envelope
from infra import processes
from infra.audit.words import Word, dollars, money, one_line, percent
from infra.cli import base, screen
from infra.cli.base import Problem
from infra.cli.bus import Bus, request
from infra.cli.requests import RESULTS, Printer, word
from infra.cli.running import down_ours, ended_by_signal, hints, prepare, start_services
from shared.settings import Settings

PATIENCE = 200.0  # seconds for all of it
CHAIN = {
    "name": "draft-and-shorten",
    "architecture": "pipeline",
    "steps": [
        {"id": "draft", "worker": "writer", "instructions": "Answer in one plain sentence.", "retries": 1, "timeout": 40},
        {
            "id": "shorten",
            "worker": "writer",
            "instructions": "Say the same in fewer words.",
            "needs": ["draft"],
            "retries": 1,
            "timeout": 40,
        },
    ],
}


@dataclass(frozen=True)
class Piece:
    """One request of the demonstration. `body` is what is sent, word for word."""

    name: str
    about: str
    body: bytes


def pieces(now: datetime) -> list[Piece]:
    """Requests of different sorts: for rules, for a model, for a chain of steps, and some that cannot be served."""

    def typed(type_: str, **data: Any) -> bytes:
        return json.dumps({"type": type_, "data": data}).encode()

    def free(text: str, **more: Any) -> bytes:
        return json.dumps({"text": text, **more}).encode()

    soon, later = ((now + timedelta(seconds=seconds)).isoformat() for seconds in (3, 150))
    return [
        Piece("email", "is clerk@example.org an address?", typed("validate_email", email="clerk@example.org")),
        Piece("tax", "8.25 % on 1,249.90", typed("calculate_tax", amount="1249.90", tax_rate="0.0825")),
        Piece("units", "26.2 miles in kilometres", typed("convert_units", value="26.2", **{"from": "mile", "to": "km"})),
        Piece("ask", "what is a quorum?", free("In one sentence: what is a quorum?", deadline=later)),
        Piece("chain", "a text in two steps", free("What is a parliament?", plan=CHAIN, deadline=later)),
        Piece("hurry", "a novel, within three seconds", free("Write a long novel about a parliament.", deadline=soon)),
        Piece("invalid", "a tax on “a lot”", typed("calculate_tax", amount="a lot")),
        Piece("broken", "JSON that ends too early", b'{"text": "What is a '),
    ]


@dataclass
class Told:
    """What is known of one request."""

    piece: Piece
    envelope: Envelope
    began: float = 0.0
    route: str = ""
    result: Word | None = None
    seconds: float = 0.0


@dataclass
class Course:
    """The demonstration, as it goes."""

    told: dict[str, Told] = field(default_factory=dict)

    def process(self, stored: Word, now: float) -> bool:
        """Whether a message is part of it."""
        mine = self.told.get(stored.workflow)
        if mine is None:
            return False
        if stored.name == "request-routed":
            mine.route = f"{stored.data.get('path')}: {stored.data.get('handler')}"
        if stored.kind.startswith(RESULTS) and mine.result is None:
            mine.result, mine.seconds = stored, now - mine.began
        return True

    @property
    def open(self) -> list[Told]:
        return [one for one in self.told.values() if one.result is None]


def demo() -> None:
    """Start everything, send real requests, watch every message, sum up. On a terminal it stays up until Ctrl-C.

    Example: hansard demo
    """
    settings = base.local()
    there = processes.read(settings.home)
    if there is not None:
        course = base.run(play(base.running(kafka=True)))
        missing = conclude(course)
    else:
        missing = _alone(settings)
    if missing:
        raise typer.Exit(1)


def _alone(settings: Settings) -> int:
    try:
        ready = prepare(settings, screen.say)
        supervisor = start_services(ready, screen.say)
        with ended_by_signal() as ended, looked_after(supervisor):
            course = asyncio.run(play(ready, ended))
            missing = conclude(course)
            if base.terminal_in() and not ended():
                screen.out.print(hints())
                screen.say("Everything stays up. Ctrl-C stops it.")
                while not ended():
                    time.sleep(0.2)
            return missing
    finally:
        screen.say("stopping")
        down_ours(settings)


@contextmanager
def looked_after(supervisor: processes.Supervisor) -> Any:
    """The supervisor at work beside us; when we leave, its services are stopped."""
    leave = threading.Event()
    watcher = threading.Thread(target=supervisor.watch, args=(leave.is_set,), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        leave.set()
        watcher.join(processes.DRAIN + 10)


async def play(settings: Settings, ended: Any = lambda: False) -> Course:
    """Sends the pieces and shows what is said, until each has its result or the patience ends."""
    run = uuid.uuid4().hex[:4]
    course = Course()
    topics = [topic.name for topic in settings.topics.all]
    async with Bus(settings) as bus, bus.listen(topics) as listener:
        for piece in pieces(datetime.now(UTC)):
            envelope = request(f"demo-{run}-{piece.name}", SubmitRequest.kind, piece.body)
            course.told[envelope.correlation_id] = Told(piece, envelope, time.monotonic())
            await bus.publish("requests", envelope)
        end = time.monotonic() + PATIENCE
        with Printer() as printer:
            while course.open and time.monotonic() < end and not ended():
                for entry in await listener.batch():
                    stored = word(entry)
                    if stored is not None and course.process(stored, time.monotonic()):
                        printer.show(stored)
    return course


def conclude(course: Course) -> int:
    """Prints the table; how many requests lack their result."""
    screen.out.print()
    columns = ("request", "workflow", "path", "result", "answer, in short", "confidence", "cost", "seconds")
    screen.out.print(screen.table(columns, _rows(course.told.values())))
    missing: Sequence[Told] = course.open
    bill = sum((money(one.result.data.get("cost")) for one in course.told.values() if one.result), money(0))
    answered = len(course.told) - len(missing)
    screen.out.print(f"\n{answered} of {len(course.told)} requests have their result; models cost {dollars(bill) or '$0'}.")
    if course.told:
        screen.out.print(f"The whole story of one: hansard audit show {next(iter(course.told))}", markup=False)
    if missing:
        raise Problem(f"No result for {', '.join(one.envelope.correlation_id for one in missing)}: the logs say why.")
    return len(missing)


def _rows(told: Iterable[Told]) -> Iterable[Sequence[object]]:
    for one in told:
        result = one.result
        data = result.data if result else {}
        good = result is not None and result.kind == screen.GOOD
        yield (
            one.piece.about,
            one.envelope.correlation_id,
            one.route or "not routed",
            Text(result.name if result else "none", "green" if good else "red"),
            one_line(data.get("text") or data.get("detail") or "", 70),
            percent(data.get("confidence")),
            dollars(money(data.get("cost"))) or "$0",
            f"{one.seconds:.2f}" if result else "",
        )
