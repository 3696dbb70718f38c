"""`ask`, `submit`, `watch`, `results`, `cancel`: requests in, results out, and what is said in between."""

import json
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Self

import typer
import yaml
from pydantic import ValidationError

from contracts.control import CancelWorkflow
from contracts.dead_letters import DeadLettered
from contracts.gateway import TokensStreamed
from contracts.requests import SubmitRequest
from hansard.envelope import TENANT, Envelope
from hansard.identity import client_id
from infra.audit.words import Minutes, Word, text_of
from infra.cli import base, screen
from infra.cli.base import Problem
from infra.cli.bus import Bus, Listener, ReceivedMessage, request
from infra.cli.writing import Drafts
from infra.terminal import typed
from shared.settings import Settings

RESULTS = "hansard.results."
AGAIN = 2.0  # seconds that a request under a used id gets to be turned away, before its old result is shown
GRACE = 30.0  # seconds that we wait for a result beyond the workflow's own deadline

Tenant = Annotated[str, typer.Option(help="Whose request it is.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line, for programs.")]


def word(entry: ReceivedMessage) -> Word | None:
    """A record as a line; None for what is no message of ours."""
    envelope = entry.envelope
    if envelope is None:
        return None
    data = entry.data if isinstance(entry.data, dict) else {"detail": text_of(envelope.data[:200])}
    who = envelope.source.removeprefix("/hansard/") if envelope.source.startswith("/hansard/") else ""
    stream = (envelope.subject or who) if not entry.door else who
    return Word(
        id=entry.causation_id,
        at=entry.at,
        workflow=envelope.correlation_id,
        stream=stream,
        kind=envelope.type,
        causation_id="" if entry.door or envelope.causation_id == envelope.id else envelope.causation_id,
        data=data,
        topic=entry.record.topic,
        tenant=envelope.tenant,
    )


@dataclass(frozen=True)
class Asked:
    """One request of a person's, ready to be published."""

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
    """What became of a request. `kind` is the terminal message's, or that of its dead letter."""

    kind: str
    data: Mapping[str, Any]
    seconds: float
    words: list[Word] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return self.kind == screen.GOOD


def asked(body: Mapping[str, Any], *, id_: str = "", workflow: str = "", tenant: str = TENANT, checked: bool = True) -> Asked:
    """A request under an id of its own where none is given. Raises Problem for one that its schema refuses."""
    if checked:
        try:
            SubmitRequest.model_validate(body)
        except ValidationError as invalid:
            raise Problem(f"That is no request: {problems(invalid)}", code=2) from None
    id_ = id_ or client_id("ask", uuid.uuid4())
    return Asked(id_, workflow or id_, tenant, body)


def problems(invalid: ValidationError) -> str:
    """What is wrong, in a sentence."""
    found = [(".".join(str(part) for part in one["loc"] if not str(part).startswith("<")), one) for one in invalid.errors()]
    places = [place for place, _ in found]
    return "; ".join(
        f"{place}: {_wrong(one)}".removeprefix(": ")
        for place, one in found
        # a list whose items are wrong has too few, says pydantic too
        if one["type"] != "too_short" or not any(other.startswith(f"{place}.") for other in places)
    )


def _wrong(one: Any) -> str:
    match one["type"]:
        case "missing":
            return "is missing"
        case "too_short":
            return f"at least {one['ctx']['min_length']} needed"
        case _:
            return str(one["msg"]).replace("Value error, ", "")


HOW = "A plan is a `name` and `steps`, each with an `id` and a `worker`; `hansard init` writes one to start from"


def plan_of(text: str) -> Any:
    """A plan's name as it is; a file with a plan in it (YAML or JSON) as data. Raises Problem for one that holds none."""
    path = Path(text)
    if path.is_dir():
        raise Problem(f"{text} is a folder: name a plan's file in it.", code=2)
    if path.suffix not in (".yaml", ".yml", ".json") and not path.is_file():
        return text
    try:
        data = yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError:
        raise Problem(f"There is no file {text}.", code=2) from None
    except yaml.MarkedYAMLError as bad:
        raise Problem(f"{text} is no YAML: {_marked(bad)}.", code=2) from None
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as bad:
        raise Problem(f"{text} cannot be read as YAML: {' '.join(str(bad).split())}.", code=2) from None
    if not isinstance(data, dict):
        raise Problem(f"{text} {'is empty' if data is None else 'holds no plan'}. {HOW}.", code=2)
    return data


