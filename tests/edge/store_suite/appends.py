"""What an append stores and when it is refused."""

import asyncio
from datetime import timedelta
from hashlib import sha256
from uuid import uuid4

import pytest

from shared.eventstore.model import STALE, History, InboxEntry, StoreRefused, Stream
from shared.eventstore.ports import EventStore
from tests.edge.store_kit import a_stream, an_append, current, messages_in, only


class Appends:
    async def test_an_unknown_stream_has_an_empty_history(self, store: EventStore) -> None:
        stream = a_stream()
        assert await store.load([stream]) == {stream: History(stream)}
        assert await store.load([]) == {}
        assert await store.load_workflow("default", "nothing") == {}
        assert await store.inbox_entries(stream) == []
        assert await store.door_messages("default", "nothing") == {}
        assert await store.find_messages([uuid4()]) == {}

    async def test_an_append_is_loaded_as_it_was_given(self, store: EventStore) -> None:
        stream = a_stream("specialists/draft.1")
        given = an_append(stream, b'{"n": 1}', b'{"n": 2}')
        appended = await store.append([given])
        assert appended.accepted == {stream} and appended.unpublished == ()
        history = await current(store, stream)
        assert (history.processed, history.version) == (1, 2)
        assert [
            (s.stream, s.version, s.id, s.kind, s.topic, s.causation_id, s.data, s.hash, s.traceparent) for s in history.messages
        ] == [(s.stream, s.version, s.id, s.kind, s.topic, s.causation_id, s.data, s.hash, s.traceparent) for s in given.messages]
        assert {str(s.at) for s in history.messages} == {str(given.at)}, "in UTC"
        assert history.messages[0].position < history.messages[1].position
        [entry] = history.entries.values()
        assert entry == await only(store.inbox_entries(stream))
        assert (entry.causation_id, entry.sequence, entry.version_before, entry.kind) == (
            given.entries[0].causation_id,
            1,
            0,
            "hansard.test.received.v1",
        )
        assert (entry.hash, entry.code, entry.policy) == (sha256(b"received").digest(), "c0de", "1")
        assert (entry.dead, entry.attempt, entry.at, history.at) == (False, 1, given.at, given.at)
        assert await store.find_messages([given.messages[1].id, uuid4()]) == {given.messages[1].id: history.messages[1]}

    async def test_many_streams_are_loaded_at_once_each_with_its_own_messages(self, store: EventStore) -> None:
        streams = [a_stream(f"specialists/{n}", workflow="shared") for n in range(40)]
        await store.append([an_append(s, *(f"{n}".encode() for _ in range(n % 4))) for n, s in enumerate(streams)])
        loaded = await store.load([*reversed(streams), a_stream()])
        assert [[s.data for s in loaded[stream].messages] for stream in streams] == [
            [str(n).encode()] * (n % 4) for n in range(40)
        ]
        assert all(loaded[stream].processed == 1 for stream in streams)

    async def test_a_workflow_is_loaded_with_all_its_streams_and_no_others(self, store: EventStore) -> None:
        here = a_stream("router")
        also = a_stream("gateway/specialists/draft.1/1", workflow=here.workflow)
        foreign = a_stream("router", workflow=here.workflow, tenant="another")
        await store.append([an_append(here, b"1"), an_append(also), an_append(foreign, b"3"), an_append(a_stream())])
        found = await store.load_workflow(here.tenant, here.workflow)
        assert set(found) == {here, also}
        assert found == await store.load([here, also])

    async def test_the_bytes_of_a_message_are_stored_unchanged(self, store: EventStore) -> None:
        odd = [
            b'{"b":1,  "a" :\t2, "b": 3}',
            b'{"big": 1e400, "long": 0.1000000000000000055511151231257827, "neg": -0}',
            rb'{"nul": "\u0000", "lone": "\ud800", "esc": "\/"}',
            '{"text": "\u00e9\U0001f600\u2028"}'.encode(),
            b" [ ] ",
            b'"' + b"x" * 200_000 + b'"',
        ]
        stream = a_stream()
        await store.append([an_append(stream, *odd)])
        history = await current(store, stream)
        assert [message.data for message in history.messages] == odd
        assert [message.hash for message in history.messages] == [sha256(data).digest() for data in odd]
        assert [message.data for message in await messages_in(store)] == odd
        assert [message.data for message in await store.unpublished("planner", 0)] == odd

    async def test_an_append_to_a_stream_that_moved_on_is_refused(self, store: EventStore) -> None:
        stream, other = a_stream(), a_stream()
        await store.append([an_append(stream, b"1")])
        late = await store.append([an_append(stream, b"2"), an_append(other, b"3")])
        assert late.accepted == {other}
        assert [message.data for message in (await current(store, stream)).messages] == [b"1"]
        assert (await store.append([an_append(await current(store, stream), b"2")])).accepted == {stream}

    async def test_an_inbox_entry_without_messages_moves_a_stream_on_too(self, store: EventStore) -> None:
        stream = a_stream()
        known = await current(store, stream)
        assert (await store.append([an_append(known)])).accepted == {stream}
        assert (await store.append([an_append(known)])).accepted == frozenset(), "two entries without messages, at one version"
        assert (await store.append([an_append(known, b"1")])).accepted == frozenset()
        history = await current(store, stream)
        assert (history.processed, history.version, len(history.entries)) == (1, 0, 1)

    async def test_an_append_that_expects_a_stream_is_refused_where_there_is_none(self, store: EventStore) -> None:
        stream = a_stream()
        assert (await store.append([an_append(History(stream, processed=3, version=2), b"1")])).accepted == frozenset()
        assert (await store.append([an_append(History(stream, processed=0, version=2), b"1")])).accepted == frozenset()
        assert await current(store, stream) == History(stream)

    async def test_versions_never_have_a_gap(self, store: EventStore) -> None:
        stream = a_stream()
        await store.append([an_append(stream, b"1")])
        assert (await store.append([an_append(History(stream, processed=1, version=5), b"6")])).accepted == frozenset()
        broken = an_append(stream, b"1")
        broken.processed = 7
        with pytest.raises(ValueError, match="numbered"):
            await store.append([broken])

    async def test_two_appends_to_one_stream_at_once_are_a_mistake(self, store: EventStore) -> None:
        stream = a_stream()
        with pytest.raises(ValueError, match="two appends"):
            await store.append([an_append(stream, b"1"), an_append(stream, b"2")])

    async def test_of_two_appends_to_the_same_version_one_is_accepted(self, store: EventStore) -> None:
        stream = a_stream()
        for _ in range(10):
            known = await current(store, stream)
            both = await asyncio.gather(*(store.append([an_append(known, b"1")]) for _ in range(2)))
            assert sorted(len(one.accepted) for one in both) == [0, 1]
        assert (await current(store, stream)).version == 10

    @pytest.mark.parametrize(
        "broken",
        [b'"\x00"', b'{"x": NaN}', b"Infinity", b'"\xed\xa0\x80"', b'"\xff"', b'{"x": ', b"", b"'x'", b"[" * 100_000],
        ids=["NUL", "NaN", "Infinity", "surrogate", "not UTF-8", "truncated", "empty", "not JSON", "deep"],
    )
    async def test_a_message_that_the_store_cannot_hold_is_refused_alone(self, store: EventStore, broken: bytes) -> None:
        good = [a_stream() for _ in range(12)]
        bad = a_stream()
        appends = [an_append(stream, b"1") for stream in good]
        appends.insert(7, an_append(bad, b"1", broken))
        appended = await store.append(appends)
        assert appended.accepted == set(good)
        loaded = await store.load([*good, bad])
        assert [loaded[stream].at for stream in good] == [each.at for each in appends if each.stream != bad]
        assert loaded[bad] == History(bad)
        with pytest.raises(StoreRefused):
            await store.append([an_append(bad, broken)])

    @pytest.mark.parametrize("name", ["nul\0", "lone\ud800"], ids=["NUL", "surrogate"])
    async def test_a_stream_name_that_the_store_cannot_hold_is_refused_alone(self, store: EventStore, name: str) -> None:
        good, bad = a_stream(), Stream("default", name, "planner")
        assert (await store.append([an_append(good, b"1"), an_append(bad, b"1")])).accepted == {good}
        loaded = await store.load([good, bad])
        assert (loaded[good].version, loaded[bad]) == (1, History(bad))
        with pytest.raises(StoreRefused):
            await store.append([an_append(bad, b"1")])

    async def test_a_message_id_is_stored_once_in_a_workflow(self, store: EventStore) -> None:
        result = uuid4()
        first = a_stream("router")
        second = a_stream("planner", workflow=first.workflow)
        await store.append([an_append(first, b"1", ids=[result])])
        with pytest.raises(StoreRefused):
            await store.append([an_append(second, b"2", ids=[result])])
        elsewhere = a_stream("planner")
        assert (
            await store.append([an_append(second, b"2", ids=[result]), an_append(elsewhere, b"3", ids=[result])])
        ).accepted == {elsewhere}
        assert (await current(store, second)).processed == 0

    async def test_a_message_is_processed_once_and_again_only_as_the_next_attempt(self, store: EventStore) -> None:
        stream, causation_id = a_stream(), uuid4()
        dead = an_append(stream, causation_id=causation_id)
        dead.entries = [InboxEntry(causation_id, 1, 0, "k", dead.at, b"h", "c", "1", dead=True)]
        await store.append([dead])
        with pytest.raises(StoreRefused):
            await store.append([an_append(await current(store, stream), b"1", causation_id=causation_id)])
        again = an_append(await current(store, stream), b"1", causation_id=causation_id)
        again.entries = [InboxEntry(causation_id, 2, 0, "k", again.at, b"h", "c", "1", attempt=2)]
        assert (await store.append([again])).accepted == {stream}
        history = await current(store, stream)
        assert (history.entries[causation_id].dead, history.entries[causation_id].attempt) == (False, 2)
        assert [(entry.sequence, entry.dead) for entry in await store.inbox_entries(stream)] == [(1, True), (2, False)]

    # Rule 8: one clock

    async def test_the_clock_is_never_ahead_of_what_the_next_append_compares_it_with(self, store: EventStore) -> None:
        for _ in range(50):
            assert len((await store.append([an_append(a_stream(), b"1", at=store.now())])).accepted) == 1

    async def test_an_append_whose_time_is_ahead_of_the_clock_is_refused_and_its_neighbour_is_not(
        self, store: EventStore
    ) -> None:
        ahead, good = a_stream(), a_stream()
        appends = [an_append(ahead, b"1", at=store.now() + timedelta(minutes=1)), an_append(good, b"1")]
        assert (await store.append(appends)).accepted == {good}
        assert await current(store, ahead) == History(ahead)

    async def test_a_time_ahead_of_the_clock_is_accepted_up_to_the_recorded_times_involved(self, store: EventStore) -> None:
        stream = a_stream()
        later = store.now() + timedelta(hours=1)
        assert (await store.append([an_append(stream, b"1", at=later, not_before=later)])).accepted == {stream}
        assert (await current(store, stream)).at == later
        beyond = an_append(await current(store, stream), b"2", at=later + timedelta(microseconds=1), not_before=later)
        assert (await store.append([beyond])).accepted == frozenset()

    async def test_an_append_whose_time_is_long_past_is_refused(self, store: EventStore) -> None:
        stream = a_stream()
        past = store.now() - timedelta(seconds=STALE + 1)
        assert (await store.append([an_append(stream, b"1", at=past, not_before=past)])).accepted == frozenset()
        assert (await store.append([an_append(stream, b"1", at=past + timedelta(seconds=2))])).accepted == {stream}
