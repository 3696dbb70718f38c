"""`approvals list|show`: actions and questions that wait for a person, and how earlier ones were decided."""

import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
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
from shared.foreign_text import as_json as json_of
from shared.foreign_text import on_one_line, plain_name, with_twins_seen
from shared.settings import Settings

NEWEST = 20_000  # messages of each kind: older ones are not looked at
COLOURS = {"low": "green", "medium": "yellow", "high": "dark_orange", "critical": "red"}

app = typer.Typer(
    help="Actions and questions that wait for a person: list them, show one, decide.\n\n"
    "An ID is WORKFLOW/ACTION, a workflow that has only one, or the beginning of the action's hash.",
    no_args_is_help=True,
)

Tenant = Annotated[str, typer.Option(help="Only this tenant's.")]


async def recorded(settings: Settings, tenant: str = "") -> list[Case]:
    """Every case among the newest messages of the record, in the order in which they were asked for."""
    async with base.record(settings) as store:
        found = await store.read_last([kind.kind for kind in KINDS], NEWEST, tenant)
    if (often := Counter(stored.kind for stored in found).most_common(1)) and often[0][1] >= NEWEST:
        screen.warn(
            f"Only the newest {NEWEST:,} messages of a kind are looked at, and there are as many: older ones may wait too."
        )
    read = ((stored, projections.read(stored, settings.topics)) for stored in found)
    every = ((one.stream, one.at or datetime.now(UTC), message) for one, message in read if message is not None)
    return list(cases(every).values())


async def one_case(settings: Settings, id_: str, tenant: str = "") -> Case:
    """The case that an id names. Raises Problem."""
    return the_one(await recorded(settings, tenant), id_)


def the_one(every: Sequence[Case], id_: str) -> Case:
    """The case that an id names among these. Raises Problem where it names none or several, or bytes that wait no more."""
    found = named(every, id_)
    if not found:
        raise Problem(f"{id_} names no action or question on record: `hansard approvals list --all`.")
    if len(found) > 1:
        names = "".join(f"\n  {in_full(case)}" for case in found[:20])
        raise Problem(
            f"{id_} names {len(found)} of them:{names}{chr(10) + '  …' if len(found) > 20 else ''}\n"
            "Name one by its WORKFLOW/ACTION, and by --tenant where that is not enough."
        )
    [case] = found
    if case.hash_begins(id_) and not case.sha256.startswith(id_.lower()) and id_ not in (case.id, case.stream.workflow):
        raise Problem(
            f"{id_} was changed: {typed(case)} has other bytes now, {case.sha256}. `hansard approvals show {typed(case)}`."
        )
    return case


def typed(case: Case) -> str:
    """Its id as a shell takes it for one word."""
    return shlex.quote(on_one_line(case.id))


def in_full(case: Case) -> str:
    """Its id, tenant and hash, to tell it from all others."""
    tenant = shlex.quote(on_one_line(case.stream.tenant))
    return f"{typed(case)} --tenant {tenant}{f' --sha256 {case.sha256}' if case.sha256 else ' (a question)'}"


@app.command("list")
def list_cases(
    all_: Annotated[bool, typer.Option("--all", help="Also those that are decided.")] = False,
    role: Annotated[str, typer.Option(help="Only those that this role decides: reviewer, senior, …")] = "",
    tenant: Tenant = "",
    json_: Json = False,
) -> None:
    """List what waits for a decision, the oldest first: the action, its risk, why it waits, and until when.

    Example: hansard approvals list    ·    hansard approvals list --role senior --json
    """
    every = base.run(recorded(base.running(postgres=True), tenant))
    found = [case for case in every if (all_ or case.open) and role in ("", case.role)]
    if json_:
        for case in found:
            screen.put_json(as_json(case))
        return
    if not found:
        screen.out.print("Nothing waits for a decision." if not all_ else "No action was ever proposed.")
        return
    columns, rows = listing(found, several_tenants=len({case.stream.tenant for case in every}) > 1)
    screen.out.print(screen.table(columns, rows))
    which = "ID --tenant TENANT" if "tenant" in columns else "ID"
    screen.note(f"hansard approvals show {which}    ·    hansard approvals approve {which} --as NAME")


def listing(found: Iterable[Case], *, several_tenants: bool = False) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    """The names of the columns, and the rows: with the tenant where there are several."""
    columns = ("id", "risk", "what", "amount", "confidence", "status", "who may decide", "until")
    if not several_tenants:
        return columns, [row(case) for case in found]
    return ("tenant", *columns), [(on_one_line(case.stream.tenant), *row(case)) for case in found]