def _marked(bad: yaml.MarkedYAMLError) -> str:
    where = f"line {bad.problem_mark.line + 1}, column {bad.problem_mark.column + 1}: " if bad.problem_mark else ""
    return f"{where}{bad.problem or bad.context}"


def misspelled(data: Mapping[Any, Any]) -> Iterator[str]:
    """Fields that no plan has, which a message would pass over."""
    from services.router.plans import unknown_fields

    for place, name, shape in unknown_fields(data):
        near = get_close_matches(name, shape.model_fields, 1)
        yield f"{place}{name}: no such field{f', perhaps {near[0]}' if near else ''}"


def ask(
    text: Annotated[str, typer.Argument(help="The request, in your own words.")] = "",
    type_: Annotated[str, typer.Option("--type", help="A typed request: the handler's name.")] = "",
    data: Annotated[str, typer.Option(help="JSON that goes with --type.")] = "",
    plan: Annotated[str, typer.Option(help="A named plan, or a YAML file with one.")] = "",
    architecture: Annotated[str, typer.Option(help="Your own choice; else the router chooses.")] = "",
    deadline: Annotated[float, typer.Option(help="Seconds in which it must be answered.")] = 0,
    budget: Annotated[str, typer.Option(help="US dollars that may be spent on models.")] = "",
    tenant: Tenant = TENANT,
    id_: Annotated[str, typer.Option("--id", help="Your own id: the same id is the same request.")] = "",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only the result.")] = False,
    json_: Json = False,
) -> None:
    """Ask something, watch it being answered, see the result. Exits 1 when it was not answered.

    Example: hansard ask "Summarise the rules of debate"    ·    hansard ask --type calculate_tax --data '{…}'
    """
    body: dict[str, Any] = {"text": typed(text)} if text else {}
    if type_:
        body["type"] = type_
    if data:
        body["data"] = _object(typed(data), "--data")
    if plan:
        body["plan"] = given = plan_of(plan)
        if wrong := "; ".join(misspelled(given) if isinstance(given, dict) else ()):
            raise Problem(f"{plan} is no plan: {wrong}. {HOW}.", code=2)
    if architecture:
        body["architecture"] = architecture
    if deadline:
        body["deadline"] = (datetime.now(UTC) + timedelta(seconds=deadline)).isoformat()
    if budget:
        body["budget"] = budget
    put = asked(body, id_=id_, tenant=tenant)
    settings = base.running(kafka=True)
    answer = base.run(put_and_watch(settings, put, show=not (quiet or json_), known=bool(id_), seconds=deadline))
    conclude(put, answer, json_=json_)


def conclude(put: Asked, answer: Answer, *, json_: bool) -> None:
    """Shows what became of a request. Exits 1 where it was not answered."""
    if json_:
        told = {"workflow": put.workflow, "type": answer.kind, "seconds": round(answer.seconds, 3)}
        print(screen.as_json(told | {"data": answer.data}))
    else:
        screen.out.print(screen.result(answer.kind, answer.data, answer.seconds))
        screen.say(f"the whole story: hansard audit show {put.workflow}")
    if not answer.good:
        raise typer.Exit(1)


