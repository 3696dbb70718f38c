"""The ledger's effect: what is approved is what is written, once."""

import sqlite3
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from contracts.approval import ActionApproved, ActionRejected
from contracts.ledger import PostingStarted
from hansard.actions import (
    LARGEST,
    Action,
    Approval,
    Recorded,
    action_bytes,
    action_reference,
    check_decision,
    decision_id,
)
from hansard.codec import encode
from hansard.message import Message
from hansard.testing import NOON
from hansard.values import ContentReference
from services.ledger import book
from services.ledger.decider import PATIENCE, Awaiting
from services.ledger.facts import PostingReturned
from services.ledger.performer import open_performer
from services.ledger.posting import Posting, Unfit, posting_of
from shared.content import Contents
from shared.content.memory import InMemoryPlace
from shared.eventstore.model import StoreUnavailable, Stream

STREAM = Stream("default", "order-77", "ledger/pay.1")
APPROVAL = STREAM._replace(name="approval/pay.1")
A_DECISION = "5f1b8a52-0c7e-4d8f-9a3e-2b1d6c4e7f90"
REFUND = Action(
    tool="ledger", about="Refund the outage", amount=Decimal("2500.00"), recipient="acct-9", arguments={"invoice": "R-17"}
)
OTHER, REFERENCE = action_reference(b"other"), action_reference(action_bytes(REFUND))
POSTING = Posting(Decimal("2500.00"), "USD", "acct-9", "Refund the outage", {"invoice": "R-17"})


def recorded(action: ContentReference, stream: Stream = APPROVAL, **changes: Any) -> Recorded:
    """A decision for this action, as a stream has stored it."""
    fields = {
        "action_id": "pay.1",
        "sha256": action.sha256,
        "action": "{}",
        "action_ref": action,
        "status": "human_approved",
        "policy": "1",
    }
    return as_stored(ActionApproved(**{**fields, **changes}), stream)


def as_stored(message: Message, stream: Stream = APPROVAL) -> Recorded:
    return Recorded(stream, message.kind, encode(message))


@dataclass
class FakeContext:
    """The content store and the clock of a performer."""

    place: InMemoryPlace = field(default_factory=InMemoryPlace)
    at: datetime = NOON
    away: bool = False
    record: dict[UUID, Recorded] = field(default_factory=dict)

    def now(self) -> datetime:
        return self.at

    async def content(self, stream: Stream, reference: ContentReference) -> bytes:
        if self.away:
            raise StoreUnavailable("scripted")
        return await Contents(self.place).get(stream.tenant, reference)

    async def approved(self, stream: Stream, approval: Approval) -> None:
        check_decision(approval, stream, self.record.get(decision_id(approval)))

    def decided(self, action: ContentReference, decision: str = "", attempt: int = 1) -> PostingStarted:
        """An attempt whose decision is on the record, unless another is there under its id."""
        wanted = intent(action, decision, attempt)
        self.record.setdefault(UUID(wanted.key), recorded(action))
        return wanted

    async def put(self, data: bytes, under: ContentReference | None = None, tenant: str = "default") -> ContentReference:
        reference = under or action_reference(data)
        await self.place.put(tenant, reference.sha256, data, reference.media_type)
        return reference


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger" / "book.sqlite3"


@pytest.fixture
def context() -> FakeContext:
    return FakeContext()


@pytest.fixture
async def perform(path: Path, context: Any) -> AsyncIterator[Any]:
    async with open_performer(path, context) as made:
        yield lambda intent: made(Awaiting(), intent, STREAM)


def intent(action: ContentReference, decision: str = "", attempt: int = 1) -> PostingStarted:
    decision = decision or str(uuid4())
    return PostingStarted(
        attempt=attempt,
        safety="keyed",
        key=decision,
        deadline=NOON + PATIENCE,
        task="pay.1",
        role="ledger",
        approval=Approval(action=action, decision=decision, status="human_approved", policy="1", at=NOON),
        until=NOON + timedelta(minutes=5),
    )


async def test_the_entry_holds_what_the_approved_bytes_state(perform: Any, context: FakeContext, path: Path) -> None:
    action = await context.put(action_bytes(REFUND))
    wanted = context.decided(action)
    returned = await perform(wanted)
    [entry] = book.entries(path)
    assert returned == PostingReturned(attempt=1, task="pay.1", entry=entry)
    assert (entry.decision, entry.sha256, entry.at) == (wanted.key, action.sha256, NOON)
    assert (str(entry.amount), entry.currency, entry.recipient) == ("2500.00", "USD", "acct-9")
    assert (entry.about, entry.arguments) == ("Refund the outage", {"invoice": "R-17"})


async def test_a_repeated_attempt_finds_the_row_of_the_first(perform: Any, context: FakeContext, path: Path) -> None:
    action = await context.put(action_bytes(REFUND))
    first = await perform(context.decided(action, A_DECISION))
    context.at += timedelta(seconds=5)
    second = await perform(context.decided(action, A_DECISION, attempt=2))
    assert second.entry == first.entry and second.attempt == 2
    assert len(book.entries(path)) == 1


async def test_two_decisions_for_the_same_bytes_are_two_entries(perform: Any, context: FakeContext, path: Path) -> None:
    action = await context.put(action_bytes(REFUND))
    assert [(await perform(context.decided(action))).entry.number for _ in range(2)] == [1, 2]


async def test_one_decision_never_runs_other_bytes(perform: Any, context: FakeContext, path: Path) -> None:
    book.post(path, STREAM.tenant, A_DECISION, OTHER.sha256, POSTING, NOON)
    returned = await perform(context.decided(await context.put(action_bytes(REFUND)), A_DECISION))
    assert returned.entry is None and "has entry 1 for other bytes" in returned.refused
    assert [str(entry.amount) for entry in book.entries(path)] == ["2500.00"]


