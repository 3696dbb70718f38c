"""`watch` and `results`: messages as they are published, line by line."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Self

import typer

from contracts.gateway import TokensStreamed
from infra.audit.message import Numbering, ShownMessage
from infra.audit.text import text_of
from infra.audit.timeline import message_as_json
from infra.cli import base, screen
from infra.cli.bus import Bus, Listener, ReceivedMessage
from infra.cli.options import Json
from infra.cli.writing import Drafts
from shared.kafka.reader import Start
from shared.settings import Settings

RESULTS = "hansard.results."


def shown_message(received: ReceivedMessage) -> ShownMessage | None:
    """A received message as a line; None for a record without a readable envelope."""
    envelope = received.envelope
    if envelope is None:
        return None
    data = received.data if isinstance(received.data, dict) else {"detail": text_of(envelope.data[:200])}
    sender = envelope.source.removeprefix("/hansard/") if envelope.source.startswith("/hansard/") else ""
    stream = (envelope.subject or sender) if not received.door else sender
    return ShownMessage(
        id=received.causation_id,
        at=received.at,
        workflow=envelope.correlation_id,
        stream=stream,
        kind=envelope.type,
        causation_id="" if received.door or envelope.causation_id == envelope.id else envelope.causation_id,
        data=data,
        topic=received.record.topic,
        tenant=envelope.tenant,
    )


@dataclass
class Printer:
    """Prints messages one by one and, on a terminal, below them the answers that are being written. Tidies up on exit."""

    workflow: str = ""
    numbering: Numbering = field(default_factory=Numbering)
    began: datetime | None = None
    _drafts: Drafts = field(default_factory=Drafts)
    _stage: screen.Stage = field(default_factory=screen.Stage)
    _seen: set[str] = field(default_factory=set)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stage.clear()

    def show(self, message: ShownMessage) -> None:
        """One line; nothing for a repeat."""
        if message.id in self._seen:
            return
        self._drafts.process(message)
        changes = self._stage.can_change
        if changes:
            drafts = ((draft.message, draft.text) for draft in self._drafts)
            self._stage.below([screen.writing(*one, self.began, workflow=not self.workflow) for one in drafts])
        if message.kind != TokensStreamed.kind or not changes:
            self._line(message)

    def _line(self, message: ShownMessage) -> None:
        if not self._seen:
            self.began = message.at if self.workflow else None
            self._stage.put(screen.heading(workflow=not self.workflow))
        self._seen.add(message.id)
        self._stage.put(screen.line(message, self.numbering, self.began, workflow=not self.workflow))


def print_result(message: ShownMessage, *, json_: bool) -> None:
    """One terminal message, for a person or a program."""
    if json_:
        fields = {"workflow": message.workflow, "type": message.kind, "at": message.at.isoformat(), "data": message.data}
        screen.put_json(fields)
    else:
        screen.put(screen.result_line(message))


def watch(
    workflow: Annotated[str, typer.Argument(metavar="[ID]", help="Only this workflow; without it, every workflow.")] = "",
    back: Annotated[bool, typer.Option("--all", help="Begin with the oldest message in the topics, not with the next.")] = False,
    json_: Json = False,
) -> None:
    """Print messages as they are published: which service, because of which message, at what cost. Ctrl-C ends it.

    Example: hansard watch    ·    hansard watch ask-1f0b6f7a9c11
    """
    settings = base.running(kafka=True)
    base.run(_watch(settings, workflow, "beginning" if back or workflow else "end", json_=json_))


async def _watch(settings: Settings, workflow: str, start: Start, *, json_: bool) -> None:
    async with Bus(settings) as bus, bus.listen([topic.name for topic in settings.topics.all], start) as listener:
        screen.note("Waiting for messages. Ctrl-C ends it.")
        with Printer(workflow) as printer:
            await _show(listener, printer, json_=json_)


async def _show(listener: Listener, printer: Printer, *, json_: bool) -> None:
    while True:
        for received in await listener.batch():
            message = shown_message(received)
            if message is None or (printer.workflow and message.workflow != printer.workflow):
                continue
            if json_:
                screen.put_json(message_as_json(message))
            else:
                printer.show(message)


def results(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Then go on with new ones as they come.")] = False,
    last: Annotated[int, typer.Option("--last", "-n", help="Only this many of the latest; 0: all.")] = 0,
    json_: Json = False,
) -> None:
    """Print the results of all workflows, oldest first.

    Example: hansard results --follow    ·    hansard results -n 5 --json
    """
    base.run(_results(base.running(kafka=True), follow=follow, last=last, json_=json_))


async def _results(settings: Settings, *, follow: bool, last: int, json_: bool) -> None:
    async with Bus(settings) as bus, bus.listen(["results"], "beginning") as listener:
        seen: dict[str, ShownMessage] = {}
        async for received in listener.to_the_end():
            message = shown_message(received)
            if message is not None:
                seen.setdefault(message.id, message)
        for message in sorted(seen.values(), key=lambda one: one.at)[-last:]:
            print_result(message, json_=json_)
        while follow:
            for received in await listener.batch():
                message = shown_message(received)
                if message is not None and message.id not in seen:
                    seen[message.id] = message
                    print_result(message, json_=json_)
