"""One stream an action, or a question: what becomes of it, for people. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from contracts.approval import (
    ActionApproved,
    ActionAssessed,
    ActionEdited,
    ActionEscalated,
    ActionProposed,
    ActionRejected,
    MoreGiven,
    QuestionAnswered,
    QuestionAsked,
    QuestionExpired,
    ReviewDelegated,
)
from contracts.notifier import ActionNoted, DeliverWebhook, Notification
from hansard.actions import Action, BadAction, read_action
from hansard.decider import Context, Decider
from hansard.identity import delivery_name
from hansard.message import Message
from hansard.values import carried
from shared.webhooks.endpoints import Endpoints

QUEUES = {"reviewer": "reviewers", "senior": "seniors", "specialist": "specialists"}  # by the role that may decide
SHOWN = ("tool", "about", "amount", "currency", "recipient")  # of an action
LONGEST_QUESTION = 4_000  # characters


@dataclass(frozen=True, slots=True)
class Noted:
    """What is known of the action. `last`: the last notification."""

    action: Action | None = None
    sha256: str = ""
    last: Notification | None = None


def notifications(endpoints: Endpoints) -> Decider[Noted]:
    with_arguments = any(one.arguments for one in endpoints.endpoints)

    def decide(noted: Noted, message: Message, context: Context) -> Iterable[Message]:
        if isinstance(message, ActionProposed | ActionEdited) and (action := _read(message.action)) is not None:
            kept = action if with_arguments else action.model_copy(update={"arguments": {}})
            note = ActionNoted(action_id=message.action_id, sha256=message.sha256, action=kept)
            yield note
            noted = evolve(noted, note)
        if (what := _what(message)) is not None:
            number = noted.last.number + 1 if noted.last else 1
            notification = Notification.model_validate(_known(noted) | what | {"number": number})
            yield notification
            yield from _deliveries(endpoints, noted, message, notification, context)

    return Decider(Noted(), decide, evolve, policy=endpoints.policy)


def evolve(noted: Noted, message: Message) -> Noted:
    match message:
        case ActionNoted(action=action, sha256=sha256):
            return Noted(action, sha256, noted.last)
        case Notification():
            return Noted(noted.action, noted.sha256, message)
        case _:
            return noted


def _what(message: Message) -> dict[str, Any] | None:
    """What this message changes of what is known; None where nobody is told."""
    match message:
        case ActionAssessed(queue="", role=""):
            return None  # nobody has to decide; the decision follows
        case ActionAssessed(action_id=action_id):
            named = ("sha256", "queue", "role", "risk", "reasons", "status", "requester")
            fields = {name: getattr(message, name) for name in named}
            times = {"escalates_at": message.escalates_at, "deadline": message.expires_at}
            return {"event": "decision-needed", "action_id": action_id} | fields | times
        case ActionEscalated(action_id=action_id, role=role, because=because, expires_at=at):
            changed = {"queue": QUEUES.get(role, role), "role": role, "person": "", "escalates_at": None, "deadline": at}
            return {"event": "escalated", "action_id": action_id, "reasons": (because,), "status": "escalated"} | changed
        case ReviewDelegated(action_id=action_id, by=by, to=to):
            return {"event": "delegated", "action_id": action_id, "by": (by,), "person": to}
        case MoreGiven(action_id=action_id):
            times = {"escalates_at": message.escalates_at, "deadline": message.expires_at}
            return {"event": "more-given", "action_id": action_id} | times
        case ActionEdited(action_id=action_id, sha256=sha256, action=action, by=by):
            return _shown(_read(action)) | {"event": "edited", "action_id": action_id, "sha256": sha256, "by": (by,)}
        case ActionApproved(action_id=action_id, sha256=sha256, status=status, by=by):
            decided = {"sha256": sha256, "status": status, "by": by}
            return _shown(_read(message.action)) | {"event": "approved", "action_id": action_id} | decided | _OVER
        case ActionRejected(action_id=action_id, sha256=sha256, status=status, because=because, by=by):
            ended = {"sha256": sha256, "status": status, "reasons": (because,), "by": by}
            return {"event": "rejected", "action_id": action_id} | ended | _OVER
        case QuestionAsked(action_id=action_id, question=question, role=role, expires_at=at):
            asked = {"about": question[:LONGEST_QUESTION], "role": role, "queue": QUEUES.get(role, role), "deadline": at}
            return {"event": "question-asked", "action_id": action_id, "requester": message.requester} | asked
        case QuestionAnswered(action_id=action_id, by=answered):
            return {"event": "question-answered", "action_id": action_id, "by": (answered,)} | _OVER
        case QuestionExpired(action_id=action_id, because=because):
            return {"event": "question-expired", "action_id": action_id, "reasons": (because,)} | _OVER
        case _:
            return None


_OVER = {"escalates_at": None, "deadline": None, "person": ""}  # nobody has to decide any more


def _known(noted: Noted) -> dict[str, Any]:
    """What the last notification stated still holds, unless the next changes it."""
    known = _shown(noted.action) | {"sha256": noted.sha256}
    return known | (carried(noted.last, Notification) | {"by": ()} if noted.last else {})


def _shown(action: Action | None) -> dict[str, Any]:
    return {name: getattr(action, name) for name in SHOWN} if action else {}


def _read(action: str) -> Action | None:
    try:
        return read_action(action.encode())
    except (BadAction, UnicodeEncodeError):
        return None  # approval refuses it; whoever is told sees its id and hash


def _deliveries(
    endpoints: Endpoints, noted: Noted, message: Message, notification: Notification, context: Context
) -> Iterator[DeliverWebhook]:
    what, about = f"approval.{notification.event}", notification.action_id
    shown = notification.model_dump(mode="json") | {"workflow": context.workflow, "tenant": context.tenant}
    action = (_read(message.action) if isinstance(message, ActionApproved) else None) or noted.action
    for endpoint in endpoints.endpoints:
        if endpoint.takes(what, tenant=context.tenant, queue=notification.queue, role=notification.role):
            arguments = {"arguments": action.arguments} if endpoint.arguments and action else {}
            yield DeliverWebhook(
                delivery=delivery_name(about, notification.number, endpoint.name),
                endpoint=endpoint.name,
                type=what,
                at=context.at,
                data=shown | arguments,
            )
