"""Forged messages, on an internal topic and not on the record: they change nothing, and become one dead letter a partition."""

import asyncio
import base64
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.control import RedriveDeadLetter
from contracts.dead_letters import DeadLettered
from contracts.gateway import CallModel, ChatMessage
from contracts.planner import ExpireWorkflow, PlanCancelNoted, RunPlan
from contracts.specialists import TaskAnswered
from hansard.codec import decode, encode
from hansard.decider import Context, Decider
from hansard.identity import stored_message_id
from hansard.message import Message
from hansard.service import Service
from services.planner.app import build
from shared.eventstore.memory import InMemoryEventStore
from shared.eventstore.model import Appended, History, StoredMessage, Stream, StreamAppend
from shared.kafka.producer import headers
from shared.kafka.record import Record
from shared.runtime.claims import BODIES, LETTERS_OF, MAX_BODY
from shared.runtime.inbound import DeadCause, InboundParser, as_dead
from shared.runtime.loop import Loop
from shared.runtime.processor import Processor
from shared.settings import Settings
from tests.spec.planner_kit import answer, dead, run, step
from tests.unit.internal import published, put_on_record, stored_message
from tests.unit.loop_kit import Publisher
from tests.unit.toy import NOON, request, topics

T = "planner.commands"


def decide(count: int, received: Message, context: Context) -> Iterable[Message]:
    assert isinstance(received, RunPlan | ExpireWorkflow)
    if received.request == "poison":
        raise ZeroDivisionError("asked for it")
    if received.request != "silence":
        yield PlanCancelNoted(by=f"{type(received).__name__} {count}", reason=received.request)


toy = Service(
    "planner", Decider(0, decide, lambda count, _: count + 1), receives={RunPlan: lambda _: "", ExpireWorkflow: lambda _: ""}
)
parser = InboundParser(toy, topics, 2000)


def expire(request: str = "r", workflow: str = "w1", **more: Any) -> StoredMessage:
    message = ExpireWorkflow(request=request, deadline=NOON)
    return stored_message(message, Stream("default", workflow, "router"), T, **more)


class Stopped(BaseException):
    pass


class Stopping(InMemoryEventStore):
    """Ends the process at some appends, before or after their commit."""

    chance = 0.0
    dice = random.Random(0)

    async def append(self, appends: Sequence[StreamAppend]) -> Appended:
        if self.dice.random() < self.chance:
            raise Stopped
        appended = await super().append(appends)
        if self.dice.random() < self.chance:
            raise Stopped
        return appended


@dataclass
class Process:
    """A process of the toy, or of another service, on a store."""

    store: InMemoryEventStore = field(default_factory=lambda: Stopping(lambda: NOON))
    service: Service[Any] = toy

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.loop = Loop(Processor(self.service, topics, 1 << 20), self.store, Publisher(self.store))

    async def receive(self, *records: Record, dead: DeadCause | None = None) -> None:
        parse = InboundParser(self.service, topics, 2000).parse
        inbounds = [inbound for inbound in map(parse, records) if inbound is not None]
        await self.loop.process([as_dead(inbound, dead) for inbound in inbounds] if dead else inbounds)

    async def history(self, workflow: str = "w1") -> History:
        stream = Stream("default", workflow, self.service.name)
        return (await self.store.load([stream]))[stream]

    async def notes(self, workflow: str = "w1") -> list[str]:
        """What the toy noted of each message."""
        kinds = topics.kinds
        return [getattr(decode(kinds[m.kind], m.data), "reason", "") for m in (await self.history(workflow)).messages]

    async def letters(self) -> list[DeadLettered]:
        """The dead letters about forged messages, in the order in which they were stored."""
        found = [decode(DeadLettered, m.data) for part in [await self.all()] for m in part if m.kind == DeadLettered.kind]
        return [letter for letter in found if letter.reason == "not-on-the-record"]

    async def all(self) -> list[StoredMessage]:
        return [message async for part in self.store.read_all() for message in part]

    async def workflows(self) -> set[str]:
        """Those in which this service stored anything."""
        return {message.stream.workflow for message in await self.all() if message.stream.service == self.service.name}


@pytest.fixture
def process() -> Process:
    return Process()


