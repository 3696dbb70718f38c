"""One message from outside under several correlation ids: it is processed once, and each sender learns where."""

from dataclasses import replace

import pytest

from contracts.catalog import Topics
from contracts.dead_letters import DeadLettered
from hansard.codec import decode
from hansard.message import WITHOUT_RESULT
from infra.audit.verify import verify
from shared.eventstore.memory import InMemoryEventStore
from shared.eventstore.model import Stream
from shared.kafka.record import Record
from shared.runtime.inbound import Inbound
from shared.runtime.loop import Loop
from tests.unit.loop_kit import Publisher
from tests.unit.toy import NOON, parser, processor, request, service, topics


def loop_of(store: InMemoryEventStore, name: str = "router", of: Topics = topics) -> Loop:
    return Loop(replace(processor, service=replace(service, name=name), topics=of), store, Publisher(store))


def received(*records: Record, name: str = "router", of: Topics = topics) -> list[Inbound]:
    mine = replace(parser, service=replace(service, name=name), topics=of)
    return [inbound for inbound in map(mine.parse, records) if inbound is not None]


async def kinds(store: InMemoryEventStore) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    async for batch in store.read_all():
        for stored in batch:
            found.setdefault(stored.stream.workflow, []).append(stored.kind.split(".")[-2])
    return found


THREE = [request("a", workflow=f"w{n}", offset=n) for n in (1, 2, 3)]


@pytest.mark.parametrize("at_once", [True, False])
async def test_one_id_under_three_correlation_ids_runs_once(at_once: bool) -> None:
    store = InMemoryEventStore(lambda: NOON)
    for batch in [THREE] if at_once else [[one] for one in THREE]:
        await loop_of(store).process(received(*batch))
    for again in (THREE, THREE[::-1]):  # redelivered, to a process that remembers nothing
        await loop_of(store).process(received(*again))
    assert await kinds(store) == {"w1": ["request-routed"], "w2": ["dead-lettered"], "w3": ["dead-lettered"]}
    for workflow in ("w2", "w3"):
        (history,) = (await store.load_workflow("default", workflow)).values()
        letter = decode(DeadLettered, history.messages[0].data)
        assert letter.reason == "id-reused" and letter.reason in WITHOUT_RESULT
        assert "processed in the workflow w1: its result is there" in letter.detail
        (door,) = (await store.door_messages("default", workflow)).values()
        assert (door.workflow, str(door.causation_id)) == (workflow, letter.causation_id)
    for workflow in ("w1", "w2", "w3"):
        assert (await verify(store, {"router": service}, topics, "default", workflow)).differences == []


async def test_another_body_under_another_correlation_id_is_a_dead_letter_too_and_a_third_body_another_one() -> None:
    store = InMemoryEventStore(lambda: NOON)
    await loop_of(store).process(received(request("a"), request("b", workflow="w2"), request("c", workflow="w2", offset=1)))
    assert await kinds(store) == {"w1": ["request-routed"], "w2": ["dead-lettered", "dead-lettered"]}
    assert len(await store.door_messages("default", "w2")) == 2


async def test_another_id_tenant_or_source_is_another_message() -> None:
    store = InMemoryEventStore(lambda: NOON)
    records = (
        request("a"),
        request("a", workflow="w2", id="r2"),
        request("a", workflow="w3", ce_tenant="acme"),
        request("a", workflow="w4", ce_source="/other"),
    )
    await loop_of(store).process(received(*records))
    assert list((await kinds(store)).values()) == [["request-routed"]] * 4


async def test_only_the_first_consumer_of_a_door_reports_and_every_other_agrees_with_what_was_first() -> None:
    both = Topics()
    requests = replace(topics.by_name["requests"], consumers=("router", "planner"))
    both.__dict__["all"] = tuple(requests if topic.name == "requests" else topic for topic in topics.all)
    store = InMemoryEventStore(lambda: NOON)
    one, other = (request("silence", workflow=f"w{n}", offset=n) for n in (1, 2))
    await loop_of(store, "planner", both).process(received(other, name="planner", of=both))
    await loop_of(store, "router", both).process(received(one, other, of=both))
    await loop_of(store, "planner", both).process(received(one, name="planner", of=both))
    streams = [Stream("default", workflow, name) for workflow in ("w1", "w2") for name in ("router", "planner")]
    histories = await store.load(streams)
    assert [histories[stream].processed for stream in streams] == [1, 0, 1, 1]
    assert await kinds(store) == {"w1": ["dead-lettered"]}
