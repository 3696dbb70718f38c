"""What a review does to the action, or question, that waits. Pure.

Whatever needs no look at the record is refused at once. The rest is kept, and a lookup reads the registrations of the senders of
all that wait together: many forged reviews cost few lookups and hold up no genuine one.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta

from contracts.approval import (
    ActionApproved,
    ActionAssessed,
    ActionEdited,
    ActionProposed,
    ActionRejected,
    Assessment,
    LookupStarted,
    MoreAsked,
    QuestionAnswered,
    QuestionAsked,
    RefusedBecause,
    ReviewAccepted,
    ReviewAction,
    ReviewDelegated,
    ReviewReceived,
    ReviewRefused,
    stated_expiry,
)
from contracts.approval import (
    Decided as Decision,
)
from hansard.actions import BadAction, action_reference, proposed_action
from hansard.codec import encode
from hansard.decider import Context
from hansard.identity import LONGEST_PERSON_KEY, is_too_long, person_key
from hansard.message import Message
from hansard.values import carried
from services.approval.assessing import assessed
from services.approval.facts import Registration
from services.approval.policy import Policy, may_decide
from services.approval.proof import Refused, Reviewer, check_form, is_requester, is_signed_by, registered, reviewer_of
from services.approval.state import Decided, Nothing, Open, Proposed, Reviews, State, Waiting, evolve

MOST_WAITING, MOST_OF_ONE = 128, 16  # reviews that wait together, and those that claim to be of one person
LARGEST_REVIEW = 512 * 1024  # bytes: what follows from it holds more than it does, and must fit into a message, too
MOST_QUESTIONS = 5  # to the workflow, about one action
ANSWER_WITHIN = timedelta(days=1)  # by which the end of an action moves at most while the workflow answers
LOOKUP_WITHIN = timedelta(seconds=10)
HOW_TO_WRITE = (
    "Write all fields of the action once, as JSON in UTF-8 with names sorted, without blanks, and amounts as strings: "
    "hansard.actions.action_bytes, or `hansard approvals edit`"
)
FOR_ACTIONS: frozenset[Decision] = frozenset({"approve", "reject", "edit", "ask", "delegate"})
FOR_QUESTIONS: frozenset[Decision] = frozenset({"answer", "delegate"})


def receive(policy: Policy, state: State, review: ReviewAction, context: Context, identity: str = "") -> Iterator[Message]:
    """Refuses it, or keeps it until its sender's registration is read. `identity`: what the HTTP door proved."""
    try:
        waits = _check_at_once(state, review)
        check_form(review, context.topic, identity, unproven=policy.unproven)
        leaves = _leaves_for(waits.reviews, review, context, identity)
    except Refused as refused:
        yield refusal(review, refused.reason, refused.detail)
        return
    if leaves:
        yield (
            left := refusal(leaves.received.review, "too-many", "another took its place, which a known key signed", leaves.number)
        )
        after = evolve(waits, left)
        assert isinstance(after, Open)
        waits = after
    number = waits.reviews.received + 1
    received = ReviewReceived(action_id=review.action_id, number=number, review=review, topic=context.topic, identity=identity)
    yield received
    if waits.reviews.lookup is None:
        after = evolve(waits, received)
        assert isinstance(after, Open)
        yield lookup_of(after.reviews, context)


def lookup_of(reviews: Reviews, context: Context) -> LookupStarted:
    """Reads the registrations of all whom the reviews name that it serves."""
    named = {name for one in reviews.served_next() for name in one.people}
    deadline = context.at + LOOKUP_WITHIN
    return LookupStarted(attempt=reviews.attempts + 1, safety="safe", key="", deadline=deadline, people=tuple(sorted(named)))


def refusal(review: ReviewAction, reason: RefusedBecause, detail: str, number: int = 0) -> ReviewRefused:
    return ReviewRefused(
        action_id=review.action_id,
        number=number,
        review=review.review,
        reviewer=review.reviewer,
        decision=review.decision,
        reason=reason,
        detail=detail[:1000],
    )


