"""What `hansard approvals` shows and sends, without servers."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from contracts.approval import (
    ActionApproved,
    ActionAssessed,
    ActionEdited,
    ActionEscalated,
    ActionProposed,
    ActionRejected,
    QuestionAnswered,
    QuestionAsked,
    ReviewAccepted,
    ReviewAction,
    ReviewRefused,
)
from contracts.approval.samples import COMPLETE
from contracts.planner import StepWaiting
from hansard.actions import Action, action_bytes, read_action
from hansard.message import Message
from hansard.reviews import new_key, statement, verified
from infra.audit.approvals import Case, cases, named
from infra.audit.message import ShownMessage
from infra.cli.approvals import as_json, cost, details, row, until
from infra.cli.problem import Problem
from infra.cli.requests import waits
from infra.cli.reviewing import changed, reviewer_of
from shared.eventstore.model import Stream
from shared.settings import Settings

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
ACTION = Action(tool="ledger", about="Process $2,500 refund", amount="2500", arguments={"invoice": "R-17"})


def sample(kind: type[Message], **changes: Any) -> Message:
    return kind(**(COMPLETE[kind] | changes))


PROPOSED = sample(ActionProposed, action=action_bytes(ACTION).decode())


def case_of(*messages: Message, workflow: str = "order-77") -> Case:
    stream = Stream("default", workflow, "approval/pay.1")
    [case] = cases((stream, NOON + timedelta(seconds=n), message) for n, message in enumerate(messages)).values()
    return case


def test_a_case_is_open_from_its_assessment_to_its_decision() -> None:
    assert not case_of(PROPOSED).open
    assert case_of(PROPOSED, sample(ActionAssessed)).open
    assert case_of(PROPOSED, sample(ActionAssessed), sample(ActionEscalated)).status == "escalated"
    assert case_of(PROPOSED, sample(ActionAssessed), sample(ActionApproved)).status == "human_approved"
    assert not case_of(PROPOSED, sample(ActionAssessed), sample(ActionRejected)).open


def test_an_escalated_case_is_decided_by_its_new_role() -> None:
    case = case_of(PROPOSED, sample(ActionAssessed, role="reviewer"), sample(ActionEscalated, role="senior"))
    assert case.role == "senior"
    assert "senior" in row(case)


def test_a_question_waits_at_once_and_ends_with_its_answer() -> None:
    asked = sample(QuestionAsked, action_id="pay.1")
    assert case_of(asked).open
    answered = case_of(asked, sample(QuestionAnswered, action_id="pay.1"))
    assert (answered.status, "alice@example.org" in row(answered)) == ("answered", True)


def test_what_a_person_must_see_is_shown_to_the_byte() -> None:
    shown = dict(details(case_of(PROPOSED, sample(ActionAssessed))))
    assert shown["the exact bytes"] == action_bytes(ACTION).decode()
    assert shown["argument"] == '"invoice": "R-17"'
    assert shown["waits because"] == "high risk: refund"
    assert "order-76" in str(shown["similar, 90%"])


def test_who_asked_for_it_is_shown_as_proven_only_where_approval_proved_it() -> None:
    claimed = sample(ActionProposed, requester={"name": "bob", "proof": "signature", "key": "0f1e2d3c4b5a6978"})
    asked = sample(QuestionAsked, action_id="pay.1", requester={"name": "bob", "proof": "signature"})
    proven = sample(ActionAssessed, requester={"name": "bob", "proof": "signature", "key": "0f1e2d3c4b5a6978"})
    not_proven = sample(ActionAssessed, requester={"name": "bob", "why": "bob was removed"})
    for messages, shown in (
        ((claimed,), "bob (unproven: as claimed)"),
        ((claimed, sample(ActionAssessed, requester=None)), "bob (unproven: as claimed)"),
        ((asked,), "bob (unproven: as claimed)"),
        ((claimed, not_proven), "bob (unproven: bob was removed)"),
        ((claimed, proven), "bob (proven by signature)"),
    ):
        case = case_of(*messages)
        assert dict(details(case))["requested by"] == shown
        assert as_json(case)["requester"]["proof"] == ("signature" if "proven by" in shown else "unproven")


def test_bytes_that_are_no_action_are_shown_as_they_are() -> None:
    shown = dict(details(case_of(sample(ActionProposed, action='{"tool": 5}'), sample(ActionAssessed))))
    assert shown["the exact bytes"] == '{"tool": 5}'


def test_accepted_and_refused_reviews_are_part_of_what_happened() -> None:
    case = case_of(PROPOSED, sample(ActionAssessed), sample(ReviewRefused), sample(ReviewAccepted))
    lines = [str(value) for _, value in details(case)]
    assert any("bad-signature" in line for line in lines)
    assert any(line.startswith("alice@example.org: edit (proven by signature)") for line in lines)
    assert [one["type"] for one in as_json(case)["events"]][-2:] == [ReviewRefused.kind, ReviewAccepted.kind]


def test_the_amount_is_that_of_the_bytes_and_an_estimate_stands_below_it() -> None:
    waits = sample(ActionProposed, action=action_bytes(ACTION).decode(), cost="1", currency="EUR")
    shown = dict(details(case_of(waits, sample(ActionAssessed))))
    assert (shown["amount"], shown["estimate"]) == ("2500 USD", "1 EUR, as the proposer estimates the cost")
    assert cost(case_of(waits)) == "2500 USD\n(estimate: 1 EUR)"
    assert cost(case_of(sample(ActionProposed, action=action_bytes(ACTION).decode(), cost=None))) == "2500 USD"
    nothing = sample(ActionProposed, action=action_bytes(Action(tool="ledger")).decode(), cost="5")
    assert dict(details(case_of(nothing)))["amount"] == "none is stated"
    assert cost(case_of(nothing)) == "(estimate: 5 USD)"


def test_after_an_edit_the_amount_is_that_of_the_edited_bytes() -> None:
    less = action_bytes(ACTION.model_copy(update={"amount": Decimal(1250)})).decode()
    case = case_of(PROPOSED, sample(ActionAssessed), sample(ActionEdited, action=less))
    assert dict(details(case))["amount"] == "1250 USD"
    assert "1250 USD" in str(row(case)[3])
    assert (as_json(case)["amount"], as_json(case)["currency"]) == ("1250", "USD")


def test_an_id_names_one_case_by_its_workflow_and_action_or_by_its_hash() -> None:
    one = case_of(PROPOSED, sample(ActionAssessed))
    other = case_of(sample(ActionProposed, sha256="b" * 64), sample(ActionAssessed), workflow="order-78")
    every = [one, other]
    assert named(every, "order-77/pay.1") == [one]
    assert named(every, "order-78") == [other]
    assert named(every, "b" * 12) == [other]
    assert named(every, "bbb") == []
    assert named(every, "order-7") == []


def test_a_workflow_names_what_waits_in_it_before_what_is_decided() -> None:
    decided = case_of(PROPOSED, sample(ActionAssessed), sample(ActionApproved))
    waits = case_of(sample(ActionProposed, action_id="pay.2"), sample(ActionAssessed, action_id="pay.2"))
    assert named([decided, waits], "order-77") == [waits]
    assert named([decided], "order-77") == [decided]


@pytest.mark.parametrize(
    ("seconds", "shown"), [(-5, "now"), (0, "now"), (90, "in 90 s"), (600, "in 10 min"), (7200, "in 2 h"), (200_000, "in 2 days")]
)
def test_the_time_that_is_left_is_shown_in_a_unit_that_fits(seconds: int, shown: str) -> None:
    case = case_of(PROPOSED, sample(ActionAssessed, expires_at=NOON + timedelta(seconds=seconds)))
    assert until(case, NOON) == shown


def test_an_edit_changes_what_it_names_and_nothing_else() -> None:
    before = ACTION.model_dump(mode="json")
    after = changed(before, ["amount=1250", "arguments.invoice=R-18", "arguments.lines=[1, 2]", "recipient=acct-9"])
    assert read_action(action_bytes(Action(**after))) == Action(
        tool="ledger",
        about="Process $2,500 refund",
        amount="1250",
        arguments={"invoice": "R-18", "lines": [1, 2]},
        recipient="acct-9",
    )
    assert before == ACTION.model_dump(mode="json")


@pytest.mark.parametrize("change", ["amount", "amounts=5", "arguments=5", "argument.invoice=5", "", "=5"])
def test_an_edit_that_names_nothing_is_refused_with_what_there_is(change: str) -> None:
    with pytest.raises(ValueError, match="write NAME=VALUE with one of"):
        changed(ACTION.model_dump(mode="json"), [change])


# keys


def key_in(folder: Path, mode: int = 0o600) -> tuple[Path, str]:
    private, public = new_key()
    path = folder / "alice.pem"
    path.write_bytes(private)
    path.chmod(mode)
    return path, public["public"]


def test_a_review_is_signed_by_the_persons_key_over_all_that_it_holds(tmp_path: Path) -> None:
    path, public = key_in(tmp_path)
    signed = reviewer_of(Settings(), "alice", str(path)).signed(
        ReviewAction(review="a" * 32, action_id="pay.1", sha256="b" * 64, decision="approve", reviewer="somebody"),
        "default",
        "order-77",
    )
    assert signed.reviewer == "alice"
    stated = statement(signed.model_dump(mode="json"), "default", "order-77")
    assert verified(public, signed.signature, stated)
    assert not verified(public, signed.signature, statement(signed.model_dump(mode="json"), "default", "order-78"))


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path, _ = key_in(tmp_path, 0o644)
    with pytest.raises(Problem, match="chmod 600"):
        reviewer_of(Settings(), "alice", str(path))


def test_without_a_key_the_error_says_how_to_make_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(Problem, match="hansard people add"):
        reviewer_of(Settings(), "alice", "")
    with pytest.raises(Problem, match="Who decides"):
        reviewer_of(Settings(), "", "")


# a workflow that waits


def waiting(awaited: str) -> str:
    data = {"step": "pay", "attempt": 1, "awaited": awaited}
    return waits(ShownMessage("1", NOON, "order-77", "planner", StepWaiting.kind, "", data))


def test_who_asks_is_told_what_a_workflow_waits_for_and_what_to_type() -> None:
    assert waiting("approval") == "order-77 waits for a decision: hansard approvals show order-77/pay.1"
    assert waiting("answer") == "order-77 waits for a person's answer: hansard approvals answer order-77/pay.1"
    assert waiting("event") == "order-77 waits for an event, in step pay: hansard signal order-77 EVENT"
