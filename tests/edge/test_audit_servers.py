"""Audits on a real Postgres and a real Kafka."""

import hashlib
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from hansard.envelope import headers
from infra.audit import rebuild, replay
from infra.audit.against_kafka import AgainstKafka
from infra.audit.verify import verify, verify_all, workflows
from infra.cli.bus import Bus, ReceivedMessage, make_topic, record_at
from infra.migrations import migrate
from shared.eventstore.model import StoredMessage
from shared.eventstore.postgres import PostgresEventStore
from shared.eventstore.postgres.rebuild import comparison
from shared.kafka.record import Record
from shared.runtime.inbound import with_reused_id, with_taken_id
from shared.settings import Settings
from tests.conftest import _drop
from tests.unit.recorded import process, published, record
from tests.unit.toy import NOON, parser, processor, request, routed, service, topics

REQUESTS = [request(text, id=text, workflow=f"w{n % 3}", offset=n) for n, text in enumerate("abcdefg")]


async def stored_in(store: PostgresEventStore) -> list[StoredMessage]:
    return [stored async for batch in store.read_all() for stored in batch]


@pytest.fixture
async def empty(postgres_dsn: str) -> AsyncIterator[str]:
    """The name of a second migrated schema."""
    name = f"test_{secrets.token_hex(6)}"
    await migrate(postgres_dsn, name)
    yield name
    await _drop(postgres_dsn, name)


async def test_an_untouched_record_in_postgres_holds(store: PostgresEventStore) -> None:
    await record(store, *REQUESTS, request("poison", id="p", workflow="w0", offset=9))
    reports = [await verify(store, {"router": service}, topics, *pair) for pair in await workflows(store)]
    assert len(reports) == 3 and not [one for report in reports for one in (*report.differences, *report.forged)]
    assert (sum(report.decided for report in reports), sum(report.dead for report in reports)) == (7, 1)
    assert [one async for one in verify_all(store, {"router": service}, topics)] == reports


async def test_a_missing_stream_row_is_found(store: PostgresEventStore, postgres_dsn: str, schema: str) -> None:
    await record(store, *REQUESTS)
    connection = await asyncpg.connect(postgres_dsn)
    await connection.execute(f"""delete from "{schema}".streams where workflow = 'w0'""")
    await connection.close()
    reports = [one async for one in verify_all(store, {"router": service}, topics)]
    assert [(one.workflow, one.differences[0].what) for one in reports if one.differences] == [
        ("w0", "the stream's version is not that of its last message")
    ]


async def test_workflows_are_listed_in_order_in_pages_and_read_in_one_snapshot(store: PostgresEventStore) -> None:
    await record(store, *REQUESTS)
    found = [[one.workflow for one in page] async for page in store.list_workflows(batch=2)]
    assert found == [["w0", "w1"], ["w2"]]
    [(first, *_)] = [page async for page in store.list_workflows()]
    assert first == ("default", "w0", 3, 3, True)
    later = datetime.now(UTC) + timedelta(hours=1)
    assert [one.active async for page in store.list_workflows(later) for one in page] == [False] * 3
    wholes = await store.load_workflows([("default", "w2"), ("default", "nobody"), ("default", "w0")])
    assert [(one.workflow, len(one.histories), len(one.door_messages)) for one in wholes] == [
        ("w2", 1, 2),
        ("nobody", 0, 0),
        ("w0", 1, 3),
    ]
    (stream,) = wholes[2].histories
    assert {stream: replace(one, published=0) for stream, one in (await store.load([stream])).items()} == wholes[2].histories
    assert wholes[2].entries == {stream: await store.inbox_entries(stream)}
    assert wholes[2].door_messages == await store.door_messages("default", "w0")
    assert await store.load_workflows([]) == []


async def test_all_messages_are_read_in_the_order_of_streams(store: PostgresEventStore) -> None:
    await record(store, *REQUESTS)
    found = [one async for batch in store.read_streams(batch=3) for one in batch]
    assert found == sorted(await stored_in(store), key=lambda one: (one.stream, one.version))
    assert await store.estimate_size() >= 0