def not_open(waiting: Iterable[Waiting], detail: str) -> Iterator[ReviewRefused]:
    """The refusals of all that wait when the action is decided."""
    return (refusal(one.received.review, "not-open", detail, one.number) for one in waiting)


def _check_at_once(state: State, review: ReviewAction) -> Open:
    """What needs no registration. Raises Refused."""
    match state:
        case Nothing():
            raise Refused("unknown-action", "nothing of this name was proposed in this workflow")
        case Proposed():
            raise Refused("not-open", "it is not assessed yet")
        case Decided(used=used):
            if review.review in used:
                raise Refused("used", "this review was processed before")
            raise Refused("not-open", "it is decided")
        case Open():
            pass
    if review.review in state.reviews.used:
        raise Refused("used", "this review was processed before")
    if review.sha256 != state.sha256:
        raise Refused("other-bytes", f"what waits has the hash {state.sha256}" if state.sha256 else "a question has no hash")
    if review.expires_at != (expiry := stated_expiry(state.subject)):
        raise Refused("other-proposal", f"what waits states `expires_at` {expiry}, and the review {review.expires_at or 'none'}")
    _check_content(state, review)
    return state


def _check_content(state: Open, review: ReviewAction) -> None:
    is_question = isinstance(state.subject, QuestionAsked)
    if any(is_too_long(person_key(name)) for name in (review.reviewer, review.to)):
        raise Refused("invalid", f"nobody's name is longer than {LONGEST_PERSON_KEY} bytes")
    _check_size(review)
    if review.decision not in (FOR_QUESTIONS if is_question else FOR_ACTIONS):
        raise Refused("invalid", f"{review.decision} is no decision about {'a question' if is_question else 'an action'}")
    match review.decision:
        case "edit":
            edited_bytes(state, review)
        case "ask" if not review.question.strip():
            raise Refused("invalid", "it asks nothing")
        case "delegate" if not person_key(review.to):
            raise Refused("invalid", "it names nobody to delegate to")
        case "answer" if isinstance(state.subject, QuestionAsked):
            choices = state.subject.choices
            if review.answer is None or (choices and review.answer not in choices):
                raise Refused("invalid", f"an answer is one of: {', '.join(choices)}" if choices else "it has no answer")
        case _:
            pass


def _check_size(review: ReviewAction) -> None:
    try:
        size = len(encode(review))
    except ValueError as bad:
        raise Refused("invalid", f"{bad}") from None
    if size > LARGEST_REVIEW:
        raise Refused("invalid", f"it has {size} bytes, and a review has at most {LARGEST_REVIEW}")


def _leaves_for(reviews: Reviews, review: ReviewAction, context: Context, identity: str) -> Waiting | None:
    """Who gives up its place for it: nobody where there is room. Raises Refused."""
    way = (context.topic, identity)
    for one in reviews.waiting:
        same = one.received
        if same.review.review == review.review and (same.topic, same.identity) == way and same.review == review:
            raise Refused("used", "the same review is being looked at")
    reviewer = person_key(review.reviewer)
    signed = is_signed_by(review, reviews.known.get(reviewer, ()), context)
    of_one = [one for one in reviews.waiting if one.reviewer == reviewer]
    if len(reviews.waiting) < MOST_WAITING and len(of_one) < MOST_OF_ONE:
        return None
    rivals = of_one if len(of_one) >= MOST_OF_ONE else reviews.waiting
    rivals = sorted(rivals, key=lambda one: one.number <= reviews.served)  # those of the running lookup leave last
    leaves = next((one for one in rivals if not _is_known(reviews, one, context)), None) if signed else None
    if leaves is None:
        raise Refused("too-many", "more reviews wait than are looked at together; send it again")
    return leaves


def _is_known(reviews: Reviews, one: Waiting, context: Context) -> bool:
    try:
        return is_signed_by(one.received.review, reviews.known.get(one.reviewer, ()), context)
    except Refused:
        return False


