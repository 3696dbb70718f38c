"""How a message from outside is stored beside the entries that it causes."""

from hashlib import sha256
from uuid import uuid4

import pytest

from shared.eventstore.model import DoorIdentity, History, StoreRefused, Stream, StreamAppend, body_hash
from shared.eventstore.ports import EventStore
from tests.edge.store_kit import a_stream, an_append, current, door


class DoorMessages:
    async def test_a_message_from_outside_is_stored_as_it_was_received(self, store: EventStore) -> None:
        stream, causation_id = a_stream("router"), uuid4()
        outside = door(stream, causation_id, b"\x00\xff not JSON")
        await store.append([an_append(stream, b"1", causation_id=causation_id, doors=[outside])])
        assert await store.door_messages(stream.tenant, stream.workflow) == {causation_id: outside}
        assert await store.door_messages(stream.tenant, stream.workflow, [uuid4()]) == {}
        assert await store.door_messages("another", stream.workflow, [causation_id]) == {}
        nothing, other_id = a_stream("router"), uuid4()
        await store.append([an_append(nothing, causation_id=other_id, doors=[door(nothing, other_id, None)])])
        assert (await store.door_messages(nothing.tenant, nothing.workflow, [other_id]))[other_id].body is None

    async def test_a_message_from_outside_has_the_time_and_the_transaction_of_its_append(self, store: EventStore) -> None:
        streams = [a_stream("router") for _ in range(2)]
        wholes = []
        for stream in streams:
            causation_id = uuid4()
            outside = door(stream, causation_id)
            await store.append([an_append(stream, b"1", causation_id=causation_id, doors=[outside])])
            (whole,) = await store.load_workflows([(stream.tenant, stream.workflow)])
            assert whole.identities == {causation_id: DoorIdentity(stream.workflow, body_hash(outside))}
            wholes.append((whole.door_messages[causation_id], whole.entries[stream][0], whole.histories[stream].messages[0]))
        for outside, entry, message in wholes:
            assert outside.recorded_at == entry.at == message.at
            assert outside.transaction == entry.transaction == message.transaction
        (first, first_entry, _), (second, second_entry, _) = wholes
        assert first.position < second.position and first_entry.position < second_entry.position

    async def test_one_identity_belongs_to_one_workflow_and_to_each_tenant_its_own(self, store: EventStore) -> None:
        first, second, third = a_stream("router"), a_stream("router"), a_stream("router", tenant="acme")
        causation_id = uuid4()

        def received(stream: Stream) -> StreamAppend:
            return an_append(stream, b"1", causation_id=causation_id, doors=[door(stream, causation_id)])

        assert (await store.append([received(first)])).taken == {}
        refused = await store.append([received(second), received(third)])
        assert refused.accepted == {third} and refused.taken[causation_id].workflow == first.workflow
        alone = await store.append([received(second)])
        assert not alone.accepted and alone.taken == refused.taken
        assert await store.door_messages(second.tenant, second.workflow) == {}
        together = [received(a_stream("router", tenant="zeta")) for _ in range(2)]
        assert len((await store.append(together)).accepted) == 1, "also within one append"
        assert await store.identities_without_door(10) == []

    async def test_a_message_from_outside_is_stored_once_however_many_streams_process_it(self, store: EventStore) -> None:
        first, causation_id = a_stream("router"), uuid4()
        second, third = (a_stream(name, workflow=first.workflow) for name in ("planner", "verifier"))
        outside = door(first, causation_id)
        assert (
            len(
                (await store.append([an_append(s, causation_id=causation_id, doors=[outside]) for s in (first, second)])).accepted
            )
            == 2
        )
        await store.append([an_append(third, causation_id=causation_id, doors=[outside])])
        assert await store.door_messages(first.tenant, first.workflow) == {causation_id: outside}

    async def test_a_message_from_outside_with_a_known_id_and_another_body_is_refused(self, store: EventStore) -> None:
        first, causation_id = a_stream("router"), uuid4()
        second, third = (a_stream(name, workflow=first.workflow) for name in ("planner", "verifier"))
        await store.append([an_append(first, causation_id=causation_id, doors=[door(first, causation_id, b"1")])])
        bad = an_append(second, b'"x"', causation_id=causation_id, doors=[door(first, causation_id, b"2")])
        assert (await store.append([bad, an_append(third, b'"y"')])).accepted == {third}
        assert (await store.append([bad])).taken == {causation_id: DoorIdentity(first.workflow, sha256(b"1").digest())}
        assert (await store.door_messages(first.tenant, first.workflow))[causation_id].body == b"1"
        assert (await current(store, second)) == History(second)

    async def test_of_two_bodies_under_one_id_in_one_append_only_the_first_is_stored(self, store: EventStore) -> None:
        first, causation_id = a_stream("planner"), uuid4()
        second = a_stream("router", workflow=first.workflow)
        appends = [
            an_append(s, b'"x"', causation_id=causation_id, doors=[door(first, causation_id, body)])
            for s, body in ((first, b"1"), (second, b"2"))
        ]
        assert (await store.append(appends)).accepted == {first}
        alone = a_stream("router")
        with pytest.raises(StoreRefused):
            await store.append([an_append(alone, doors=[door(alone, causation_id, b"1"), door(alone, causation_id, b"2")])])

    async def test_a_refused_append_stores_no_message_from_outside(self, store: EventStore) -> None:
        stream, causation_id = a_stream("router"), uuid4()
        await store.append([an_append(stream)])
        await store.append([an_append(stream, causation_id=causation_id, doors=[door(stream, causation_id)])])
        assert await store.door_messages(stream.tenant, stream.workflow) == {}
