"""The loop stores first and publishes then: rules 1 to 5 and 10 of the record, on the in-memory store."""

import asyncio
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest

from hansard.message import Message
from shared.backoff import Backoff
from shared.eventstore.memory import InMemoryEventStore
from shared.eventstore.model import Appended, StoredMessage, StoreRefused, StoreUnavailable, Stream, StreamAppend
from shared.runtime.loop import Loop
from shared.runtime.processor import Processor
from tests.unit.loop_kit import Publisher, parsed
from tests.unit.toy import NOON, processor, request, service, topics

STREAM = Stream("default", "w1", "router")


class Unsteady(InMemoryEventStore):
    """Is unavailable `before` times before the commit and `after` times after it; refuses whatever contains `refuses`."""

    before = after = 0
    refuses = ""

    async def append(self, appends: Sequence[StreamAppend]) -> Appended:
        if self.before:
            self.before -= 1
            raise StoreUnavailable("gone")
        refused = [
            append
            for append in appends
            if self.refuses and any(self.refuses.encode() in stored.data for stored in append.messages)
        ]
        if refused and len(appends) == 1:
            raise StoreRefused(f"cannot hold {self.refuses} hateful")
        appended = await super().append([append for append in appends if append not in refused])
        if self.after:
            self.after -= 1
            raise StoreUnavailable("gone after the commit")
        return appended


@pytest.fixture
def store() -> Unsteady:
    return Unsteady(lambda: NOON)


@pytest.fixture
def publisher(store: Unsteady) -> Publisher:
    return Publisher(store)


@pytest.fixture
def loop(store: Unsteady, publisher: Publisher) -> Loop:
    return Loop(processor, store, publisher, backoff=Backoff(0.001, 0.001))


def reasonings(messages: Iterable[StoredMessage]) -> list[str]:
    return [json.loads(stored.data).get("reasoning") or json.loads(stored.data)["reason"] for stored in messages]


async def test_a_message_is_stored_and_then_published(loop: Loop, store: Unsteady, publisher: Publisher) -> None:
    await loop.process(parsed(request("hello")))
    assert reasonings(publisher.messages) == ["hello 0 12:00"]
    assert publisher.messages[0].at is not None


async def test_a_redelivery_publishes_nothing_new(loop: Loop, publisher: Publisher) -> None:
    await loop.process(parsed(request("hello")))
    await loop.process(parsed(request("hello", offset=1)))
    assert len({stored.id for stored in publisher.messages}) == 1


async def test_a_redelivery_to_another_process_publishes_what_was_left_unpublished(loop: Loop, store: Unsteady) -> None:
    await loop.process(parsed(request("hello")))
    later = Publisher(store)
    await Loop(processor, store, later).process(parsed(request("hello", offset=1)))
    assert reasonings(later.messages) == ["hello 0 12:00"]


async def test_while_the_store_is_unavailable_the_loop_waits_and_loses_nothing(
    loop: Loop, store: Unsteady, publisher: Publisher
) -> None:
    store.before = 5
    await loop.process(parsed(request("hello")))
    assert (reasonings(publisher.messages), loop.healthy) == (["hello 0 12:00"], True)


async def test_a_commit_of_unknown_outcome_is_not_decided_twice(loop: Loop, store: Unsteady) -> None:
    store.after = 1
    await loop.process(parsed(request("hello")))
    assert len(await store.inbox_entries(STREAM)) == 1


async def test_a_commit_of_unknown_outcome_is_still_published(loop: Loop, store: Unsteady, publisher: Publisher) -> None:
    store.after = 1
    await loop.process(parsed(request("hello")))
    assert reasonings(publisher.messages) == ["hello 0 12:00"]


async def test_a_process_whose_cache_is_stale_reloads_and_decides_again(
    loop: Loop, store: Unsteady, publisher: Publisher
) -> None:
    await loop.process(parsed(request("a", id="1")))
    await Loop(processor, store, Publisher(store)).process(parsed(request("b", id="2")))
    await loop.process(parsed(request("c", id="3")))
    assert reasonings((await store.load_workflow("default", "w1"))[STREAM].messages) == ["a 0 12:00", "b 1 12:00", "c 2 12:00"]


