"""Who asked for an action: proven by a signature over the request, or on record as unproven with why."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from contracts.approval import ActionApproved, ActionAssessed, ActionProposed, AskPerson, LookupStarted, QuestionAsked, Requester
from hansard.actions import Action, action_bytes
from hansard.identity import person_stream
from hansard.testing import given
from services.approval.decider import approval
from services.approval.facts import LookedUp, Registration, RegistrationGiven
from services.approval.policy import load
from tests.spec.approval_kit import ALICE, CAROL, POLICY, REQUEST, TENANT, WORKFLOW, Approvals, Someone, proposal, refused

BOB = Someone("bob@example.org")
HARMLESS = Action(tool="desk", about="Respond to general FAQ question")
OTHER = Action(tool="desk", about="Respond to general FAQ question about invoices")


def asked_by(requester: Requester, *people: Someone) -> Approvals:
    approvals = Approvals(ALICE, CAROL, *people)
    approvals.propose(requester=requester)
    return approvals


def found(approvals: Approvals) -> Requester:
    """The requester of the last assessment."""
    *_, assessed = [message for message in approvals.messages() if isinstance(message, ActionAssessed)]
    assert assessed.requester is not None
    return assessed.requester


def test_a_signature_of_a_registered_key_over_the_request_proves_the_requester() -> None:
    approvals = asked_by(BOB.asks(), BOB)
    assert found(approvals) == Requester(name=BOB.name, proof="signature", key=BOB.key.id)
    [lookup] = [message for message in approvals.messages() if isinstance(message, LookupStarted)]
    assert lookup.people == (BOB.name,) and lookup.similar_to, "similar cases and the registration are read together"


def test_the_requester_is_named_as_registered_in_whatever_spelling_they_sign() -> None:
    assert found(asked_by(BOB.asks(name="BOB@Example.org"), BOB)).name == BOB.name


Claim = Callable[[], Requester]
UNPROVEN: dict[str, tuple[Claim, str]] = {
    "nobody": (lambda: Requester(), "names nobody"),
    "no signature": (lambda: Requester(name=BOB.name, key=BOB.key.id), "no signature"),
    "a stated proof": (lambda: Requester(name=BOB.name, proof="signature", key=BOB.key.id, sha256=REQUEST), "no signature"),
    "a stranger": (lambda: Someone("mallory@example.org").asks(), "mallory@example.org is not registered"),
    "no name that anybody has": (lambda: Someone("a\x01b").asks(), "is not registered"),
    "a stranger's key": (lambda: Someone(BOB.name).asks(), "has no key"),
    "another's key": (lambda: CAROL.asks(name=BOB.name), "has no key"),
    "another's signature": (lambda: CAROL.asks(name=BOB.name).model_copy(update={"key": BOB.key.id}), "is not that of key"),
    "another's name": (lambda: BOB.asks(name=CAROL.name), "has no key"),
    "another workflow": (lambda: BOB.asks(workflow="wf-2"), "is not that of key"),
    "another tenant": (lambda: BOB.asks(tenant="other"), "is not that of key"),
    "another request": (lambda: BOB.asks(sha256="5b" * 32), "is not that of key"),
    "no base64": (lambda: BOB.asks().model_copy(update={"signature": "?"}), "is not that of key"),
    "no canonical form": (lambda: BOB.asks(sha256="").model_copy(update={"sha256": ""}), "cannot be signed"),
}


@pytest.mark.parametrize("case", UNPROVEN)
def test_whatever_else_is_claimed_proves_nothing_and_is_recorded_with_why(case: str) -> None:
    claim, why = UNPROVEN[case]
    claimed = claim()
    requester = found(asked_by(claimed, BOB))
    assert (requester.name, requester.proof, requester.key) == (claimed.name, "unproven", claimed.key)
    assert why in requester.why


@pytest.mark.parametrize(("signed_for", "proof"), [(("other", "wf-2"), "signature"), ((TENANT, WORKFLOW), "unproven")])
def test_a_request_that_is_sent_again_in_another_tenant_and_workflow_is_not_the_requesters(
    signed_for: tuple[str, str], proof: str
) -> None:
    approvals = Approvals()
    approvals.there.fact(person_stream("other", BOB.name), RegistrationGiven(attempt=1, person=BOB.person, by="operator"), "1")
    tenant, workflow = signed_for
    sent = approvals.send(proposal(requester=BOB.asks(tenant=tenant, workflow=workflow)), tenant="other", workflow="wf-2")
    [assessed] = [message for message in sent if isinstance(message, ActionAssessed)]
    assert assessed.requester is not None and assessed.requester.proof == proof


def test_a_key_that_was_revoked_or_a_person_who_was_removed_proves_nothing() -> None:
    approvals = Approvals(ALICE, BOB)
    approvals.register(replace(BOB, private=Someone(BOB.name).private).person)
    approvals.propose(requester=BOB.asks())
    assert found(approvals).why == f"the key {BOB.key.id} is no longer registered"
    approvals = Approvals(ALICE, BOB)
    approvals.remove(BOB.name)
    approvals.propose(requester=BOB.asks())
    assert found(approvals).why == f"{BOB.name} was removed"


def test_a_registration_after_the_proposal_was_assessed_proves_nothing_about_it() -> None:
    approvals = asked_by(BOB.asks())
    approvals.register(BOB.person)
    assert found(approvals).proof == "unproven"


def test_no_assessment_is_made_until_the_requesters_registration_was_read() -> None:
    proposed = given(approval(POLICY)).when(proposal(requester=BOB.asks())).then(ActionProposed, LookupStarted)
    again = proposed.when(LookedUp(attempt=1, action_id="pay.1", cases=20)).then(LookupStarted)
    assert [one.people for one in again.stored if isinstance(one, LookupStarted)] == [(BOB.name,)] * 2
    read = LookedUp(attempt=2, action_id="pay.1", people=(Registration(name=BOB.name),))
    again.when(read).then(ActionAssessed)


# What follows of it


def under(tmp_path: Path, queue: str) -> Approvals:
    """Under a policy whose rule `unproven-requester` has this queue."""
    file = tmp_path / "approvals.yaml"
    file.write_text(f"rules: {{unproven-requester: {queue}}}")
    return Approvals(ALICE, BOB, policy=load(file))


@pytest.mark.parametrize("case", UNPROVEN)
def test_nothing_runs_unseen_for_whoever_is_not_proven_however_sure_they_are(case: str) -> None:
    claim, why = UNPROVEN[case]
    approvals = Approvals(ALICE, CAROL, BOB)
    *_, assessed = approvals.propose(HARMLESS, confidence=1.0, requester=claim())
    assert isinstance(assessed, ActionAssessed)
    assert (assessed.status, assessed.queue, assessed.rule) == ("pending_review", "reviewers", "unproven-requester")
    assert why in assessed.reasons[0]


@pytest.mark.parametrize("policy", ["nobody", "development"])
def test_a_policy_may_trust_whoever_can_send_requests(tmp_path: Path, policy: str) -> None:
    trusting = Approvals(policy=load(unproven=True)) if policy == "development" else under(tmp_path, policy)
    *_, approved = trusting.propose(HARMLESS, confidence=0.95, requester=Requester())
    assert isinstance(approved, ActionApproved) and approved.status == "auto_approved"
    assert found(trusting).proof == "unproven", "and says so on record"


@pytest.mark.parametrize(
    ("queue", "status"), [("reviewers", "pending_review"), ("specialists", "pending_review"), ("seniors", "escalated")]
)
def test_a_policy_may_send_what_nobody_proven_asked_for_to_people(tmp_path: Path, queue: str, status: str) -> None:
    approvals = under(tmp_path, queue)
    *_, assessed = approvals.propose(HARMLESS, confidence=0.95, requester=Requester(name=BOB.name))
    assert isinstance(assessed, ActionAssessed)
    assert (assessed.status, assessed.queue, assessed.rule) == (status, queue, "unproven-requester")
    assert assessed.reasons == ("who asked for it is not proven: the request has no signature",)
    *_, approved = approvals.propose(HARMLESS, action_id="pay.2", confidence=0.95, requester=BOB.asks())
    assert isinstance(approved, ActionApproved) and approved.status == "auto_approved"


@pytest.mark.parametrize("requester", [BOB.asks(), Requester(name=BOB.name)], ids=["proven", "claimed"])
def test_an_edit_is_assessed_anew_with_the_same_proof(tmp_path: Path, requester: Requester) -> None:
    approvals = under(tmp_path, "reviewers")
    approvals.propose(HARMLESS, confidence=0.7, requester=requester)
    before = found(approvals)
    approvals.review(ALICE, "edit", edited=action_bytes(OTHER).decode())
    first, again = (message for message in approvals.messages() if isinstance(message, ActionAssessed))
    assert (again.requester, again.reasons) == (before, first.reasons)


@pytest.mark.parametrize("registered", [True, False], ids=["proven", "claimed"])
def test_nobody_decides_on_what_was_asked_for_in_their_name(registered: bool) -> None:
    """Whether or not the claim was proven: BOB is registered after the assessment, or before."""
    approvals = asked_by(BOB.asks(), *[BOB] * registered)
    approvals.register(BOB.person)
    assert found(approvals).proof == ("signature" if registered else "unproven")
    assert refused(approvals.review(BOB)) == ["own-request"]


def test_the_proof_that_a_question_claims_is_never_recorded_as_one() -> None:
    claimed = Requester(name=BOB.name, proof="signature", key=BOB.key.id)
    ask = AskPerson(action_id="ask.1", question="Which?", proposer="planner", requester=claimed)
    [asked] = given(approval(POLICY)).when(ask).messages
    assert isinstance(asked, QuestionAsked)
    assert (asked.requester.name, asked.requester.proof) == (BOB.name, "unproven") and asked.requester.why
