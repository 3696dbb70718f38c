"""Whatever the order and the repetition of messages, nothing is approved that nobody with the right to do so has approved."""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.approval import (
    ActionApproved,
    ActionAssessed,
    ActionEdited,
    ActionEscalated,
    ActionProposed,
    ActionRejected,
    GiveMore,
    MoreAsked,
    MoreGiven,
    ReviewAccepted,
    ReviewAction,
    ReviewReceived,
    ReviewRefused,
    WithdrawAction,
)
from hansard.actions import Action, action_bytes, read_action
from hansard.decider import WakeUp
from hansard.message import Message
from hansard.reviews import statement, verified
from services.approval.decider import approval
from services.approval.personal_data import personal_data_in
from services.approval.policy import assess, may_decide
from tests.spec.approval_kit import (
    BOB,
    DOOR,
    POLICY,
    REFUND,
    TENANT,
    WORKFLOW,
    Approvals,
    Someone,
    proposal,
)

PEOPLE = (
    Someone("alice@example.org"),
    Someone("carol@example.org"),
    Someone("sam@example.org", ("senior",)),
    Someone("rita@example.org", ()),
    Someone(BOB.name),
)
STRANGER = Someone("mallory@example.org")
FAQ = Action(tool="desk", about="Respond to general FAQ question")
ACTIONS = (REFUND, FAQ, Action(tool="desk", about="Delete user account"), Action(tool="desk", about="Update an address"))
EDITS = ("", "{}", *(action_bytes(action).decode() for action in ACTIONS))
HASHES = tuple(hashlib.sha256(action_bytes(action)).hexdigest() for action in ACTIONS)


