"""Rule 8: one recorded time, proposed before the decision. Only the store's clock counts."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from shared.backoff import Backoff
from shared.eventstore.clock import Clock
from shared.eventstore.memory import InMemoryEventStore
from shared.eventstore.model import Appended, Stream, StreamAppend
from shared.runtime.loop import Loop
from tests.unit.loop_kit import Publisher, parsed
from tests.unit.toy import NOON, processor, request

STREAM = Stream("default", "w1", "router")
HOUR = timedelta(hours=1)


class EventStore(InMemoryEventStore):
    """`time` is the store's clock, `believed` what the process takes it for."""

    def __init__(self) -> None:
        super().__init__(lambda: self.time)
        self.time = self.believed = NOON
        self.appends: list[list[StreamAppend]] = []

    def now(self) -> datetime:
        return self.believed

    async def append(self, appends: Sequence[StreamAppend]) -> Appended:
        self.appends.append(list(appends))
        appended = await super().append(appends)
        self.believed = self.time
        return appended

    async def times(self, stream: Stream = STREAM) -> list[str]:
        """Of each message: its recorded time, and the time that the decision knew."""
        history = (await self.load([stream]))[stream]
        assert [entry.at for entry in history.entries.values()] == [message.at for message in history.messages]
        return [
            f"{message.at:%H:%M} {json.loads(message.data)['reasoning'].split()[-1]}"
            for message in history.messages
            if message.at
        ]


@pytest.fixture
def store() -> EventStore:
    return EventStore()


@pytest.fixture
def loop(store: EventStore) -> Loop:
    return Loop(processor, store, Publisher(store), backoff=Backoff(0.001, 0.001))


async def test_a_decision_and_its_messages_have_the_time_at_which_they_are_recorded(loop: Loop, store: EventStore) -> None:
    store.time = store.believed = NOON + timedelta(minutes=5)
    await loop.process(parsed(request()))
    assert await store.times() == ["12:05 12:05"]


@pytest.mark.parametrize("off", [HOUR, -HOUR], ids=["ahead", "behind"])
async def test_a_process_with_a_wrong_clock_decides_again_by_the_stores(loop: Loop, store: EventStore, off: timedelta) -> None:
    store.believed = NOON + off
    await loop.process(parsed(request()))
    assert await store.times() == ["12:00 12:00"]
    assert len(store.appends) == 2


@pytest.mark.parametrize("seconds", [-4, 0])
async def test_a_time_proposed_a_moment_ago_is_accepted(loop: Loop, store: EventStore, seconds: int) -> None:
    store.believed = NOON + timedelta(seconds=seconds)
    await loop.process(parsed(request()))
    assert len(store.appends) == 1


async def test_when_the_stores_clock_was_put_back_a_stream_goes_on_at_its_own_times(loop: Loop, store: EventStore) -> None:
    await loop.process(parsed(request("a", id="1")))
    store.time = store.believed = NOON - HOUR
    await loop.process(parsed(request("b", id="2"), request("c", id="3", workflow="w2")))
    assert await store.times() == ["12:00 12:00", "12:00 12:00"]
    assert await store.times(STREAM._replace(workflow="w2")) == ["11:00 11:00"], "other streams go by the clock"


async def test_a_message_is_never_processed_before_it_was_stored(loop: Loop, store: EventStore) -> None:
    (stored,) = parsed(request())
    await loop.process([replace(stored, at=NOON + HOUR)])
    assert await store.times() == ["13:00 13:00"]
    assert len(store.appends) == 1


async def test_a_stream_that_is_loaded_again_keeps_its_time(store: EventStore) -> None:
    await Loop(processor, store, Publisher(store)).process(parsed(request("a", id="1")))
    store.time = store.believed = NOON - HOUR
    await Loop(processor, store, Publisher(store)).process(parsed(request("b", id="2")))
    assert await store.times() == ["12:00 12:00", "12:00 12:00"]


def test_a_clock_goes_on_from_the_last_answer_by_monotonic_time(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = [100.0]
    monkeypatch.setattr("shared.eventstore.clock.time.monotonic", lambda: seconds[0])
    mine = Clock()
    mine.answered(NOON, 100.0)
    seconds[0] += 2.5
    assert mine.now() == NOON + timedelta(seconds=2.5)
    mine.answered(NOON - HOUR, 101.0)
    assert mine.now() == NOON - HOUR, "the last answer counts, also where the clock was put back"


def test_of_two_answers_under_way_at_once_the_later_time_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = [100.0]
    monkeypatch.setattr("shared.eventstore.clock.time.monotonic", lambda: seconds[0])
    mine = Clock()
    mine.answered(NOON, 99.0)
    mine.answered(NOON - timedelta(milliseconds=200), 99.5)  # an append's answer: taken before its commit, received after
    assert mine.now() == NOON


def test_how_far_this_machines_clock_is_ahead_is_known() -> None:
    mine = Clock()
    mine.answered(datetime.now(NOON.tzinfo) - HOUR, 0.0)
    assert 3599 < mine.ahead < 3700
