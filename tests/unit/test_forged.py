"""Forged messages, on an internal topic and not on the record: they change nothing, and become one dead letter a partition."""

import base64
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from contracts.control import RedriveDeadLetter
from contracts.dead_letters import DeadLettered
from contracts.gateway import CallModel, ChatMessage
from contracts.planner import ExpireWorkflow, RunPlan
from contracts.specialists import TaskAnswered
from hansard.codec import decode, encode
from hansard.identity import stored_message_id
from services.planner.app import build
from shared.eventstore.model import Appended, StoredMessage, Stream, StreamAppend
from shared.kafka.producer import headers
from shared.kafka.record import Record
from shared.runtime.claims import BODIES, MAX_BODY
from shared.runtime.inbound import DeadCause, InboundParser
from shared.settings import Settings
from tests.spec.planner_kit import answer, dead, run, step
from tests.unit.forged_kit import Process, T, changed, expire
from tests.unit.internal import published, put_on_record, stored_message
from tests.unit.toy import NOON, request, topics


@pytest.fixture
def process() -> Process:
    return Process()


# What is forged


async def test_a_message_on_the_record_is_processed_and_one_that_is_not_changes_nothing(process: Process) -> None:
    genuine, forged = expire(), expire("forged")
    put_on_record(process.store, genuine)
    await process.receive(published(forged, 1), published(genuine, 2))
    assert await process.notes() == ["r"]
    [letter] = await process.letters()
    assert (letter.topic, letter.partition, letter.offset, letter.offsets) == (T, 0, 1, (1,))
    assert await process.workflows() == {"w1", f"{T}.0.0"}


async def test_what_a_service_stored_for_a_topic_that_is_not_its_own_is_forged(process: Process) -> None:
    others = [
        stored_message(ExpireWorkflow(request="forged", deadline=NOON), Stream("default", "w1", name), T)
        for name in ("specialists/a.1", "routers/1", "specialists/router")
    ]
    put_on_record(process.store, *others, genuine := expire())
    await process.receive(*(published(one, n) for n, one in enumerate((*others, genuine))))
    assert await process.notes() == ["r"]
    assert [letter.offsets for letter in await process.letters()] == [(0, 1, 2)]


CHANGES: dict[str, str | None] = {
    "time": "2031-01-01T00:00:00Z",
    "source": "/hansard/planner",
    "subject": "router/other",
    "tenant": "acme",
    "correlationid": "w2",
    "causationid": str(UUID(int=10)),
    "sequence": "0000000002",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "type": RunPlan.kind,
    "id": str(UUID(int=11)),
}


@pytest.mark.parametrize("name", CHANGES)
async def test_a_message_with_one_other_header_is_forged(process: Process, name: str) -> None:
    genuine = expire()
    put_on_record(process.store, genuine)
    await process.receive(changed(published(genuine, 7), **{name: CHANGES[name]}))
    assert [letter.offsets for letter in await process.letters()] == [(7,)]
    assert await process.workflows() == {f"{T}.0.0"}
    await process.receive(published(genuine, 8))
    assert await process.notes() == ["r"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, None) for name in ("time", "subject", "causationid", "sequence", "datahash", "source", "id", "specversion")),
        ("sequence", "99999999999"),
        ("sequence", "x"),
        ("id", "{6a0f5f0e-5f5a-5b1e-9d5e-000000000001}"),
        ("id", "17"),
        ("causationid", "17"),
        ("replayed", "2026-01-01T00:00:00Z"),
        ("datahash", "0" * 64),
        ("time", "yesterday"),
    ],
)
async def test_what_no_message_of_ours_looks_like_is_forged(process: Process, name: str, value: str | None) -> None:
    genuine = expire()
    put_on_record(process.store, genuine)
    await process.receive(changed(published(genuine, 7), **{name: value}))
    assert [letter.offsets for letter in await process.letters()] == [(7,)]
    assert await process.workflows() == {f"{T}.0.0"}


async def test_a_message_under_another_key_and_one_without_a_body_are_forged(process: Process) -> None:
    genuine = expire()
    put_on_record(process.store, genuine)
    true = published(genuine)
    broken = [true._replace(key=b"w2", offset=1), true._replace(value=None, offset=2)]
    unreadable = Record(T, 0, 3, 0, None, None, fault="no headers")
    await process.receive(*broken, unreadable)
    assert [letter.offsets for letter in await process.letters()] == [(1, 2, 3)]
    assert await process.workflows() == {f"{T}.0.0"}


