"""`approvals approve|reject|edit|ask|delegate|answer`: a person's decision, signed, sent, and what became of it."""

import json
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from contracts.approval import QuestionAsked, ReviewAccepted, ReviewAction, ReviewRefused, stated_expiry
from contracts.catalog import Topics
from hansard.actions import Action, action_bytes, read_action
from hansard.codec import Invalid, decode, encode
from hansard.message import Message
from hansard.private_keys import key_file
from hansard.reviews import BadKey
from hansard.signer import Signer
from infra.audit.approvals import Case, is_hash
from infra.cli import base, screen
from infra.cli.approvals import Tenant, app, details, one_case, typed
from infra.cli.bus import Bus, Listener, request
from infra.cli.options import Json
from infra.cli.problem import Problem
from shared.json_text import BadJson, parsed
from shared.settings import Settings
from shared.text_files import decoded

PATIENCE = 60.0  # seconds until a review is answered

Id = Annotated[str, typer.Argument(metavar="ID", help="WORKFLOW/ACTION, or the action's hash: a whole one is as --sha256 too.")]
As = Annotated[str, typer.Option("--as", metavar="NAME", envvar="HANSARD_REVIEWER", help="Who decides, as registered.")]
Key = Annotated[str, typer.Option("--key", metavar="FILE", help="Your private key; without it ~/.config/hansard/NAME.pem.")]
Notes = Annotated[str, typer.Option(help="Why: kept on record.")]
Hash = Annotated[str, typer.Option("--sha256", help="Decide only if these are the bytes that wait: as `show` printed it.")]
Changes = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="`amount=1250`, `arguments.invoice=R-18`.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask again.")]


@app.command("approve")
def approve(
    id_: Id, tenant: Tenant = "", reviewer: As = "", key: Key = "", notes: Notes = "", sha256: Hash = "", yes: Yes = False,
    json_: Json = False,
) -> None:  # fmt: skip
    """Approve exactly the action that is shown. In a script, name its hash (--sha256) or say --yes.

    Example: hansard approvals approve order-77/pay.1 --as alice@example.org --notes "per policy 4"
    """
    settings, case, who = _begin(id_, tenant, reviewer, key, sha256, json_=json_)
    _sure(f"Approve exactly this as {who.name}?", yes or bool(sha256) or is_hash(id_))
    _send(settings, case, who, json_=json_, decision="approve", notes=notes)


@app.command("reject")
def reject(
    id_: Id, tenant: Tenant = "", reviewer: As = "", key: Key = "", notes: Notes = "", sha256: Hash = "", yes: Yes = False,
    json_: Json = False,
) -> None:  # fmt: skip
    """Refuse the action: it never runs, and its workflow goes on without it, or fails.

    Example: hansard approvals reject order-77/pay.1 --as alice@example.org --notes "the outage was ours to expect"
    """
    settings, case, who = _begin(id_, tenant, reviewer, key, sha256, json_=json_)
    _sure(f"Reject this as {who.name}?", yes or bool(sha256) or is_hash(id_))
    _send(settings, case, who, json_=json_, decision="reject", notes=notes)


@app.command("edit")
def edit(
    id_: Id,
    changes: Changes = None,
    file: Annotated[str, typer.Option("--file", "-f", help="The whole action as it is approved, as JSON.")] = "",
    tenant: Tenant = "", reviewer: As = "", key: Key = "", notes: Notes = "", sha256: Hash = "", yes: Yes = False,
    json_: Json = False,
) -> None:  # fmt: skip
    """Change the action and approve what it has become: both hashes are on record.

    Example: hansard approvals edit order-77/pay.1 --set amount=1250 --as alice@example.org
    """
    settings, case, who = _begin(id_, tenant, reviewer, key, sha256, json_=json_)
    action = case.action
    if action is None:
        raise Problem(f"{typed(case)} is no action: `hansard approvals answer`.", code=2)
    edited = _edited(action, changes or [], file)
    if edited == case.written:
        raise Problem("Nothing was changed: `hansard approvals approve` approves it as it is.", code=2)
    if not json_:
        screen.out.print(f"It becomes: {edited}")
    _sure(f"Approve this instead, as {who.name}?", yes or bool(sha256) or is_hash(id_))
    _send(settings, case, who, json_=json_, decision="edit", notes=notes, edited=edited)