def mostly(usual: Any, *others: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from((usual,) * 3 * len(others) + others)


reviews = st.fixed_dictionaries(
    {
        "who": st.sampled_from((*PEOPLE, PEOPLE[0], STRANGER)),
        "claimed": mostly("", *(person.name for person in PEOPLE), "ALICE@EXAMPLE.ORG"),
        "decision": mostly("approve", "edit", "edit", "reject", "ask", "delegate", "answer"),
        "sha256": mostly("", *HASHES),
        "edited": st.sampled_from(EDITS),
        "to": st.sampled_from(("", *(person.name for person in PEOPLE))),
        "tampered": mostly("", "notes", "signature", "key"),
    }
)
steps = st.one_of(
    st.tuples(st.just("review"), reviews),
    st.tuples(st.just("reviewed"), reviews),  # and its sender's registration read at once
    st.tuples(st.just("reviewed"), reviews),
    st.tuples(st.just("again"), st.integers(0, 30)),
    st.tuples(st.just("time"), st.sampled_from((1, 9, 20, 45, 3600, 5 * 3600, 30 * 3600))),
    st.tuples(st.sampled_from(("read", "lose", "late", "silent", "withdraw", "give", "propose", "remove")), st.just(0)),
)
proposals = st.fixed_dictionaries(
    {
        "action": st.sampled_from(ACTIONS),
        "confidence": st.sampled_from((0.9, 0.6, 0.3)),
        "quorum": st.sampled_from((None, 2)),
        "seconds": st.sampled_from((None, 60.0)),
    }
)


@dataclass
class Run:
    """What is received and stored, with the times at which it was."""

    approvals: Approvals
    log: list[tuple[datetime, Message]] = field(default_factory=list)
    sent: list[ReviewAction] = field(default_factory=list)

    def note(self, messages: tuple[Message, ...]) -> None:
        self.log += [(self.approvals.there.now, message) for message in messages]

    def take(self, step: str, given: Any) -> None:
        there = self.approvals.there
        match step:
            case "review" | "reviewed":
                self.sent.append(written(self.approvals, **given))
                self.note(there.send(self.sent[-1], topic=DOOR))
                if step == "reviewed":
                    self.note(self.approvals.read())
            case "again" if self.sent:
                self.note(there.send(self.sent[given % len(self.sent)], topic=DOOR))
            case "time":
                self.wait(min(given, 20))
                if given > 20:  # a lookup that is lost is made again: it is not lost for hours
                    self.note(self.approvals.read())
                    self.wait(given - 20)
            case "read":
                self.note(self.approvals.read())
            case "late":  # wake-ups come when they come
                there.now += timedelta(seconds=25)
            case "lose":
                there._intents.clear()
            case "silent":
                self.note(silent(self.approvals))
            case "withdraw":
                self.note(there.send(WithdrawAction(action_id="pay.1")))
            case "give":
                self.note(there.send(GiveMore(action_id="pay.1", question=1, answer="yes")))
            case "propose":
                self.note(there.send(proposal()))
            case "remove":
                self.approvals.remove(PEOPLE[1].name)

    def wait(self, seconds: int) -> None:
        passed = self.approvals.there.advance(timedelta(seconds=seconds))
        assert not any(isinstance(message, ActionApproved) for message in passed), "time approved an action"
        self.note(passed)

    def of(self, *kinds: type[Any]) -> list[tuple[datetime, Any]]:
        return [(at, message) for at, message in self.log if isinstance(message, kinds)]


def written(approvals: Approvals, who: Someone, claimed: str, tampered: str, **more: Any) -> ReviewAction:
    fields = {"edited": more["edited"] or None, "to": more["to"], "question": "why?"}
    if more["sha256"]:
        fields["sha256"] = more["sha256"]
    review = approvals.written(who, more["decision"], reviewer=claimed or who.name, **fields)
    change = {"notes": "x", "signature": review.signature[::-1], "key": PEOPLE[0].key.id}
    return review.model_copy(update={tampered: change[tampered]}) if tampered else review


def silent(approvals: Approvals) -> tuple[Message, ...]:
    """The wake-up of a stream whose process fell silent: it comes before its time."""
    return approvals.there._run([_wake_up(approvals)]) if approvals.messages() else ()


def _wake_up(approvals: Approvals) -> Any:
    from hansard.identity import Stream, wake_up_causation_id
    from hansard.memory import _Inbound

    stream = Stream(TENANT, WORKFLOW, "approval/pay.1")
    return _Inbound(stream, wake_up_causation_id(stream, approvals.there._streams[stream].entries), WakeUp(), "")


def may_approve(approver: ReviewAccepted, sha256: str, log: Run) -> bool:
    """Whether this review, looked at by itself, approves these bytes, and truly is of somebody who may."""
    review = approver.review
    who = next((one for one in PEOPLE if one.key.id == review.key and one.name.casefold() == review.reviewer.casefold()), None)
    if who is None or who.name == BOB.name:
        return False
    signed = statement(review.model_dump(mode="json"), TENANT, WORKFLOW)
    if not verified(who.key.public, review.signature, signed):
        return False
    [(_, proposed)] = log.of(ActionProposed)
    data = (review.edited or "").encode() if review.decision == "edit" else action_of(sha256)
    action = read_action(data)
    needed = assess(POLICY, action, proposed, personal_data_in(action), (), 0)
    right = needed.status == "auto_approved" or may_decide(POLICY, needed, who.roles)
    seen = hashlib.sha256(action_bytes(action)).hexdigest() if review.decision == "edit" else review.sha256
    return right and seen == sha256 and review.decision in ("approve", "edit")


def action_of(sha256: str) -> bytes:
    return action_bytes(ACTIONS[HASHES.index(sha256)])


def ends_at(log: Run, until: int) -> datetime | None:
    """When the action was to be refused, as far as the first messages of the log say."""
    at = None
    for _, message in log.log[:until]:
        if isinstance(message, ActionProposed | ActionAssessed | MoreAsked | MoreGiven | ActionEscalated) and message.expires_at:
            at = message.expires_at
    return at


@settings(max_examples=120, deadline=None)
@given(proposals, st.lists(steps, min_size=1, max_size=20))
def test_nothing_is_approved_that_nobody_with_the_right_has_approved(
    given_: dict[str, Any], taken: list[tuple[str, Any]]
) -> None:
    run = Run(Approvals(*PEOPLE))
    proposed = proposal(**given_)
    run.note(run.approvals.send(proposed))
    for step, details in taken:
        run.take(step, details)
    run.note(run.approvals.read())
    ended = run.of(ActionApproved, ActionRejected)
    assert len(ended) <= 1, "decided twice"
    for place, (at, message) in enumerate(run.log):
        if isinstance(message, ActionApproved):
            end = ends_at(run, place)
            assert end is None or at < end, "approved after its end"
            check_approval(run, message, proposed.quorum or 1)
    check_every_review_is_answered_once(run)
    check_the_fold(run)


def check_approval(run: Run, approved: ActionApproved, quorum: int) -> None:
    [(_, proposed)] = run.of(ActionProposed)
    if approved.status == "auto_approved":
        action = read_action(proposed.action.encode())
        made = assess(POLICY, action, proposed, personal_data_in(action), (), 0)
        assert (approved.sha256, made.status, made.reasons) == (proposed.sha256, "auto_approved", ())
        return
    edits = [message.sha256 for _, message in run.of(ActionEdited)]
    assert approved.sha256 == (edits[-1] if edits else proposed.sha256)
    approvers = {one.reviewer.casefold() for _, one in run.of(ReviewAccepted) if may_approve(one, approved.sha256, run)}
    assert len(approvers) >= quorum, f"{approvers} are no quorum of {quorum}"
    assert {name.casefold() for name in approved.by} <= approvers


def check_every_review_is_answered_once(run: Run) -> None:
    received = [message.number for _, message in run.of(ReviewReceived)]
    answered = [message.number for _, message in run.of(ReviewAccepted, ReviewRefused) if message.number]
    assert sorted(set(answered)) == sorted(answered)
    assert set(answered) <= set(received)
    ids = [message.review.review for _, message in run.of(ReviewAccepted)]
    assert len(ids) == len(set(ids)), "a review counted twice"


def check_the_fold(run: Run) -> None:
    decider = approval(POLICY)
    assert decider.fold(run.approvals.messages()) == run.approvals.state()
    after = decider.next_wake_up(run.approvals.state())
    assert after is None or not run.of(ActionApproved, ActionRejected), "what is decided wakes nobody"
