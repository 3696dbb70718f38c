"""What the record holds of actions and questions that need a person: each with its assessment, reviews and end. Pure."""

import re
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
Status = Literal[
    "assessing",
    "auto_approved",
    "pending_review",
    "escalated",
    "human_approved",
    "human_rejected",
    "expired",
    "withdrawn",
    "invalid",
    "answered",
]
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
    def amount(self) -> tuple[Decimal, str] | None:
        """What the bytes that wait move or cost, with its currency; None where they state none."""
        action = self.action
        return (action.amount, action.currency) if action and action.amount is not None else None

    @property
    def estimate(self) -> tuple[Decimal, str] | None:
        """What the proposer estimates that it costs, where that is something else. No approval covers it."""
        if not isinstance(self.asked, ActionProposed) or self.asked.cost is None:
            return None
        estimated = self.asked.cost, self.asked.currency
        return None if estimated == self.amount else estimated

    def hash_begins(self, text: str) -> bool:
        """Whether the hash of its bytes begins so: of those that wait, or of those that were proposed before an edit."""
        proposed = self.asked.sha256 if isinstance(self.asked, ActionProposed) else ""
        return any(sha256.startswith(text.lower()) for sha256 in (self.sha256, proposed) if sha256)

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
            case ActionRejected(status=status):
                self.status, self.end = status, message
            case QuestionAnswered():
                self.status, self.end = "answered", message
            case QuestionExpired(because=because):
                self.status, self.end = because, message


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


def is_hash(text: str) -> bool:
    """Whether it is a whole SHA-256, which names bytes and nothing else."""
    return re.fullmatch("[0-9a-fA-F]{64}", text) is not None


def named(every: Iterable[Case], name: str) -> list[Case]:
    """Those that this names: `order-77/pay.1`, a workflow, or the beginning of an action's hash (6 characters or more).

    Anybody may call a workflow like the hash of another's action. So what can be a hash names each case that has it, and never
    a workflow instead; where a workflow has that name too, both are named, and whoever asks must choose.
    """
    listed = list(every)
    by_hash = [case for case in listed if case.hash_begins(name)] if re.fullmatch("[0-9a-fA-F]{6,64}", name) else []
    by_name = [case for case in listed if case.id == name] or [case for case in listed if case.stream.workflow == name]
    waiting = [case for case in by_name if case.open] or by_name
    return by_hash + [case for case in waiting if case not in by_hash]
