"""`ask` and `cancel`: a request is published, and its workflow is followed to its result."""

import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from contracts.control import CancelWorkflow
from contracts.planner import StepWaiting
from hansard.envelope import TENANT, Envelope
from hansard.identity import client_id
from infra.audit.message import ShownMessage
from infra.audit.text import degraded
from infra.cli import base, screen
from infra.cli.asked import Ends, NewRequest, attributes_named, concerns, new_request, signed_by, signer_of
from infra.cli.bus import Bus, ReceivedMessage, request
from infra.cli.contents import small_enough, whole_result
from infra.cli.options import As, Json, PrivateKey, Tenant
from infra.cli.plan_files import HOW, read_plan, unknown_fields
from infra.cli.problem import Problem
from infra.cli.watching import Printer, shown_message
from shared.json_text import BadJson, parsed
from shared.settings import Settings
from shared.text_files import decoded

DEGRADED = 3  # exit code: answered, and worse than it should be
GRACE = 30.0  # seconds to wait for a result beyond the workflow's own deadline


@dataclass
class Answer:
    """How a request ended. `kind` is that of its terminal message, or of its dead letter."""

    kind: str
    data: Mapping[str, Any]
    seconds: float

    @property
    def good(self) -> bool:
        return self.kind == screen.GOOD

    @property
    def degraded(self) -> bool:
        """Whether it was answered worse than it should be."""
        return self.good and bool(degraded(self.data))


def ask(
    text: Annotated[str, typer.Argument(help="The request, in your own words.")] = "",
    type_: Annotated[str, typer.Option("--type", help="A typed request: the name of its handler.")] = "",
    file: Annotated[str, typer.Option(help="A text file with the request, or what follows on its words; of any length.")] = "",
    data: Annotated[str, typer.Option(help="The data of a typed request, as JSON.")] = "",
    plan: Annotated[str, typer.Option(help="The name of a plan, or a YAML file with one.")] = "",
    architecture: Annotated[str, typer.Option(help="The architecture to use; without it the router chooses.")] = "",
    deadline: Annotated[float, typer.Option(help="Seconds in which it must be answered.")] = 0,
    budget: Annotated[str, typer.Option(help="US dollars that may be spent on models.")] = "",
    tenant: Tenant = TENANT,
    id_: Annotated[str, typer.Option("--id", help="An id of your own: the same id is the same request.")] = "",
    name: As = "",
    key: PrivateKey = "",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only the result.")] = False,
    json_: Json = False,
) -> None:
    """Submit a request, print its messages as they are published, then its result.

    Exits 1 when it was not answered, 3 when the answer is degraded: a better tier of models, a judge or an optional step failed.

    Example: hansard ask "Summarise the rules of debate"    ·    hansard ask --type calculate_tax --data '{…}'
    """
    text = "\n\n".join(part for part in (text, _text_of(file)) if part)
    body: dict[str, Any] = {"text": text} if text else {}
    if type_:
        body["type"] = type_
    if data:
        body["data"] = _object(data, "--data")
    if plan:
        body["plan"] = given = read_plan(plan)
        if wrong := "; ".join(unknown_fields(given) if isinstance(given, dict) else ()):
            raise Problem(f"{plan} is not a valid plan: {wrong}. {HOW}.", code=2)
    if architecture:
        body["architecture"] = architecture
    if deadline:
        body["deadline"] = (datetime.now(UTC) + timedelta(seconds=deadline)).isoformat()
    if budget:
        body["budget"] = budget
    asked = signed_by(new_request(body, id_=id_, tenant=tenant), signer_of(name, key))
    settings = base.running(kafka=True)
    answer = base.run(publish_and_watch(settings, asked, show=not (quiet or json_), known=bool(id_), seconds=deadline))
    conclude(asked, answer, json_=json_)


def conclude(asked: NewRequest, answer: Answer, *, json_: bool) -> None:
    """Prints how a request ended. Exits 1 where it was not answered, 3 where the answer is degraded."""
    if json_:
        fields = {"workflow": asked.workflow, "type": answer.kind, "seconds": round(answer.seconds, 3)}
        screen.put_json(fields | {"data": answer.data})
    else:
        screen.out.print(screen.result(answer.kind, answer.data, answer.seconds))
        screen.note(f"All its messages: hansard audit show {asked.workflow}")
    leave(answer.good, answer.degraded)


def leave(good: bool, degraded: bool) -> None:
    """Exits with the code of how requests ended: 1, 3, or none where all is well."""
    if code := 1 if not good else DEGRADED if degraded else 0:
        raise typer.Exit(code)


