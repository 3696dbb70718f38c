"""What leaves the outbox: by acknowledgement only, in order, again after a failure (rule 5)."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from uuid import uuid4

from shared.eventstore.memory import InMemoryEventStore
from shared.eventstore.model import StoredMessage, Stream
from shared.runtime.outbox import Outbox
from tests.edge.store_suite import an_append, current

STREAM, OTHER = (Stream("default", f"w{n}", "router") for n in (1, 2))


@dataclass
class Producer:
    """Notes what it is given; acknowledges what it is told to."""

    healthy: bool = True
    in_flight: int = 0
    given: list[tuple[Stream, int]] = field(default_factory=list)
    acknowledged: list[tuple[Stream, int]] = field(default_factory=list)

    async def publish(self, stored: Sequence[StoredMessage]) -> None:
        self.given.extend((event.stream, event.version) for event in stored)

    def take_acknowledged(self) -> list[tuple[Stream, int]]:
        taken, self.acknowledged = self.acknowledged, []
        return taken


class House:
    def __init__(self) -> None:
        self.store, self.producer = InMemoryEventStore(), Producer()
        self.outbox = Outbox(self.store, "router", self.producer)

    async def record(self, stream: Stream, events: int = 1) -> None:
        """As the runtime does: append with the mark, note it, say what was left before and what is new."""
        made = replace(an_append(await current(self.store, stream), *[b"1"] * events), published=self.outbox.mark(stream))
        appended = await self.store.append([made])
        assert appended.accepted == {stream}
        self.outbox.noted(stream, made.published)
        await self.outbox.publish([*appended.unpublished, *made.messages])

    def acknowledge(self, stream: Stream, *versions: int) -> None:
        self.producer.acknowledged.extend((stream, version) for version in versions)

    async def left(self, stream: Stream) -> list[int]:
        return [stored.version for stored in (await current(self.store, stream)).unpublished]


async def test_each_event_is_handed_over_once() -> None:
    house = House()
    for _ in range(3):
        await house.record(STREAM, 2)
    assert house.producer.given == [(STREAM, version) for version in range(1, 7)]


async def test_nothing_leaves_before_it_is_acknowledged() -> None:
    house = House()
    await house.record(STREAM, 2)
    await house.outbox.clear()
    assert await house.left(STREAM) == [1, 2]


async def test_the_mark_moves_when_all_before_it_is_acknowledged_in_whatever_order() -> None:
    house = House()
    await house.record(STREAM, 3)
    house.acknowledge(STREAM, 3, 1)
    await house.outbox.clear()
    assert await house.left(STREAM) == [1, 2, 3]
    house.acknowledge(STREAM, 2)
    await house.outbox.clear()
    assert await house.left(STREAM) == []


async def test_the_next_append_brings_the_mark_along() -> None:
    house = House()
    await house.record(STREAM)
    house.acknowledge(STREAM, 1)
    await house.record(STREAM)
    assert await house.left(STREAM) == [2]


async def test_what_was_noted_is_forgotten_here() -> None:
    house = House()
    for stream in (STREAM, OTHER):
        await house.record(stream)
        house.acknowledge(stream, 1)
    await house.record(STREAM)
    await house.outbox.clear()
    assert set(house.outbox._produced) == {STREAM}


async def test_after_a_failure_all_of_a_stream_that_is_not_acknowledged_is_said_again_in_order() -> None:
    house = House()
    await house.record(STREAM, 3)
    await house.record(OTHER)
    house.acknowledge(STREAM, 2)
    house.acknowledge(OTHER, 1)
    house.outbox.failed()
    await house.record(STREAM)  # dropped: it must not overtake what was lost
    assert house.producer.given[4:] == []
    await house.outbox._catch_up()
    assert house.producer.given[4:] == [(STREAM, version) for version in (1, 2, 3, 4)]


async def test_a_late_acknowledgement_of_before_a_failure_marks_nothing_too_early() -> None:
    house = House()
    await house.record(STREAM, 2)
    house.outbox.failed()
    await house.outbox._catch_up()
    house.acknowledge(STREAM, 1)
    await house.outbox.clear()
    assert await house.left(STREAM) == [1, 2]


async def test_what_another_process_left_is_said_before_what_is_new() -> None:
    house = House()
    await house.record(STREAM, 2)
    other = House()
    other.store = other.outbox.store = house.store
    await other.record(STREAM)
    assert other.producer.given == [(STREAM, version) for version in (1, 2, 3)]


async def test_while_the_speaker_is_not_well_nothing_is_handed_over() -> None:
    house = House()
    house.producer.healthy = False
    await house.record(STREAM)
    assert (house.producer.given, house.outbox.mark(STREAM)) == ([], 0)
    house.producer.healthy = True
    await house.record(STREAM)
    assert house.producer.given == [(STREAM, 1), (STREAM, 2)]


async def test_a_store_that_is_away_costs_a_repeat_and_no_mark() -> None:
    house = House()
    await house.record(STREAM)
    house.acknowledge(STREAM, 1)
    assert house.outbox.mark(STREAM) == 1, "and if that append fails"
    await house.outbox.clear()
    assert await house.left(STREAM) == []


def test_a_stream_that_was_never_said_has_no_mark() -> None:
    assert House().outbox.mark(Stream("default", uuid4().hex, "router")) == 0