@app.command("ask")
def ask(
    id_: Id,
    question: Annotated[str, typer.Argument(help="What you need to know: the workflow answers.")],
    tenant: Tenant = "", reviewer: As = "", key: Key = "", notes: Notes = "", json_: Json = False,
) -> None:  # fmt: skip
    """Ask for more before you decide: the question goes back into the workflow, and its answer is shown with the action.

    Example: hansard approvals ask order-77/pay.1 "How long did the outage last?" --as alice@example.org
    """
    settings, case, who = _begin(id_, tenant, reviewer, key, "", json_=json_)
    _send(settings, case, who, json_=json_, decision="ask", notes=notes, question=question)


@app.command("delegate")
def delegate(
    id_: Id,
    to: Annotated[str, typer.Argument(help="Who decides in your place: a registered person with the role.")],
    tenant: Tenant = "", reviewer: As = "", key: Key = "", notes: Notes = "", json_: Json = False,
) -> None:  # fmt: skip
    """Let somebody else decide in your place.

    Example: hansard approvals delegate order-77/pay.1 carol@example.org --as alice@example.org
    """
    settings, case, who = _begin(id_, tenant, reviewer, key, "", json_=json_)
    _send(settings, case, who, json_=json_, decision="delegate", notes=notes, to=to)


@app.command("answer")
def answer(
    id_: Id,
    text: Annotated[str, typer.Argument(metavar="ANSWER", help="In words, or as JSON with --data.")],
    data: Annotated[bool, typer.Option("--data", help="The answer is JSON.")] = False,
    tenant: Tenant = "", reviewer: As = "", key: Key = "", notes: Notes = "", json_: Json = False,
) -> None:  # fmt: skip
    """Answer a question of a workflow.

    Example: hansard approvals answer order-77/ask.1 acct-9 --as alice@example.org
    """
    settings, case, who = _begin(id_, tenant, reviewer, key, "", json_=json_)
    if not isinstance(case.asked, QuestionAsked):
        raise Problem(f"{typed(case)} is an action, no question: `hansard approvals approve`.", code=2)
    if case.asked.choices and text not in case.asked.choices:
        raise Problem(f"{text!r} is none of the choices: {', '.join(case.asked.choices)}.", code=2)
    _send(settings, case, who, json_=json_, decision="answer", notes=notes, answer=_json(text) if data else text)


@dataclass(frozen=True)
class Reviewer:
    """Who decides. `signer`: None only where a deployment in development takes a name alone."""

    name: str
    signer: Signer | None = None

    def signed(self, review: ReviewAction, tenant: str, workflow: str) -> ReviewAction:
        """The review as this person's. Raises Problem where what it holds cannot be signed."""
        if self.signer is None:
            return review.model_copy(update={"reviewer": self.name})
        try:
            return ReviewAction(**self.signer.review(review.model_dump(mode="json"), tenant, workflow))
        except ValueError as unwritable:
            raise Problem(f"The review cannot be signed: {unwritable}.", code=2) from None


def reviewer_of(settings: Settings, name: str, file: str) -> Reviewer:
    """Raises Problem where no name is given, or no key of this name is found."""
    if not name:
        raise Problem("Who decides? Say --as NAME, or set HANSARD_REVIEWER.", code=2)
    if not file and settings.unproven_identities and not key_file(name).exists():
        return Reviewer(name)
    try:
        return Reviewer(name, Signer.of(name, file))
    except BadKey as bad:
        raise Problem(f"{bad}.", code=2) from None


def _begin(id_: str, tenant: str, reviewer: str, key: str, sha256: str, *, json_: bool) -> tuple[Settings, Case, Reviewer]:
    """The case as it waits, printed; and who decides. Raises Problem."""
    settings = base.running(kafka=True, postgres=True)
    who = reviewer_of(settings, reviewer, key)
    case = base.run(one_case(settings, id_, tenant))
    if not case.open:
        raise Problem(f"{typed(case)} does not wait for a decision: it is {case.status}. `hansard approvals show {typed(case)}`.")
    check_bytes(case, id_, sha256)
    if not json_:
        screen.out.print(screen.table(("", ""), list(details(case))))
    return settings, case, who


def check_bytes(case: Case, id_: str, sha256: str) -> None:
    """Raises Problem where a hash was named, and other bytes wait. A whole hash as the id names bytes as --sha256 does."""
    for given in [id_] * is_hash(id_) + [sha256] * bool(sha256):
        if len(given) < 16 or not case.sha256.startswith(given.lower()):
            raise Problem(
                f"{typed(case)} has other bytes than {given}: {case.sha256 or 'it is a question'}. "
                f"`hansard approvals show {typed(case)}` shows what waits now."
            )