def _text_of(file: str) -> str:
    try:
        return decoded(Path(file).read_bytes()) if file else ""
    except (OSError, ValueError) as bad:
        raise Problem(f"{file} cannot be read: {bad}", code=2) from None


def _object(text: str, name: str) -> Any:
    try:
        return parsed(text)
    except BadJson as bad:
        raise Problem(f"{name}: {bad}", code=2) from None


async def publish_and_watch(settings: Settings, asked: NewRequest, *, show: bool, known: bool, seconds: float) -> Answer:
    """Publishes a request and waits for its result; with `show`, prints its messages. `known`: the id may have been used."""
    with Printer(asked.workflow) as printer:
        return await _answered(settings, asked, printer if show else None, known=known, seconds=seconds)


async def _answered(settings: Settings, asked: NewRequest, printer: Printer | None, *, known: bool, seconds: float) -> Answer:
    topics = [topic.name for topic in settings.topics.all]
    early = ("requests", "results", "dead-letters") if known else ()
    [asked] = await small_enough(settings, [asked])
    ends = Ends.of([asked])
    async with (
        base.known_record(settings) as record,
        Bus(settings) as bus,
        bus.listen(topics, beginning=early, record=record) as listener,
    ):
        began, asked_at = time.monotonic(), datetime.now(UTC)
        await bus.publish("requests", asked.envelope)
        end = began + (seconds or settings.workflow_seconds) + GRACE
        while time.monotonic() < end:
            received = await listener.batch()
            found = [last for _, last in ended(ends, received)]
            messages = _concerning(received, asked)
            if found:  # messages stored before it may arrive after it, on other topics
                messages += _concerning(await listener.batch(), asked)
            if printer:
                for message in sorted(messages, key=lambda one: one.at):
                    printer.show(message)
            for message in messages:
                if message.kind == StepWaiting.kind and message.data.get("awaited") != "time":
                    screen.note(waits(message))
            for last in found:
                if known and last.at < asked_at:
                    screen.note(f"{asked.workflow} was submitted before: this is the result it had.")
                took = time.monotonic() - began
                return Answer(last.kind, await whole_result(settings, asked.tenant, last.kind, last.data), took)
    raise Problem(
        f"No result for {asked.workflow} came in time. `hansard status` shows whether the services run; "
        f"`hansard audit show {asked.workflow}` shows what is on the record."
    )


def ended(ends: Ends, received: Iterable[ReceivedMessage]) -> Iterator[tuple[NewRequest, ShownMessage]]:
    """The requests that these messages end, each with its terminal message."""
    for one in received:
        if (message := shown_message(one)) is not None and one.envelope is not None:
            yield from ends.process(message, one.envelope)


def waits(message: ShownMessage) -> str:
    """What a workflow waits for, and what to do about it."""
    step, awaited = message.data.get("step"), message.data.get("awaited")
    if awaited == "event":
        return f"{message.workflow} waits for an event, in step {step}: hansard signal {message.workflow} EVENT"
    does = "show" if awaited == "approval" else "answer"
    who = "for a decision" if awaited == "approval" else "for a person's answer"
    name = f"{message.workflow}/{step}.{message.data.get('attempt')}"
    return f"{message.workflow} waits {who}: hansard approvals {does} {name}"


def _concerning(received: Iterable[ReceivedMessage], asked: NewRequest) -> list[ShownMessage]:
    messages = map(shown_message, received)
    return [message for message in messages if message is not None and concerns(message, asked)]


def cancel(
    workflow: Annotated[str, typer.Argument(metavar="ID", help="The workflow.")],
    by: Annotated[str, typer.Option(help="Who cancels it; stored with the cancellation.")] = "hansard",
    reason: Annotated[str, typer.Option(help="Why; stored with the cancellation.")] = "",
    tenant: Tenant = TENANT,
) -> None:
    """Cancel a workflow. A workflow that has its result keeps it; one that has not begun yet is cancelled when it begins.

    Example: hansard cancel ask-1f0b6f7a9c11 --reason "asked the wrong thing"
    """
    data = CancelWorkflow(by=by, reason=reason).model_dump_json().encode()
    settings = base.running(kafka=True)
    try:
        envelope = request(client_id("cancel", uuid.uuid4()), CancelWorkflow.kind, data, workflow=workflow, tenant=tenant)
        base.run(_publish(settings, "control", envelope))
    except ValueError as bad:
        raise Problem(f"Nothing was cancelled: {attributes_named(bad)}", code=2) from None
    screen.note(f"The cancellation of {workflow} is published; `hansard watch {workflow}` shows what follows.")


async def _publish(settings: Settings, topic: str, envelope: Envelope) -> None:
    async with Bus(settings) as bus:
        await bus.publish(topic, envelope)