def _object(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as bad:
        raise Problem(f"{name} is not JSON: {bad}", code=2) from None


async def put_and_watch(settings: Settings, put: Asked, *, show: bool, known: bool, seconds: float) -> Answer:
    """Publishes a request and waits for its result; `show`: what is said in between."""
    with Printer(put.workflow) as printer:
        return await _answered(settings, put, printer if show else None, known=known, seconds=seconds)


async def _answered(settings: Settings, put: Asked, printer: "Printer | None", *, known: bool, seconds: float) -> Answer:
    topics = [topic.name for topic in settings.topics.all]
    early = ("results", "dead-letters") if known else ()
    async with Bus(settings) as bus, bus.listen(topics, beginning=early) as listener:
        began, asked_at = time.monotonic(), datetime.now(UTC)
        await bus.publish("requests", put.envelope)
        end = began + (seconds or settings.workflow_seconds) + GRACE
        before: Answer | None = None
        while time.monotonic() < end:
            stored = [one for one in map(word, await listener.batch()) if one is not None and concerns(one, put)]
            ends = [one for one in stored if is_end(one, put)]
            last = next((one for one in ends if not known or one.at > asked_at), None)
            if last:  # what was said before it may come after it, by another topic
                stored += [one for one in map(word, await listener.batch()) if one is not None and concerns(one, put)]
            if printer:
                for one in sorted(stored, key=lambda one: one.at):
                    printer.show(one)
            if last:
                return Answer(last.kind, last.data, time.monotonic() - began)
            old = next((one for one in ends if one.kind.startswith(RESULTS)), None)
            before = before or (Answer(old.kind, old.data, 0.0) if old else None)
            if before and time.monotonic() > began + AGAIN:
                screen.say(f"{put.workflow} was asked before: this is the result it had.")
                return before
    raise Problem(
        f"No result for {put.workflow} came in time. `hansard status` says whether the services run; "
        f"`hansard audit show {put.workflow}` what is on the record."
    )


async def until(listener: Listener, end: float) -> AsyncIterator[ReceivedMessage]:
    """What is heard, until the clock of this process (monotonic) says `end`."""
    while time.monotonic() < end:
        for entry in await listener.batch():
            yield entry


def concerns(stored: Word, put: Asked) -> bool:
    """Whether a message is of this request."""
    if stored.workflow == put.workflow and stored.tenant == put.tenant:
        return True
    return _dead_request(stored, put)


def is_end(stored: Word, put: Asked) -> bool:
    """The workflow's terminal message; or that this very request is a dead letter."""
    if stored.kind.startswith(RESULTS):
        return stored.workflow == put.workflow and stored.tenant == put.tenant
    return _dead_request(stored, put) and stored.data.get("reason") in ("correlation-in-use", "id-reused", "unreadable")


def _dead_request(stored: Word, put: Asked) -> bool:
    return (
        stored.kind == DeadLettered.kind
        and stored.data.get("topic") == "requests"
        and stored.data.get("message_id") == put.id
        and stored.tenant == put.tenant
    )


@dataclass
class Printer:
    """Prints messages as they go by; on a terminal, under them the answers that are being written. Left, it tidies up."""

    workflow: str = ""
    minutes: Minutes = field(default_factory=Minutes)
    began: datetime | None = None
    _drafts: Drafts = field(default_factory=Drafts)
    _stage: screen.Stage = field(default_factory=screen.Stage)
    _seen: set[str] = field(default_factory=set)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stage.clear()

    def show(self, stored: Word) -> None:
        """One line; a repeat of what was shown is not shown again."""
        if stored.id in self._seen:
            return
        self._drafts.process(stored)
        changes = self._stage.can_change
        if changes:
            drafts = ((draft.word, draft.text) for draft in self._drafts)
            self._stage.below([screen.writing(*one, self.began, workflow=not self.workflow) for one in drafts])
        if stored.kind != TokensStreamed.kind or not changes:
            self._line(stored)

    def _line(self, stored: Word) -> None:
        if not self._seen:
            self.began = stored.at if self.workflow else None
            self._stage.put(screen.heading(workflow=not self.workflow))
        self._seen.add(stored.id)
        self._stage.put(screen.line(stored, self.minutes, self.began, workflow=not self.workflow))


def print_result(stored: Word, *, json_: bool) -> None:
    """One terminal message, for a person or a program."""
    if json_:
        told = {"workflow": stored.workflow, "type": stored.kind, "at": stored.at.isoformat(), "data": stored.data}
        print(screen.as_json(told), flush=True)
    else:
        screen.put(screen.result_line(stored))


def watch(
    workflow: Annotated[str, typer.Argument(metavar="[ID]", help="One workflow; else everything.")] = "",
    back: Annotated[bool, typer.Option("--all", help="From the beginning of the topics, not from now.")] = False,
    json_: Json = False,
) -> None:
    """See messages go by as they are said: who said what, caused by what, at what cost. Ctrl-C ends it.

    Example: hansard watch    ·    hansard watch ask-1f0b6f7a9c11
    """
    settings = base.running(kafka=True)
    base.run(_watch(settings, workflow, "beginning" if back or workflow else "end", json_=json_))


async def _watch(settings: Settings, workflow: str, start: Any, *, json_: bool) -> None:
    async with Bus(settings) as bus, bus.listen([t.name for t in settings.topics.all], start) as listener:
        screen.say("listening; Ctrl-C ends it")
        with Printer(workflow) as printer:
            await _show(listener, printer, json_=json_)


async def _show(listener: Listener, printer: Printer, *, json_: bool) -> None:
    while True:
        for entry in await listener.batch():
            stored = word(entry)
            if stored is None or (printer.workflow and stored.workflow != printer.workflow):
                continue
            if json_:
                print(screen.as_json(_flat(stored)), flush=True)
            else:
                printer.show(stored)


def _flat(stored: Word) -> dict[str, Any]:
    return {
        "at": stored.at.isoformat(),
        "tenant": stored.tenant,
        "workflow": stored.workflow,
        "topic": stored.topic,
        "stream": stored.stream,
        "id": stored.id,
        "type": stored.kind,
        "causation_id": stored.causation_id,
        "data": stored.data,
    }


def results(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as new ones come.")] = False,
    last: Annotated[int, typer.Option("--last", "-n", help="Only the last so many; 0: all.")] = 0,
    json_: Json = False,
) -> None:
    """The results there are, oldest first.

    Example: hansard results --follow    ·    hansard results -n 5 --json
    """
    base.run(_results(base.running(kafka=True), follow=follow, last=last, json_=json_))


async def _results(settings: Settings, *, follow: bool, last: int, json_: bool) -> None:
    async with Bus(settings) as bus, bus.listen(["results"], "beginning") as listener:
        seen: dict[str, Word] = {}
        async for entry in listener.to_the_end():
            stored = word(entry)
            if stored is not None:
                seen.setdefault(stored.id, stored)
        for stored in sorted(seen.values(), key=lambda one: one.at)[-last:]:
            print_result(stored, json_=json_)
        while follow:
            for entry in await listener.batch():
                stored = word(entry)
                if stored is not None and stored.id not in seen:
                    seen[stored.id] = stored
                    print_result(stored, json_=json_)


def cancel(
    workflow: Annotated[str, typer.Argument(metavar="ID", help="The workflow.")],
    by: Annotated[str, typer.Option(help="Who says so.")] = "hansard",
    reason: Annotated[str, typer.Option(help="Why; it goes on the record.")] = "",
    tenant: Tenant = TENANT,
) -> None:
    """Cancel a workflow. One that has its result already keeps it; one that is not yet there will find the cancel waiting.

    Example: hansard cancel ask-1f0b6f7a9c11 --reason "asked the wrong thing"
    """
    data = CancelWorkflow(by=by, reason=reason).model_dump_json().encode()
    settings = base.running(kafka=True)
    try:
        envelope = request(client_id("cancel", uuid.uuid4()), CancelWorkflow.kind, data, workflow=workflow, tenant=tenant)
        base.run(say_once(settings, "control", envelope))
    except ValueError as bad:
        raise Problem(str(bad), code=2) from None
    screen.say(f"{workflow} is asked to stop; `hansard watch {workflow}` shows what comes of it.")


async def say_once(settings: Settings, topic: str, envelope: Envelope) -> None:
    """Publishes one message."""
    async with Bus(settings) as bus:
        await bus.publish(topic, envelope)