async def test_a_message_changed_with_the_trigger_disabled_is_found(
    store: PostgresEventStore, postgres_dsn: str, schema: str
) -> None:
    await record(store, *REQUESTS)
    connection = await asyncpg.connect(postgres_dsn)
    await connection.execute(f'alter table "{schema}".messages disable trigger append_only')
    await connection.execute(f"""update "{schema}".messages set data = replace(data::text, 'a 0', 'z 0')::json""")
    await connection.close()
    (difference,) = (await verify(store, {"router": service}, topics, "default", "w0")).differences
    assert "hash" in difference.what


async def publish(settings: Settings, stored: Sequence[StoredMessage]) -> None:
    """Publishes as the runtime does, but every message twice: a repeat changes nothing."""
    async with Bus(settings) as bus:
        for submitted in REQUESTS:
            raw = [(str(name), value or b"") for name, value in submitted.headers]
            await bus.put("requests", submitted.key, submitted.value, raw)
        for message in (*stored, *stored):
            envelope = replace(replay.envelope(message, NOON), replayed="")
            await bus.put(message.topic, envelope.correlation_id.encode(), envelope.data, headers(envelope))


async def rebuilt_into(
    schema: str, dsn: str, *batches: Sequence[Record], without: frozenset[str] = frozenset()
) -> rebuild.Rebuilt:
    async with rebuild.rebuilding(dsn, schema, topics, without) as into:
        for batch in batches:
            await into.add(batch)
        return await into.insert()


async def test_a_store_rebuilt_from_kafka_alone_is_the_same_hash_for_hash(
    store: PostgresEventStore, settings: Settings, postgres_dsn: str, empty: str
) -> None:
    await record(store, *REQUESTS)
    await publish(settings, await stored_in(store))
    async with Bus(settings) as bus, bus.listen(settings.topics.by_name, "beginning") as listener:
        extent = await listener.extent()
        records = [received.record async for received in listener.to_the_end()]
    assert extent == len(records) == 21
    made = await rebuilt_into(empty, postgres_dsn, records[:3], records[3:])
    assert (made.records, made.repeats, made.messages, made.door_messages, made.streams, made.gaps) == (21, 7, 7, 7, 3, [])
    rebuilt = await PostgresEventStore.open(postgres_dsn, schema=empty)
    compared = await rebuild.compare(store, rebuilt)
    doors = [await one.door_messages("default", "w0") for one in (store, rebuilt)]
    await rebuilt.close()
    assert (compared.unlike, compared.streams, compared.messages) == ([], 3, 7)
    assert doors[0].keys() == doors[1].keys()
    with pytest.raises(ValueError, match="empty"):
        await rebuilt_into(empty, postgres_dsn, records)


async def test_a_rebuilt_store_has_every_stream_in_order_and_once(
    store: PostgresEventStore, postgres_dsn: str, empty: str
) -> None:
    await record(store, *REQUESTS)
    events = [published(one) for one in await stored_in(store)]
    made = await rebuilt_into(empty, postgres_dsn, [*reversed(events)], events)
    assert (made.messages, made.repeats, made.gaps) == (7, 7, [])
    rebuilt = await PostgresEventStore.open(postgres_dsn, schema=empty)
    compared, histories = await rebuild.compare(store, rebuilt), await rebuilt.load_workflow("default", "w0")
    await rebuilt.close()
    assert compared.unlike == []
    (history,) = histories.values()
    assert [(one.sequence, one.version_before) for one in history.entries.values()] and history.processed == history.version == 3


async def test_a_dead_inbox_entry_and_its_redrive_are_both_rebuilt(
    store: PostgresEventStore, postgres_dsn: str, empty: str
) -> None:
    await record(store, request("poison"), request("a", id="a", offset=1))
    (stream,) = (await store.load_workflow("default", "w1")).keys()
    poison = parser.parse(request("poison"))
    assert poison is not None
    fixed = replace(processor, service=replace(service, decider=replace(service.decider, decide=lambda *_: [routed("mended")])))
    pending = fixed.begin(stream, fixed.fold((await store.load([stream]))[stream]), store.now())
    assert fixed.process(pending, replace(poison, redrive=True))
    await store.append([pending])
    await rebuilt_into(empty, postgres_dsn, [published(one) for one in await stored_in(store)])
    rebuilt = await PostgresEventStore.open(postgres_dsn, schema=empty)
    then, now = await store.inbox_entries(stream), await rebuilt.inbox_entries(stream)
    await rebuilt.close()
    assert [(one.causation_id, one.sequence, one.version_before, one.dead, one.attempt) for one in now] == [
        (one.causation_id, one.sequence, one.version_before, one.dead, one.attempt) for one in then
    ]
    assert [(one.dead, one.attempt) for one in now] == [(True, 1), (False, 1), (False, 2)]


