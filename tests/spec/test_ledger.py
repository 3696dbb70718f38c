"""The ledger: one entry for one approved action, whatever is repeated, lost or cancelled."""

from datetime import timedelta
from decimal import Decimal

import pytest

from contracts.ledger import Entry, EntryPosted, PostingFailed, PostingStarted
from hansard.actions import Action, Approval, action_bytes, action_reference
from hansard.decider import WakeUp
from hansard.tasks import CancelTask, PerformTask, TaskAnswered, TaskCancelled, TaskFailed
from hansard.testing import NOON, given
from services.ledger.decider import PATIENCE, ledger
from services.ledger.facts import PostingReturned

DECISION = "0e1c1f6e-7d2b-5b0e-9a1c-2f6b7c1d3e4f"
REFUND = Action(tool="ledger", about="Refund the outage", amount=Decimal("2500.00"), recipient="acct-9")
ACTION = action_reference(action_bytes(REFUND))
APPROVAL = Approval(action=ACTION, decision=DECISION, status="human_approved", by=("alice",), policy="1", at=NOON)
UNTIL = NOON + timedelta(minutes=5)
TASK = PerformTask(task="pay.1", service="ledger", role="ledger", goal="Refund", deadline=UNTIL, approval=APPROVAL)
STARTED = PostingStarted(
    attempt=1,
    safety="keyed",
    key=DECISION,
    deadline=NOON + PATIENCE,
    task="pay.1",
    role="ledger",
    approval=APPROVAL,
    until=UNTIL,
)
ENTRY = Entry(
    number=12,
    decision=DECISION,
    sha256=ACTION.sha256,
    amount=Decimal("2500.00"),
    currency="USD",
    recipient="acct-9",
    about="Refund the outage",
    at=NOON,
)
RETURNED = PostingReturned(attempt=1, task="pay.1", entry=ENTRY)
LOCKED = PostingReturned(attempt=1, task="pay.1", failed="the book did not answer: database is locked")


def test_the_intent_names_the_decision_and_the_hash_of_what_was_approved() -> None:
    given(ledger).when(TASK).then(STARTED)


def test_the_answer_is_the_entry_as_it_was_found() -> None:
    decided = given(ledger, STARTED).when(RETURNED)
    decided.then(EntryPosted(task="pay.1", entry=ENTRY), TaskAnswered)
    answer = decided.messages[1]
    assert isinstance(answer, TaskAnswered) and isinstance(answer.data, dict)
    assert answer.text == "Entry 12: 2500.00 USD to acct-9."
    assert answer.data["number"] == 12 and answer.data["sha256"] == ACTION.sha256
    assert decided.wake_at is None


def test_a_task_without_an_approval_is_refused() -> None:
    decided = given(ledger).when(TASK.model_copy(update={"approval": None}))
    decided.then(TaskFailed)
    assert "no approval" in failure(decided.messages).detail


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"decision": ""}, "names no decision"),
        ({"decision": "approved, honestly"}, "names no decision"),
        ({"decision": DECISION.upper()}, "names no decision"),
        ({"action": ACTION.model_copy(update={"size": 10**9})}, "no person approves more"),
    ],
)
def test_an_approval_that_can_be_none_is_refused_before_any_attempt(changes: dict[str, object], why: str) -> None:
    decided = given(ledger).when(TASK.model_copy(update={"approval": APPROVAL.model_copy(update=changes)}))
    decided.then(TaskFailed)
    assert why in failure(decided.messages).detail


def test_what_the_performer_refuses_fails_for_good() -> None:
    refused = PostingReturned(attempt=1, task="pay.1", refused="the approved bytes are no action")
    decided = given(ledger, STARTED).when(refused)
    decided.then(TaskFailed(task="pay.1", role="ledger", reason="internal", detail=f"refused: {refused.refused}"))
    assert decided.wake_at is None


def test_a_book_that_does_not_answer_is_tried_again_under_the_same_key() -> None:
    failed = PostingFailed(task="pay.1", attempt=1, detail=LOCKED.failed, resume_at=NOON + timedelta(seconds=1))
    waiting = given(ledger, STARTED).when(LOCKED).then(failed)
    at = NOON + timedelta(seconds=1)
    waiting.when(WakeUp()).then(STARTED.model_copy(update={"attempt": 2, "deadline": at + PATIENCE}))


def test_waits_grow_and_are_bounded() -> None:
    waits = []
    for attempt in (1, 2, 3, 9, 1000):
        stored = STARTED.model_copy(update={"attempt": attempt})
        [failed] = given(ledger, stored).when(LOCKED.model_copy(update={"attempt": attempt})).messages
        assert isinstance(failed, PostingFailed)
        waits.append((failed.resume_at - NOON).total_seconds())
    assert waits == [1, 2, 4, 30, 30]


def test_a_lost_attempt_is_repeated_at_once() -> None:
    decided = given(ledger, STARTED).when(WakeUp(), at=timedelta(seconds=3))
    decided.then(PostingFailed, PostingStarted)
    assert decided.messages[1] == STARTED.model_copy(update={"attempt": 2, "deadline": NOON + timedelta(seconds=13)})


def test_when_the_tasks_time_is_over_the_doubt_is_stated() -> None:
    decided = given(ledger, STARTED).when(WakeUp(), at=UNTIL)
    decided.then(PostingFailed, TaskFailed)
    failed = failure(decided.messages)
    assert failed.reason == "deadline" and DECISION in failed.detail and "nobody knows" in failed.detail


def test_a_task_that_comes_too_late_is_not_begun() -> None:
    decided = given(ledger).when(TASK, at=UNTIL)
    decided.then(TaskFailed)
    assert failure(decided.messages).reason == "deadline"


def test_a_task_is_carried_out_once_however_often_it_comes() -> None:
    given(ledger, STARTED).when(TASK).then()
    given(ledger, STARTED).when(RETURNED).then(EntryPosted, TaskAnswered).when(TASK).then()


def test_a_cancellation_that_is_there_first_keeps_the_attempt_from_being_made() -> None:
    given(ledger).when(CancelTask(task="pay.1", service="ledger")).then(TaskCancelled(task="pay.1")).when(TASK).then()


def test_a_cancellation_between_two_attempts_keeps_the_second_from_being_made() -> None:
    waiting = given(ledger, STARTED).when(LOCKED).then(PostingFailed)
    cancelled = waiting.when(CancelTask(task="pay.1", service="ledger"))
    cancelled.then(TaskCancelled)
    assert cancelled.wake_at is None


def test_an_entry_that_was_made_while_the_task_was_cancelled_is_on_record() -> None:
    cancelled = given(ledger, STARTED).when(CancelTask(task="pay.1", service="ledger")).then(TaskCancelled)
    cancelled.when(RETURNED).then(EntryPosted(task="pay.1", entry=ENTRY, late=True)).when(RETURNED).then()


def test_an_entry_that_was_made_after_the_tasks_time_is_on_record() -> None:
    over = given(ledger, STARTED).when(WakeUp(), at=UNTIL).then(PostingFailed, TaskFailed)
    over.when(RETURNED).then(EntryPosted(task="pay.1", entry=ENTRY, late=True))


def test_the_outcome_of_an_earlier_attempt_changes_nothing() -> None:
    second = STARTED.model_copy(update={"attempt": 2})
    given(ledger, STARTED, PostingFailed(task="pay.1", attempt=1, detail="", resume_at=NOON), second).when(RETURNED).then()


def failure(messages: tuple[object, ...]) -> TaskFailed:
    assert isinstance(messages[-1], TaskFailed)
    return messages[-1]