REJECTED = ActionRejected(action_id="pay.1", sha256=REFERENCE.sha256, policy="1", because="reviewed", status="human_rejected")


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (None, "no message with the id"),
        (as_stored(REJECTED), "no approval of an action"),
        (recorded(REFERENCE, STREAM), "no approval of an action"),
        (recorded(REFERENCE, STREAM._replace(name="approvals/pay.1")), "no approval of an action"),
        (recorded(REFERENCE, APPROVAL._replace(workflow="another")), "made in another workflow"),
        (recorded(REFERENCE, APPROVAL._replace(tenant="another")), "made in another workflow"),
        (recorded(OTHER), "for other bytes"),
        (recorded(REFERENCE, sha256=OTHER.sha256), "for other bytes"),
        (recorded(REFERENCE, action_ref=OTHER), "for other bytes"),
        (recorded(REFERENCE, action_ref=None), "for other bytes"),
        (recorded(REFERENCE, by=("mallory",)), "made by others"),
        (recorded(REFERENCE, status="auto_approved"), "made by others"),
    ],
)
async def test_what_no_decision_on_the_record_approves_is_refused(
    perform: Any, context: FakeContext, path: Path, found: Recorded | None, why: str
) -> None:
    wanted = intent(await context.put(action_bytes(REFUND)))
    if found:
        context.record[UUID(wanted.key)] = found
    returned = await perform(wanted)
    assert why in returned.refused and returned.entry is None
    assert book.entries(path) == []


async def test_other_bytes_under_the_approved_hash_are_refused(perform: Any, context: FakeContext, path: Path) -> None:
    approved = action_reference(action_bytes(REFUND))
    await context.put(action_bytes(REFUND.model_copy(update={"recipient": "acct-666"})), under=approved)
    returned = await perform(context.decided(approved))
    assert "the approved bytes are not there" in returned.refused
    assert book.entries(path) == []


async def test_bytes_that_nobody_stored_and_those_of_another_tenant_are_refused(perform: Any, context: FakeContext) -> None:
    approved = await context.put(action_bytes(REFUND), tenant="another")
    assert "the approved bytes are not there" in (await perform(context.decided(approved))).refused


async def test_an_attempt_that_begins_too_late_writes_nothing(perform: Any, context: FakeContext, path: Path) -> None:
    action = await context.put(action_bytes(REFUND))
    context.at = NOON + PATIENCE
    returned = await perform(context.decided(action))
    assert "too late" in returned.failed and book.entries(path) == []


async def test_a_store_or_a_book_that_does_not_answer_is_no_refusal(perform: Any, context: FakeContext, path: Path) -> None:
    action = await context.put(action_bytes(REFUND))
    context.away = True
    returned = await perform(context.decided(action))
    assert (returned.refused, returned.failed) == ("", "the event store or the content store is unavailable: scripted")
    context.away = False
    path.write_bytes(b"no database at all" * 100)
    returned = await perform(context.decided(action))
    assert returned.refused == "" and "the book did not answer" in returned.failed


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"not json", "no action"),
        (b'{"about":"no tool"}', "no action"),
        (b'{"tool":"ledger","amount":2500.0,"recipient":"acct-9"}', "money travels as a string"),
        (action_bytes(REFUND).replace(b'"2500.00"', b'"1","amount":"2500.00"'), "is not written as"),  # a name twice
        (action_bytes(REFUND).replace(b"{", b'{"Bonus":"9999",', 1), "a field that no action has"),
        (action_bytes(REFUND) + b" ", "is not written as"),
        (action_bytes(REFUND.model_copy(update={"tool": "mail"})), "for the tool 'mail'"),
        (action_bytes(REFUND.model_copy(update={"amount": None})), "amount"),
        (action_bytes(REFUND.model_copy(update={"recipient": " "})), "recipient"),
        (action_bytes(REFUND.model_copy(update={"arguments": {"invoice": "R-17", "tip": "99"}})), "arguments.tip"),
        (action_bytes(REFUND.model_copy(update={"arguments": {"invoice": 17}})), "arguments.invoice"),
    ],
)
def test_what_is_unfit_is_refused_with_its_reason(data: bytes, why: str) -> None:
    with pytest.raises(Unfit, match=why):
        posting_of(data)


def test_a_fit_action_is_taken_as_it_stands() -> None:
    assert posting_of(action_bytes(REFUND)) == POSTING
    assert len(action_bytes(REFUND)) < LARGEST


def test_processes_that_write_one_decision_at_once_find_one_entry(path: Path) -> None:
    book.create(path)
    with ThreadPoolExecutor(8) as threads:
        tried = [threads.submit(book.post, path, "default", f"d-{n % 5}", "0" * 64, POSTING, NOON) for n in range(100)]
        found = [one.result() for one in tried]
    assert len({entry.number for entry in found}) == 5 == len(book.entries(path))


def test_the_book_is_its_users_alone_and_keeps_what_it_has(path: Path) -> None:
    book.create(path)
    book.post(path, "default", "d-1", "0" * 64, POSTING, NOON)
    book.create(path)
    assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700
    assert [entry.number for entry in book.entries(path)] == [1]


def test_there_is_nothing_in_a_book_that_is_not_there(tmp_path: Path) -> None:
    assert book.entries(tmp_path / "none") == []


def test_a_tenant_has_decisions_of_its_own(path: Path) -> None:
    book.create(path)
    for tenant in ("one", "other"):
        book.post(path, tenant, "d-1", "0" * 64, POSTING, NOON)
    with sqlite3.connect(path) as opened:
        assert opened.execute("select tenant, number from entries order by number").fetchall() == [("one", 1), ("other", 2)]