def _sure(question: str, known: bool) -> None:
    """Asks a person; a script must have named the hash or said yes. Raises Problem."""
    if known:
        return
    if not base.terminal_in():
        raise Problem("Nobody is asked here: name what you approve by --sha256 HASH, or say --yes.", code=2)
    if not typer.confirm(question, err=True):
        raise Problem("Nothing was decided.")


def _edited(action: Action, changes: list[str], file: str) -> str:
    """The edited action's bytes, as text. Raises Problem."""
    try:
        if file:
            text = decoded(Path(file).read_bytes())
        elif changes:
            text = json.dumps(changed(action.model_dump(mode="json"), changes))
        else:
            raise Problem("What is to be changed? --set NAME=VALUE, or --file FILE.", code=2)
        return action_bytes(read_action(text.encode())).decode()
    except (OSError, ValueError) as bad:  # BadAction is one
        raise Problem(f"This is no action: {bad}.", code=2) from None


def changed(action: dict[str, Any], changes: list[str]) -> dict[str, Any]:
    """The action with these changes, each `name=value` or `arguments.name=value`; an argument is JSON where it can be read so.
    Raises ValueError."""
    result = {**action, "arguments": dict(action["arguments"])}
    for change in changes:
        name, is_change, value = change.partition("=")
        owner, dot, member = name.partition(".")
        if not is_change or (dot and owner != "arguments") or (not dot and name not in action) or name == "arguments":
            raise ValueError(
                f"{change!r} changes nothing: write NAME=VALUE with one of {', '.join(action)}, or arguments.NAME=VALUE"
            )
        if dot:
            result["arguments"][member] = _value(value)
        else:
            result[name] = value
    return result


def _value(text: str) -> Any:
    try:
        return parsed(text)
    except BadJson:
        return text


def _json(text: str) -> Any:
    try:
        return parsed(text)
    except BadJson as bad:
        raise Problem(f"The answer is not JSON: {bad}", code=2) from None


def _send(settings: Settings, case: Case, who: Reviewer, *, json_: bool, **fields: Any) -> None:
    """Publishes the signed review, waits for what becomes of it, prints that. Exits 1 where it was refused."""
    review = who.signed(
        ReviewAction(
            review=secrets.token_hex(16),
            action_id=case.action_id,
            sha256=case.sha256,
            expires_at=stated_expiry(case.asked),
            reviewer=who.name,
            **fields,
        ),
        case.stream.tenant,
        case.stream.workflow,
    )
    outcome = base.run(_decided(settings, case, review))
    if json_:
        screen.put_json({"review": review.review, "id": case.id, "type": outcome.kind, "data": outcome.model_dump(mode="json")})
    elif isinstance(outcome, ReviewAccepted):
        screen.note(f"It counts. `hansard approvals show {typed(case)}` shows what follows from it.")
    if isinstance(outcome, ReviewRefused):
        raise Problem(f"The review was refused: {outcome.reason}. {outcome.detail}".rstrip())


async def _decided(settings: Settings, case: Case, review: ReviewAction) -> ReviewAccepted | ReviewRefused:
    envelope = request(review.review, ReviewAction.kind, encode(review), workflow=case.stream.workflow, tenant=case.stream.tenant)
    async with (
        base.known_record(settings) as record,
        Bus(settings) as bus,
        bus.listen(["approval.events"], record=record) as listener,
    ):
        await bus.publish("approvals.reviews", envelope)
        return await _outcome(listener, settings.topics, review.review)


async def _outcome(listener: Listener, topics: Topics, review: str) -> ReviewAccepted | ReviewRefused:
    """What became of the review. Raises Problem where nothing comes."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        for received in await listener.batch():
            envelope = received.envelope
            message = _read(topics, envelope.type, envelope.data) if envelope else None
            if isinstance(message, ReviewAccepted) and message.review.review == review:
                return message
            if isinstance(message, ReviewRefused) and message.review == review:
                return message
    raise Problem("The review is published, and nothing has become of it yet. Does the service `approval` run? `hansard status`.")


def _read(topics: Topics, type_: str, data: bytes) -> Message | None:
    kind = topics.kinds.get(type_)
    try:
        return decode(kind, data) if kind else None
    except Invalid:
        return None
