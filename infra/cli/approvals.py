"""`approvals list|show`: actions and questions that wait for a person, and how earlier ones were decided."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from rich.text import Text

from contracts.approval import (
    ActionAssessed,
    ActionEdited,
    ActionEscalated,
    ActionProposed,
    ActionRejected,
    MoreAsked,
    MoreGiven,
    QuestionAnswered,
    QuestionAsked,
    Requester,
    ReviewAccepted,
    ReviewDelegated,
    ReviewRefused,
)
from hansard.message import Message
from infra.audit import projections
from infra.audit.approvals import KINDS, Case, cases, named
from infra.audit.text import one_line, percent
from infra.cli import base, screen
from infra.cli.options import Json
from infra.cli.problem import Problem
from shared.settings import Settings

NEWEST = 200_000  # messages on the record among which actions are looked for
COLOURS = {"low": "green", "medium": "yellow", "high": "dark_orange", "critical": "red"}

app = typer.Typer(
    help="Actions and questions that wait for a person: list them, show one, decide.\n\n"
    "An ID is WORKFLOW/ACTION, a workflow that has only one, or the beginning of the action's hash.",
    no_args_is_help=True,
)


async def recorded(settings: Settings) -> list[Case]:
    """Every case among the newest messages of the record, in the order in which they were asked for."""
    async with base.record(settings) as store:
        found = await store.read_last([kind.kind for kind in KINDS], NEWEST)
    read = ((stored, projections.read(stored, settings.topics)) for stored in found)
    every = ((one.stream, one.at or datetime.now(UTC), message) for one, message in read if message is not None)
    return list(cases(every).values())


async def one_case(settings: Settings, id_: str) -> Case:
    """The case that an id names. Raises Problem."""
    found = named(await recorded(settings), id_)
    if not found:
        raise Problem(f"{id_} names no action or question on record: `hansard approvals list --all`.")
    if len(found) > 1:
        names = ", ".join(case.id for case in found[:5])
        raise Problem(f"{id_} names {len(found)} of them: {names}{', …' if len(found) > 5 else ''}.")
    return found[0]


@app.command("list")
def list_cases(
    all_: Annotated[bool, typer.Option("--all", help="Also those that are decided.")] = False,
    role: Annotated[str, typer.Option(help="Only those that this role decides: reviewer, senior, …")] = "",
    tenant: Annotated[str, typer.Option(help="Only this tenant's.")] = "",
    json_: Json = False,
) -> None:
    """List what waits for a decision, the oldest first: the action, its risk, why it waits, and until when.

    Example: hansard approvals list    ·    hansard approvals list --role senior --json
    """
    every = base.run(recorded(base.running(postgres=True)))
    found = [
        case
        for case in every
        if (all_ or case.open) and role in ("", case.role) and tenant in ("", case.stream.tenant)
    ]  # fmt: skip
    if json_:
        for case in found:
            screen.put_json(as_json(case))
        return
    if not found:
        screen.out.print("Nothing waits for a decision." if not all_ else "No action was ever proposed.")
        return
    columns = ("id", "risk", "what", "cost", "confidence", "status", "who may decide", "until")
    screen.out.print(screen.table(columns, map(row, found)))
    screen.note("hansard approvals show ID    ·    hansard approvals approve ID --as NAME")


def row(case: Case) -> tuple[object, ...]:
    assessed = case.assessed
    return (
        case.id,
        Text(assessed.risk, COLOURS[assessed.risk]) if assessed else "question" if isinstance(case.asked, QuestionAsked) else "",
        one_line(case.about, 60),
        cost(case),
        percent(case.asked.confidence) if isinstance(case.asked, ActionProposed) else "",
        case.status,
        case.role if case.open else ", ".join(ended_by(case)),
        until(case, datetime.now(UTC)) if case.open else "",
    )


def cost(case: Case) -> str:
    """`2500 USD`."""
    found = case.cost
    return f"{found[0]:f} {found[1]}" if found else ""


def ended_by(case: Case) -> Iterator[str]:
    end = case.end
    if isinstance(end, QuestionAnswered):
        yield end.by
    elif end is not None and not hasattr(end, "by"):
        yield str(getattr(end, "because", ""))
    elif end is not None:
        yield from getattr(end, "by", ()) or (str(getattr(end, "because", "") or "the policy"),)


def until(case: Case, now: datetime) -> str:
    """`in 3 h`: how long there is to decide."""
    if case.expires_at is None:
        return ""
    left = case.expires_at - now
    if left <= timedelta():
        return "now"
    for unit, name in ((86400, "days"), (3600, "h"), (60, "min")):
        if left.total_seconds() >= 2 * unit:
            return f"in {int(left.total_seconds() // unit)} {name}"
    return f"in {int(left.total_seconds())} s"


@app.command("show")
def show(id_: Annotated[str, typer.Argument(metavar="ID")], json_: Json = False) -> None:
    """Print one action as it waits, to the byte: why it waits, similar past decisions, every review, the deadline.

    Example: hansard approvals show order-77/pay.1
    """
    case = base.run(one_case(base.running(postgres=True), id_))
    if json_:
        screen.put_json(as_json(case))
        return
    screen.out.print(screen.table(("", ""), list(details(case))))
    if case.open:
        screen.note(f"hansard approvals approve|reject|edit|ask|delegate {case.id} --as NAME")


def details(case: Case) -> Iterator[tuple[str, object]]:
    """What a person needs to decide, line by line."""
    asked, assessed = case.asked, case.assessed
    yield "id", case.id
    yield "what", case.about
    yield "status", case.status
    if isinstance(asked, ActionProposed):
        action = case.action
        yield "tool", action.tool if action else "?"
        if action and action.recipient:
            yield "recipient", action.recipient
        for name, value in (action.arguments if action else {}).items():
            yield f"argument {name}", value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        yield "the exact bytes", case.written
        yield "their SHA-256", case.sha256
        yield "cost", cost(case)
        yield "confidence", percent(asked.confidence) or "unknown"
        for option in asked.options:
            yield f"view of {option.source}", f"{option.view} {percent(option.confidence)}".strip()
        for reason in asked.reasons:
            yield "proposed because", reason
    else:
        yield "choices", ", ".join(asked.choices) or "any answer"
    yield "requested by", requested_by(case.requester)
    if assessed is not None:
        yield "risk", assessed.risk
        yield "decided by", f"rule {assessed.rule} of policy {assessed.policy}"
        for reason in assessed.reasons:
            yield "waits because", reason
        for past in assessed.similar:
            by = f" by {', '.join(past.by)}" if past.by else ""
            yield f"similar, {percent(past.similarity)}", f"{past.status}{by}: {past.about} ({past.workflow}/{past.action})"
        if case.open:
            yield "who may decide", f"{assessed.quorum} with the role {case.role}"
    if case.open and case.expires_at is not None:
        yield "refused, if nobody decides", f"{case.expires_at:%Y-%m-%d %H:%M:%S %Z} ({until(case, datetime.now(UTC))})"
    for at, message in case.events:
        if (line := event(message)) is not None:
            yield f"{at:%Y-%m-%d %H:%M:%S}", line


def requested_by(requester: Requester) -> str:
    """`bob@example.org (proven by signature)`."""
    if requester.proof == "unproven":
        return f"{requester.name or 'nobody named'} (unproven: {requester.why})"
    return f"{requester.name} (proven by {requester.proof})"


def event(message: Message) -> str | None:
    """One line of what happened; None for what the lines above tell already."""
    match message:
        case ReviewAccepted(review=review, proof=proof):
            return f"{review.reviewer}: {review.decision} (proven by {proof}){f': {review.notes}' if review.notes else ''}"
        case ReviewRefused(reviewer=reviewer, decision=decision, reason=reason, detail=detail):
            return f"refused, {reason}: {decision} by {reviewer}, as claimed. {detail}"
        case ReviewDelegated(by=by, to=to):
            return f"{by} delegated it to {to}"
        case MoreAsked(text=text, by=by):
            return f"{by} asks: {text}"
        case MoreGiven(answer=answer):
            return f"the workflow answers: {answer}"
        case ActionEdited(by=by, proposed=proposed):
            return f"{by} changed it: other bytes were proposed, {proposed[:16]}…"
        case ActionEscalated(because=because, role=role):
            return f"escalated to {role}: {because}"
        case ActionRejected(because=because):
            return f"refused: {because}"
        case ActionAssessed() | ActionProposed() | QuestionAsked():
            return None
        case _:
            return message.kind.split(".")[2].replace("-", " ")


def as_json(case: Case) -> dict[str, Any]:
    """The case as one object: what was asked, the assessment, every event."""
    return {
        "id": case.id,
        "tenant": case.stream.tenant,
        "workflow": case.stream.workflow,
        "action_id": case.action_id,
        "status": case.status,
        "open": case.open,
        "role": case.role,
        "expires_at": case.expires_at,
        "sha256": case.sha256,
        "requester": case.requester.model_dump(mode="json"),
        "asked": case.asked.model_dump(mode="json"),
        "assessed": case.assessed.model_dump(mode="json") if case.assessed else None,
        "events": [{"at": at, "type": one.kind, "data": one.model_dump(mode="json")} for at, one in case.events],
    }