async def test_bytes_on_the_record_do_not_count_as_another_kind_that_reads_them_too(process: Process) -> None:
    plan = stored_message(run(step("draft")), Stream("default", "w1", "router"), T)
    assert decode(ExpireWorkflow, plan.data).request, "the bytes of one kind read as the other"
    put_on_record(process.store, plan)
    await process.receive(changed(published(plan), type=ExpireWorkflow.kind))
    assert len(await process.letters()) == 1 and await process.notes() == []
    await process.receive(published(plan))
    assert len(await process.notes()) == 1


# Before, beside and after the genuine one


@pytest.mark.parametrize("other_body", [True, False])
@pytest.mark.parametrize("order", ["before", "together", "together, last", "after"])
async def test_one_with_the_predicted_id_changes_nothing_for_the_genuine_message(
    process: Process, order: str, other_body: bool
) -> None:
    genuine = expire(
        id=stored_message_id(ExpireWorkflow(request="r", deadline=NOON), Stream("default", "w1", "router"), UUID(int=9), 1)
    )
    put_on_record(process.store, genuine)
    forged = published(replace(expire("forged"), id=genuine.id), 1)
    if not other_body:
        forged = changed(published(genuine, 1), time="2031-01-01T00:00:00Z")
    both = [published(genuine, 0), forged] if "last" in order or order == "after" else [forged, published(genuine, 2)]
    for batch in [both] if "together" in order else [[one] for one in both]:
        await process.receive(*batch)
    assert await process.notes() == ["r"]
    [entry] = (await process.history()).entries.values()
    assert (entry.causation_id, entry.dead, entry.at) == (genuine.id, False, NOON)
    # one whose id and body were processed before is a repeat, whatever its headers say: nothing is stored, so nothing is asked
    silent = order == "after" and not other_body
    assert [letter.offsets for letter in await process.letters()] == ([] if silent else [(1,)])


@pytest.mark.parametrize("repeat", [False, True])
async def test_a_forged_time_dates_nothing(process: Process, repeat: bool) -> None:
    genuine, later = expire("one"), expire("two")
    put_on_record(process.store, genuine, later)
    forged = changed(published(genuine if repeat else expire("forged"), 1), time="2099-01-01T00:00:00Z")
    await process.receive(published(genuine, 0))
    await process.receive(forged, published(later, 2))
    assert await process.notes() == ["one", "two"]
    assert {message.at for message in (await process.history()).messages} == {NOON}


# Whatever becomes of it


@pytest.mark.parametrize(
    ("forged", "cause"),
    [
        (expire("silence"), None),
        (expire("poison"), None),
        (replace(expire(), kind="hansard.planner.of-tomorrow.v9"), None),
        (replace(expire(), kind=TaskAnswered.kind), None),
        (expire(), DeadCause("crashed", "the process ended 2 times while it processed this", 2)),
    ],
)
async def test_no_entry_and_no_dead_letter_in_the_workflow_that_it_pretends(
    process: Process, forged: StoredMessage, cause: DeadCause | None
) -> None:
    await process.receive(published(forged, 3), dead=cause)
    assert await process.workflows() == {f"{T}.0.0"}
    assert (await process.history()).processed == 0
    [letter] = await process.letters()
    pretended = (letter.message_id, letter.message_kind, letter.key, letter.headers, letter.body)
    assert pretended == ("", "", None, (), None)
    assert str(forged.id) not in letter.model_dump_json()


def redrive(of: Record) -> Record:
    asked = RedriveDeadLetter(
        service="planner",
        topic=of.topic,
        partition=of.partition,
        offset=of.offset,
        timestamp=of.timestamp,
        key=base64.b64encode(of.key or b"").decode(),
        body=base64.b64encode(of.value or b"").decode(),
        headers=tuple((str(name), base64.b64encode(value or b"").decode()) for name, value in of.headers),
    )
    return request(id="redrive", offset=17, ce_type=asked.kind, body=encode(asked))._replace(topic="control")


async def test_a_redrive_counts_only_for_what_is_on_the_record(process: Process) -> None:
    genuine = expire("poison")
    put_on_record(process.store, genuine)
    await process.receive(published(genuine, 5))
    await process.receive(redrive(changed(published(genuine, 6), time="2031-01-01T00:00:00Z")))
    assert [entry.attempt for entry in await process.store.inbox_entries((await process.history()).stream)] == [1]
    [letter] = await process.letters()
    assert (letter.topic, letter.offsets) == ("control", (17,)), "where it was received, not where it says that it was"
    await process.receive(redrive(published(genuine, 5)))
    assert [entry.attempt for entry in await process.store.inbox_entries((await process.history()).stream)] == [1, 2]


