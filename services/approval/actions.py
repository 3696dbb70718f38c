"""One action, or question, from its proposal to its decision. One stream each. Pure.

Times count by `Context.at` alone. Whatever is received at or after the end of an action cannot approve it.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Literal

from contracts.approval import (
    ActionApproved,
    ActionEscalated,
    ActionProposed,
    ActionRejected,
    AskPerson,
    GiveMore,
    LookupStarted,
    MoreGiven,
    Proposal,
    ProposeAction,
    QuestionAsked,
    QuestionExpired,
    ReviewAction,
    ReviewByIdentity,
    WithdrawAction,
)
from hansard.actions import BadAction, action_reference, read_action
from hansard.decider import Context, WakeUp
from hansard.identity import source_of
from hansard.message import Message
from hansard.values import carried
from services.approval import reviews
from services.approval.assessing import assessment_of, check_bytes, refused_at
from services.approval.facts import LookedUp, Registration
from services.approval.policy import Policy
from services.approval.proof import proven, signers_of, unproven
from services.approval.similarity import words_of
from services.approval.state import LOST_AFTER, Nothing, Open, Proposed, State, evolve

HTTP_DOOR = source_of("edge")


def decide(policy: Policy, state: State, message: Message, context: Context) -> Iterable[Message]:
    """A time that has come is dealt with before the message: nothing is decided in a state that should be over."""
    due = tuple(_due(policy, state, context))
    for event in due:
        state = evolve(state, event)
    yield from due
    yield from _decide(policy, state, message, context, escalated=bool(due))


def _due(policy: Policy, state: State, context: Context) -> Iterator[Message]:
    match state:
        case Proposed(action) if context.at >= action.expires_at:
            yield _rejected(policy, action.action_id, action.sha256, "expired", "it could not be assessed in time")
        case Open() if context.at >= state.ends_at:
            yield _ended(policy, state, "expired", "nobody decided in time")
            yield from reviews.not_open(state.reviews.waiting, "its time is over")
        case Open(goes_to_seniors_at=at) if at is not None and context.at >= at:
            yield ActionEscalated(
                action_id=state.action_id,
                because="nobody decided in time",
                role=policy.queues["seniors"].role,
                expires_at=state.expires_at,
            )
        case _:
            pass


def _decide(policy: Policy, state: State, message: Message, context: Context, *, escalated: bool) -> Iterable[Message]:
    match state, message:
        case _, ReviewAction():
            return reviews.receive(policy, state, message, context)
        case _, ReviewByIdentity():
            identity = message.identity if context.source == HTTP_DOOR else ""  # no other service may prove a person
            return reviews.receive(policy, state, message.review, context, identity)
        case Nothing(), ProposeAction():
            return _propose(policy, message, context)
        case Nothing(), AskPerson():
            return _ask(policy, message, context)
        case Proposed(), _:
            return _when_proposed(policy, state, message, context)
        case Open(), _:
            return _when_open(policy, state, message, context, escalated=escalated)
        case _:
            return ()


def _propose(policy: Policy, proposed: ProposeAction, context: Context) -> Iterator[Message]:
    try:
        data = check_bytes(proposed)
    except (BadAction, UnicodeEncodeError) as bad:
        yield ActionRejected(
            action_id=proposed.action_id,
            sha256=proposed.sha256,
            notes=str(bad),
            policy=policy.version,
            rule="exact-bytes",
            because="invalid",
            status="invalid",
        )
        return
    carries = carried(proposed, Proposal) | {"action_ref": action_reference(data)}
    yield ActionProposed(**carries, expires_at=refused_at(policy, proposed, context.at))
    yield _search(proposed, 1, context)


def _search(proposal: Proposal, attempt: int, context: Context) -> LookupStarted:
    """Finds similar cases, and reads the requester's registration where there is a signature to check."""
    return LookupStarted(
        attempt=attempt,
        safety="safe",
        key="",
        deadline=context.at + reviews.LOOKUP_WITHIN,
        similar_to=words_of(read_action(proposal.action.encode())),
        people=signers_of(proposal.requester),
    )


def _ask(policy: Policy, asked: AskPerson, context: Context) -> Iterator[Message]:
    within = timedelta(seconds=asked.seconds or policy.questions.expire_after)
    yield QuestionAsked(
        action_id=asked.action_id,
        question=asked.question,
        question_ref=asked.question_ref,
        role=asked.role,
        choices=asked.choices,
        requester=unproven(asked.requester, "of a question it is not checked"),
        proposer=asked.proposer,
        expires_at=context.at + within,
        policy=policy.version,
    )