def row(case: Case) -> tuple[object, ...]:
    assessed = case.assessed
    return (
        on_one_line(case.id),
        Text(assessed.risk, COLOURS[assessed.risk]) if assessed else "question" if isinstance(case.asked, QuestionAsked) else "",
        one_line(case.about, 60),
        cost(case),
        percent(case.asked.confidence) if isinstance(case.asked, ActionProposed) else "",
        case.status,
        on_one_line(case.role if case.open else ", ".join(ended_by(case))),
        until(case, datetime.now(UTC)) if case.open else "",
    )


def cost(case: Case) -> str:
    """`2500 USD`: what the bytes that wait move; below it what the proposer estimates, where that is something else."""
    estimated = money(case.estimate)
    return "\n".join(part for part in (money(case.amount), estimated and f"(estimate: {estimated})") if part)


def money(found: tuple[Decimal, str] | None) -> str:
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
def show(id_: Annotated[str, typer.Argument(metavar="ID")], tenant: Tenant = "", json_: Json = False) -> None:
    """Print one action as it waits, to the byte: why it waits, similar past decisions, every review, the deadline.

    Example: hansard approvals show order-77/pay.1
    """
    case = base.run(one_case(base.running(postgres=True), id_, tenant))
    if json_:
        screen.put_json(as_json(case))
        return
    screen.out.print(screen.table(("", ""), list(details(case))))
    if case.open:
        of_tenant = f" --tenant {shlex.quote(on_one_line(tenant))}" if tenant else ""
        does = "answer ID ANSWER" if isinstance(case.asked, QuestionAsked) else "approve|reject|edit|ask|delegate ID"
        screen.note(f"hansard approvals {does.replace('ID', typed(case))}{of_tenant} --as NAME")


def details(case: Case) -> Iterator[tuple[str, object]]:
    """What a person needs to decide, line by line. Each label is ours and short, and each value one line: no name or text that
    others chose can look like a row."""
    for label, value in _details(case):
        yield label, on_one_line(value)


def _details(case: Case) -> Iterator[tuple[str, str]]:
    asked, assessed = case.asked, case.assessed
    yield "id", with_twins_seen(case.id)
    yield "tenant", with_twins_seen(case.stream.tenant)
    yield "what", case.about
    yield "status", case.status
    if isinstance(asked, ActionProposed):
        yield from _of_action(case)
        yield "confidence", percent(asked.confidence) or "unknown"
        for option in asked.options:
            yield "view", f"{json_of(option.source)}: {option.view} {percent(option.confidence)}".strip()
        for reason in asked.reasons:
            yield "proposed because", reason
    else:
        yield "choices", ", ".join(map(json_of, asked.choices)) or "any answer"
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


def _of_action(case: Case) -> Iterator[tuple[str, str]]:
    """The bytes that wait, and what they hold. The names of arguments are others' choice: they are no labels."""
    action = case.action
    yield "tool", with_twins_seen(action.tool) if action else "?"
    if action and action.recipient:
        yield "recipient", with_twins_seen(action.recipient)
    yield "amount", money(case.amount) or "none is stated"
    if case.estimate:
        yield "estimate", f"{money(case.estimate)}, as the proposer estimates the cost"
    for name, value in (action.arguments if action else {}).items():
        yield "argument", f"{json_of(name)}: {json_of(value)}"
    yield "the exact bytes", case.written
    yield "their SHA-256", case.sha256


def requested_by(requester: Requester) -> str:
    """`bob@example.org (proven by signature)`."""
    if requester.proof == "unproven":
        return f"{plain_name(requester.name) if requester.name else 'nobody named'} (unproven: {requester.why})"
    return f"{requester.name} (proven by {requester.proof})"


def event(message: Message) -> str | None:
    """One line of what happened; None for what the lines above tell already."""
    match message:
        case ReviewAccepted(review=review, proof=proof):
            how = "unproven" if proof == "unproven" else f"proven by {proof}"
            return f"{review.reviewer}: {review.decision} ({how}){f': {review.notes}' if review.notes else ''}"
        case ReviewRefused(reviewer=reviewer, decision=decision, reason=reason, detail=detail):
            return f"refused, {reason}: {decision} by {plain_name(reviewer)}, as claimed. {detail}"
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
        "amount": case.amount and str(case.amount[0]),
        "currency": case.amount and case.amount[1],
        "requester": case.requester.model_dump(mode="json"),
        "asked": case.asked.model_dump(mode="json"),
        "assessed": case.assessed.model_dump(mode="json") if case.assessed else None,
        "events": [{"at": at, "type": one.kind, "data": one.model_dump(mode="json")} for at, one in case.events],
    }