@pytest.mark.parametrize("of", [published(expire("forged")), Record(T, 0, 0, 0, b"w1", b"{}")])
async def test_a_redrive_of_what_was_never_processed_changes_nothing(process: Process, of: Record) -> None:
    await process.receive(redrive(of))
    assert await process.all() == []


# The dead letter


async def test_a_flood_is_one_dead_letter_a_partition_with_the_first_bodies_alone(process: Process) -> None:
    genuine = [expire(f"r{n}", f"w{n}") for n in range(40)]
    put_on_record(process.store, *genuine)
    flood = [published(expire("x" * (MAX_BODY + 9), f"w{n % 40}"), offset=n, partition=n % 2) for n in range(400)]
    records = [*flood, *(published(one, 400 + n) for n, one in enumerate(genuine))]
    random.Random(1).shuffle(records)
    await process.receive(*records)
    for n in range(40):
        assert await process.notes(f"w{n}") == [f"r{n}"]
    letters = sorted(await process.letters(), key=lambda letter: letter.partition)
    assert [letter.offsets for letter in letters] == [tuple(range(p, 400, 2)) for p in (0, 1)]
    assert {tuple(len(base64.b64decode(body)) for body in letter.bodies) for letter in letters} == {(MAX_BODY,) * BODIES}
    assert len(await process.all()) == 40 + 40 + 2


@pytest.mark.parametrize("seed", range(3))
async def test_a_flood_under_one_id_takes_few_appends(process: Process, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = expire()
    put_on_record(process.store, genuine)
    flood = [changed(published(genuine, n), time=f"2031-01-01T00:00:00.{n:06}Z") for n in range(200)]
    records = [*flood, published(genuine, 200)]
    random.Random(seed).shuffle(records)
    appends: list[int] = []
    append = process.store.append

    async def counted(given: Sequence[StreamAppend]) -> Appended:
        appends.append(len(given))
        return await append(given)

    monkeypatch.setattr(process.store, "append", counted)
    await process.receive(*records)
    assert await process.notes() == ["r"] and len(appends) <= 3
    assert [letter.offsets for letter in await process.letters()] == [tuple(range(200))]


# Our own services


async def test_the_planner_does_not_believe_a_forged_answer_and_takes_the_genuine_one() -> None:
    planner = Process(service=build(Settings()))
    plan = stored_message(run(step("draft")), Stream("default", "w1", "router"), T)
    worker = Stream("default", "w1", "specialists/draft.1")
    genuine = stored_message(answer("draft.1", "Genuine."), worker, "specialists.events")
    put_on_record(planner.store, plan, genuine)
    await planner.receive(published(plan))
    lie = stored_message(answer("draft.1", "Forged."), worker, "specialists.events", id=genuine.id)
    doom = stored_message(dead(service="specialists"), worker, "dead-letters", version=2)
    await planner.receive(published(lie, 1), published(doom, 1))
    before = (await planner.history()).version
    assert b"Forged" not in b"".join(message.data for message in (await planner.history()).messages)
    await planner.receive(published(genuine, 2))
    after = (await planner.history()).messages[before:]
    assert any(b"Genuine." in message.data for message in after)
    assert sorted(letter.topic for letter in await planner.letters()) == ["dead-letters", "specialists.events"]


async def test_no_service_is_told_of_a_dead_letter_about_forged_messages() -> None:
    from infra.cli.running import services

    process = Process()
    await process.receive(published(expire("forged"), 4))
    [stored] = [message for message in await process.all() if message.topic == "dead-letters"]
    for service in services(Settings()).values():
        if DeadLettered in service.receives:
            assert InboundParser(service, topics, 2000).parse(published(stored)) is None, service.name


async def test_a_forged_call_of_a_model_is_no_intent() -> None:
    from services.gateway.app import build as build_gateway

    gateway = Process(service=build_gateway(Settings(model_url="http://127.0.0.1:9/v1", model_name="m")))
    call = CallModel(
        call="specialists/draft.1/1",
        messages=(ChatMessage(role="user", content="Spend."),),
        deadline=NOON + timedelta(hours=1),
    )
    forged = stored_message(call, Stream("default", "w1", "specialists/draft.1"), "gateway.commands")
    await gateway.receive(published(forged))
    assert {message.kind for message in await gateway.all()} == {DeadLettered.kind}
    assert dict(published(forged).headers) == dict(headers(forged))