async def test_of_two_bodies_under_one_id_the_first_keeps_its_causation_id(postgres_dsn: str, empty: str) -> None:
    first, second = request("a"), request("b", offset=1)
    made = await rebuilt_into(empty, postgres_dsn, [first, second, first._replace(offset=2)])
    rebuilt = await PostgresEventStore.open(postgres_dsn, schema=empty)
    doors = await rebuilt.door_messages("default", "w1")
    await rebuilt.close()
    received = [parser.parse(first), parser.parse(second)]
    assert received[0] is not None and received[1] is not None
    assert {causation_id: door.offset for causation_id, door in doors.items()} == {
        received[0].causation_id: 0,
        with_reused_id(received[1]).causation_id: 1,
    }
    assert (made.door_messages, made.repeats) == (2, 1)


async def test_a_message_that_kafka_lost_is_a_gap(store: PostgresEventStore, postgres_dsn: str, empty: str) -> None:
    await record(store, *REQUESTS)
    lost = [published(one) for one in await stored_in(store) if (one.stream.workflow, one.version) != ("w0", 1)]
    made = await rebuilt_into(empty, postgres_dsn, lost)
    assert (made.gapped, made.gaps) == (1, ["default/w0/router: 2 of 3 are there"])


async def test_a_rebuild_reports_foreign_messages_and_continues(postgres_dsn: str, empty: str) -> None:
    forged = request("a")._replace(topic="router.events")
    made = await rebuilt_into(empty, postgres_dsn, [forged._replace(offset=n) for n in range(30)], [request("a")])
    assert (made.records, made.rejected, len(made.rejections), made.door_messages) == (31, 30, 20, 1)


async def test_a_listener_receives_what_is_published_after_it_began_and_nothing_before(settings: Settings) -> None:
    async with Bus(settings) as bus:
        await bus.put("requests", b"k", b"before", [])
        async with bus.listen(["requests"]) as listener:
            await bus.put("requests", b"k", b"after", [])
            received: list[ReceivedMessage] = []
            while not received:
                received = await listener.batch()
    assert [one.record.value for one in received] == [b"after"]


async def test_a_record_is_read_at_its_place_only(settings: Settings) -> None:
    async with Bus(settings) as bus, bus.listen(["requests"]) as listener:
        await bus.put("requests", b"k", b"here", [("a", b"\xff")])
        received: list[ReceivedMessage] = []
        while not received:
            received = await listener.batch()
        place = received[0].record
    found = await record_at(settings, "requests", place.partition, place.offset)
    assert found is not None and (found.value, found.headers) == (b"here", (("a", b"\xff"),))
    assert await record_at(settings, "requests", place.partition, place.offset + 1) is None


async def test_a_users_topic_is_created_once(settings: Settings) -> None:
    name = f"own-{secrets.token_hex(4)}"
    assert (await make_topic(settings, name), await make_topic(settings, name)) == (True, False)


async def test_an_identity_at_the_doors_is_rebuilt_in_the_workflow_in_which_it_was_processed(
    store: PostgresEventStore, postgres_dsn: str, empty: str
) -> None:
    """Three records with one id: the second was processed first. Of the two others each is a dead letter of its own."""
    first, second, third = (request("a", workflow=f"w{n}", offset=n) for n in range(3))
    for one in (second, first, third):
        inbound = parser.parse(one)
        assert inbound is not None
        await process(store, processor, inbound if one is second else with_taken_id(inbound, "w1"))
    await rebuilt_into(empty, postgres_dsn, [first, second, third], [published(one) for one in await stored_in(store)])
    rebuilt = await PostgresEventStore.open(postgres_dsn, schema=empty)
    names = [("default", f"w{n}") for n in range(3)]
    before, after = await store.load_workflows(names), await rebuilt.load_workflows(names)
    orphans = await rebuilt.identities_without_door(10)
    await rebuilt.close()
    assert [one.door_messages for one in after] == [one.door_messages for one in before] and orphans == []
    assert [one.identities for one in after] == [one.identities for one in before]
    kinds = [stored.kind.split(".")[-2] for one in after for history in one.histories.values() for stored in history.messages]
    assert kinds == ["dead-lettered", "request-routed", "dead-lettered"]


