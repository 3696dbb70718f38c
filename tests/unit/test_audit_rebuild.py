"""Messages published again, stores rebuilt from published messages, stores compared."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from hansard.envelope import Envelope, headers
from infra.audit import rebuild, replay
from shared.eventstore.memory import InMemoryEventStore
from shared.eventstore.model import Stream
from shared.kafka.record import Record
from tests.unit.recorded import STREAM, published, recorded
from tests.unit.toy import NOON, request, topics


@pytest.mark.parametrize("topic", ["requests", "my.requests", "gateway.events", "my.gateway.events"])
def test_a_replay_into_a_topic_of_the_catalogue_is_refused(topic: str) -> None:
    with pytest.raises(replay.Forbidden):
        replay.allowed(topic, topics, "my.")


def test_a_replay_into_another_topic_is_allowed() -> None:
    assert replay.allowed("analysis", topics, "my.") == "analysis"


async def test_a_replayed_message_is_the_same_and_marked() -> None:
    store = await recorded(request("hello"))
    (one,) = [one async for one in replay.messages(store, replay.Choice(kinds=("request-routed",)))]
    again = replay.envelope(one, NOON)
    assert (again.data, again.id, again.replayed) == (one.data, str(one.id), "2026-01-01T12:00:00Z")
    assert not [one async for one in replay.messages(store, replay.Choice(kinds=("nothing",)))]
    assert not [one async for one in replay.messages(store, replay.Choice(since=NOON + timedelta(seconds=1)))]
    assert not [one async for one in replay.messages(store, replay.Choice(workflow="w2"))]


async def test_a_published_record_holds_the_whole_stored_message() -> None:
    (one,) = (await (await recorded(request("hello"))).load([STREAM]))[STREAM].messages
    parsed = rebuild.parse(published(one), topics)
    assert parsed is not None and parsed.message is not None
    names = ("version", "id", "kind", "topic", "causation_id", "data", "hash", "traceparent", "at")
    assert [getattr(parsed.message, name) for name in names] == [getattr(one, name) for name in names]
    assert parsed.message.stream == Stream("default", "w1", "router")


def test_a_message_that_is_not_ours_is_left_out_of_a_rebuilt_store() -> None:
    forged = Envelope(str(uuid4()), "/elsewhere", "x", b"{}", "w1", subject="router", sequence=1)
    parsed = rebuild.parse(Record("router.events", 0, 0, 0, None, b"{}", tuple(headers(forged))), topics)
    assert parsed is not None and parsed.rejected == "router.events/0/0: its ids are not UUIDs" and parsed.message is None


@pytest.mark.parametrize("change", [{"source": "/hansard/planner"}, {"sequence": 0}, {"time": None}, {"replayed": "yes"}])
async def test_a_message_that_does_not_name_its_place_is_left_out_of_a_rebuilt_store(change: dict[str, Any]) -> None:
    (one,) = (await (await recorded(request("hello"))).load([STREAM]))[STREAM].messages
    envelope = replace(replay.envelope(one, NOON), replayed="")
    parsed = rebuild.parse(published(one)._replace(headers=tuple(headers(replace(envelope, **change)))), topics)
    assert parsed is not None and "not that of a stored message" in parsed.rejected
    parsed = rebuild.parse(published(one)._replace(value=b"{}"), topics)
    assert parsed is not None and "does not match ce_datahash" in parsed.rejected


async def test_two_stores_are_the_same_only_hash_for_hash() -> None:
    one, other = await recorded(request("a")), await recorded(request("a"))
    assert (await rebuild.compare(one, other)).unlike == []
    assert len((await rebuild.compare(one, await recorded(request("b")))).unlike) == 1
    assert len((await rebuild.compare(one, InMemoryEventStore())).unlike) == 1


async def test_two_stores_are_compared_message_by_message_with_one_difference_a_stream() -> None:
    texts = [request(text, id=workflow + text, workflow=workflow) for workflow in ("w1", "w2", "w3") for text in "abc"]
    one, other = await recorded(*texts), await recorded(*texts[:5], *texts[6:8], request("x", id="x", workflow="w0"))
    passed: list[int] = []
    compared = await rebuild.compare(one, other, passed.append)
    assert (compared.streams, compared.messages, compared.differ, sum(passed)) == (3, 9, 3, 9)
    assert [(unlike.stream.workflow, unlike.what) for unlike in compared.unlike] == [
        ("w0", "version 1 (of 0 and 1)"),
        ("w2", "version 3 (of 3 and 2)"),
        ("w3", "version 3 (of 3 and 2)"),
    ]
    assert compared.unlike[0].one == "is not there" and "request-routed" in compared.unlike[0].other


async def test_of_many_streams_that_differ_the_first_are_listed_and_all_are_counted() -> None:
    many = await recorded(*(request("a", workflow=f"w{n:02}", id=f"{n}") for n in range(30)))
    compared = await rebuild.compare(many, InMemoryEventStore())
    assert (compared.differ, [one.stream.workflow for one in compared.unlike]) == (30, [f"w{n:02}" for n in range(20)])