def edited_bytes(state: Open, review: ReviewAction) -> bytes:
    """The action as it was edited, as it is approved. Raises Refused."""
    try:
        data = (review.edited or "").encode()
        proposed_action(data)
    except (BadAction, UnicodeEncodeError) as bad:
        raise Refused("invalid", f"the edit is no action as it is approved: {bad}. {HOW_TO_WRITE}") from None
    if data == state.action.encode():
        raise Refused("invalid", "the edit changes nothing: approve it")
    return data


# Once the registrations are read


def decided(
    policy: Policy, state: Open, received: ReviewReceived, people: Mapping[str, Registration], context: Context
) -> Iterator[Message]:
    """What a review does, whose sender's registration was read: accepted with what follows, or refused."""
    review = received.review
    try:
        _check_still(state, review)
        reviewer = reviewer_of(received, people, context, unproven=policy.unproven)
        if review.review in state.reviews.used:
            raise Refused("used", "this review was processed before")
        _check_right(policy, state, reviewer)
        after = list(DECISIONS[review.decision](policy, state, review, reviewer, people, context))
    except Refused as refused:
        found = people.get(person_key(review.reviewer)) if refused.reason == "bad-signature" else None
        keys = found.person.keys if found and found.person else ()
        yield refusal(review, refused.reason, refused.detail, received.number).model_copy(update={"keys": keys})
        return
    accepted = ReviewAccepted(
        action_id=state.action_id,
        number=received.number,
        review=review,
        reviewer=reviewer.name,
        proof=reviewer.proof,
        registration=reviewer.registration,
        roles=reviewer.person.roles,
        approvals=(),
    )
    then = evolve(state, accepted)
    names = _names(then) if review.decision != "edit" else (reviewer.name,)
    yield accepted.model_copy(update={"approvals": names})
    yield from after


def _check_still(state: Open, review: ReviewAction) -> None:
    """What may have changed while it waited. Raises Refused."""
    if review.sha256 != state.sha256:
        raise Refused("other-bytes", f"what waits has the hash {state.sha256}: it was edited")
    _check_content(state, review)


def _check_right(policy: Policy, state: Open, reviewer: Reviewer) -> None:
    """Raises Refused."""
    if is_requester(state.subject.requester, reviewer.person):
        raise Refused("own-request", f"{reviewer.name} asked for it")
    if person_key(reviewer.name) in state.away:
        raise Refused("delegated", f"{reviewer.name} gave this decision to another")
    _check_role(policy, state.rights, reviewer.name, reviewer.person.roles)


def _check_role(policy: Policy, rights: Iterable[Assessment], name: str, roles: tuple[str, ...]) -> None:
    for one in rights:
        if not may_decide(policy, one, roles):
            raise Refused("wrong-role", f"{one.role} decides, and {name} is {', '.join(roles) or 'nothing'}")


Following = Callable[
    [Policy, Open, ReviewAction, Reviewer, Mapping[str, Registration], Context],
    Iterator[Message],
]


def _approve(policy: Policy, state: Open, review: ReviewAction, reviewer: Reviewer, _: object, __: object) -> Iterator[Message]:
    for name, key in state.approvals:
        if person_key(name) == person_key(reviewer.name) or (key and key == reviewer.key):
            raise Refused("decided-already", f"{name} has approved this already")
    names = (*_names(state), reviewer.name)
    if len(names) >= state.quorum:
        yield _approved(policy, state, names, review.notes)


def _reject(policy: Policy, state: Open, review: ReviewAction, reviewer: Reviewer, _: object, __: object) -> Iterator[Message]:
    yield ActionRejected(
        action_id=state.action_id,
        sha256=state.sha256,
        by=(reviewer.name,),
        notes=review.notes,
        policy=policy.version,
        rule=state.rights[-1].rule,
        because="reviewed",
        status="human_rejected",
    )