async def test_after_a_rebalance_during_a_batch_its_streams_are_loaded_again(
    loop: Loop, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    await loop.process(parsed(request("a", id="1")))
    publish, left = publisher.publish, [None]

    async def interrupted(messages: Sequence[StoredMessage]) -> None:
        await publish(messages)
        if left:
            left.pop()
            loop.drop_cache()

    monkeypatch.setattr(publisher, "publish", interrupted)
    await loop.process(parsed(request("b", id="2"), request("c", id="3", workflow="w2")))
    assert sorted(reasonings(publisher.messages)) == ["a 0 12:00", "b 1 12:00", "c 0 12:00"]


async def test_one_stale_stream_does_not_stop_the_others_of_its_batch(loop: Loop, store: Unsteady) -> None:
    await loop.process(parsed(request("a", id="1")))
    await Loop(processor, store, Publisher(store)).process(parsed(request("b", id="2")))
    await loop.process(parsed(request("c", id="3"), request("x", id="4", workflow="w2")))
    assert reasonings((await store.load_workflow("default", "w2"))[STREAM._replace(workflow="w2")].messages) == ["x 0 12:00"]


async def test_only_what_the_store_can_never_hold_becomes_a_dead_letter(
    loop: Loop, store: Unsteady, publisher: Publisher
) -> None:
    store.refuses = '"reasoning":"hateful'
    await loop.process(
        parsed(request("a", id="1"), request("hateful", id="2"), request("c", id="3"), request("d", id="4", workflow="w2"))
    )
    assert sorted(reasonings(publisher.messages)) == ["a 0 12:00", "c 2 12:00", "d 0 12:00", "refused-by-store"]


async def test_even_a_dead_letter_that_the_store_refuses_blocks_nobody(loop: Loop, store: Unsteady, publisher: Publisher) -> None:
    store.refuses = "hateful"
    await loop.process(parsed(request("hateful", id="1"), request("good", id="2")))
    assert sorted(reasonings(publisher.messages)) == ["good 1 12:00", "refused-by-store"]


async def test_a_poisoned_message_does_not_block_its_neighbours(loop: Loop, publisher: Publisher) -> None:
    await loop.process(parsed(request("poison", id="1"), request("good", id="2"), request("good", id="3", workflow="w2")))
    assert sorted(reasonings(publisher.messages)) == ["good 0 12:00", "good 1 12:00", "poison"]


async def test_an_entry_without_messages_makes_a_stale_append_fail_too(loop: Loop, store: Unsteady) -> None:
    await loop.process(parsed(request("silence", id="1")))
    await Loop(processor, store, Publisher(store)).process(parsed(request("silence", id="2")))
    await loop.process(parsed(request("silence", id="3")))
    assert [entry.sequence for entry in await store.inbox_entries(STREAM)] == [1, 2, 3]


async def test_what_arrives_while_a_batch_is_processed_is_one_batch(
    loop: Loop, store: Unsteady, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    append = store.append

    async def counted(appends: Sequence[StreamAppend]) -> Appended:
        sizes.append(len(appends))
        await asyncio.sleep(0.01)
        return await append(appends)

    monkeypatch.setattr(store, "append", counted)
    await asyncio.gather(*(loop.process(parsed(request(id=f"r{n}", workflow=f"w{n}"))) for n in range(10)))
    assert sizes == [1, 9]


async def test_a_service_observes_the_messages_that_were_stored(store: Unsteady, publisher: Publisher) -> None:
    observed: list[Message] = []
    observing = Processor(replace(service, observe=observed.extend), topics, max_message_bytes=4000)
    store.refuses = "hateful"
    await Loop(observing, store, publisher).process(parsed(request("hello", id="1"), request("hateful", id="2")))
    assert [message.kind for message in observed] == [stored.kind for stored in publisher.messages]
    assert len(observed) == 2, "the answer to one, the dead letter of the other"
