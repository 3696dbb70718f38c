"""What every event store must do, wherever it stores messages. A test class inherits this and has a fixture `store`."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import count
from math import inf
from typing import TypeVar
from uuid import UUID, uuid4

import pytest

from shared.eventstore.model import (
    LONG_AGO,
    STALE,
    Cursor,
    DoorMessage,
    EpochChanged,
    History,
    InboxEntry,
    StoredMessage,
    StoreRefused,
    Stream,
    StreamAppend,
)
from shared.eventstore.ports import EventStore

T = TypeVar("T")

EARLIER = datetime(2025, 1, 2, 3, 4, 5, 678901, UTC)
FAR = timedelta(days=1000)
_numbers = count(1)


def a_stream(name: str = "planner", *, workflow: str = "", tenant: str = "default") -> Stream:
    """A stream that no other test knows."""
    return Stream(tenant, workflow or f"wf-{next(_numbers):06}-{uuid4().hex[:8]}", name)


def an_append(
    to: Stream | History,
    *data: bytes,
    entries: int = 1,
    ids: Sequence[UUID] = (),
    causation_id: UUID | None = None,
    doors: Sequence[DoorMessage] = (),
    wake_at: datetime | None = None,
    holder: str = "",
    at: datetime | None = None,
    not_before: datetime = LONG_AGO,
) -> StreamAppend:
    """The stream processes so many messages and stores each of `data`, now if no other time is given."""
    at = at or datetime.now(UTC)
    known = to if isinstance(to, History) else History(to)
    causation_ids = [causation_id or uuid4(), *(uuid4() for _ in range(entries - 1))]
    inbox = [
        InboxEntry(
            id_, known.processed + n, known.version, "hansard.test.received.v1", at, sha256(b"received").digest(), "c0de", "1"
        )
        for n, id_ in enumerate(causation_ids[:entries], 1)
    ]
    messages = [
        StoredMessage(
            known.stream,
            known.version + n,
            ids[n - 1] if ids else uuid4(),
            "hansard.test.stored.v1",
            f"{known.stream.service}.events",
            causation_ids[0],
            body,
            sha256(body).digest(),
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            at,
        )
        for n, body in enumerate(data, 1)
    ]
    return StreamAppend(
        known.stream, known.processed, known.version, at, not_before, inbox, messages, list(doors), wake_at, holder
    )


def door(stream: Stream, causation_id: UUID, body: bytes | None = b"{}", topic: str = "requests") -> DoorMessage:
    headers = (("ce_id", b"17"), ("ce_id", b""), ("odd", b"\xff\x00"))
    return DoorMessage(stream.tenant, stream.workflow, causation_id, topic, 3, 2**40, EARLIER, b"\x00key", headers, body)


async def current(store: EventStore, stream: Stream) -> History:
    return (await store.load([stream]))[stream]


async def messages_in(store: EventStore, since: Cursor | None = None, *, batch: int = 1000) -> list[StoredMessage]:
    return [message async for part in store.read_all(since, batch=batch) for message in part]


async def until(ask: Callable[[], Awaitable[T]], *, seconds: float = 20) -> T:
    """Asks until the answer is not empty."""
    end = time.monotonic() + seconds
    while not (answer := await ask()):
        assert time.monotonic() < end, "it never came"
        await asyncio.sleep(0.005)
    return answer


class StoreSuite:
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

    async def test_a_message_from_outside_is_stored_as_it_was_received(self, store: EventStore) -> None:
        stream, causation_id = a_stream("router"), uuid4()
        outside = door(stream, causation_id, b"\x00\xff not JSON")
        await store.append([an_append(stream, b"1", causation_id=causation_id, doors=[outside])])
        assert await store.door_messages(stream.tenant, stream.workflow) == {causation_id: outside}
        assert await store.door_messages(stream.tenant, stream.workflow, [uuid4()]) == {}
        assert await store.door_messages("another", stream.workflow, [causation_id]) == {}
        nothing = a_stream("router")
        await store.append([an_append(nothing, causation_id=causation_id, doors=[door(nothing, causation_id, None)])])
        assert (await store.door_messages(nothing.tenant, nothing.workflow, [causation_id]))[causation_id].body is None

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
        with pytest.raises(StoreRefused):
            await store.append([bad])
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

    async def test_a_wake_up_is_claimed_when_it_is_due_and_not_before(self, store: EventStore) -> None:
        ready, later = a_stream("planner/a"), a_stream("planner/b")
        await store.append([an_append(ready, wake_at=EARLIER), an_append(later, wake_at=EARLIER + FAR)])
        [wake_up], seconds = await store.claim_wake_ups("planner", 10, 30)
        assert (wake_up.stream, wake_up.at) == (ready, EARLIER)
        assert 0 < seconds <= 30, "its lease may end before the next is due"
        assert await store.claim_wake_ups("gateway", 10, 30) == ([], inf)

    async def test_a_claim_returns_the_seconds_until_the_next_wake_up(self, store: EventStore) -> None:
        assert await store.claim_wake_ups("planner", 10, 30) == ([], inf)
        stream = a_stream("planner/a")
        await store.append([an_append(stream)])
        await store.append([an_append(await current(store, stream), wake_at=store.now() + timedelta(seconds=500))])
        claimed, seconds = await store.claim_wake_ups("planner", 10, 30)
        assert claimed == [] and 400 < seconds <= 500

    async def test_after_a_claim_that_reached_its_limit_the_next_is_due_at_once(self, store: EventStore) -> None:
        await store.append([an_append(a_stream(f"planner/{n}"), wake_at=EARLIER + timedelta(seconds=n)) for n in range(5)])
        first, seconds = await store.claim_wake_ups("planner", 3, 60)
        assert [wake_up.stream.name for wake_up in first] == ["planner/0", "planner/1", "planner/2"] and seconds == 0
        rest, _ = await store.claim_wake_ups("planner", 3, 60)
        assert [wake_up.stream.name for wake_up in rest] == ["planner/3", "planner/4"]

    async def test_a_claimed_wake_up_is_not_claimed_again_until_its_lease_ends(self, store: EventStore) -> None:
        stream = a_stream("gateway/x/1")
        await store.append([an_append(stream, wake_at=EARLIER)])
        assert len((await store.claim_wake_ups("gateway", 10, 0.2))[0]) == 1
        assert (await store.claim_wake_ups("gateway", 10, 0.2))[0] == []

        async def again() -> Sequence[object]:
            return (await store.claim_wake_ups("gateway", 10, 30))[0]

        [wake_up] = await until(again)
        assert wake_up == (stream, EARLIER, 1)

    async def test_a_wake_up_that_a_process_holds_is_claimed_only_after_that_process_fell_silent(self, store: EventStore) -> None:
        lost, kept = a_stream("gateway/x/1"), a_stream("gateway/x/1")
        for process in ("silent", "loud", "mine"):
            await store.process_started("gateway", process, process, True)
        far = EARLIER + FAR * 100
        await store.append([an_append(lost, wake_at=far, holder="silent"), an_append(kept, wake_at=far, holder="loud")])
        heartbeats = await store.heartbeat("gateway", "mine", {})
        assert heartbeats.keys() == {"silent", "loud"}
        assert (await store.claim_wake_ups("gateway", 10, 60))[0] == []
        assert (await store.heartbeat("gateway", "mine", {"silent": heartbeats["silent"]})).keys() == {"loud"}
        assert [wake_up.stream for wake_up in (await store.claim_wake_ups("gateway", 10, 60))[0]] == [lost]
        assert await store.process_started("gateway", "silent", "again", True) is False, "it is known to have ended"

    async def test_a_process_that_sends_a_late_heartbeat_has_not_ended(self, store: EventStore) -> None:
        for process in ("other", "mine"):
            await store.process_started("gateway", process, process, True)
        before = await store.heartbeat("gateway", "mine", {})

        async def next_heartbeat() -> bool:
            await store.heartbeat("gateway", "other", {})
            return await store.heartbeat("gateway", "mine", {}) != before

        await until(next_heartbeat)
        late = await store.heartbeat("gateway", "mine", before)
        assert late.keys() == {"other"}, "its heartbeat came before it was found silent"
        assert (await store.heartbeat("gateway", "mine", late)).keys() == set()
        await store.heartbeat("gateway", "other", {})
        stream = a_stream("gateway/x/1")
        await store.append([an_append(stream, wake_at=EARLIER + FAR * 100, holder="other")])
        assert (await store.heartbeat("gateway", "mine", {})).keys() == {"other"}
        assert (await store.claim_wake_ups("gateway", 10, 60))[0] == [], "it holds what it began after its silence"
        assert await store.process_started("gateway", "other", "next", True) is True, "and its end was not clean"

    async def test_each_heartbeat_is_a_new_time_that_only_its_own_service_sees(self, store: EventStore) -> None:
        for service, process in (("gateway", "mine"), ("gateway", "other"), ("planner", "third")):
            await store.process_started(service, process, process, True)
        first = await store.heartbeat("gateway", "mine", {})
        await until(lambda: store.heartbeat("gateway", "other", {}))
        second = await store.heartbeat("gateway", "mine", {})
        assert set(first) == set(second) == {"other"}
        assert first != second == await store.heartbeat("gateway", "mine", {})

    async def test_a_wake_up_that_an_unknown_process_holds_is_claimed_after_the_next_heartbeat(self, store: EventStore) -> None:
        stream = a_stream("gateway/x/1")
        await store.process_started("gateway", "mine", "mine", True)
        await store.append([an_append(stream, wake_at=EARLIER + FAR * 100, holder="never began")])
        await store.heartbeat("gateway", "mine", {})
        assert [wake_up.stream for wake_up in (await store.claim_wake_ups("gateway", 10, 60))[0]] == [stream]

    @pytest.mark.parametrize(("name", "alone", "free"), [("a", True, True), ("b", True, False), ("a", False, False)])
    async def test_a_process_that_starts_alone_under_a_name_frees_the_wake_ups_held_under_it(
        self, store: EventStore, name: str, alone: bool, free: bool
    ) -> None:
        stream = a_stream("gateway/x/1")
        await store.process_started("gateway", "a", "first", True)
        await store.append([an_append(stream, wake_at=EARLIER + FAR * 100, holder="first")])
        await store.process_started("gateway", name, "second", alone)
        assert [wake_up.stream for wake_up in (await store.claim_wake_ups("gateway", 10, 60))[0]] == [stream] * free

    async def test_a_process_that_ends_cleanly_frees_its_wake_ups_at_once(self, store: EventStore) -> None:
        stream, other = a_stream("gateway/x/1"), a_stream("verifier/x/1")
        await store.process_started("gateway", "a", "first", True)
        await store.append([an_append(s, wake_at=EARLIER + FAR * 100, holder="first") for s in (stream, other)])
        await store.process_ended("gateway", "first")
        assert [wake_up.stream for wake_up in (await store.claim_wake_ups("gateway", 10, 60))[0]] == [stream]
        assert (await store.claim_wake_ups("verifier", 10, 60))[0] == []

    async def test_the_next_append_replaces_the_holder_of_a_wake_up(self, store: EventStore) -> None:
        stream = a_stream("gateway/x/1")
        await store.process_started("gateway", "a", "first", True)
        await store.append([an_append(stream, wake_at=EARLIER + FAR * 100, holder="first")])
        await store.append([an_append(await current(store, stream), wake_at=EARLIER + FAR * 100)])
        await store.process_ended("gateway", "first")
        assert (await store.claim_wake_ups("gateway", 10, 60))[0] == []

    async def test_an_append_may_keep_the_wake_up_and_its_holder(self, store: EventStore) -> None:
        stream, never = a_stream("gateway/x/1"), a_stream("gateway/x/2")
        await store.process_started("gateway", "a", "first", True)
        await store.append([an_append(stream, wake_at=EARLIER + FAR * 100, holder="first"), an_append(never)])
        await store.append([replace(an_append(await current(store, s), b"1"), keep_wake_up=True) for s in (stream, never)])
        await store.process_ended("gateway", "first")
        assert [wake_up.stream for wake_up in (await store.claim_wake_ups("gateway", 10, 60))[0]] == [stream]

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

    async def test_an_append_without_a_wake_up_removes_the_earlier_one(self, store: EventStore) -> None:
        stream = a_stream("planner/a")
        await store.append([an_append(stream, wake_at=EARLIER)])
        await store.append([an_append(stream, b'"late"', wake_at=EARLIER)])
        await store.append([an_append(await current(store, stream))])
        assert await store.claim_wake_ups("planner", 10, 60) == ([], inf)

    async def test_a_refused_append_leaves_the_wake_up(self, store: EventStore) -> None:
        stream = a_stream("planner/a")
        await store.append([an_append(stream, wake_at=EARLIER)])
        await store.append([an_append(stream)])
        assert [wake_up.stream for wake_up in (await store.claim_wake_ups("planner", 10, 60))[0]] == [stream]

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

    async def test_attempts_are_counted(self, store: EventStore) -> None:
        records = [("requests", 0, 17), ("requests", 1, 17)]
        assert await store.count_attempts("router", records) == [1, 1]
        assert await store.count_attempts("router", [records[1], ("control", 0, 17), records[1]]) == [2, 1, 2]
        assert await store.count_attempts("planner", records) == [1, 1]
        assert await store.count_attempts("planner", []) == []

    async def test_an_unclean_end_is_known_at_the_next_start(self, store: EventStore) -> None:
        assert await store.process_started("router", "a", "1", True) is False
        assert await store.process_started("router", "a", "2", True) is True
        assert await store.process_started("router", "b", "3", True) is False
        assert await store.process_started("planner", "a", "4", True) is False
        await store.process_ended("router", "2")
        assert await store.process_started("router", "a", "5", True) is False
        assert await store.process_started("router", "b", "6", False) is True
        assert await store.process_started("router", "b", "7", False) is True, "the one before may still run"

    async def test_the_store_answers_a_ping(self, store: EventStore) -> None:
        await store.ping()

    async def test_the_data_of_a_policy_are_stored_once_byte_for_byte(self, store: EventStore) -> None:
        service, data = f"router-{uuid4().hex[:8]}", '{"b": [1.50, "ä"],  "a": null}'.encode()
        await store.store_policy(service, "1-abc", data)
        await store.store_policy(service, "1-abc", data)
        await store.store_policy(service, "2-abc", b"{}")
        other = f"{service}-other"
        await store.store_policy(other, "1-abc", b"[]")
        wanted = [(service, "1-abc"), (other, "1-abc"), (service, "nobody"), ("nobody", "2-abc")]
        assert await store.load_policies(wanted) == {(service, "1-abc"): data, (other, "1-abc"): b"[]"}
        assert await store.load_policies([]) == {}

    async def test_other_data_for_a_policy_version_are_refused_and_the_first_stay(self, store: EventStore) -> None:
        one = (f"router-{uuid4().hex[:8]}", "1-abc")
        await store.store_policy(*one, b'{"price": 1}')
        for other in (b'{"price": 2}', b'{"price":1}'):
            with pytest.raises(StoreRefused, match="other data"):
                await store.store_policy(*one, other)
        with pytest.raises(StoreRefused):
            await store.store_policy(one[0], "2-abc", b"no JSON")
        assert await store.load_policies([one, (one[0], "2-abc")]) == {one: b'{"price": 1}'}

    async def test_the_last_messages_of_some_kinds_are_read_and_none_before_them(self, store: EventStore) -> None:
        streams = [a_stream() for _ in range(3)]
        for n, stream in enumerate(streams):
            given = an_append(stream, str(n).encode(), b"{}")
            await store.append(
                [replace(given, messages=[replace(given.messages[0], kind="hansard.test.other.v1"), given.messages[1]])]
            )
        found = await store.read_last(["hansard.test.other.v1"], 4)
        assert [message.data for message in found] == [b"1", b"2"]
        messages = await messages_in(store)
        assert found == [messages[2], messages[4]]
        assert await store.read_last(["hansard.test.other.v1", "hansard.test.stored.v1"], 1000) == messages
        assert await store.read_last(["hansard.test.nothing.v1"], 1000) == await store.read_last([], 1000) == []

    async def test_an_indexed_answer_is_found_by_its_own_tenant_alone(self, store: EventStore) -> None:
        stream, key = a_stream("gateway/a/1"), uuid4().bytes
        await store.append([an_append(stream, b'{"n": 1}', b'{"n": 2}')])
        await store.index_answers([(key, stream)], 60)
        found = await store.find_answer("default", key, "hansard.test.stored.v1")
        assert found == (await current(store, stream)).messages[-1]
        assert await store.find_answer("acme", key, "hansard.test.stored.v1") is None
        assert await store.find_answer("default", key, "hansard.test.other.v1") is None
        assert await store.find_answer("default", uuid4().bytes, "hansard.test.stored.v1") is None

    async def test_the_last_indexed_answer_counts_and_one_that_is_not_stored_is_not_found(self, store: EventStore) -> None:
        first, second, key = a_stream("gateway/a/1"), a_stream("gateway/b/1"), uuid4().bytes
        await store.append([an_append(first, b"{}"), an_append(second, b"{}")])
        await store.index_answers([(key, second), (key, first)], 60)
        await store.index_answers([(key, second)], 60)
        found = await store.find_answer("default", key, "hansard.test.stored.v1")
        assert found is not None and found.stream == second
        await store.index_answers([(key, a_stream("gateway/c/1"))], 60)
        assert await store.find_answer("default", key, "hansard.test.stored.v1") is None

    async def test_an_answer_that_its_own_stream_took_back_is_not_found(self, store: EventStore) -> None:
        taken, key = a_stream("gateway/a/1"), uuid4().bytes
        beside, elsewhere = taken._replace(name="gateway/b/1"), taken._replace(tenant="acme")
        await store.append([an_append(stream, b"{}") for stream in (taken, beside, elsewhere)])
        await store.index_answers([(key, taken), (key[::-1], beside), (key, elsewhere)], 60)
        back = an_append(await current(store, taken), b"{}")
        await store.append([replace(back, messages=[replace(one, kind="hansard.test.back.v1") for one in back.messages])])
        asked = ("hansard.test.stored.v1", "hansard.test.back.v1")
        assert await store.find_answer("default", key, *asked) is None
        others = await store.find_answer("default", key[::-1], *asked), await store.find_answer("acme", key, *asked)
        assert [one and one.stream for one in others] == [beside, elsewhere]
        assert await store.find_answer("default", key, "hansard.test.stored.v1") is not None

    async def test_an_answer_is_forgotten_after_its_time(self, store: EventStore) -> None:
        stream, key = a_stream("gateway/a/1"), uuid4().bytes
        await store.append([an_append(stream, b"{}")])
        await store.index_answers([(key, stream)], 60)

        async def gone() -> bool:
            await store.index_answers([(uuid4().bytes, stream)], 0)
            return await store.find_answer("default", key, "hansard.test.stored.v1") is None

        await until(gone)


async def only(answer: Awaitable[Sequence[T]]) -> T:
    [one] = await answer
    return one
