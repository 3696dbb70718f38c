"""What the record holds of actions and questions that need a person: each with its assessment, reviews and end. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal, NamedTuple

from contracts.approval import (
    ActionApproved,
    ActionAssessed,
    ActionEdited,
    ActionEscalated,
    ActionProposed,
    ActionRejected,
    MoreAsked,
    MoreGiven,
    QuestionAnswered,
    QuestionAsked,
    QuestionExpired,
    Requester,
    ReviewAccepted,
    ReviewDelegated,
    ReviewRefused,
)
from hansard.actions import Action, BadAction, read_action
from hansard.message import Message
from shared.eventstore.model import Stream

KINDS: tuple[type[Message], ...] = (
    ActionProposed,
    ActionAssessed,
    ActionEdited,
    ActionEscalated,
    ActionApproved,
    ActionRejected,
    ReviewAccepted,
    ReviewRefused,
    ReviewDelegated,
    MoreAsked,
    MoreGiven,
    QuestionAsked,
    QuestionAnswered,
    QuestionExpired,
)
Status = Literal["assessing", "auto_approved", "pending_review", "escalated", "human_approved", "human_rejected", "answered"]
OPEN: tuple[Status, ...] = ("assessing", "pending_review", "escalated")


class Recorded(NamedTuple):
    """An event of a case and when it was recorded."""

    at: datetime
    message: Message


@dataclass
class Case:
    """One action, or one question, with all that the record holds of it, in order."""

    stream: Stream
    asked_at: datetime
    asked: ActionProposed | QuestionAsked
    events: list[Recorded] = field(default_factory=list)
    status: Status = "assessing"
    assessed: ActionAssessed | None = None
    role: str = ""
    expires_at: datetime | None = None
    edited: ActionEdited | None = None
    end: ActionApproved | ActionRejected | QuestionAnswered | QuestionExpired | None = None

    @property
    def action_id(self) -> str:
        return self.asked.action_id

    @property
    def id(self) -> str:
        """How the commands name it: `order-77/pay.1`."""
        return f"{self.stream.workflow}/{self.action_id}"

    @property
    def requester(self) -> Requester:
        """Who wants it, as far as approval proved it. What the proposal states of its proof is a claim, and shown as one."""
        if self.assessed is not None and self.assessed.requester is not None:
            return self.assessed.requester
        claimed = self.asked.requester
        return Requester(name=claimed.name, key=claimed.key, why=claimed.why or "as claimed")

    @property
    def open(self) -> bool:
        return self.status in OPEN and self.status != "assessing"

    @property
    def sha256(self) -> str:
        """Of the bytes that wait, or that were decided. "" for a question."""
        return self._bytes.sha256 if self._bytes else ""

    @property
    def written(self) -> str:
        """The bytes that wait, or that were decided, as text. "" for a question."""
        return self._bytes.action if self._bytes else ""

    @property
    def _bytes(self) -> ActionProposed | ActionEdited | None:
        return self.edited or (self.asked if isinstance(self.asked, ActionProposed) else None)

    @property
    def action(self) -> Action | None:
        """The action as it stands now; None for a question, or for bytes that are no action."""
        try:
            return read_action(self.written.encode()) if self.written else None
        except BadAction:
            return None

    @property
    def about(self) -> str:
        if isinstance(self.asked, QuestionAsked):
            return self.asked.question
        action = self.action
        return (action.about or action.tool) if action else self.written

    @property
    def cost(self) -> tuple[Decimal, str] | None:
        """What it is estimated to cost, or the amount that it moves; with its currency."""
        if isinstance(self.asked, ActionProposed) and self.asked.cost is not None:
            return self.asked.cost, self.asked.currency
        action = self.action
        return (action.amount, action.currency) if action and action.amount is not None else None

    def add(self, at: datetime, message: Message) -> None:
        self.events.append(Recorded(at, message))
        match message:
            case ActionAssessed():
                self.assessed, self.status = message, message.status
                self.role, self.expires_at = message.role, message.expires_at
            case ActionEscalated(role=role, expires_at=expires_at):
                self.status, self.role, self.expires_at = "escalated", role, expires_at
            case ActionEdited():
                self.edited = message
            case ActionApproved(status=status):
                self.status, self.end = status, message
            case ActionRejected():
                self.status, self.end = "human_rejected", message
            case QuestionAnswered():
                self.status, self.end = "answered", message
            case QuestionExpired():
                self.status, self.end = "human_rejected", message


def cases(stored: Iterable[tuple[Stream, datetime, Message]]) -> dict[tuple[Stream, str], Case]:
    """By stream and action, in the order in which they were asked for."""
    found: dict[tuple[Stream, str], Case] = {}
    for stream, at, message in stored:
        action_id = getattr(message, "action_id", "")
        case = found.get((stream, action_id))
        if case is None and isinstance(message, ActionProposed | QuestionAsked):
            case = found[stream, action_id] = Case(stream, at, message)
            if isinstance(message, QuestionAsked):
                case.status, case.role, case.expires_at = "pending_review", message.role, message.expires_at
        if case is not None:
            case.add(at, message)
    return found


def named(every: Iterable[Case], name: str) -> list[Case]:
    """Those that this names: `order-77/pay.1`, a workflow, or the beginning of the action's hash (6 characters or more)."""
    listed = list(every)
    for found in (
        [case for case in listed if case.id == name],
        [case for case in listed if case.stream.workflow == name],
        [case for case in listed if len(name) >= 6 and case.sha256.startswith(name)],
    ):
        if found:
            return [case for case in found if case.open] or found
    return []
