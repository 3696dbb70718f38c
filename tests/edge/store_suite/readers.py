"""Reading the messages of all streams."""

from dataclasses import replace

import pytest

from shared.eventstore.model import Cursor, EpochChanged
from shared.eventstore.ports import EventStore
from tests.edge.store_kit import a_stream, an_append, messages_in


class Readers:
    async def test_every_message_is_read_once_and_in_order(self, store: EventStore) -> None:
        streams = [a_stream() for _ in range(5)]
        for n in range(4):
            loaded = await store.load(streams)
            await store.append([an_append(loaded[s], str(n).encode(), b"{}") for s in streams])
        found = await messages_in(store, batch=7)
        assert len(found) == 40 and len({message.id for message in found}) == 40
        assert [(s.transaction, s.position) for s in found] == sorted((s.transaction, s.position) for s in found)
        for stream in streams:
            assert [s.version for s in found if s.stream == stream] == list(range(1, 9))
        start = await store.cursor()
        half = Cursor(start.epoch, found[19].transaction, found[19].position)
        assert await messages_in(store, half) == found[20:]
        assert await messages_in(store, start) == found
        end = Cursor(start.epoch, found[-1].transaction, found[-1].position)
        assert await messages_in(store, end) == []

    async def test_a_cursor_of_another_epoch_is_refused(self, store: EventStore) -> None:
        with pytest.raises(EpochChanged, match="restored"):
            await messages_in(store, Cursor("before the restore", 5, 5))

    async def test_the_last_messages_of_some_kinds_are_read_and_no_others_hide_them(self, store: EventStore) -> None:
        streams = [a_stream() for _ in range(3)]
        for n, stream in enumerate(streams):
            given = an_append(stream, str(n).encode(), b"{}")
            await store.append(
                [replace(given, messages=[replace(given.messages[0], kind="hansard.test.other.v1"), given.messages[1]])]
            )
        found = await store.read_last(["hansard.test.other.v1"], 2)
        assert [message.data for message in found] == [b"1", b"2"]
        messages = await messages_in(store)
        assert found == [messages[2], messages[4]]
        assert await store.read_last(["hansard.test.other.v1", "hansard.test.stored.v1"], 1000) == messages
        assert await store.read_last(["hansard.test.nothing.v1"], 1000) == await store.read_last([], 1000) == []
        both = await store.read_last(["hansard.test.other.v1", "hansard.test.stored.v1"], 1)
        assert both == messages[-2:]

    async def test_the_last_messages_of_a_tenant_are_not_hidden_by_what_others_store(self, store: EventStore) -> None:
        mine = a_stream()
        others = [a_stream()._replace(tenant="other") for _ in range(5)]
        await store.append([an_append(mine, b"0", b"{}")])
        for stream in others:
            await store.append([an_append(stream, b"1", b"{}")])
        kinds = [message.kind for message in await messages_in(store) if message.stream == mine]
        found = await store.read_last(kinds, 2, mine.tenant)
        assert found and {message.stream for message in found} == {mine}
        assert {message.stream for message in await store.read_last(kinds, 2)} <= set(others)
