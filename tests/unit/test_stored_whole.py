"""Fields whose whole bytes are in the content store, however short they are: an action that somebody approves."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

import pytest

from contracts.approval import Option, ProposeAction
from contracts.catalog import Topics
from contracts.dead_letters import DeadLettered
from contracts.planner import ExpireWorkflow
from hansard.actions import Action, action_bytes, action_reference
from hansard.codec import decode
from hansard.decider import Context, Decider
from hansard.message import Message
from hansard.references import by_reference, declared_wholes
from hansard.service import Service
from hansard.testing import InMemory, given
from shared.content import ContentMissing, Contents
from shared.content.memory import InMemoryPlace
from shared.eventstore.memory import InMemoryEventStore
from shared.eventstore.model import Stream
from shared.runtime.inbound import Inbound
from shared.runtime.loop import Loop
from shared.runtime.processor import Processor
from tests.unit.loop_kit import Publisher
from tests.unit.toy import NOON

BYTES = action_bytes(Action(tool="ledger", about="Refund $50", recipient="acct-9"))
REFERENCE = action_reference(BYTES)
OTHER = action_reference(b"{}")
STREAM = Stream("default", "w1", "planner")
ASKED = ExpireWorkflow(request="r", deadline=NOON)


def proposed(**changes: Any) -> ProposeAction:
    given = {
        "action_id": "pay.1",
        "action": BYTES.decode(),
        "action_ref": REFERENCE,
        "sha256": REFERENCE.sha256,
        "proposer": "planner",
    }
    return ProposeAction.model_validate(given | changes)


def proposing(message: Message) -> Service[None]:
    def decide(_: None, __: Message, ___: Context) -> Iterable[Message]:
        yield message

    return Service("planner", Decider(None, decide, lambda *_: None), receives={ExpireWorkflow: lambda _: ""})


class Watched(InMemoryPlace):
    """Notes whether the record was still empty when something was put."""

    def __init__(self, store: InMemoryEventStore) -> None:
        super().__init__()
        self.store, self.was_empty = store, False

    async def put(self, tenant: str, sha256: str, data: bytes, media_type: str) -> None:
        self.was_empty = not (await self.store.load([STREAM]))[STREAM].messages
        await super().put(tenant, sha256, data, media_type)


async def run(message: Message) -> tuple[Message, Watched]:
    """What the planner's stream stores where it decides this message."""
    store = InMemoryEventStore()
    place = Watched(store)
    loop = Loop(Processor(proposing(message), Topics(), 900_000), store, Publisher(store), contents=Contents(place))
    await loop.process([Inbound(STREAM, UUID(int=1), ASKED.kind, b"", message=ASKED)])
    [stored] = (await store.load([STREAM]))[STREAM].messages
    return decode(DeadLettered if stored.kind == DeadLettered.kind else ProposeAction, stored.data), place


async def test_a_declared_field_is_in_the_content_store_before_its_message_and_whole_in_it() -> None:
    message, place = await run(proposed())
    assert isinstance(message, ProposeAction)
    assert (message.action, message.action_ref, place.was_empty) == (BYTES.decode(), REFERENCE, True)
    assert await Contents(place).get("default", REFERENCE) == BYTES


@pytest.mark.parametrize("reference", [None, OTHER, REFERENCE.model_copy(update={"size": 1})])
async def test_a_reference_that_is_not_of_these_bytes_is_refused(reference: Any) -> None:
    message, place = await run(proposed(action_ref=reference))
    assert isinstance(message, DeadLettered)
    assert (message.reason, "action_ref" in message.detail) == ("poison", True)
    with pytest.raises(ContentMissing):
        await Contents(place).get("default", REFERENCE)


async def test_a_declared_field_stays_whole_in_a_message_that_is_too_long() -> None:
    views = tuple(Option(source=f"analyst {n}", view="x" * 4_000) for n in range(70))
    message = proposed(options=views, action="z" * 60_000, action_ref=action_reference(b"z" * 60_000))
    small, wholes = by_reference(message, 200_000)
    assert (small, wholes) == (message, {})
    assert declared_wholes(small) == {message.action_ref: b"z" * 60_000}


async def test_it_is_in_the_content_store_in_memory_too() -> None:
    there = InMemory(proposing(proposed()))
    there.send(ASKED)
    assert there.contents == {("default", REFERENCE.sha256): BYTES}


def test_a_spec_fails_where_a_decider_names_other_bytes() -> None:
    given(proposing(proposed())).when(ASKED).then(ProposeAction)
    with pytest.raises(AssertionError, match="action_ref"):
        given(proposing(proposed(action_ref=OTHER))).when(ASKED)


def test_a_declared_field_is_a_text_with_a_reference_beside_it() -> None:
    for kind in Topics().kinds.values():
        for field in kind.stored_whole:
            assert kind.model_fields[field].annotation is str
            assert f"{field}_ref" in kind.model_fields
