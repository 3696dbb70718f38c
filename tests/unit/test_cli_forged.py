"""What the command makes of messages that are not on the record: `ask` and its like leave them out, `redrive` refuses them."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest

from contracts.dead_letters import DeadLettered
from contracts.results import WorkflowCompleted
from hansard.codec import decode
from infra.audit.projections import StoredDeadLetter
from infra.audit.verify import verify
from infra.cli import bus, screen
from infra.cli.bus import Listener
from infra.cli.dead_letters import redrivable
from infra.cli.problem import Problem
from infra.cli.running import services
from shared.eventstore.memory import InMemoryEventStore
from shared.eventstore.model import StoredMessage, Stream
from shared.kafka.record import Record
from shared.settings import Settings
from tests.unit.forged_kit import Process, changed, expire
from tests.unit.internal import published, put_on_record, stored_message
from tests.unit.toy import request, topics


class Reading:
    """A reader of these records."""

    def __init__(self, *records: Record) -> None:
        self.records = list(records)

    async def poll(self, timeout: float) -> Sequence[Record]:
        return self.records

    async def to_the_end(self) -> AsyncIterator[Record]:
        for record in self.records:
            yield record


def result(text: str, workflow: str = "w1") -> StoredMessage:
    return stored_message(WorkflowCompleted(text=text, answered_by="rule"), Stream("default", workflow, "router"), "results")


async def test_a_forged_result_is_left_out_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    store, notes = InMemoryEventStore(), list[str]()
    monkeypatch.setattr(screen, "note", notes.append)
    genuine = result("the truth")
    put_on_record(store, genuine)
    dated = changed(published(genuine, 2), time="2031-01-01T00:00:00Z")
    outside = request("a door is not on the record", offset=4)
    records = [published(result("a lie"), 1), dated, published(genuine, 3), outside, Record("results", 0, 5, 0, None, None)]
    for batch in ("batch", "to_the_end"):
        listener = Listener(Reading(*records), Settings(), store)  # type: ignore[arg-type]
        if batch == "batch":
            found = await listener.batch()
        else:
            found = [one async for one in listener.to_the_end()]
        assert sorted(one.record.offset for one in found) == [3, 4]
        assert [note.partition(" is not")[0] for note in notes] == [f"left out: results/0/{n}" for n in (1, 2, 5)]
        notes.clear()


async def test_of_a_flood_of_forged_results_ten_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    notes = list[str]()
    monkeypatch.setattr(screen, "note", notes.append)
    lies = [published(result("a lie"), n) for n in range(50)]
    listener = Listener(Reading(*lies), Settings(), InMemoryEventStore())  # type: ignore[arg-type]
    assert (await listener.batch(), await listener.batch()) == ([], [])
    assert len(notes) == bus.NAMED


async def test_without_the_record_everything_is_shown() -> None:
    listener = Listener(Reading(published(result("a lie"), 1)), Settings())  # type: ignore[arg-type]
    assert len(await listener.batch()) == 1


async def test_verify_names_the_place_of_each_forged_message_and_finds_no_difference() -> None:
    process = Process()
    genuine = expire()
    put_on_record(process.store, genuine)
    forged = [published(expire("forged"), 1), published(expire("forged"), 501)]
    await process.receive(forged[0], published(genuine, 2), forged[1])
    found: list[str] = []
    for workflow in await process.workflows() - {"w1"}:
        report = await verify(process.store, services(Settings()), topics, "default", workflow)
        assert report.differences == []
        found += report.forged
    assert sorted(found) == ["planner.commands/0/1", "planner.commands/0/501"]


async def test_a_dead_letter_about_forged_messages_cannot_be_redriven() -> None:
    process = Process()
    await process.receive(published(expire("forged"), 7))
    [stored] = [message for message in await process.all() if message.kind == DeadLettered.kind]
    one = StoredDeadLetter(stored, decode(DeadLettered, stored.data))
    with pytest.raises(Problem, match="not on the record"):
        redrivable(one, dead=True)
    redrivable(replace(one, letter=one.letter.model_copy(update={"reason": "poison"})), dead=True)