def _edit(policy: Policy, state: Open, review: ReviewAction, reviewer: Reviewer, _: object, __: object) -> Iterator[Message]:
    """Other bytes: the policy assesses them anew, and whoever edits must be allowed to decide about them, too."""
    data = edited_bytes(state, review)
    assert isinstance(state.subject, ActionProposed)
    reference = action_reference(data)
    edited = ActionEdited(
        action_id=state.action_id,
        sha256=reference.sha256,
        action=data.decode(),
        action_ref=reference,
        proposed=state.subject.sha256,
        by=reviewer.name,
    )
    anew = assessed(policy, state.subject, data, state.similar, state.cases)
    rights = needs_somebody(anew, state.rights[-1])
    _check_role(policy, (rights,), reviewer.name, reviewer.person.roles)
    yield edited
    again = ActionAssessed(
        action_id=state.action_id,
        sha256=reference.sha256,
        **carried(rights, Assessment),
        similar=state.similar,
        cases=state.cases,
        escalates_at=state.escalates_at,
        expires_at=state.expires_at,
        policy=policy.version,
        requester=state.subject.requester,
    )
    yield again
    after = evolve(evolve(state, edited), again)
    assert isinstance(after, Open)
    if after.quorum <= 1:
        yield _approved(policy, after, (reviewer.name,), review.notes)


def needs_somebody(anew: Assessment, before: Assessment) -> Assessment:
    """What a person has begun to decide, a person decides."""
    if anew.status != "auto_approved":
        return anew
    return anew.model_copy(update=carried(before, Assessment) | {"risk": anew.risk, "personal_data": anew.personal_data})


def _ask(_: object, state: Open, review: ReviewAction, reviewer: Reviewer, __: object, context: Context) -> Iterator[Message]:
    if state.asked is not None:
        raise Refused("invalid", f"question {state.asked.question} is not answered yet")
    if state.questions >= MOST_QUESTIONS:
        raise Refused("invalid", f"{MOST_QUESTIONS} questions were asked about it already")
    yield MoreAsked(
        action_id=state.action_id,
        question=state.questions + 1,
        text=review.question,
        by=reviewer.name,
        at=context.at,
        expires_at=state.expires_at + ANSWER_WITHIN,
    )


def _delegate(
    policy: Policy, state: Open, review: ReviewAction, reviewer: Reviewer, people: Mapping[str, Registration], _: object
) -> Iterator[Message]:
    if person_key(review.to) == person_key(reviewer.name):
        raise Refused("invalid", "nobody delegates to themselves")
    if any(person_key(name) == person_key(reviewer.name) for name, _ in state.approvals):
        raise Refused("decided-already", f"{reviewer.name} has approved this already")
    try:
        person = registered(people, review.to)
    except Refused as unknown:
        raise Refused("invalid", unknown.detail) from None
    if is_requester(state.subject.requester, person):
        raise Refused("own-request", f"{person.name} asked for it")
    _check_role(policy, state.rights, person.name, person.roles)
    yield ReviewDelegated(action_id=state.action_id, by=reviewer.name, to=person.name)


def _answer(_: object, state: Open, review: ReviewAction, reviewer: Reviewer, __: object, ___: object) -> Iterator[Message]:
    yield QuestionAnswered(action_id=state.action_id, answer=review.answer, by=reviewer.name, notes=review.notes)


DECISIONS: Mapping[Decision, Following] = {
    "approve": _approve,
    "reject": _reject,
    "edit": _edit,
    "ask": _ask,
    "delegate": _delegate,
    "answer": _answer,
}


def _approved(policy: Policy, state: Open, names: tuple[str, ...], notes: str) -> ActionApproved:
    assert isinstance(state.subject, ActionProposed)
    proposed = state.subject.sha256
    return ActionApproved(
        action_id=state.action_id,
        sha256=state.sha256,
        by=names,
        notes=notes,
        policy=policy.version,
        rule=state.rights[-1].rule,
        status="human_approved",
        action=state.action,
        action_ref=action_reference(state.action.encode()),
        proposed=proposed if proposed != state.sha256 else "",
    )


def _names(state: State) -> tuple[str, ...]:
    return tuple(name for name, _ in state.approvals) if isinstance(state, Open) else ()
