"""A review that came over HTTP with a token: it counts as its person's where the token's identity is registered as theirs."""

from typing import Any

import pytest

from contracts.approval import (
    ActionApproved,
    Person,
    ReviewAccepted,
    ReviewAction,
    ReviewByIdentity,
    ReviewReceived,
    ReviewRefused,
)
from hansard.identity import Stream
from hansard.message import Message
from hansard.testing import given
from services.edge.app import build
from services.edge.facts import ReviewGiven
from shared.settings import Settings
from tests.spec.approval_kit import ALICE, BOB, CAROL, EXPIRY, REFUND, Approvals, kinds, refused, sha_of

ANNA, OTHER = "https://id.example.org anna", "https://id.example.com anna"


def waiting() -> Approvals:
    """A refund waits; Alice has an identity of the provider, Carol a key alone."""
    approvals = Approvals(CAROL)
    approvals.there.services["edge"] = build(Settings())
    approvals.register(Person(name=ALICE.name, roles=("reviewer",), identities=(ANNA,)))
    approvals.register(Person(name=BOB.name, roles=("reviewer",), identities=("https://id.example.org bob",)))
    approvals.propose()
    return approvals


def review(name: str = ALICE.name, **more: Any) -> ReviewAction:
    fields = {
        "review": "review-over-http",
        "action_id": "pay.1",
        "decision": "approve",
        "sha256": sha_of(REFUND),
        "expires_at": EXPIRY,
    }
    return ReviewAction(**{**fields, "reviewer": name, **more})


def over_http(approvals: Approvals, given: ReviewAction, identity: str = ANNA, number: int = 1) -> tuple[Message, ...]:
    fact = ReviewGiven(attempt=1, review=given, identity=identity)
    stored = approvals.there.fact(Stream("default", "wf-1", f"edge/{given.action_id}"), fact, f"review/{number}")
    return (*stored, *approvals.read())


def test_whoever_a_token_stands_for_approves() -> None:
    given_, received, _, accepted, approved = over_http(waiting(), review())
    assert given_ == ReviewByIdentity(review=review(), identity=ANNA)
    assert isinstance(received, ReviewReceived) and received.identity == ANNA
    assert isinstance(accepted, ReviewAccepted) and (accepted.proof, accepted.reviewer) == ("oidc", ALICE.name)
    assert isinstance(approved, ActionApproved) and approved.by == (ALICE.name,)


@pytest.mark.parametrize(
    ("name", "identity", "reason"),
    [
        (ALICE.name, OTHER, "unproven"),  # the same subject of another issuer
        (ALICE.name, "https://id.example.org bob", "unproven"),  # another person of the same issuer
        (ALICE.name, "https://id.example.org Anna", "unproven"),  # subjects are compared as they are
        (CAROL.name, ANNA, "unproven"),  # who has no identity at all
        ("mallory", ANNA, "unknown-person"),
        (BOB.name, "https://id.example.org bob", "own-request"),
    ],
)
def test_a_token_of_somebody_else_proves_nothing(name: str, identity: str, reason: str) -> None:
    approvals = waiting()
    assert refused(over_http(approvals, review(name), identity)) == [reason]
    assert "ActionApproved" not in kinds(approvals.messages())


def test_only_the_http_door_can_say_whom_a_token_proved() -> None:
    approvals = waiting()
    forged = approvals.send(ReviewByIdentity(review=review(), identity=ANNA))  # any other service of the deployment
    assert refused(forged) == ["unproven"]
    assert all(one.identity == "" for one in approvals.messages() if isinstance(one, ReviewReceived))


def test_a_review_over_http_counts_once() -> None:
    approvals = waiting()
    over_http(approvals, review())
    assert over_http(approvals, review()) == ()  # the same again
    again = over_http(approvals, review(), number=2)
    assert [one.reason for one in again if isinstance(one, ReviewRefused)] == ["used"]


def test_a_token_does_not_mend_a_bad_signature() -> None:
    signed = CAROL.signed(review())
    assert refused(over_http(waiting(), signed)) == ["bad-signature"]


def test_an_identity_that_was_taken_away_proves_nothing_any_more() -> None:
    approvals = waiting()
    approvals.register(Person(name=ALICE.name, roles=("reviewer",)))
    assert refused(over_http(approvals, review())) == ["unproven"]


def test_the_door_hands_on_each_review_with_what_was_proven_and_decides_nothing() -> None:
    edge = build(Settings())
    fact = ReviewGiven(attempt=1, review=review(), identity=ANNA)
    given(edge).when(fact).then(ReviewByIdentity(review=review(), identity=ANNA))
