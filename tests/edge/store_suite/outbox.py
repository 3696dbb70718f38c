"""What a store keeps of which messages are published."""

from dataclasses import replace

from shared.eventstore.ports import EventStore
from tests.edge.store_kit import a_stream, an_append, current


class Outbox:
    async def test_an_append_marks_messages_as_published_and_the_mark_never_goes_back(self, store: EventStore) -> None:
        stream = a_stream()
        await store.append([an_append(stream, b"1", b"2", b"3")])
        for mark, left in ((2, [3, 4]), (1, [3, 4, 5]), (5, [6])):
            more = an_append(await current(store, stream), b"0")
            assert (await store.append([replace(more, published=mark)])).accepted == {stream}
            assert [message.version for message in (await current(store, stream)).unpublished] == left

    async def test_a_refused_append_marks_nothing_as_published(self, store: EventStore) -> None:
        stream = a_stream()
        await store.append([an_append(stream, b"1")])
        await store.append([replace(an_append(stream, b"2"), published=1)])
        assert [message.version for message in (await current(store, stream)).unpublished] == [1]

    async def test_a_message_stays_in_the_outbox_until_it_is_marked_as_published(self, store: EventStore) -> None:
        stream = a_stream("router")
        await store.append([an_append(stream, b"1", b"2", b"3")])
        await store.mark_published({})
        assert [s.version for s in await store.unpublished("router", 0)] == [1, 2, 3]
        await store.mark_published({stream: 2, a_stream(): 1})
        assert [s.version for s in await store.unpublished("router", 0)] == [3]
        history = await current(store, stream)
        assert history.unpublished == history.messages[2:]
        assert await store.unpublished("planner", 0) == []
        assert await store.unpublished("router", 3600) == []
        assert await store.outbox_age("planner") == 0 < await store.outbox_age("router") < 60
        await store.mark_published({stream: 1})
        assert [s.version for s in await store.unpublished("router", 0)] == [3], "a mark never goes back"
        await store.mark_published({stream: 3})
        assert await store.unpublished("router", 0) == []
        assert len((await current(store, stream)).messages) == 3, "leaving the outbox is not leaving the record"

    async def test_unpublished_messages_come_in_the_order_of_their_stream(self, store: EventStore) -> None:
        streams = [a_stream("router/b"), a_stream("router/a")]
        for _ in range(3):
            loaded = await store.load(streams)
            await store.append([an_append(loaded[s], b"1", b"2") for s in streams])
        found = await store.unpublished("router", 0, limit=7)
        assert len(found) == 7
        for stream in streams:
            versions = [s.version for s in found if s.stream == stream]
            assert versions == list(range(1, len(versions) + 1)), "a limit never leaves out an earlier one"
        assert await store.unpublished("router", 0) == await store.unpublished("router", 0, limit=12)

    async def test_an_append_returns_the_unpublished_messages_from_before_it(self, store: EventStore) -> None:
        stream, other = a_stream(), a_stream()
        await store.append([an_append(stream, b"1", b"2"), an_append(other, b'"x"')])
        appended = await store.append([replace(an_append(await current(store, stream), b"3"), published=1)])
        assert [(s.stream, s.version, s.data) for s in appended.unpublished] == [(stream, 2, b"2")]
        assert appended.unpublished[0] == (await current(store, stream)).messages[1]
        refused = await store.append([an_append(stream, b"4"), an_append(await current(store, other), b'"y"', b'"z"')])
        assert [(s.stream, s.version) for s in refused.unpublished] == [(other, 1)]