# Until similar cases are found, and the requester's registration is read


def _when_proposed(policy: Policy, state: Proposed, message: Message, context: Context) -> Iterator[Message]:
    action, lookup = state.action, state.lookup
    match message:
        case WithdrawAction():
            yield _rejected(policy, action.action_id, action.sha256, "withdrawn", message.reason)
        case _ if not isinstance(message, LookedUp | WakeUp) or (isinstance(message, LookedUp) and _is_late(message, lookup)):
            pass
        case LookedUp(trouble="", people=people) if {one.name for one in people} >= {*signers_of(action.requester)}:
            requester = proven(action.requester, {one.name: one for one in people}, context)
            assessed = assessment_of(policy, action, requester, message, context.at)
            yield assessed
            if assessed.status == "auto_approved":
                yield ActionApproved(
                    action_id=action.action_id,
                    sha256=action.sha256,
                    policy=policy.version,
                    rule=assessed.rule,
                    status="auto_approved",
                    action=action.action,
                    action_ref=action.action_ref,
                )
        case LookedUp() | WakeUp():
            yield _search(action, lookup.attempt + 1 if lookup else 1, context)


def _is_late(found: LookedUp, lookup: LookupStarted | None) -> bool:
    """Whether it is the outcome of a lookup that another one has replaced."""
    return lookup is None or found.attempt != lookup.attempt


# While people decide


def _when_open(policy: Policy, state: Open, message: Message, context: Context, *, escalated: bool) -> Iterator[Message]:
    match message:
        case LookedUp() if not _is_late(message, state.reviews.lookup):
            yield from _read(policy, state, message, context)
        case WakeUp():
            yield from _at_wake_up(state, context, escalated=escalated)
        case WithdrawAction():
            yield _ended(policy, state, "withdrawn", message.reason)
            yield from reviews.not_open(state.reviews.waiting, "it was withdrawn")
        case GiveMore(question=question) if state.asked and question == state.asked.question:
            waited = min(context.at - state.asked.at, reviews.ANSWER_WITHIN)
            yield MoreGiven(
                action_id=state.action_id,
                question=question,
                answer=message.answer,
                answer_ref=message.answer_ref,
                escalates_at=state.escalates_at + waited if state.escalates_at else None,
                expires_at=state.expires_at + waited,
            )
        case _:
            pass


def _read(policy: Policy, state: Open, found: LookedUp, context: Context) -> Iterator[Message]:
    """Decides the reviews for which registrations were read, in the order in which they came."""
    reviewed, people = state.reviews, {one.name: one for one in found.people}
    asked = reviewed.lookup.people if reviewed.lookup else ()
    if found.trouble or not people.keys() >= set(asked):
        yield reviews.lookup_of(reviewed, context)
    else:
        yield from _decide_each(policy, state, people, context)


def _decide_each(policy: Policy, state: Open, people: Mapping[str, Registration], context: Context) -> Iterator[Message]:
    for review in [one for one in state.reviews.waiting if one.number <= state.reviews.served]:
        after: State = state
        for message in reviews.decided(policy, state, review.received, people, context):
            yield message
            after = evolve(after, message)
        if not isinstance(after, Open):
            left = (one for one in state.reviews.waiting if one.number != review.number)
            yield from reviews.not_open(left, "it is decided")
            return
        state = after
    if state.reviews.waiting:
        yield reviews.lookup_of(state.reviews, context)


def _at_wake_up(state: Open, context: Context, *, escalated: bool) -> Iterator[Message]:
    lookup = state.reviews.lookup
    if lookup and (not escalated or context.at >= lookup.deadline + LOST_AFTER):  # whoever looked has fallen silent
        yield reviews.lookup_of(state.reviews, context)


Ended = Literal["expired", "withdrawn"]


def _ended(policy: Policy, state: Open, because: Ended, notes: str) -> Message:
    if isinstance(state.subject, QuestionAsked):
        return QuestionExpired(action_id=state.action_id, because=because)
    return _rejected(policy, state.action_id, state.sha256, because, notes)


def _rejected(policy: Policy, action_id: str, sha256: str, because: Ended, notes: str) -> ActionRejected:
    return ActionRejected(
        action_id=action_id, sha256=sha256, notes=notes, policy=policy.version, rule=because, because=because, status=because
    )
