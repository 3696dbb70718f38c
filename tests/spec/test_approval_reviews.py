"""What a review does: each decision, and each reason for which it does not count."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from contracts.approval import (
    ActionApproved,
    ActionAssessed,
    ActionEdited,
    ActionRejected,
    AskPerson,
    GiveMore,
    MoreAsked,
    MoreGiven,
    Person,
    QuestionAnswered,
    ReviewAccepted,
    ReviewRefused,
    WithdrawAction,
)
from hansard.actions import Action, action_bytes
from hansard.testing import NOON
from services.approval.policy import load
from tests.spec.approval_kit import (
    ALICE,
    BOB,
    CAROL,
    DELETE,
    POLICY,
    REFUND,
    SENIOR,
    Approvals,
    Someone,
    kinds,
    proposal,
    refused,
    sha_of,
)

HALF = REFUND.model_copy(update={"amount": Decimal(25), "about": "Process $25 refund for delayed shipment"})
BOB_HIMSELF = Someone(BOB.name)


def waiting(*people: Someone, action: Action = REFUND, **more: Any) -> Approvals:
    approvals = Approvals(*(people or (ALICE, CAROL, SENIOR, BOB_HIMSELF)))
    approvals.propose(action, **more)
    return approvals


def text(action: Action) -> str:
    return action_bytes(action).decode()


# What counts


def test_a_reviewer_approves_exactly_what_was_proposed() -> None:
    *_, accepted, approved = waiting().review(ALICE, notes="Approved per policy")
    assert isinstance(accepted, ReviewAccepted) and isinstance(approved, ActionApproved)
    assert (accepted.proof, accepted.registration, accepted.roles) == ("signature", 1, ("reviewer",))
    assert (approved.sha256, approved.action, approved.proposed) == (sha_of(REFUND), text(REFUND), "")
    assert (approved.by, approved.notes, approved.status) == ((ALICE.name,), "Approved per policy", "human_approved")


def test_a_reviewer_rejects_it() -> None:
    *_, rejected = waiting().review(ALICE, "reject", notes="twice")
    assert isinstance(rejected, ActionRejected)
    assert (rejected.because, rejected.by, rejected.notes) == ("reviewed", (ALICE.name,), "twice")


def test_a_quorum_of_two_is_two_persons() -> None:
    approvals = waiting(quorum=2)
    assert kinds(approvals.review(ALICE))[-1] == "ReviewAccepted"
    assert refused(approvals.review(ALICE)) == ["decided-already"]
    *_, approved = approvals.review(CAROL)
    assert isinstance(approved, ActionApproved) and approved.by == (ALICE.name, CAROL.name)


def test_two_names_with_one_key_are_no_quorum() -> None:
    twin = Someone("alice.two@example.org", private=ALICE.private)
    approvals = waiting(ALICE, twin, quorum=2)
    approvals.review(ALICE)
    assert refused(approvals.review(twin)) == ["decided-already"]


def test_an_edit_is_approved_with_both_hashes_on_record() -> None:
    *_, edited, assessed, approved = waiting().review(ALICE, "edit", edited=text(HALF))
    assert isinstance(edited, ActionEdited) and isinstance(assessed, ActionAssessed) and isinstance(approved, ActionApproved)
    assert (approved.sha256, approved.proposed, approved.action) == (sha_of(HALF), sha_of(REFUND), text(HALF))
    assert (assessed.sha256, edited.sha256) == (sha_of(HALF), sha_of(HALF))


@pytest.mark.parametrize(
    "edited",
    [
        '{ "amount": "25",  "tool": "ledger" }',
        text(HALF)[:-1] + ',"amount":"9000"}',
        text(HALF).replace('"amount":"25"', '"amount":"25","amount":"9000"'),
        text(HALF).replace('"currency":"USD",', ""),
        text(HALF).replace('"tool"', '"to_be_paid_by":"bob","tool"'),
        "",
    ],
    ids=["blanks", "twice", "twice in a row", "no currency", "a field that no action has", "nothing"],
)
def test_an_edit_is_approved_only_as_it_is_written(edited: str) -> None:
    approvals = waiting()
    review = approvals.written(ALICE).model_copy(update={"decision": "edit", "edited": edited})
    [answer] = approvals.send(review)
    assert refused([answer]) == ["invalid"]
    assert isinstance(answer, ReviewRefused) and "names sorted, without blanks" in answer.detail


def test_approvals_of_other_bytes_fall_away_with_an_edit() -> None:
    approvals = waiting(ALICE, CAROL, SENIOR, quorum=2)
    approvals.review(ALICE)
    assert kinds(approvals.review(CAROL, "edit", edited=text(HALF)))[-2:] == ["ActionEdited", "ActionAssessed"]
    assert refused(approvals.review(SENIOR, sha256=sha_of(REFUND))) == ["other-bytes"]
    *_, approved = approvals.review(ALICE)
    assert isinstance(approved, ActionApproved)
    assert (approved.by, approved.sha256) == ((CAROL.name, ALICE.name), sha_of(HALF))


def test_an_approval_that_waits_beside_an_edit_is_of_other_bytes() -> None:
    approvals = waiting(ALICE, CAROL, quorum=2)
    reviews = (approvals.written(CAROL, "edit", edited=text(HALF)), approvals.written(ALICE))
    for review in reviews:
        approvals.there.send(review)
    assert refused(approvals.read()) == ["other-bytes"]
    assert [name for name, _ in approvals.state().approvals] == [CAROL.name]


def test_what_is_read_of_the_record_after_the_end_approves_nothing() -> None:
    approvals = waiting()
    approvals.there.send(approvals.written(SENIOR))
    approvals.there.now = NOON + timedelta(days=1)
    assert refused(approvals.read()) == ["not-open"]


def test_nobody_edits_an_action_into_one_that_they_may_not_approve() -> None:
    approvals = waiting()
    assert refused(approvals.review(ALICE, "edit", edited=text(DELETE))) == ["wrong-role"]
    assert approvals.state().sha256 == sha_of(REFUND)
    *_, approved = approvals.review(SENIOR, "edit", edited=text(DELETE))
    assert isinstance(approved, ActionApproved)


def test_what_a_person_has_begun_to_decide_is_never_approved_by_the_policy_alone() -> None:
    approvals = waiting(quorum=2)
    harmless = text(Action(tool="desk", about="Respond to general FAQ question"))
    assert kinds(approvals.review(ALICE, "edit", edited=harmless))[-1] == "ActionAssessed"
    *_, approved = approvals.review(CAROL)
    assert isinstance(approved, ActionApproved) and approved.status == "human_approved"


def test_the_workflow_answers_what_a_reviewer_asks_and_its_time_does_not_count() -> None:
    approvals = waiting(quorum=2)
    approvals.review(ALICE)
    *_, asked = approvals.review(CAROL, "ask", question="How long did it last?")
    assert isinstance(asked, MoreAsked) and (asked.question, asked.text) == (1, "How long did it last?")
    assert refused(approvals.review(SENIOR, "ask", question="And when?")) == ["invalid"]
    approvals.pass_time(timedelta(hours=20))  # nothing escalates while the workflow answers
    [given] = approvals.send(GiveMore(action_id="pay.1", question=1, answer="Nine hours."))
    assert isinstance(given, MoreGiven)
    assert (given.expires_at, given.escalates_at) == (NOON + timedelta(hours=44), NOON + timedelta(hours=28))
    assert approvals.send(GiveMore(action_id="pay.1", question=1, answer="Ten.")) == ()
    assert kinds(approvals.review(CAROL))[-1] == "ActionApproved"


def test_a_question_that_the_workflow_never_answers_ends_the_action() -> None:
    approvals = waiting()
    approvals.review(ALICE, "ask", question="Why?")
    [rejected] = approvals.pass_time(timedelta(days=3))
    assert isinstance(rejected, ActionRejected) and rejected.because == "expired"
    assert approvals.there.now >= NOON + timedelta(days=2)


def test_a_delegate_decides_and_whoever_delegated_no_longer() -> None:
    approvals = waiting()
    assert kinds(approvals.review(ALICE, "delegate", to=CAROL.name))[-1] == "ReviewDelegated"
    assert refused(approvals.review(ALICE)) == ["delegated"]
    assert kinds(approvals.review(CAROL))[-1] == "ActionApproved"


def test_the_seniors_decide_once_nobody_else_did() -> None:
    approvals = waiting()
    approvals.pass_time(timedelta(hours=9))
    assert refused(approvals.review(ALICE)) == ["wrong-role"]
    assert kinds(approvals.review(SENIOR))[-1] == "ActionApproved"


def test_an_answer_is_given_once_and_is_one_of_the_choices() -> None:
    approvals = Approvals(ALICE, BOB_HIMSELF)
    choices = ("acct-9", "acct-10")
    approvals.send(AskPerson(action_id="pay.1", question="Which?", choices=choices, proposer="planner", requester=BOB))
    assert refused(approvals.review(ALICE, "answer", answer="acct-11")) == ["invalid"]
    assert refused(approvals.review(ALICE, "approve")) == ["invalid"]
    assert refused(approvals.review(BOB_HIMSELF, "answer", answer="acct-9")) == ["own-request"]
    assert refused(approvals.review(ALICE, "delegate", to=BOB.name)) == ["own-request"]
    *_, answered = approvals.review(ALICE, "answer", answer="acct-9")
    assert answered == QuestionAnswered(action_id="pay.1", answer="acct-9", by=ALICE.name)
    assert refused(approvals.review(ALICE, "answer", answer="acct-10")) == ["not-open"]


# Who is proven otherwise


def test_a_topic_of_ones_own_proves_who_sent_it() -> None:
    own = "approvals.reviews.alice"
    approvals = waiting(CAROL)
    approvals.register(Person(name=ALICE.name, roles=("reviewer",), topics=(own, "approvals.reviews")))
    unsigned = approvals.written(ALICE).model_copy(update={"signature": "", "key": ""})
    assert refused(approvals.send(unsigned, "approvals.reviews")) == ["unproven"]
    assert refused(approvals.send(unsigned, "approvals.reviews.mallory")) == ["unproven"]
    *_, accepted, approved = approvals.send(unsigned, own)
    assert isinstance(accepted, ReviewAccepted) and accepted.proof == "principal"
    assert isinstance(approved, ActionApproved)


def test_without_proof_a_review_counts_in_development_alone_and_the_policys_version_tells() -> None:
    development = load(unproven=True)
    assert development.version != POLICY.version
    approvals = Approvals(ALICE, policy=development)
    approvals.propose()
    unsigned = approvals.written(ALICE).model_copy(update={"signature": "", "key": ""})
    *_, accepted, approved = approvals.send(unsigned)
    assert isinstance(accepted, ReviewAccepted) and accepted.proof == "unproven"
    assert isinstance(approved, ActionApproved) and approved.policy == development.version


# What does not count


def test_a_review_is_refused_with_its_reason() -> None:
    approvals = waiting()
    forged = approvals.written(ALICE).model_copy(update={"notes": "changed on the way"})
    mallory = Someone(ALICE.name)
    assert refused(approvals.review(ALICE, action_id="pay.2", sha256="0" * 64)) == ["unknown-action"]
    assert refused(approvals.review(ALICE, sha256="0" * 64)) == ["other-bytes"]
    assert refused(approvals.send(forged)) == ["bad-signature"]
    assert refused(approvals.review(mallory)) == ["bad-signature"]
    assert refused(approvals.review(Someone("mallory@example.org"))) == ["unknown-person"]
    assert refused(approvals.review(Someone("a\x01b"))) == ["unknown-person"]
    assert refused(approvals.review(ALICE, "edit", edited="{}")) == ["invalid"]
    assert refused(approvals.review(ALICE, "edit", edited=text(REFUND))) == ["invalid"]
    assert refused(approvals.review(ALICE, "ask", question=" ")) == ["invalid"]
    assert refused(approvals.review(ALICE, "delegate")) == ["invalid"]
    assert refused(approvals.review(ALICE, "delegate", to="nobody@example.org")) == ["invalid"]
    assert refused(approvals.review(ALICE, "delegate", to=BOB.name)) == ["own-request"]
    assert refused(approvals.review(ALICE, "answer", answer="yes")) == ["invalid"]
    assert kinds(approvals.review(ALICE))[-1] == "ActionApproved"


@pytest.mark.parametrize("spelt", [BOB.name, "BOB@EXAMPLE.ORG", "bob@example.org", " bob@example.org", "ｂｏｂ@example.org"])
def test_nobody_decides_on_their_own_request_under_any_spelling(spelt: str) -> None:
    himself = Someone(spelt)
    approvals = waiting(himself, ALICE)
    assert refused(approvals.review(himself)) == ["own-request"]


def test_a_key_that_signed_the_request_decides_nothing_about_it_under_any_name() -> None:
    other = Someone("robert@example.org")
    approvals = waiting(other, requester=BOB.model_copy(update={"key": other.key.id}))
    assert refused(approvals.review(other)) == ["own-request"]


def test_a_name_in_another_spelling_is_the_same_person() -> None:
    approvals = waiting(ALICE, quorum=2)
    approvals.review(ALICE)
    assert refused(approvals.review(Someone("ALICE@example.org", private=ALICE.private))) == ["decided-already"]


def test_a_review_is_used_once() -> None:
    approvals = waiting(quorum=2)
    review = approvals.written(ALICE)
    approvals.send(review)
    assert refused(approvals.send(review)) == ["used"]
    approvals.review(CAROL)
    assert refused(approvals.send(review)) == ["used"]


def test_a_review_of_another_workflow_or_tenant_does_not_count() -> None:
    approvals = waiting()
    elsewhere = ALICE.signed(approvals.written(ALICE), workflow="wf-2")
    foreign = ALICE.signed(approvals.written(ALICE), tenant="other")
    assert refused((*approvals.send(elsewhere), *approvals.send(foreign))) == ["bad-signature", "bad-signature"]


def test_a_forged_review_uses_up_no_id_of_a_genuine_one() -> None:
    approvals = waiting()
    genuine = approvals.written(ALICE)
    approvals.send(genuine.model_copy(update={"signature": genuine.signature[::-1]}))
    assert kinds(approvals.send(genuine))[-1] == "ActionApproved"


def test_a_key_that_was_replaced_and_a_person_who_was_removed_no_longer_count() -> None:
    approvals = waiting()
    fresh = Someone(ALICE.name)
    approvals.register(fresh.person)
    assert refused(approvals.review(ALICE)) == ["revoked"]
    approvals.remove(ALICE.name)
    assert refused(approvals.review(fresh)) == ["revoked"]


def test_the_wrong_role_decides_nothing() -> None:
    reader = Someone("rita@example.org", ())
    approvals = waiting(reader, ALICE, action=DELETE)
    assert refused((*approvals.review(reader), *approvals.review(ALICE))) == ["wrong-role", "wrong-role"]
    assert refused(approvals.review(ALICE, "reject")) == ["wrong-role"]


def test_a_review_that_comes_late_does_not_count_even_before_the_wake_up() -> None:
    approvals = waiting()
    late = approvals.written(SENIOR)
    approvals.there.now = NOON + timedelta(days=1)
    assert refused(approvals.send(late)) == ["not-open"]
    approvals.pass_time()
    assert refused(approvals.send(late)) == ["not-open"]


# Reviews that wait together


def test_one_lookup_serves_all_that_wait_and_a_flood_holds_up_no_genuine_review() -> None:
    approvals = waiting()
    genuine = approvals.written(ALICE)
    forged = [approvals.written(Someone(f"mallory{n}@example.org")) for n in range(40)]
    for review in (*forged[:20], genuine, *forged[20:]):
        approvals.there.send(review)
    decided = approvals.read()
    assert kinds(decided).count("LookupStarted") == 1
    assert kinds(decided)[-1] != "LookupStarted"
    assert kinds(decided).count("ActionApproved") == 1
    assert sorted(set(refused(decided))) == ["not-open", "unknown-person"]
    assert len(refused(decided)) == 40


def test_what_waits_is_bounded_and_may_be_sent_again() -> None:
    approvals = waiting()
    reviews = [approvals.written(Someone(ALICE.name)) for _ in range(17)]
    genuine = approvals.written(ALICE)
    sent = [approvals.there.send(review) for review in (*reviews, genuine)]
    assert [refused(messages) for messages in sent[-2:]] == [["too-many"], ["too-many"]]
    assert approvals.there.send(reviews[0], id="again")[-1].reason == "used"  # type: ignore[attr-defined]
    approvals.read()
    assert kinds(approvals.send(genuine))[-1] == "ActionApproved"


def test_a_withdrawal_refuses_what_waits() -> None:
    approvals = waiting()
    approvals.there.send(approvals.written(ALICE))
    ended = approvals.there.send(WithdrawAction(action_id="pay.1"))
    assert (kinds(ended), refused(ended)) == (["ActionRejected", "ReviewRefused"], ["not-open"])
    assert approvals.read() == ()


def test_a_proposal_again_after_its_decision_changes_nothing() -> None:
    approvals = waiting()
    approvals.review(ALICE)
    assert approvals.send(proposal()) == ()
