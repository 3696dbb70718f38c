"""Time is a property of a stream: its next wake-up is stored in the append that stores everything else (laws 2 and 3)."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest

from contracts.gateway import AttemptStarted, CallModel
from contracts.requests import SubmitRequest
from contracts.router import RequestRouted
from hansard.decider import Context, Decider, WakeUp
from hansard.message import Message, Outcome
from hansard.service import Service
from shared.backoff import Backoff
from shared.eventstore.memory import InMemoryEventStore
from shared.eventstore.model import Appended, History, Stream, StreamAppend
from shared.runtime.inbound import InboundParser
from shared.runtime.loop import Loop
from shared.runtime.performer import AttemptRunner
from shared.runtime.processor import Processor
from tests.unit.loop_kit import CALL, CALLS, Publisher, on_record
from tests.unit.toy import NOON, request, routed, topics

STREAM = Stream("default", "w1", "router")


@dataclass(frozen=True)
class Alarm:
    """Rings at a time. One that is `stuck` asks for the same time again."""

    at: datetime | None = None
    stuck: bool = False


def decide(alarm: Alarm, message: Message, context: Context) -> Iterable[Message]:
    match message:
        case SubmitRequest(text=text):
            yield routed(text or "")
        case WakeUp() if alarm.at is not None and alarm.at <= context.at and not alarm.stuck:
            yield routed("rings")
        case _:
            pass


def evolve(alarm: Alarm, message: Message) -> Alarm:
    match message:
        case RequestRouted(reasoning="rings" | "off"):
            return Alarm()
        case RequestRouted(reasoning=text) if text.startswith(("set ", "stuck ")):
            return Alarm(NOON + timedelta(seconds=int(text.split()[1])), stuck=text.startswith("stuck"))
        case _:
            return alarm


service = Service("router", Decider(Alarm(), decide, evolve, lambda alarm: alarm.at), receives={SubmitRequest: lambda _: ""})
parser = InboundParser(service, topics, 2000)


class EventStore(InMemoryEventStore):
    """Keeps what is appended and what is loaded."""

    def __init__(self) -> None:
        super().__init__(lambda: self.time)
        self.time = NOON
        self.appends: list[StreamAppend] = []
        self.loaded: list[Stream] = []

    async def append(self, appends: Sequence[StreamAppend]) -> Appended:
        self.appends.extend(appends)
        return await super().append(appends)

    async def load(self, streams: Sequence[Stream]) -> dict[Stream, History]:
        self.loaded.extend(streams)
        return await super().load(streams)

    @property
    def written(self) -> list[int | None]:
        """Of each append that changed the wake-up: the seconds after noon; None where it removed the wake-up."""
        return [
            None if a.wake_at is None else int((a.wake_at - NOON).total_seconds()) for a in self.appends if not a.keep_wake_up
        ]


@dataclass
class Process:
    store: EventStore
    loop: Loop
    n: int = 0

    async def ask(self, *texts: str, workflow: str = "w1") -> None:
        self.n += len(texts)
        inbounds = [parser.parse(request(text, id=f"{self.n}.{k}", workflow=workflow)) for k, text in enumerate(texts)]
        await self.loop.process([inbound for inbound in inbounds if inbound is not None])

    async def at(self, seconds: int) -> int:
        """Sets the clock to so many seconds after noon; returns how many wake-ups come."""
        self.store.time = NOON + timedelta(seconds=seconds)
        claimed, _ = await self.store.claim_wake_ups("router", 100, 60)
        await self.loop.process_wake_ups(claimed)
        return len(claimed)

    async def messages(self, workflow: str = "w1") -> list[str]:
        history = (await self.store.load([STREAM._replace(workflow=workflow)]))[STREAM._replace(workflow=workflow)]
        bodies = [json.loads(stored.data) for stored in history.messages]
        return [body.get("reasoning") or body["reason"] for body in bodies]


@pytest.fixture
def process() -> Process:
    store = EventStore()
    return Process(store, Loop(Processor(service, topics, 4000), store, Publisher(store), backoff=Backoff(0.001, 0.001)))


async def test_a_stream_gets_its_wake_up_once_at_its_time(process: Process) -> None:
    await process.ask("set 5")
    assert await process.at(4) == 0
    assert [await process.at(5), await process.at(500)] == [1, 0]
    assert await process.messages() == ["set 5", "rings"]


async def test_a_wake_up_that_is_removed_never_comes(process: Process) -> None:
    await process.ask("set 5")
    await process.ask("off")
    assert await process.at(500) == 0


async def test_a_wake_up_is_written_only_where_its_time_changed(process: Process) -> None:
    for text in ("hello", "set 5", "hello", "set 5", "set 6", "hello", "off", "hello"):
        await process.ask(text)
    assert process.store.written == [5, 6, None]


async def test_a_process_that_loads_the_stream_also_writes_it_only_where_its_time_changed(process: Process) -> None:
    await process.ask("set 5")
    process.loop.drop_cache()
    await process.ask("hello")
    assert process.store.written == [5]
    assert await process.at(5) == 1


async def test_a_wake_up_is_recorded_with_its_time(process: Process) -> None:
    await process.ask("set 5")
    await process.at(7)
    entries = await process.store.inbox_entries(STREAM)
    assert [(h.kind, h.at) for h in entries][1:] == [(WakeUp.kind, NOON + timedelta(seconds=7))]


async def test_a_stream_whose_wake_up_came_too_early_gets_another_at_its_time(process: Process) -> None:
    """Its wake-up may be older than the code that asks for the time, or the clock was put back since it was claimed."""
    await process.ask("set 5")
    process.store.time = NOON + timedelta(seconds=5)
    claimed, _ = await process.store.claim_wake_ups("router", 10, 60)
    process.store.time = NOON + timedelta(seconds=3)
    await process.loop.process_wake_ups(claimed)
    assert await process.messages() == ["set 5"]
    assert await process.at(5) == 1
    assert await process.messages() == ["set 5", "rings"]


async def test_a_wake_up_that_would_come_for_ever_is_a_dead_letter_and_does_not_come_again(process: Process) -> None:
    await process.ask("stuck 5")
    assert [await process.at(5), await process.at(50), await process.at(5000)] == [1, 0, 0]
    assert await process.messages() == ["stuck 5", "poison"]
    assert [entry.dead for entry in await process.store.inbox_entries(STREAM)] == [False, True]


async def test_a_stream_whose_wake_up_was_dead_gets_another_at_another_time(process: Process) -> None:
    await process.ask("stuck 5")
    await process.at(5)
    await process.ask("hello")
    assert await process.at(60) == 0
    await process.ask("set 70")
    assert await process.at(70) == 1
    assert (await process.messages())[-1] == "rings"


async def test_a_dead_wake_up_blocks_no_other_stream(process: Process) -> None:
    await process.ask("stuck 5")
    await process.ask("set 5", workflow="w2")
    assert await process.at(5) == 2
    assert await process.messages("w2") == ["set 5", "rings"]


@pytest.mark.parametrize("next_time", [None, NOON], ids=["none", "no later"])
async def test_an_attempt_whose_loss_nothing_would_notice_is_not_made(next_time: datetime | None) -> None:
    def intends(_: int, message: Message, context: Context) -> Iterable[Message]:
        yield AttemptStarted(
            attempt=1, safety="safe", key="k", deadline=context.at, call="t/1", tier="t", provider="", model="", endpoint=""
        )

    store = EventStore()
    careless = Service(
        "gateway", Decider(0, intends, lambda n, _: n, lambda _: next_time), receives={CallModel: lambda m: m.call}
    )
    started: list[Stream] = []

    class Starts(AttemptRunner):
        def start(self, stream: Stream, state: object, intent: object, traceparent: str = "") -> None:
            started.append(stream)

    async def perform(state: object, intent: object, stream: Stream) -> Outcome:
        raise AssertionError

    async def process(inbounds: object) -> None:
        raise AssertionError

    loop = Loop(Processor(careless, topics, 9000), store, Publisher(store), Starts(perform, 5, process))
    await loop.process([on_record(store, careless, CALL)])
    assert started == []
    assert [h.dead for h in await store.inbox_entries(CALLS)] == [True]


# A stream that is not cached


async def test_a_command_to_a_stream_that_is_not_cached_is_decided_without_loading_it(process: Process) -> None:
    await process.ask("hello")
    assert process.store.loaded == []
    assert len(process.store.appends) == 1


async def test_where_that_stream_existed_the_append_is_refused_and_the_stream_is_loaded(process: Process) -> None:
    await process.ask("set 5")
    process.loop.drop_cache()
    await process.ask("off")
    assert process.store.loaded == [STREAM]
    assert await process.messages() == ["set 5", "off"]
    assert await process.at(50) == 0


async def test_a_redelivery_to_a_process_without_the_stream_is_recognised(process: Process) -> None:
    (again,) = [one for one in [parser.parse(request("hello"))] if one]
    for _ in range(2):
        await process.loop.process([again])
        process.loop.drop_cache()
    assert await process.messages() == ["hello"]


async def test_one_stream_wrongly_taken_for_new_does_not_affect_the_others_of_its_batch(process: Process) -> None:
    await process.ask("set 5")
    process.loop.drop_cache()
    inbounds = [parser.parse(request(text, id=text, workflow=w)) for text, w in (("off", "w1"), ("hello", "w2"))]
    await process.loop.process([inbound for inbound in inbounds if inbound is not None])
    assert (await process.messages("w1"), await process.messages("w2")) == (["set 5", "off"], ["hello"])


async def test_a_stream_that_receives_an_event_is_loaded_first(process: Process) -> None:
    (inbound,) = [one for one in [parser.parse(request("hello"))] if one]
    event = replace(inbound, message=routed("an event"))
    await process.loop.process([event])
    assert process.store.loaded == [STREAM]
