"""Totals of what was decided, and who still waits. Pure: over approval's own events, those of one action in their order."""

from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from contracts.approval import (
    ActionApproved,
    ActionAssessed,
    ActionEscalated,
    ActionRejected,
    QuestionAnswered,
    QuestionAsked,
    QuestionExpired,
    ReviewAccepted,
    ReviewRefused,
)
from hansard.message import Message

Status = Literal["auto_approved", "pending_review", "escalated", "human_approved", "human_rejected"]


@dataclass
class Statistics:
    """Each action counts once, by the last that became of it. What was withdrawn, or was no action, was not decided."""

    _status: dict[Hashable, Status] = field(default_factory=dict)
    _queue: dict[Hashable, str] = field(default_factory=dict)  # of those that wait
    _questions: dict[Hashable, bool] = field(default_factory=dict)  # whether it waits still
    ended: Counter[str] = field(default_factory=Counter)  # without anybody's decision: expired, withdrawn, invalid
    accepted: Counter[str] = field(default_factory=Counter)  # reviews, by what they decided
    refused: Counter[str] = field(default_factory=Counter)  # by reason

    def add(self, stream: Hashable, message: Message) -> None:
        """Adds an event of this stream. Messages that are not approval's change nothing."""
        match message:
            case ActionAssessed(status=status, queue=queue):
                self._status[stream], self._queue[stream] = status, queue
            case ActionEscalated():
                self._status[stream], self._queue[stream] = "escalated", "seniors"
            case ActionApproved(status=status):
                self._decided(stream, status)
            case ActionRejected(status="human_rejected" as status):
                self._decided(stream, status)
            case ActionRejected(because=because):
                self._decided(stream, None)
                self.ended[because] += 1
            case QuestionAsked():
                self._questions[stream] = True
            case QuestionAnswered() | QuestionExpired():
                self._questions[stream] = False
            case ReviewAccepted(review=review):
                self.accepted[review.decision] += 1
            case ReviewRefused(reason=reason):
                self.refused[reason] += 1
            case _:
                pass

    def _decided(self, stream: Hashable, status: Status | None) -> None:
        self._queue.pop(stream, None)
        if status is None:
            self._status.pop(stream, None)
        else:
            self._status[stream] = status

    @property
    def statuses(self) -> Counter[Status]:
        return Counter(self._status.values())

    @property
    def total_decisions(self) -> int:
        return len(self._status)

    @property
    def automation_rate(self) -> Decimal | None:
        """Per cent that the policy approved alone, with one digit. None without any action."""
        if not self._status:
            return None
        return (Decimal(100 * self.statuses["auto_approved"]) / len(self._status)).quantize(Decimal("0.1"))

    def queue_depth(self, queue: str = "reviewers") -> int:
        """Actions that wait for somebody."""
        return sum(one == queue for one in self._queue.values())

    @property
    def questions(self) -> int:
        """Questions to people that wait for an answer."""
        return sum(self._questions.values())

    def as_json(self) -> dict[str, object]:
        """For programs and tables."""
        return {
            "total_decisions": self.total_decisions,
            "statuses": dict(self.statuses),
            "automation_rate": None if self.automation_rate is None else float(self.automation_rate),
            "queue_depth": {name: self.queue_depth(name) for name in ("reviewers", "specialists", "seniors")},
            "questions": self.questions,
            "ended": {name: count for name, count in self.ended.items() if count},
            "reviews": dict(self.accepted),
            "reviews_refused": dict(self.refused),
        }


def statistics(messages: Iterable[tuple[Hashable, Message]]) -> Statistics:
    """Totals of these, each with what identifies its stream."""
    made = Statistics()
    for stream, message in messages:
        made.add(stream, message)
    return made
