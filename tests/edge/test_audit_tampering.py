"""What `audit verify` finds where somebody with the rights of the tables' owner has changed the record."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from hansard.policy import StoredPolicy, version_of
from hansard.service import Service
from infra.audit.verify import of_all_tables, verify_all
from services.gateway.facts import AttemptReturned
from shared.eventstore.model import Stream
from shared.eventstore.postgres import PostgresEventStore
from shared.runtime.assembly import store_policy
from shared.runtime.inbound import Inbound, with_taken_id
from shared.runtime.processor import Processor
from tests.unit.recorded import CALL, CALLER, gateway, process, record, replied, with_a_call
from tests.unit.toy import parser, request, service, topics

TABLES = ("streams", "inbox", "messages", "door_messages", "door_identities", "policies")


def with_policy() -> Service[Any]:
    """The toy service with data of its policy on the record."""
    data = {"tone": "calm"}
    policy = StoredPolicy[Any]({**data}, lambda version, data: replace(service.decider, policy=version))
    return replace(service, decider=replace(service.decider, policy=version_of("1", {**data})), stored_policy=policy)


TOY, GATEWAY = with_policy(), gateway()
SERVICES: dict[str, Service[Any]] = {"router": TOY, "specialists": CALLER, "gateway": GATEWAY}


def received(text: str, **more: Any) -> Inbound:
    inbound = replace(parser, service=TOY).parse(request(text, **more))
    assert inbound is not None
    return inbound


async def written(store: PostgresEventStore) -> None:
    """Requests, dead letters, entries without a message, a model call with its wake-up and its outcome; in two workflows."""
    await store_policy(store, TOY)
    toy = Processor(TOY, topics, 4000)
    for text, more in (
        ("a", {}), ("b", {"offset": 1}), ("silence", {"offset": 2}), ("poison", {"offset": 3}),
        ("c", {"offset": 4, "workflow": "w2"}), ("d", {"offset": 5, "workflow": "w2"}),
    ):  # fmt: skip
        await process(store, toy, received(text, id=text, **more))
    await process(store, toy, with_taken_id(received("a", id="a", workflow="w2", offset=6), "w1"))
    await with_a_call(store, GATEWAY, AttemptReturned(attempt=1, call="specialists/1", reply=replied()))


@pytest.fixture
async def owner(raw: asyncpg.Connection) -> AsyncIterator[asyncpg.Connection]:
    for table in TABLES[1:]:
        await raw.execute(f"alter table {table} disable trigger append_only")
    yield raw


async def found(store: PostgresEventStore) -> list[str]:
    """What `audit verify` says."""
    reports = [one async for one in verify_all(store, SERVICES, topics)]
    all_ = [*await of_all_tables(store, 100), *(one for report in reports for one in report.differences)]
    return [f"{one.stream}: {one.what}" for one in all_] + [forged for report in reports for forged in report.forged]


OF_A = "workflow = 'w1' and stream = 'router' and sequence = 1"
CALLS = f"stream = '{CALL.name}'"
HASH = "decode(repeat('07', 32), 'hex')"
# What is done, and a part of what is found.
CHANGES: Sequence[tuple[str, str]] = [
    ("delete from streams where stream = 'router' and workflow = 'w1'", "count of inbox entries"),
    ("insert into streams select at, 0, 0, 0, 0, 0, tenant, 'w9', stream from streams where workflow = 'w2'", "not both there"),
    ("insert into streams select at, 1, 0, 0, 0, 0, tenant, 'w9', stream from streams where workflow = 'w2'", "count of inbox"),
    ("update streams set processed = processed + 1 where workflow = 'w2'", "count of inbox entries"),
    ("update streams set version = version + 1 where workflow = 'w2'", "version is not that of its last message"),
    ("update streams set at = at - interval '1 second' where workflow = 'w2'", "another time than its last inbox entry"),
    ("update streams set published = 99 where workflow = 'w2'", "marked as published"),
    ("update streams set version_before = 7 where workflow = 'w2'", "built upon other numbers"),
    ("update streams set processed_before = 9 where workflow = 'w2'", "built upon other numbers"),
    ("update streams set workflow = 'w9' where workflow = 'w2'", "count of inbox entries"),
    (f"delete from inbox where {OF_A}", "gap in the inbox entries"),
    ("delete from inbox where workflow = 'w2' and sequence = 3", "count of inbox entries"),
    ("insert into inbox (at, causation_id, sequence, version_before, attempt, dead, hash, tenant, workflow, stream, kind, code, policy)"
     " select at, gen_random_uuid(), 4, 3, 1, false, hash, tenant, workflow, stream, kind, code, policy from inbox"
     " where workflow = 'w2' and sequence = 1", "count of inbox entries"),
    (f"update inbox set at = at - interval '1 second' where {OF_A}", "another time"),
    ("update inbox set at = at + interval '1 hour' where workflow = 'w1' and kind like '%submit%' and version_before = 2"
     " and not dead", "earlier time than the inbox entry before"),
    (f"update inbox set causation_id = gen_random_uuid() where {OF_A}", "another causation id than its inbox entry"),
    (f"update inbox set sequence = 9 where {OF_A}", "gap in the inbox entries"),
    (f"update inbox set version_before = 1 where {OF_A}", "before the first inbox entry"),
    (f"update inbox set hash = {HASH} where {OF_A}", "other bytes than the one on the record"),
    (f"update inbox set kind = 'hansard.control.cancel.v1' where {OF_A}", "other bytes than the one on the record"),
    (f"update inbox set policy = '2' where {OF_A}", "policy '2' cannot be made again"),
    (f"update inbox set dead = true where {OF_A}", "no dead letter was stored"),
    ("update inbox set dead = false where dead and workflow = 'w2'", "not on the record"),
    (f"update inbox set attempt = 2 where {OF_A}", "not the next attempt"),
    (f"update inbox set position = position + 1000 where {OF_A}", "stored before the one that it follows"),
    (f"update inbox set xact = '3' where {OF_A}", "another transaction"),
    (f"update inbox set outcome = null where {CALLS} and outcome is not null", "not on the record"),
    (f"update inbox set outcome = '{{}}' where {CALLS} and outcome is not null", "other bytes than the one on the record"),
    (f"update inbox set outcome = '{{}}' where {OF_A}", "other bytes than the one on the record"),
    (f"update inbox set hash = {HASH} where {CALLS} and kind like '%wake-up%'", "could not get this wake-up"),
    (f"update inbox set causation_id = gen_random_uuid() where {CALLS} and kind like '%wake-up%'", "another causation id"),
    ("delete from messages where workflow = 'w1' and stream = 'router' and version = 1", "gap in the versions"),
    ("delete from messages where workflow = 'w2' and version = 3", "version is not that of its last message"),
    ("insert into messages (at, id, causation_id, version, hash, tenant, workflow, stream, kind, topic, traceparent, data)"
     " select at, gen_random_uuid(), causation_id, 4, hash, tenant, workflow, stream, kind, topic, traceparent, data from messages"
     " where workflow = 'w2' and version = 1", "version is not that of its last message"),
    ("insert into messages (at, id, causation_id, version, hash, tenant, workflow, stream, kind, topic, traceparent, data)"
     " select at, gen_random_uuid(), causation_id, 1, hash, tenant, 'w9', stream, kind, topic, traceparent, data from messages"
     " where workflow = 'w2' and version = 1", "version is not that of its last message"),
    ("update messages set at = at + interval '1 second' where workflow = 'w2' and version = 1", "another time than its inbox"),
    ("update messages set id = gen_random_uuid() where workflow = 'w2' and version = 1", "does not follow from its causation id"),
    ("update messages set id = gen_random_uuid() where workflow = 'w2' and version = 3", "dead letter says otherwise"),
    ("update messages set causation_id = gen_random_uuid() where workflow = 'w2' and version = 1", "another causation id"),
    ("update messages set version = 9 where workflow = 'w2' and version = 3", "gap in the versions"),
    (f"update messages set hash = {HASH} where workflow = 'w2' and version = 1", "does not match its hash"),
    ("update messages set kind = 'hansard.router.x.v1' where workflow = 'w2' and version = 1", "other messages"),
    ("update messages set topic = 'results' where workflow = 'w2' and version = 1", "on another topic"),
    ("update messages set data = '{}' where workflow = 'w2' and version = 1", "does not match its hash"),
    ("update messages set (data, hash) = ('{}', sha256('{}')) where workflow = 'w2' and version = 1", "with other data"),
    ("update messages set (data, hash) = ('{}', sha256('{}')) where workflow = 'w2' and version = 3", "dead letter cannot be read"),
    ("update messages set (data, hash) = (d, sha256(convert_to(d::text, 'UTF8'))) from (select replace(data::text, '\"offset\":6',"
     " '\"offset\":7')::json as d from messages where workflow = 'w2' and version = 3) x where workflow = 'w2' and version = 3",
     "that its dead letter names"),
    ("update messages set position = position + 1000 where workflow = 'w2' and version = 1", "stored before the one that it follows"),
    ("update messages set xact = '3' where workflow = 'w2' and version = 2", "another transaction"),
    ("delete from door_messages where workflow = 'w2' and \"offset\" = 4", "not on the record"),
    ("delete from door_messages where workflow = 'w2' and \"offset\" = 4", "the message is not"),
    ("delete from door_messages where workflow = 'w2' and \"offset\" = 6", "that its dead letter names"),
    ("insert into door_messages (at, broker_at, \"offset\", causation_id, partition, tenant, workflow, topic, key, headers, body)"
     " select at, broker_at, \"offset\", causation_id, partition, tenant, 'w9', topic, key, headers, body from door_messages"
     " where workflow = 'w2' and \"offset\" = 4", "no stream processed it"),
    ("update door_messages set at = at - interval '1 second' where \"offset\" = 4", "not stored with an inbox entry"),
    ("update door_messages set xact = '3' where \"offset\" = 4", "not stored with an inbox entry"),
    ("update door_messages set body = '{}' where \"offset\" = 4", "not that of its body"),
    ("update door_messages set topic = 'control' where \"offset\" = 4", "headers give another id"),
    ("update door_messages set headers = replace(headers::text, '/test', '/fake')::json where \"offset\" = 4", "give another id"),
    ("update door_messages set \"offset\" = 77 where \"offset\" = 6", "that its dead letter names"),
    ("delete from door_identities where workflow = 'w1'", "its identity is not that"),
    ("insert into door_identities values ('default', gen_random_uuid(), '', 'w1')", "the message is not"),
    ("update door_identities set workflow = 'w1' where workflow = 'w2'", "its identity is not that"),
    (f"update door_identities set hash = {HASH} where workflow = 'w2'", "its identity is not that"),
    ("delete from policies", "cannot be made again"),
    ("update policies set data = '{\"tone\": \"loud\"}'", "does not match its version"),
    # whole rows, alike in each table, of another day: their transactions come later than their times say
    ("update messages set at = at - interval '1 day' where workflow = 'w2';"
     "update inbox set at = at - interval '1 day' where workflow = 'w2';"
     "update door_messages set at = at - interval '1 day' where workflow = 'w2';"
     "update streams set at = at - interval '1 day' where workflow = 'w2'", "with a much later time"),
]  # fmt: skip
# What one row alone says: nothing contradicts it but Kafka's copy (*) or a signature.
UNFOUND = [
    "update inbox set code = 'x'",
    "update messages set traceparent = 'x'",  # *
    "update door_messages set broker_at = broker_at - interval '1 day'",  # *
    "update door_messages set key = 'x'",  # *
    "update door_messages set partition = 7 where \"offset\" = 4",  # *
    "update streams set published = 0",
]


async def test_each_change_to_the_record_is_found(store: PostgresEventStore, owner: asyncpg.Connection) -> None:
    await written(store)
    assert await found(store) == []
    for table in TABLES:
        await owner.execute(f"create table was_{table} as select * from {table}")
    missed = []
    for change, part in [*CHANGES, *((change, "") for change in UNFOUND)]:
        await owner.execute(change)
        said = await found(store)
        if not (any(part in one for one in said) if part else said == []):
            missed.append((change, part, said))
        for table in TABLES:
            await owner.execute(f"truncate {table}; insert into {table} overriding system value select * from was_{table}")
    assert missed == []
    assert await found(store) == []


async def test_a_stream_of_a_service_that_is_not_known_here_is_checked_without_deciding(
    store: PostgresEventStore, owner: asyncpg.Connection
) -> None:
    await record(store, request("a"), request("b", id="r2", offset=1))
    [report] = [one async for one in verify_all(store, {}, topics)]
    assert (report.differences, report.unknown) == ([], 2)
    await owner.execute("update inbox set attempt = 5 where sequence = 2")
    [report] = [one async for one in verify_all(store, {}, topics)]
    assert [(one.stream, one.sequence) for one in report.differences] == [(Stream("default", "w1", "router"), 2)]
