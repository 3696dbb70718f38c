"""A message leaves the outbox by its acknowledgement only, in order, and is published again after a failure (rule 5)."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from uuid import uuid4

from shared.eventstore.memory import InMemoryEventStore
from shared.eventstore.model import StoredMessage, Stream
from shared.runtime.outbox import Outbox
from tests.edge.store_kit import an_append, current

STREAM, OTHER = (Stream("default", f"w{n}", "router") for n in (1, 2))


@dataclass
class Producer:
    """Keeps what it is given; acknowledges what is in `acknowledged`."""

    healthy: bool = True
    in_flight: int = 0
    given: list[tuple[Stream, int]] = field(default_factory=list)
    acknowledged: list[tuple[Stream, int]] = field(default_factory=list)

    async def publish(self, messages: Sequence[StoredMessage]) -> None:
        self.given.extend((stored.stream, stored.version) for stored in messages)

    def take_acknowledged(self) -> list[tuple[Stream, int]]:
        taken, self.acknowledged = self.acknowledged, []
        return taken


class Process:
    def __init__(self) -> None:
        self.store, self.producer = InMemoryEventStore(), Producer()
        self.outbox = Outbox(self.store, "router", self.producer)

    async def record(self, stream: Stream, events: int = 1) -> None:
        """As the loop does: append, mark what is published, publish what was left before and what is new."""
        made = replace(
            an_append(await current(self.store, stream), *[b"1"] * events), published=self.outbox.acknowledged_version(stream)
        )
        appended = await self.store.append([made])
        assert appended.accepted == {stream}
        self.outbox.marked_published(stream, made.published)
        await self.outbox.publish([*appended.unpublished, *made.messages])

    def acknowledge(self, stream: Stream, *versions: int) -> None:
        self.producer.acknowledged.extend((stream, version) for version in versions)

    async def left(self, stream: Stream) -> list[int]:
        return [stored.version for stored in (await current(self.store, stream)).unpublished]


async def test_each_message_is_handed_over_once() -> None:
    process = Process()
    for _ in range(3):
        await process.record(STREAM, 2)
    assert process.producer.given == [(STREAM, version) for version in range(1, 7)]


async def test_no_message_leaves_before_it_is_acknowledged() -> None:
    process = Process()
    await process.record(STREAM, 2)
    await process.outbox.mark_acknowledged()
    assert await process.left(STREAM) == [1, 2]


async def test_a_message_leaves_when_it_and_all_before_it_are_acknowledged_in_any_order() -> None:
    process = Process()
    await process.record(STREAM, 3)
    process.acknowledge(STREAM, 3, 1)
    await process.outbox.mark_acknowledged()
    assert await process.left(STREAM) == [1, 2, 3]
    process.acknowledge(STREAM, 2)
    await process.outbox.mark_acknowledged()
    assert await process.left(STREAM) == []


async def test_the_next_append_marks_what_was_acknowledged() -> None:
    process = Process()
    await process.record(STREAM)
    process.acknowledge(STREAM, 1)
    await process.record(STREAM)
    assert await process.left(STREAM) == [2]


async def test_the_outbox_forgets_what_the_store_knows_to_be_published() -> None:
    process = Process()
    for stream in (STREAM, OTHER):
        await process.record(stream)
        process.acknowledge(stream, 1)
    await process.record(STREAM)
    await process.outbox.mark_acknowledged()
    assert set(process.outbox._sent) == {STREAM}


async def test_after_a_failure_all_unacknowledged_messages_of_a_stream_are_published_again_in_order() -> None:
    process = Process()
    await process.record(STREAM, 3)
    await process.record(OTHER)
    process.acknowledge(STREAM, 2)
    process.acknowledge(OTHER, 1)
    process.outbox.failed()
    await process.record(STREAM)  # dropped: it must not overtake what was lost
    assert process.producer.given[4:] == []
    await process.outbox._catch_up()
    assert process.producer.given[4:] == [(STREAM, version) for version in (1, 2, 3, 4)]


async def test_a_late_acknowledgement_from_before_a_failure_marks_nothing_too_early() -> None:
    process = Process()
    await process.record(STREAM, 2)
    process.outbox.failed()
    await process.outbox._catch_up()
    process.acknowledge(STREAM, 1)
    await process.outbox.mark_acknowledged()
    assert await process.left(STREAM) == [1, 2]


async def test_what_another_process_left_is_published_before_what_is_new() -> None:
    process = Process()
    await process.record(STREAM, 2)
    other = Process()
    other.store = other.outbox.store = process.store
    await other.record(STREAM)
    assert other.producer.given == [(STREAM, version) for version in (1, 2, 3)]


async def test_while_the_producer_is_unhealthy_nothing_is_handed_over() -> None:
    process = Process()
    process.producer.healthy = False
    await process.record(STREAM)
    assert (process.producer.given, process.outbox.acknowledged_version(STREAM)) == ([], 0)
    process.producer.healthy = True
    await process.record(STREAM)
    assert process.producer.given == [(STREAM, 1), (STREAM, 2)]


async def test_an_append_that_fails_after_it_took_the_acknowledged_version_loses_nothing() -> None:
    process = Process()
    await process.record(STREAM)
    process.acknowledge(STREAM, 1)
    assert process.outbox.acknowledged_version(STREAM) == 1, "and if that append fails"
    await process.outbox.mark_acknowledged()
    assert await process.left(STREAM) == []


def test_a_stream_that_was_never_published_has_no_acknowledged_version() -> None:
    assert Process().outbox.acknowledged_version(Stream("default", uuid4().hex, "router")) == 0
