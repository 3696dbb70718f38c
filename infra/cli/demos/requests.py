"""Requests of different kinds: every message as it is published and, at the end, a table of the results."""

import json
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.text import Text

from contracts.requests import SubmitRequest
from hansard.envelope import Envelope
from infra.audit.message import ShownMessage
from infra.audit.text import dollars, money, one_line, percent
from infra.cli import base, screen
from infra.cli.bus import Bus, request
from infra.cli.problem import Problem
from infra.cli.watching import RESULTS, Printer, shown_message
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
class DemoRequest:
    """One request of the demonstration. `body` is published as it is, also where it is invalid."""

    name: str
    about: str
    body: bytes


def demo_requests(now: datetime) -> list[DemoRequest]:
    """Requests of different kinds: for rules, for a model, for a chain of steps, and some that cannot be answered."""

    def typed(type_: str, **data: Any) -> bytes:
        return json.dumps({"type": type_, "data": data}).encode()

    def free(text: str, **more: Any) -> bytes:
        return json.dumps({"text": text, **more}).encode()

    soon, later = ((now + timedelta(seconds=seconds)).isoformat() for seconds in (3, 150))
    return [
        DemoRequest("email", "is clerk@example.org an address?", typed("validate_email", email="clerk@example.org")),
        DemoRequest("tax", "8.25 % on 1,249.90", typed("calculate_tax", amount="1249.90", tax_rate="0.0825")),
        DemoRequest("units", "26.2 miles in kilometres", typed("convert_units", value="26.2", **{"from": "mile", "to": "km"})),
        DemoRequest("ask", "what is a quorum?", free("In one sentence: what is a quorum?", deadline=later)),
        DemoRequest("chain", "a text in two steps", free("What is a parliament?", plan=CHAIN, deadline=later)),
        DemoRequest("hurry", "a novel, within three seconds", free("Write a long novel about a parliament.", deadline=soon)),
        DemoRequest("invalid", "a tax on “a lot”", typed("calculate_tax", amount="a lot")),
        DemoRequest("broken", "JSON that ends too early", b'{"text": "What is a '),
    ]


@dataclass
class Outcome:
    """What is known of one request so far."""

    asked: DemoRequest
    envelope: Envelope
    began: float = 0.0
    route: str = ""
    result: ShownMessage | None = None
    seconds: float = 0.0


@dataclass
class Run:
    """The demonstration so far: the outcome of each request, by workflow."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)

    def process(self, message: ShownMessage, now: float) -> bool:
        """Takes a message into account. False for one of other workflows."""
        mine = self.outcomes.get(message.workflow)
        if mine is None:
            return False
        if message.name == "request-routed":
            mine.route = f"{message.data.get('path')}: {message.data.get('handler')}"
        if message.kind.startswith(RESULTS) and mine.result is None:
            mine.result, mine.seconds = message, now - mine.began
        return True

    @property
    def open(self) -> list[Outcome]:
        """Those that have no result yet."""
        return [outcome for outcome in self.outcomes.values() if outcome.result is None]


async def play(settings: Settings, ended: Callable[[], bool] = lambda: False) -> Callable[[], None]:
    """The demonstration. Returns what prints the table."""
    run = await published(settings, ended)
    return lambda: conclude(run)


async def published(settings: Settings, ended: Callable[[], bool]) -> Run:
    """Publishes the requests and prints messages until each has its result, or until `PATIENCE` is over."""
    name = uuid.uuid4().hex[:4]
    run = Run()
    topics = [topic.name for topic in settings.topics.all]
    async with base.known_record(settings) as record, Bus(settings) as bus, bus.listen(topics, record=record) as listener:
        for asked in demo_requests(datetime.now(UTC)):
            envelope = request(f"demo-{name}-{asked.name}", SubmitRequest.kind, asked.body)
            run.outcomes[envelope.correlation_id] = Outcome(asked, envelope, time.monotonic())
            await bus.publish("requests", envelope)
        end = time.monotonic() + PATIENCE
        with Printer() as printer:
            while run.open and time.monotonic() < end and not ended():
                for received in await listener.batch():
                    message = shown_message(received)
                    if message is not None and run.process(message, time.monotonic()):
                        printer.show(message)
    return run


def conclude(run: Run) -> None:
    """Prints the table. Raises Problem where a request has no result."""
    screen.out.print()
    columns = ("request", "workflow", "path", "result", "answer, in short", "confidence", "cost", "seconds")
    screen.out.print(screen.table(columns, _rows(run.outcomes.values())))
    bill = sum((money(one.result.data.get("cost")) for one in run.outcomes.values() if one.result), money(0))
    answered = len(run.outcomes) - len(run.open)
    screen.out.print(f"\n{answered} of {len(run.outcomes)} requests have their result; models cost {dollars(bill) or '$0'}.")
    if run.outcomes:
        screen.out.print(f"All messages of one: hansard audit show {next(iter(run.outcomes))}")
    if run.open:
        missing = ", ".join(one.envelope.correlation_id for one in run.open)
        raise Problem(f"No result for {missing}. The services' logs say why; `hansard status` names them.")


def _rows(outcomes: Iterable[Outcome]) -> Iterable[Sequence[object]]:
    for one in outcomes:
        result = one.result
        data = result.data if result else {}
        yield (
            one.asked.about,
            one.envelope.correlation_id,
            one.route or "not routed",
            Text(result.name, screen.grade(result.kind, data)) if result else Text("none", "red"),
            one_line(data.get("text") or data.get("detail") or "", 70),
            percent(data.get("confidence")),
            dollars(money(data.get("cost"))) or "$0",
            f"{one.seconds:.2f}" if result else "",
        )
