"""Reviews that are made to stop approval: names of a thousand letters, floods, and times that came before they were noticed."""

from datetime import timedelta
from typing import Any

import pytest

from contracts.approval import ActionApproved, ActionEscalated, LookupStarted, Person, ReviewReceived
from hansard import identity
from hansard.codec import encode
from hansard.identity import LONGEST_PERSON_KEY, Stream, person_key
from hansard.message import Message
from services.approval import reviews, state
from tests.spec.approval_kit import ALICE, CAROL, DOOR, SENIOR, TENANT, WORKFLOW, Approvals, Someone, kinds, proposal, refused

LONG = "\ufdfa"  # one character, of which NFKC makes 18
PAY = Stream(TENANT, WORKFLOW, "approval/pay.1")
HOURS = timedelta(hours=9)


def waiting(**more: Any) -> Approvals:
    approvals = Approvals(ALICE, CAROL, SENIOR)
    approvals.propose(**more)
    return approvals


def send(approvals: Approvals, who: str, number: int, **more: Any) -> tuple[Message, ...]:
    """A review in this name, signed by a key of nobody's; its lookup is not made yet."""
    review = approvals.written(ALICE, **more).model_copy(update={"reviewer": who, "review": f"flood-{number:06}"})
    return approvals.there.send(review, topic=DOOR)


# Names


def test_a_name_that_is_longer_than_any_persons_is_refused_at_once() -> None:
    approvals = waiting()
    assert len(person_key(LONG * 118).encode()) > LONGEST_PERSON_KEY
    assert refused(send(approvals, LONG * 118, 1)) == ["invalid"]
    assert refused(send(approvals, CAROL.name, 2, decision="delegate", to=LONG * 118)) == ["invalid"]
    approvals.register(Person(name=LONG * 118))
    assert [one.reason for one in approvals.there.dead] == ["invalid"]


def test_a_flood_of_names_makes_lookups_of_a_bounded_size_that_serve_every_review() -> None:
    approvals = waiting()
    flood = [send(approvals, LONG * 6 + f"{n:03}", n, decision="delegate", to=f"{'x' * 200}{n}") for n in range(100)]
    assert all(isinstance(one[0], ReviewReceived) for one in flood)
    genuine = approvals.written(ALICE)
    assert kinds(approvals.there.send(genuine, topic=DOOR)) == ["ReviewReceived"]
    stored = [*(one for first in flood for one in first), *approvals.read()]
    lookups = [one for one in stored if isinstance(one, LookupStarted)]
    assert max(len(encode(one)) for one in lookups) < 32 * 1024
    assert max(len(one.people) for one in lookups) <= state.MOST_NAMES
    assert refused(stored) == ["unknown-person"] * 100
    assert isinstance(stored[-1], ActionApproved)


def test_the_work_for_a_review_does_not_grow_with_those_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def counted(name: str) -> str:
        nonlocal calls
        calls += 1
        return identity.person_key(name)

    for module in ("state", "reviews", "proof"):
        monkeypatch.setattr(f"services.approval.{module}.person_key", counted)
    approvals = waiting()
    each = []
    for number in range(100):
        review = approvals.written(ALICE).model_copy(update={"reviewer": f"nobody-{number}"})
        calls = 0
        approvals.there.send(review, topic=DOOR)
        each.append(calls)
    assert each[-1] == each[1]


def test_a_review_that_is_too_large_for_what_follows_from_it_is_refused_at_once() -> None:
    approvals = waiting()
    assert refused(approvals.review(ALICE, answer="x" * 600_000)) == ["invalid"]


# Times that have come


def late(approvals: Approvals, by: timedelta = HOURS) -> None:
    """The clock moves on, and no wake-up is delivered."""
    approvals.there.now += by


def wakes_later(approvals: Approvals) -> bool:
    at = approvals.there.wake_at(PAY)
    return at is None or at > approvals.there.now


def test_a_review_that_comes_before_a_late_wake_up_finds_the_action_with_the_seniors() -> None:
    approvals = waiting()
    late(approvals)
    escalated, *_, refusal = approvals.review(ALICE)
    assert isinstance(escalated, ActionEscalated) and refused([refusal]) == ["wrong-role"]
    assert wakes_later(approvals)
    assert kinds(approvals.review(SENIOR))[-1] == "ActionApproved"


def test_each_intent_of_a_late_review_wakes_its_stream_later() -> None:
    approvals = waiting()
    late(approvals)
    assert kinds(approvals.there.send(approvals.written(SENIOR), topic=DOOR)) == [
        "ActionEscalated",
        "ReviewReceived",
        "LookupStarted",
    ]
    assert wakes_later(approvals)