async def test_two_different_messages_at_one_version_are_never_rebuilt_until_one_is_named_as_forged(
    store: PostgresEventStore, postgres_dsn: str, empty: str
) -> None:
    await record(store, *REQUESTS)
    genuine = await stored_in(store)
    records = [published(one)._replace(partition=1) for one in genuine]
    data = genuine[0].data.replace(b"a 0", b"x 0")
    forged = published(replace(genuine[0], data=data, hash=hashlib.sha256(data).digest()))._replace(offset=77)
    same_id = published(replace(genuine[1], version=9))._replace(offset=78)
    made = await rebuilt_into(empty, postgres_dsn, [forged, same_id, *records])
    assert (made.messages, made.contradicted) == (0, 2)
    assert made.contradictions == [
        "default/w0/router: version 1 is there with other content at router.events/0/77, router.events/1/1",
        f"default/w1/router: the id {genuine[1].id} is there with other content at router.events/0/78, router.events/1/1",
    ]
    without = frozenset({"router.events/0/77", "router.events/0/78"})
    made = await rebuilt_into(empty, postgres_dsn, [forged, same_id, *records], without=without)
    assert (made.messages, made.contradicted, made.left_out, made.gapped) == (7, 0, 2, 0)
    rebuilt = await PostgresEventStore.open(postgres_dsn, schema=empty)
    assert (await rebuild.compare(store, rebuilt)).unlike == []
    await rebuilt.close()


async def against(store: PostgresEventStore, dsn: str, records: Sequence[Record], first: int = 0) -> list[tuple[str, str]]:
    async with comparison(dsn, store.session.schema) as beside:
        compared = AgainstKafka(beside, topics, {(one.topic, one.partition): first for one in records}, store)

        async def batches() -> AsyncIterator[list[Record]]:
            yield list(records)

        await compared.add(batches())
        differences = [(f"{one.stream}", one.what) for one in await compared.differences(10)]
        return sorted(differences + [("forged", place) for place in compared.forged])


async def test_the_record_is_compared_with_kafkas_copy_in_both_directions(
    store: PostgresEventStore, postgres_dsn: str, schema: str
) -> None:
    await record(store, *REQUESTS)
    genuine = await stored_in(store)
    copy = [*REQUESTS, *map(published, genuine)]
    assert await against(store, postgres_dsn, [*copy, *copy]) == []
    assert await against(store, postgres_dsn, copy[:-1]) == [], "no broker has acknowledged the last one"
    await store.mark_published({genuine[-1].stream: genuine[-1].version})
    lost = "Kafka lacks a message that brokers acknowledged (router.events)"
    assert await against(store, postgres_dsn, copy[:-1]) == [(f"{genuine[-1].stream}", lost)]
    assert await against(store, postgres_dsn, copy[1:]) == [
        ("default/w0/", "Kafka lacks this message from outside (requests/0/0)")
    ]
    later = [one._replace(timestamp=int((genuine[-1].at or NOON).timestamp() * 1000) + 5000) for one in copy[1:-1]]
    assert await against(store, postgres_dsn, [*REQUESTS[1:], *later[6:]], first=1) == [], "retention removed them"
    more = published(replace(genuine[0], version=4, id=genuine[0].causation_id))
    connection = await asyncpg.connect(postgres_dsn, server_settings={"search_path": schema})
    for table in ("messages", "door_messages"):
        await connection.execute(f"alter table {table} disable trigger append_only")
    await connection.execute("update messages set traceparent = 'x' where workflow = 'w1' and version = 1")
    await connection.execute("update door_messages set key = 'x' where \"offset\" = 3")
    await connection.close()
    assert await against(store, postgres_dsn, [*copy, more]) == [
        ("default/w0/", "Kafka has another message from outside here (requests/0/3)"),
        ("default/w1/router", "Kafka has another message at this version (router.events/0/1)"),
        ("forged", "router.events/0/4"),
    ]
