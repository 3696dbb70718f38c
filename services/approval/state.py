"""What has become of one action, or one question. Pure.

    Nothing   ActionProposed → Proposed · QuestionAsked → Open · ActionRejected → Decided
    Proposed  ActionAssessed → Open · ActionRejected → Decided
    Open      ActionApproved, ActionRejected, QuestionAnswered, QuestionExpired → Decided

What the policy approves alone is open only until the next message of the same decision.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from contracts.approval import (
    ActionApproved,
    ActionAssessed,
    ActionEdited,
    ActionEscalated,
    ActionProposed,
    ActionRejected,
    Assessment,
    LookupStarted,
    MoreAsked,
    MoreGiven,
    PersonKey,
    QuestionAnswered,
    QuestionAsked,
    QuestionExpired,
    RefusedBecause,
    ReviewAccepted,
    ReviewDelegated,
    ReviewReceived,
    ReviewRefused,
    SimilarCase,
)
from hansard.identity import person_key
from hansard.message import Message
from hansard.values import carried
from services.approval.proof import unproven

MOST_NAMES = 32  # that one lookup reads: with `hansard.identity.LONGEST_PERSON_KEY` its intent and its outcome stay small
LOST_AFTER = timedelta(seconds=5)  # after its deadline a lookup is lost, even if a process still holds its stream
# A review that is refused for one of these was sent by whoever has the right to use it up: it is not looked at again.
PROVEN: frozenset[RefusedBecause] = frozenset({"own-request", "delegated", "wrong-role", "decided-already", "invalid"})


class Approver(NamedTuple):
    name: str
    key: str  # that signed; empty for another proof


@dataclass(frozen=True, slots=True)
class Nothing: ...


@dataclass(frozen=True, slots=True)
class Proposed:
    """Similar cases are being looked for."""

    action: ActionProposed
    lookup: LookupStarted | None = None


class Waiting(NamedTuple):
    """A review that waits. `reviewer` and `to`: as `person_key` writes them, once, because that takes time."""

    received: ReviewReceived
    reviewer: str
    to: str

    @property
    def number(self) -> int:
        return self.received.number

    @property
    def people(self) -> tuple[str, ...]:
        return (self.reviewer, self.to) if self.to else (self.reviewer,)


def waiting_of(received: ReviewReceived) -> Waiting:
    return Waiting(received, person_key(received.review.reviewer), person_key(received.review.to))


@dataclass(frozen=True, slots=True)
class Reviews:
    """The reviews of one action. `waiting`: until the registrations of their senders are read; those up to the number
    `served` by the running lookup. `used`: ids of reviews whose senders were proven."""

    waiting: tuple[Waiting, ...] = ()
    received: int = 0
    lookup: LookupStarted | None = None
    served: int = 0
    attempts: int = 0
    used: frozenset[str] = frozenset()
    known: Mapping[str, tuple[PersonKey, ...]] = field(default_factory=dict)  # by person_key: of whom bad signatures named

    def served_next(self) -> tuple[Waiting, ...]:
        """Those that the next lookup serves: the first, until they name as many people as it reads."""
        named, serves = set[str](), list[Waiting]()
        for one in self.waiting:
            named.update(one.people)
            if len(named) > MOST_NAMES:
                break
            serves.append(one)
        return tuple(serves)

    def without(self, number: int, used: str = "") -> "Reviews":
        waiting = tuple(one for one in self.waiting if one.number != number)
        lookup = self.lookup if any(one.number <= self.served for one in waiting) else None
        return replace(self, waiting=waiting, lookup=lookup, used=self.used | {used} if used else self.used)


@dataclass(frozen=True, slots=True)
class Open:
    """Waits for people. `subject`: with its requester as far as that is proven. `rights`: whoever decides must be allowed to by
    each of these. `sha256` and `action` are the bytes that wait, as they were edited last. `away`: who delegated the decision."""

    subject: ActionProposed | QuestionAsked
    rights: tuple[Assessment, ...]
    expires_at: datetime
    escalates_at: datetime | None = None
    sha256: str = ""
    action: str = ""
    similar: tuple[SimilarCase, ...] = ()
    cases: int = 0
    approvals: tuple[Approver, ...] = ()
    away: frozenset[str] = frozenset()
    asked: MoreAsked | None = None
    questions: int = 0
    reviews: Reviews = Reviews()

    @property
    def action_id(self) -> str:
        return self.subject.action_id

    @property
    def quorum(self) -> int:
        return max(one.quorum for one in self.rights)

    @property
    def ends_at(self) -> datetime:
        """When it is refused, if nobody decides."""
        return self.asked.expires_at if self.asked else self.expires_at

    @property
    def goes_to_seniors_at(self) -> datetime | None:
        return None if self.asked else self.escalates_at


@dataclass(frozen=True, slots=True)
class Decided:
    used: frozenset[str] = frozenset()


State = Nothing | Proposed | Open | Decided


def evolve(state: State, message: Message) -> State:
    match state, message:
        case Nothing(), ActionProposed():
            return Proposed(message)
        case Nothing(), QuestionAsked():
            return Open(message, (question_rights(message),), message.expires_at)
        case Proposed(), LookupStarted():
            return replace(state, lookup=message)
        case Proposed(), ActionAssessed():
            return _opened(state, message)
        case Nothing() | Proposed(), ActionRejected():
            return Decided()
        case Open(), ActionApproved() | ActionRejected() | QuestionAnswered() | QuestionExpired():
            return Decided(state.reviews.used)
        case Open(), _:
            return _of_open(state, message)
        case _:
            return state


def _opened(state: Proposed, assessed: ActionAssessed) -> Open:
    action = state.action
    requester = assessed.requester or unproven(action.requester, "it was not checked")
    return Open(
        subject=action.model_copy(update={"requester": requester}),
        rights=(_rights(assessed),),
        expires_at=assessed.expires_at or action.expires_at,
        escalates_at=assessed.escalates_at,
        sha256=action.sha256,
        action=action.action,
        similar=assessed.similar,
        cases=assessed.cases,
        reviews=Reviews(attempts=state.lookup.attempt if state.lookup else 0),
    )


def _of_open(state: Open, message: Message) -> Open:
    match message:
        case ReviewReceived() | LookupStarted() | ReviewRefused():
            return replace(state, reviews=_of_reviews(state.reviews, message))
        case ReviewAccepted():
            return _accepted(state, message)
        case ActionEdited():
            return replace(state, sha256=message.sha256, action=message.action, approvals=state.approvals[-1:])
        case ActionAssessed():
            return replace(state, rights=(*state.rights, _rights(message)))
        case ActionEscalated(role=role, expires_at=at):
            change = {"status": "escalated", "queue": "seniors", "role": role}
            rights = tuple(one.model_copy(update=change) for one in state.rights)
            return replace(state, rights=rights, escalates_at=None, expires_at=at)
        case MoreAsked():
            return replace(state, asked=message, questions=message.question)
        case MoreGiven():
            return replace(state, asked=None, expires_at=message.expires_at, escalates_at=message.escalates_at)
        case ReviewDelegated(by=by, to=to):
            return replace(state, away=(state.away | {person_key(by)}) - {person_key(to)})
        case _:
            return state


def _of_reviews(reviews: Reviews, message: ReviewReceived | LookupStarted | ReviewRefused) -> Reviews:
    match message:
        case ReviewReceived():
            return replace(reviews, waiting=(*reviews.waiting, waiting_of(message)), received=message.number)
        case LookupStarted():
            served = max((one.number for one in reviews.served_next()), default=0)
            return replace(reviews, lookup=message, served=served, attempts=message.attempt)
        case ReviewRefused(number=0):
            return reviews
        case ReviewRefused():
            if message.keys:
                reviews = replace(reviews, known={**reviews.known, person_key(message.reviewer): message.keys})
            return reviews.without(message.number, message.review if message.reason in PROVEN else "")


def _accepted(state: Open, message: ReviewAccepted) -> Open:
    review = message.review
    approvals = state.approvals
    if review.decision in ("approve", "edit"):
        approvals = (*approvals, Approver(message.reviewer, review.key if message.proof == "signature" else ""))
    return replace(state, approvals=approvals, reviews=state.reviews.without(message.number, review.review))


def _rights(assessed: ActionAssessed) -> Assessment:
    return Assessment(**carried(assessed, Assessment))


def question_rights(question: QuestionAsked) -> Assessment:
    """Who may answer it."""
    return Assessment(
        status="pending_review", risk="low", rule="question", reasons=(), queue="reviewers", role=question.role, quorum=1
    )


def wake_at(state: State) -> datetime | None:
    match state:
        case Proposed(action, lookup):
            return min(action.expires_at, *([lookup.deadline + LOST_AFTER] if lookup else []))
        case Open():
            return min(_times(state))
        case _:
            return None


def _times(state: Open) -> Iterator[datetime]:
    yield state.ends_at
    if at := state.goes_to_seniors_at:
        yield at
    if lookup := state.reviews.lookup:
        yield lookup.deadline + LOST_AFTER