def test_an_outcome_that_leads_to_another_lookup_deals_with_the_time_first() -> None:
    approvals = waiting()
    approvals.there.send(approvals.written(CAROL, decision="reject", notes="1"), topic=DOOR)
    approvals.there.send(approvals.written(SENIOR), topic=DOOR)  # waits for the next lookup
    late(approvals)
    stored = approvals.read()
    assert kinds(stored[:2]) == ["ActionEscalated", "ReviewRefused"] and wakes_later(approvals)
    assert isinstance(stored[-1], ActionApproved)


def test_what_is_over_is_refused_before_a_review_of_it_is_looked_at() -> None:
    approvals = waiting(seconds=60.0)
    early = approvals.there.send(approvals.written(ALICE), topic=DOOR)
    late(approvals)
    stored = approvals.review(CAROL, sha256="0" * 64)
    assert kinds(early) == ["ReviewReceived", "LookupStarted"]
    assert kinds(stored) == ["ActionRejected", "ReviewRefused", "ReviewRefused"]
    assert refused(stored) == ["not-open", "not-open"]


# Another deployment


def test_a_signed_review_of_one_deployment_is_none_of_another_that_holds_the_same_action() -> None:
    staging, production = waiting(), Approvals(ALICE)
    late(production, timedelta(microseconds=1))
    production.propose()
    review = staging.written(ALICE)
    assert review.sha256 == production.state().sha256
    assert refused(production.send(review, DOOR)) == ["other-proposal"]
    assert kinds(staging.send(review, DOOR))[-1] == "ActionApproved"


def test_what_a_review_states_of_the_proposal_is_signed() -> None:
    staging, production = waiting(), Approvals(ALICE)
    late(production, timedelta(microseconds=1))
    production.propose()
    moved = staging.written(ALICE).model_copy(update={"expires_at": production.written(ALICE).expires_at})
    assert refused(production.send(moved, DOOR)) == ["bad-signature"]


# What takes no place among those that wait


def test_reviews_that_nothing_could_prove_take_no_place_from_a_genuine_one() -> None:
    approvals = waiting()
    unsigned = {"signature": "", "key": ""}
    assert kinds(send(approvals, CAROL.name, 0)) == ["ReviewReceived", "LookupStarted"]  # a lookup is out
    for number in range(1, 40):
        forged = approvals.written(ALICE).model_copy(update={"review": f"flood-{number:06}", **unsigned})
        assert refused(approvals.there.send(forged, topic=DOOR)) == ["unproven"]
        forged = forged.model_copy(update={"signature": "AAAA" * number, "key": ALICE.key.id})
        assert refused(approvals.there.send(forged, topic=DOOR)) == ["bad-signature"]
    assert kinds(approvals.there.send(approvals.written(ALICE), topic=DOOR)) == ["ReviewReceived"]
    assert kinds(approvals.read())[-1] == "ActionApproved"


def test_a_signed_review_takes_the_place_of_one_that_a_known_key_did_not_sign() -> None:
    approvals = waiting()
    mallory = Someone(ALICE.name)
    approvals.send(mallory.signed(approvals.written(ALICE)), DOOR)  # refused by the registration, whose keys are known now
    other_key = [mallory.signed(approvals.written(ALICE)) for _ in range(reviews.MOST_OF_ONE)]
    assert all(kinds(approvals.there.send(one, topic=DOOR))[0] == "ReviewReceived" for one in other_key)
    her_key = mallory.signed(approvals.written(ALICE)).model_copy(update={"key": ALICE.key.id})
    assert refused(approvals.there.send(her_key, topic=DOOR)) == ["bad-signature"]
    assert refused(approvals.there.send(mallory.signed(approvals.written(ALICE)), topic=DOOR)) == ["too-many"]
    genuine = approvals.there.send(approvals.written(ALICE), topic=DOOR)
    assert kinds(genuine) == ["ReviewRefused", "ReviewReceived"] and refused(genuine) == ["too-many"]
    assert kinds(approvals.read())[-1] == "ActionApproved"


# The workflow that holds people


def test_nothing_is_decided_in_the_workflow_of_people() -> None:
    approvals = waiting()
    assert approvals.send(approvals.written(ALICE), DOOR, workflow=identity.PEOPLE) == ()
    assert approvals.send(proposal(), workflow=identity.PEOPLE) == ()
    assert [(one.reason, "registrations of people" in one.detail) for one in approvals.there.dead] == [("invalid", True)] * 2