def changed(record: Record, **to: str | None) -> Record:
    """The record with other headers; None leaves one out."""
    given = dict(record.headers) | {f"ce_{name}": value.encode() for name, value in to.items() if value is not None}
    return record._replace(headers=tuple((name, value) for name, value in given.items() if to.get(str(name)[3:], "") is not None))


# What is forged


async def test_a_message_on_the_record_is_processed_and_one_that_is_not_changes_nothing(process: Process) -> None:
    genuine, forged = expire(), expire("forged")
    put_on_record(process.store, genuine)
    await process.receive(published(forged, 1), published(genuine, 2))
    assert await process.notes() == ["r"]
    [letter] = await process.letters()
    assert (letter.topic, letter.partition, letter.offset, letter.offsets) == (T, 0, 1, (1,))
    assert await process.workflows() == {"w1", f"{T}.0.0"}


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


@settings(max_examples=120, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 40), chance=st.sampled_from([0.0, 0.2, 0.5]))
def test_whatever_is_forged_and_whenever_the_process_ends_the_genuine_messages_are_processed_as_without(
    seed: int, count: int, chance: float
) -> None:
    asyncio.run(_interleaved(random.Random(seed), count, chance))


async def _interleaved(dice: random.Random, count: int, chance: float) -> None:
    genuine = [expire(f"r{n}", f"w{n % 3}", id=UUID(int=dice.getrandbits(128))) for n in range(count)]
    alone, process = Process(), Process()
    put_on_record(alone.store, *genuine)
    put_on_record(process.store, *genuine)
    first = LETTERS_OF - 10
    records: list[Record] = []
    forged: list[int] = []
    for one in genuine:
        for _ in range(dice.choice((0, 0, 1, 2))):
            forged.append(first + len(records))
            records.append(_forgery(dice, genuine, len(records) + first))
        records.append(published(one, first + len(records)))
    for one in genuine:
        await alone.receive(published(one))
    process.store.chance, process.store.dice = chance, dice  # type: ignore[attr-defined]
    committed, tries = 0, 0
    while committed < len(records):
        size, tries = dice.randint(1, 12), tries + 1
        if tries > 500:
            process.store.chance = 0.0  # type: ignore[attr-defined]
        try:
            await process.receive(*records[committed : committed + size])
        except Stopped:
            process.restart()
            continue
        committed += size
        if dice.random() < 0.2:  # a rebalance: some of it comes again
            process.restart()
            committed = max(0, committed - dice.randint(0, 15))
    for n in range(3):
        clean, beset = await alone.history(f"w{n}"), await process.history(f"w{n}")
        assert [replace(m, position=0, transaction=0) for m in clean.messages] == [
            replace(m, position=0, transaction=0) for m in beset.messages
        ]
        assert clean.entries == beset.entries
    filed = [offset for letter in await process.letters() for offset in letter.offsets]
    assert len(filed) == len(set(filed)) and set(filed) <= set(forged), "each once, and nothing genuine"
    unnamed = [records[at - first] for at in set(forged) - set(filed)]
    ids = {str(one.id): one.hash for one in genuine}
    assert all(ids.get(_header(one, "ce_id")) and _header(one, "ce_type") == ExpireWorkflow.kind for one in unnamed)


def _header(record: Record, name: str) -> str:
    return (dict(record.headers)[name] or b"").decode()


def _forgery(dice: random.Random, genuine: Sequence[StoredMessage], offset: int) -> Record:
    """Forged out of a genuine message that has come, or is still to come."""
    of = published(dice.choice(genuine), offset)
    match dice.randint(0, 3):
        case 0:
            return published(expire(f"forged {offset}", f"w{dice.randint(0, 5)}", id=UUID(int=dice.getrandbits(128))), offset)
        case 1:
            return changed(of, time=f"2031-01-01T00:00:00.{offset:06}Z")
        case 2:
            return of._replace(value=None)
        case _:
            message = ExpireWorkflow(request=f"forged {offset}", deadline=NOON)
            other = stored_message(message, Stream("default", "w1", "router"), T, id=UUID(_header(of, "ce_id")))
            return published(replace(other, stream=other.stream._replace(workflow=(of.key or b"").decode())), offset)


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
