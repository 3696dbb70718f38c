"""`ask` and `cancel`: a request is published, and its workflow is followed to its result."""

import json
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from contracts.control import CancelWorkflow
from contracts.dead_letters import DeadLettered
from contracts.requests import SubmitRequest
from hansard.envelope import TENANT, Envelope
from hansard.identity import client_id
from hansard.message import WITHOUT_RESULT
from infra.audit.message import ShownMessage
from infra.audit.text import degraded
from infra.cli import base, screen
from infra.cli.bus import Bus, Listener, ReceivedMessage, request
from infra.cli.options import Json, Tenant
from infra.cli.plan_files import HOW, problems, read_plan, unknown_fields
from infra.cli.problem import Problem
from infra.cli.watching import RESULTS, Printer, shown_message
from infra.terminal import typed
from shared.settings import Settings

AGAIN = 2.0  # seconds in which a request under a used id may be refused, before its old result is shown
DEGRADED = 3  # exit code: answered, and worse than it should be
GRACE = 30.0  # seconds to wait for a result beyond the workflow's own deadline


@dataclass(frozen=True)
class NewRequest:
    """One request, ready to be published."""

    id: str
    workflow: str
    tenant: str
    body: Mapping[str, Any]

    @property
    def envelope(self) -> Envelope:
        data = json.dumps(self.body, ensure_ascii=False, separators=(",", ":"), default=str).encode()
        return request(self.id, SubmitRequest.kind, data, workflow=self.workflow, tenant=self.tenant)


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


def new_request(body: Mapping[str, Any], *, id_: str = "", workflow: str = "", tenant: str = TENANT) -> NewRequest:
    """A request under the given id or a random one. Raises Problem for a body that its schema refuses."""
    try:
        SubmitRequest.model_validate(body)
    except ValidationError as invalid:
        raise Problem(f"The request is not valid: {problems(invalid)}", code=2) from None
    id_ = id_ or client_id("ask", uuid.uuid4())
    return NewRequest(id_, workflow or id_, tenant, body)


def ask(
    text: Annotated[str, typer.Argument(help="The request, in your own words.")] = "",
    type_: Annotated[str, typer.Option("--type", help="A typed request: the name of its handler.")] = "",
    data: Annotated[str, typer.Option(help="The data of a typed request, as JSON.")] = "",
    plan: Annotated[str, typer.Option(help="The name of a plan, or a YAML file with one.")] = "",
    architecture: Annotated[str, typer.Option(help="The architecture to use; without it the router chooses.")] = "",
    deadline: Annotated[float, typer.Option(help="Seconds in which it must be answered.")] = 0,
    budget: Annotated[str, typer.Option(help="US dollars that may be spent on models.")] = "",
    tenant: Tenant = TENANT,
    id_: Annotated[str, typer.Option("--id", help="An id of your own: the same id is the same request.")] = "",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only the result.")] = False,
    json_: Json = False,
) -> None:
    """Submit a request, print its messages as they are published, then its result.

    Exits 1 when it was not answered, 3 when the answer is degraded: a better tier of models, a judge or an optional step failed.

    Example: hansard ask "Summarise the rules of debate"    ·    hansard ask --type calculate_tax --data '{…}'
    """
    body: dict[str, Any] = {"text": typed(text)} if text else {}
    if type_:
        body["type"] = type_
    if data:
        body["data"] = _object(typed(data), "--data")
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
    asked = new_request(body, id_=id_, tenant=tenant)
    settings = base.running(kafka=True)
    answer = base.run(publish_and_watch(settings, asked, show=not (quiet or json_), known=bool(id_), seconds=deadline))
    conclude(asked, answer, json_=json_)


def conclude(asked: NewRequest, answer: Answer, *, json_: bool) -> None:
    """Prints how a request ended. Exits 1 where it was not answered, 3 where the answer is degraded."""
    if json_:
        fields = {"workflow": asked.workflow, "type": answer.kind, "seconds": round(answer.seconds, 3)}
        print(screen.as_json(fields | {"data": answer.data}))
    else:
        screen.out.print(screen.result(answer.kind, answer.data, answer.seconds))
        screen.note(f"All its messages: hansard audit show {asked.workflow}")
    leave(answer.good, answer.degraded)


