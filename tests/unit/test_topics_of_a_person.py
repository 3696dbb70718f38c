"""Topics to which one person's principal alone may write: which one a review came by is a fact, and an audit decides by it."""

import base64
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from pydantic import ValidationError

from contracts.approval import PersonRemoved, ReviewAction, WithdrawAction
from contracts.catalog import REVIEWS, Topics
from contracts.control import RedriveDeadLetter
from hansard.decider import CannotProcess, Context, Decider
from hansard.message import Message
from hansard.service import Service
from hansard.testing import InMemory, given
from infra.audit.verify import verify
from shared.eventstore.memory import InMemoryEventStore
from shared.eventstore.model import Stream
from shared.kafka.record import Record
from shared.runtime.inbound import InboundParser
from shared.runtime.loop import Loop
from shared.runtime.processor import Processor
from shared.settings import Settings
from tests.unit.internal import published, put_on_record, stored_message
from tests.unit.loop_kit import Publisher
from tests.unit.toy import NOON

ALICE, BOB = f"{REVIEWS}.alice", f"{REVIEWS}.bob"
SETTINGS = Settings(reviewer_topics=(ALICE, BOB))
REVIEW = ReviewAction(review="6f1d0c2a", action_id="pay.1", decision="approve", reviewer="alice")
WITHDRAW = WithdrawAction(action_id="pay.1")


def decide(_: None, message: Message, context: Context) -> Iterable[Message]:
    """Stores by which topic it came."""
    if getattr(message, "notes", "") == "poison":
        raise CannotProcess("poison", "asked for it")
    yield PersonRemoved(name=context.topic or "internal", by="test")


approval = Service(
    "approval", Decider(None, decide, lambda *_: None), receives={ReviewAction: lambda _: "", WithdrawAction: lambda _: ""}
)


def parser(topics: Topics = SETTINGS.topics) -> InboundParser:
    return InboundParser(approval, topics, 9000)


def record(topic: str, message: Message = REVIEW, id: str = "r1", offset: int = 0) -> Record:
    given = {
        "ce_specversion": "1.0",
        "ce_id": id,
        "ce_source": "/people/alice",
        "ce_type": message.kind,
        "ce_correlationid": "w1",
        "content-type": "application/json",
    }
    at = int((NOON + timedelta(seconds=offset)).timestamp() * 1000)
    headers = tuple((name, value.encode()) for name, value in given.items())
    return Record(topic, 0, offset, at, b"w1", message.model_dump_json().encode(), headers)


async def processed(*records: Record) -> InMemoryEventStore:
    store = InMemoryEventStore(lambda: NOON)
    withdraw = stored_message(WITHDRAW, Stream("default", "w1", "planner"), "approval.commands", version=1, id=UUID(int=7))
    put_on_record(store, withdraw)
    loop = Loop(Processor(approval, SETTINGS.topics, 9000), store, Publisher(store))
    for one in (published(withdraw), *records):
        inbound = parser().parse(one)
        assert inbound is not None
        await loop.process([inbound])
    return store


async def came_by(store: InMemoryEventStore) -> list[str]:
    stored = (await store.load_workflow("default", "w1"))[Stream("default", "w1", "approval")].messages
    return [PersonRemoved.model_validate_json(one.data).name for one in stored if one.kind == PersonRemoved.kind]


async def test_a_decision_knows_by_which_door_its_message_came_and_an_audit_knows_it_too() -> None:
    store = await processed(record(ALICE), record(REVIEWS, id="r2", offset=1), record(BOB, id="r3"))
    assert await came_by(store) == ["internal", ALICE, REVIEWS, BOB]
    report = await verify(store, {"approval": approval}, SETTINGS.topics, "default", "w1")
    assert (report.differences, report.decided) == ([], 4)


async def test_one_id_on_two_doors_is_two_messages() -> None:
    assert await came_by(await processed(record(ALICE), record(BOB))) == ["internal", ALICE, BOB]


async def test_a_redrive_cannot_make_a_message_one_of_another_door() -> None:
    poison = REVIEW.model_copy(update={"notes": "poison"})
    dead = record(REVIEWS, poison)
    body = base64.b64encode(dead.value or b"").decode()
    headers = [(str(name), base64.b64encode(value or b"").decode()) for name, value in dead.headers]
    asked = RedriveDeadLetter(
        service="approval", topic=ALICE, partition=0, offset=0, timestamp=dead.timestamp, key="", body=body, headers=headers
    )
    with pytest.raises(CannotProcess):
        list(decide(None, poison, given(approval).context))
    assert await came_by(await processed(dead, record("control", asked, id="c1"))) == ["internal"]
    store = await processed(dead, record("control", asked, id="c1"))
    entries = await store.inbox_entries(Stream("default", "w1", "approval"))
    assert [(entry.kind, entry.dead) for entry in entries] == [(WithdrawAction.kind, False), (ReviewAction.kind, True)]


async def test_a_topic_that_was_changed_on_the_record_is_found() -> None:
    store = await processed(record(REVIEWS))
    stolen = {key: replace(door, topic=ALICE) for key, door in store._doors.items()}
    store._doors.update(stolen)
    assert (await verify(store, {"approval": approval}, SETTINGS.topics, "default", "w1")).differences


async def test_reviews_stay_on_the_record_when_their_topic_is_gone() -> None:
    store = await processed(record(ALICE))
    assert (await verify(store, {"approval": approval}, Topics(), "default", "w1")).differences == []
    elsewhere = {key: replace(door, topic="elsewhere") for key, door in store._doors.items()}
    store._doors.update(elsewhere)
    assert (await verify(store, {"approval": approval}, Topics(), "default", "w1")).differences


def test_the_catalogue_has_a_door_for_each_person_that_carries_reviews_alone() -> None:
    shared, alice = (SETTINGS.topics.by_name[name] for name in (REVIEWS, ALICE))
    assert (alice.kinds, alice.consumers, alice.door) == ((ReviewAction,), ("approval",), True)
    assert alice.producers == ("person:alice",), "so that no service of that name, and nobody else, may write there"
    assert replace(alice, name=shared.name, about=shared.about, producers=()) == shared
    assert alice in SETTINGS.topics.consumed_by("approval")
    assert ALICE not in Topics().by_name


@pytest.mark.parametrize(
    "name", ["", "alice", "requests", REVIEWS, f"{REVIEWS}.", f"{REVIEWS}.a.b", f"{REVIEWS}.a/b", f"{REVIEWS}.é", f"{ALICE}\n"]
)
def test_a_topic_of_a_person_has_its_name_below_that_of_reviews(name: str) -> None:
    with pytest.raises(ValidationError, match=r"approvals\.reviews\.NAME"):
        Settings(reviewer_topics=(name,))


def test_the_topics_of_people_are_listed_as_other_names_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANSARD_REVIEWER_TOPICS", f"{ALICE}, {BOB},{ALICE}")
    assert Settings().reviewer_topics == (ALICE, BOB)


def test_a_spec_says_by_which_door_a_message_comes() -> None:
    given(approval).when(REVIEW, topic=ALICE).then(PersonRemoved(name=ALICE, by="test"))
    given(approval).when(REVIEW).then(PersonRemoved(name="internal", by="test"))
    there = InMemory(approval)
    assert there.send(REVIEW, topic=BOB) == (PersonRemoved(name=BOB, by="test"),)
    assert there.send(REVIEW) == (PersonRemoved(name="internal", by="test"),)
