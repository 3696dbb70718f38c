"""Time is a stream's own: it says when it is woken, in the append that says everything else (laws 2 and 3)."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest

from contracts.gateway import AttemptStarted, CallModel
from contracts.requests import SubmitRequest
from contracts.router import RequestRouted
from hansard.decider import Context, Decider, WakeUp
from hansard.message import Message
from shared.backoff import Backoff
from shared.eventstore.memory import InMemoryEventStore
from shared.eventstore.model import Appended, History, Stream, StreamAppend
from shared.runtime.inbound import InboundParser
from shared.runtime.loop import Loop
from shared.runtime.processor import Processor
from shared.service import Service
from tests.unit.test_loop import CALL, CALLS, Publisher
from tests.unit.toy import NOON, request, routed, topics

STREAM = Stream("default", "w1", "router")


@dataclass(frozen=True)
class Alarm:
    """Rings at a time. One that is `stuck` does not go off when it rings."""

    at: datetime | None = None
    stuck: bool = False


def decide(alarm: Alarm, inbound: Message, context: Context) -> Iterable[Message]:
    match inbound:
        case SubmitRequest(text=text):
            yield routed(text or "")
        case WakeUp() if alarm.at is not None and alarm.at <= context.at and not alarm.stuck:
            yield routed("rings")
        case _:
            pass


def evolve(alarm: Alarm, stored: Message) -> Alarm:
    match stored:
        case RequestRouted(reasoning="rings" | "off"):
            return Alarm()
        case RequestRouted(reasoning=text) if text.startswith(("set ", "stuck ")):
            return Alarm(NOON + timedelta(seconds=int(text.split()[1])), stuck=text.startswith("stuck"))
        case _:
            return alarm


service = Service("router", Decider(Alarm(), decide, evolve, lambda alarm: alarm.at), receives={SubmitRequest: lambda _: ""})
parser = InboundParser(service, topics, 2000)


class EventStore(InMemoryEventStore):
    """Notes what is written of wake-ups, and what is loaded."""

    def __init__(self) -> None:
        super().__init__(lambda: self.time)
        self.time = NOON
        self.turns: list[StreamAppend] = []
        self.loaded: list[Stream] = []

    async def append(self, appends: Sequence[StreamAppend]) -> Appended:
        self.turns.extend(appends)
        return await super().append(appends)

    async def load(self, streams: Sequence[Stream]) -> dict[Stream, History]:
        self.loaded.extend(streams)
        return await super().load(streams)

    @property
    def written(self) -> list[int | None]:
        """The seconds after noon at which each append that wrote a wake-up wrote it; None where it called one off."""
        return [None if t.wake_at is None else int((t.wake_at - NOON).total_seconds()) for t in self.turns if not t.keep_wake_up]


@dataclass
class Process:
    store: EventStore
    loop: Loop
    n: int = 0

    async def ask(self, *texts: str, workflow: str = "w1") -> None:
        self.n += len(texts)
        asked = [parser.parse(request(text, id=f"{self.n}.{k}", workflow=workflow)) for k, text in enumerate(texts)]
        await self.loop.process([inbound for inbound in asked if inbound is not None])

    async def at(self, seconds: int) -> int:
        """The clock comes to so many seconds after noon; how many streams are woken."""
        self.store.time = NOON + timedelta(seconds=seconds)
        due_wake_ups, _ = await self.store.claim_wake_ups("router", 100, 60)
        await self.loop.wake(due_wake_ups)
        return len(due_wake_ups)

    async def messages(self, workflow: str = "w1") -> list[str]:
        history = (await self.store.load([STREAM._replace(workflow=workflow)]))[STREAM._replace(workflow=workflow)]
        bodies = [json.loads(stored.data) for stored in history.messages]
        return [body.get("reasoning") or body["reason"] for body in bodies]


@pytest.fixture
def process() -> Process:
    store = EventStore()
    return Process(store, Loop(Processor(service, topics, 4000), store, Publisher(store), backoff=Backoff(0.001, 0.001)))


async def test_a_stream_is_woken_once_at_its_time(process: Process) -> None:
    await process.ask("set 5")
    assert await process.at(4) == 0
    assert [await process.at(5), await process.at(500)] == [1, 0]
    assert await process.messages() == ["set 5", "rings"]


async def test_what_is_called_off_never_rings(process: Process) -> None:
    await process.ask("set 5")
    await process.ask("off")
    assert await process.at(500) == 0


async def test_the_row_is_written_only_where_the_time_changed(process: Process) -> None:
    for text in ("hello", "set 5", "hello", "set 5", "set 6", "hello", "off", "hello"):
        await process.ask(text)
    assert process.store.written == [5, 6, None]


async def test_a_process_that_loads_the_stream_writes_it_only_where_it_changed_too(process: Process) -> None:
    await process.ask("set 5")
    process.loop.forget()
    await process.ask("hello")
    assert process.store.written == [5]
    assert await process.at(5) == 1


async def test_a_wake_up_is_on_the_record_with_its_time(process: Process) -> None:
    await process.ask("set 5")
    await process.at(7)
    entries = await process.store.inbox_entries(STREAM)
    assert [(h.kind, h.at) for h in entries][1:] == [(WakeUp.kind, NOON + timedelta(seconds=7))]


async def test_who_is_woken_before_its_time_has_come_waits_on(process: Process) -> None:
    """Its row may be older than the code that says its time, or the clock was put back since it was claimed."""
    await process.ask("set 5")
    process.store.time = NOON + timedelta(seconds=5)
    due_wake_ups, _ = await process.store.claim_wake_ups("router", 10, 60)
    process.store.time = NOON + timedelta(seconds=3)
    await process.loop.wake(due_wake_ups)
    assert await process.messages() == ["set 5"]
    assert await process.at(5) == 1
    assert await process.messages() == ["set 5", "rings"]


async def test_one_that_would_be_woken_for_ever_is_dead_and_is_not_woken_again(process: Process) -> None:
    await process.ask("stuck 5")
    assert [await process.at(5), await process.at(50), await process.at(5000)] == [1, 0, 0]
    assert await process.messages() == ["stuck 5", "poison"]
    assert [entry.dead for entry in await process.store.inbox_entries(STREAM)] == [False, True]


async def test_one_that_was_dead_is_woken_when_it_wants_another_time(process: Process) -> None:
    await process.ask("stuck 5")
    await process.at(5)
    await process.ask("hello")
    assert await process.at(60) == 0
    await process.ask("set 70")
    assert await process.at(70) == 1
    assert (await process.messages())[-1] == "rings"


async def test_it_blocks_no_neighbour(process: Process) -> None:
    await process.ask("stuck 5")
    await process.ask("set 5", workflow="w2")
    assert await process.at(5) == 2
    assert await process.messages("w2") == ["set 5", "rings"]


@pytest.mark.parametrize("net", [None, NOON], ids=["none", "no later"])
async def test_an_attempt_that_nobody_would_miss_is_not_made(net: datetime | None) -> None:
    def intends(_: int, inbound: Message, context: Context) -> Iterable[Message]:
        yield AttemptStarted(
            attempt=1, safety="safe", key="k", deadline=context.at, call="t/1", tier="t", provider="", model="", endpoint=""
        )

    store = EventStore()
    careless = Service("gateway", Decider(0, intends, lambda n, _: n, lambda _: net), receives={CallModel: lambda m: m.call})
    started: list[Stream] = []

    class RunsAttempts:
        free = 5

        def start(self, stream: Stream, state: object, intent: object, trace: str) -> None:
            started.append(stream)

    loop = Loop(Processor(careless, topics, 9000), store, Publisher(store), RunsAttempts())
    record = request(id="6a0f5f0e-5f5a-5b1e-9d5e-000000000001", ce_type=CallModel.kind, body=CALL.model_dump_json().encode())
    (inbound,) = [it for it in [InboundParser(careless, topics, 2000).parse(record._replace(topic="gateway.commands"))] if it]
    await loop.process([inbound])
    assert started == []
    assert [h.dead for h in await store.inbox_entries(CALLS)] == [True]


# A command opens a stream


async def test_a_command_to_a_stream_that_is_not_known_is_decided_without_a_look(process: Process) -> None:
    await process.ask("hello")
    assert process.store.loaded == []
    assert len(process.store.turns) == 1


async def test_where_the_stream_was_there_the_append_refuses_and_it_is_loaded(process: Process) -> None:
    await process.ask("set 5")
    process.loop.forget()
    await process.ask("off")
    assert process.store.loaded == [STREAM]
    assert await process.messages() == ["set 5", "off"]
    assert await process.at(50) == 0


async def test_a_redelivery_to_another_process_is_known_all_the_same(process: Process) -> None:
    (again,) = [it for it in [parser.parse(request("hello"))] if it]
    for _ in range(2):
        await process.loop.process([again])
        process.loop.forget()
    assert await process.messages() == ["hello"]


async def test_a_wrong_guess_costs_its_neighbours_nothing(process: Process) -> None:
    await process.ask("set 5")
    process.loop.forget()
    inbounds = [parser.parse(request(text, id=text, workflow=w)) for text, w in (("off", "w1"), ("hello", "w2"))]
    await process.loop.process([inbound for inbound in inbounds if inbound is not None])
    assert (await process.messages("w1"), await process.messages("w2")) == (["set 5", "off"], ["hello"])


async def test_what_is_heard_of_a_stream_by_an_event_is_loaded_first(process: Process) -> None:
    (inbound,) = [it for it in [parser.parse(request("hello"))] if it]
    event = replace(inbound, message=routed("an event"))
    await process.loop.process([event])
    assert process.store.loaded == [STREAM]