def leave(good: bool, degraded: bool) -> None:
    """Exits with the code of how requests ended: 1, 3, or none where all is well."""
    if code := 1 if not good else DEGRADED if degraded else 0:
        raise typer.Exit(code)


def _object(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as bad:
        raise Problem(f"{name} is not JSON: {bad}", code=2) from None


async def publish_and_watch(settings: Settings, asked: NewRequest, *, show: bool, known: bool, seconds: float) -> Answer:
    """Publishes a request and waits for its result; with `show`, prints its messages. `known`: the id may have been used."""
    with Printer(asked.workflow) as printer:
        return await _answered(settings, asked, printer if show else None, known=known, seconds=seconds)


async def _answered(settings: Settings, asked: NewRequest, printer: Printer | None, *, known: bool, seconds: float) -> Answer:
    topics = [topic.name for topic in settings.topics.all]
    early = ("results", "dead-letters") if known else ()
    async with Bus(settings) as bus, bus.listen(topics, beginning=early) as listener:
        began, asked_at = time.monotonic(), datetime.now(UTC)
        await bus.publish("requests", asked.envelope)
        end = began + (seconds or settings.workflow_seconds) + GRACE
        before: Answer | None = None
        while time.monotonic() < end:
            messages = await _concerning(listener, asked)
            ends = [message for message in messages if is_end(message, asked)]
            last = next((message for message in ends if not known or message.at > asked_at), None)
            if last:  # messages stored before it may arrive after it, on other topics
                messages += await _concerning(listener, asked)
            if printer:
                for message in sorted(messages, key=lambda one: one.at):
                    printer.show(message)
            if last:
                return Answer(last.kind, last.data, time.monotonic() - began)
            old = next((message for message in ends if message.kind.startswith(RESULTS)), None)
            before = before or (Answer(old.kind, old.data, 0.0) if old else None)
            if before and time.monotonic() > began + AGAIN:
                screen.note(f"{asked.workflow} was submitted before: this is the result it had.")
                return before
    raise Problem(
        f"No result for {asked.workflow} came in time. `hansard status` shows whether the services run; "
        f"`hansard audit show {asked.workflow}` shows what is on the record."
    )


async def _concerning(listener: Listener, asked: NewRequest) -> list[ShownMessage]:
    messages = map(shown_message, await listener.batch())
    return [message for message in messages if message is not None and concerns(message, asked)]


async def until(listener: Listener, end: float) -> AsyncIterator[ReceivedMessage]:
    """What is received until this process's monotonic clock reaches `end`."""
    while time.monotonic() < end:
        for received in await listener.batch():
            yield received


def concerns(message: ShownMessage, asked: NewRequest) -> bool:
    """Whether a message belongs to this request."""
    if message.workflow == asked.workflow and message.tenant == asked.tenant:
        return True
    return _is_its_dead_letter(message, asked)


def is_end(message: ShownMessage, asked: NewRequest) -> bool:
    """Whether this is the workflow's terminal message, or a dead letter after which the request has none."""
    if message.kind.startswith(RESULTS):
        return message.workflow == asked.workflow and message.tenant == asked.tenant
    reason = message.data.get("reason")
    answered = reason == "unreadable" and message.workflow == asked.workflow  # filed under its own key, it has a result too
    return _is_its_dead_letter(message, asked) and reason in WITHOUT_RESULT and not answered


def _is_its_dead_letter(message: ShownMessage, asked: NewRequest) -> bool:
    return (
        message.kind == DeadLettered.kind
        and message.data.get("topic") == "requests"
        and message.data.get("message_id") == asked.id
        and message.tenant == asked.tenant
    )


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
        raise Problem(str(bad), code=2) from None
    screen.note(f"The cancellation of {workflow} is published; `hansard watch {workflow}` shows what follows.")


async def _publish(settings: Settings, topic: str, envelope: Envelope) -> None:
    async with Bus(settings) as bus:
        await bus.publish(topic, envelope)
