"""A claim that is not exactly on the record refuses the append that has it, and no other."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from shared.eventstore.model import Claim, History, StoredMessage, StreamAppend
from shared.eventstore.ports import EventStore
from tests.edge.store_kit import a_stream, an_append, current, door

OTHER: Mapping[str, Any] = {
    "version": 2,
    "id": UUID(int=7),
    "kind": "hansard.test.other.v1",
    "topic": "router.events",
    "causation_id": UUID(int=8),
    "hash": b"\1" * 32,
    "traceparent": "",
    "at": datetime(2020, 1, 1, tzinfo=UTC),
}


async def a_message(store: EventStore) -> StoredMessage:
    stream = a_stream("planner")
    await store.append([an_append(stream, b'"hello"')])
    [message] = (await current(store, stream)).messages
    return message


def claiming(*claims: Claim, name: str = "specialists/draft.1") -> StreamAppend:
    append = an_append(a_stream(name), b'"answer"')
    return replace(append, claims=list(claims))


class Claims:
    async def test_an_append_whose_claim_is_on_the_record_is_accepted(self, store: EventStore) -> None:
        message = await a_message(store)
        append = claiming(message.claim)
        appended = await store.append([append])
        assert appended.accepted == {append.stream} and appended.forged == frozenset()
        assert await store.not_on_record([message.claim]) == set()

    @pytest.mark.parametrize("field", [*OTHER, "tenant", "workflow", "name", "microsecond"])
    async def test_a_claim_that_differs_in_anything_is_forged(self, store: EventStore, field: str) -> None:
        true = (await a_message(store)).claim
        if field in OTHER:
            false = true._replace(**{field: OTHER[field]})
        elif field == "microsecond":
            false = true._replace(at=true.at + timedelta(microseconds=1))
        else:
            false = true._replace(stream=true.stream._replace(**{field: "other"}))
        append, neighbour = claiming(false), claiming(true)
        appended = await store.append([append, neighbour])
        assert appended.accepted == {neighbour.stream} and appended.forged == {false}
        assert await current(store, append.stream) == History(append.stream)
        assert await store.not_on_record([true, false]) == {false}

    async def test_one_false_claim_refuses_its_append_whole_and_every_false_one_is_named(self, store: EventStore) -> None:
        true = (await a_message(store)).claim
        false = [true._replace(id=uuid4()) for _ in range(3)]
        append, other, neighbour = claiming(false[0], true, false[1]), claiming(false[2]), an_append(a_stream(), b"1")
        appended = await store.append([append, other, neighbour])
        assert appended.accepted == {neighbour.stream} and appended.forged == set(false)

    async def test_what_the_same_append_stores_was_not_on_the_record_before(self, store: EventStore) -> None:
        first = an_append(a_stream("planner"), b'"hello"')
        claim = first.messages[0].claim
        append = claiming(claim)
        appended = await store.append([first, append])
        assert appended.accepted == {first.stream} and appended.forged == {claim}
        assert (await store.append([append])).accepted == {append.stream}

    async def test_a_message_from_outside_may_be_in_the_same_append(self, store: EventStore) -> None:
        true, stream, id = (await a_message(store)).claim, a_stream("router"), uuid4()
        outside = an_append(stream, b'"x"', causation_id=id, doors=[door(stream, id)])
        good, bad = claiming(true), claiming(true._replace(kind="k"))
        appended = await store.append([outside, good, bad])
        assert appended.accepted == {stream, good.stream} and appended.forged == {true._replace(kind="k")}
        assert len(await store.door_messages(stream.tenant, stream.workflow)) == 1

    async def test_beside_what_the_store_cannot_hold_the_false_claims_are_named(self, store: EventStore) -> None:
        true = (await a_message(store)).claim
        false = [true._replace(version=version) for version in (2, 3)]
        bad, good = an_append(a_stream(), b"NaN"), claiming(true)
        appended = await store.append([bad, claiming(false[0]), good, claiming(false[1])])
        assert appended.accepted == {good.stream} and appended.forged == set(false)

    async def test_an_append_that_is_refused_alone_names_its_claim(self, store: EventStore) -> None:
        false = (await a_message(store)).claim._replace(kind="k")
        appended = await store.append([claiming(false)])
        assert appended.accepted == frozenset() and appended.forged == {false}
