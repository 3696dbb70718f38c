"""Several processes of the gateway on one event store: circuits and retry budgets."""

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.catalog import Topics
from contracts.gateway import (
    CallModel,
    ChatMessage,
    CircuitClosed,
    CircuitOpened,
    ModelReplied,
    ProbeGranted,
    RejectReply,
    RetriesGranted,
)
from hansard.codec import decode
from hansard.message import Message
from hansard.service import Service
from infra.audit.verify import verify
from services.gateway.app import build
from services.gateway.circuit import circuit_stream
from services.gateway.config import Chain, Endpoint
from services.gateway.decider import gateway
from services.gateway.performer import open_performer
from shared.content import Contents
from shared.eventstore.memory import InMemoryEventStore
from shared.eventstore.model import StoredMessage, Stream
from shared.eventstore.ports import EventStore
from shared.runtime.inbound import Inbound
from shared.runtime.loop import Loop
from shared.runtime.performer import AttemptRunner
from shared.runtime.performer_context import RuntimePerformerContext
from shared.runtime.processor import Processor
from shared.runtime.wake_ups import WakeUps
from shared.settings import Settings
from tests.scripted import Scripted

TOPICS = Topics()
ANSWERS: dict[str, Any] = {"notice": "No model answered:", "fixed": [{"answer": "ask a person."}]}
TICK = 1.0  # seconds on a busy machine
QUICK = {"failures": 5, "share": 0.5, "cooldown": 0.2, "longest": 0.4}
NEVER = {"failures": 10**6}


@dataclass
class NoProducer:
    """A producer that publishes nothing, and keeps the ephemeral pieces."""

    pieces: list[StoredMessage] = field(default_factory=list)

    async def publish(self, messages: Sequence[StoredMessage]) -> None: ...
    def acknowledged_version(self, stream: Stream) -> int:
        return 0

    def marked_published(self, stream: Stream, version: int) -> None: ...
    def publish_ephemeral(self, topic: str, stored: StoredMessage) -> None:
        self.pieces.append(stored)


@dataclass
class Process:
    """One process of the gateway, without Kafka."""

    loop: Loop
    store: EventStore
    producer: NoProducer
    context: RuntimePerformerContext
    last: Stream = field(init=False)

    async def call(
        self, question: str = "Why is the sky blue?", tenant: str = "default", seconds: float = 30, slot: bool = True
    ) -> ModelReplied:
        workflow = uuid4().hex
        stream = Stream(tenant, workflow, "gateway/specialists/draft.1/1")
        now = self.context.now()
        call = CallModel(
            call="specialists/draft.1/1",
            messages=(ChatMessage(role="user", content=question),),
            deadline=now + timedelta(seconds=seconds),
        )
        digest = hashlib.sha256(workflow.encode()).digest()
        attempts, self.loop.attempt_runner = self.loop.attempt_runner, self.loop.attempt_runner if slot else None
        await self.loop.process([Inbound(stream, uuid4(), CallModel.kind, digest, "/test", "1", message=call)])
        self.loop.attempt_runner = attempts

        async def answer() -> ModelReplied | None:
            return next((m for m in await messages_of(self.store, stream) if isinstance(m, ModelReplied)), None)

        found = await until(answer)
        assert isinstance(found, ModelReplied)
        self.last = stream
        return found

    async def reject_last(self) -> None:
        """What the verifier sends if the last answer did not hold; twice, as it may be delivered."""
        reject = RejectReply(call="specialists/draft.1/1", reasons=("It is a refusal.",))
        for _ in range(2):
            causation_id = uuid4()
            digest = hashlib.sha256(causation_id.bytes).digest()
            await self.loop.process(
                [Inbound(self.last, causation_id, RejectReply.kind, digest, "/hansard/verifier", "2", message=reject)]
            )


async def messages_of(store: EventStore, stream: Stream) -> list[Message]:
    history = (await store.load([stream]))[stream]
    return [decode(TOPICS.kinds[stored.kind], stored.data) for stored in history.messages]


async def all_messages(store: EventStore) -> list[Message]:
    return [decode(TOPICS.kinds[stored.kind], stored.data) async for batch in store.read_all() for stored in batch]


async def until(ask: Callable[[], Awaitable[Any]], seconds: float = 60) -> Any:
    async with asyncio.timeout(seconds):
        while not (found := await ask()):
            await asyncio.sleep(0.005)
    return found


def service(chain: Chain) -> Service[Any]:
    made = build(Settings(model_url="http://127.0.0.1:1/v1"))
    return Service("gateway", gateway(chain), made.receives)


@asynccontextmanager
async def process(chain: Chain, store: EventStore, stream_tokens: bool = False) -> AsyncIterator[Process]:
    async with AsyncExitStack() as stack:
        producer = NoProducer()
        loop = Loop(Processor(service(chain), TOPICS, 900_000), store, producer)
        context = RuntimePerformerContext(
            loop, store, TOPICS, producer, store, Contents(store.contents), store, store.api_keys, store
        )
        perform = await stack.enter_async_context(open_performer(chain, {}, context, 200_000, stream_tokens))
        loop.attempt_runner = attempts = AttemptRunner(perform, 64, loop.process)
        wake_ups = asyncio.create_task(WakeUps("gateway", store, loop, 15, attempts).run())
        try:
            yield Process(loop, store, producer, context)
        finally:
            wake_ups.cancel()
            await asyncio.gather(wake_ups, return_exceptions=True)
            await attempts.drain(1)


@pytest.fixture
async def server() -> AsyncIterator[Scripted]:
    async with Scripted() as server:
        server.keep = 1000
        yield server


def skewed(hours: list[int]) -> InMemoryEventStore:
    """A store whose clock, which the performer goes by, is so many hours ahead of this machine's."""
    return InMemoryEventStore(lambda: datetime.now(UTC) + timedelta(hours=hours[0]))


@pytest.fixture(params=["postgres", "an hour ahead", "an hour behind"])
def any_store(request: pytest.FixtureRequest) -> EventStore:
    if request.param == "postgres":
        return request.getfixturevalue("store")  # type: ignore[no-any-return]
    return skewed([1 if "ahead" in request.param else -1])


def chain(server: Scripted, script: str, **more: Any) -> Chain:
    given = {"max_retries": 0, "timeout": 20, "concurrency": 64} | more.pop("endpoint", {})
    endpoint = Endpoint(name="first", url=server.url, model=script, **given)
    return Chain.model_validate({"endpoints": [endpoint], "answers": ANSWERS, "learning": {"hours": 0}, **more})


async def opened(store: EventStore) -> bool:
    return any(isinstance(message, CircuitOpened) for message in await all_messages(store))


# Circuits


async def test_an_endpoint_that_is_down_gets_only_probes_from_all_processes_together(
    server: Scripted, any_store: EventStore
) -> None:
    table = chain(server, "500", circuits=QUICK)
    async with process(table, any_store) as one, process(table, any_store) as other:
        for _ in range(5):
            assert (await one.call()).tier == "rules"
        await until(lambda: opened(any_store))
        before = server.calls["500"]
        end = time.monotonic() + 2
        answers: list[ModelReplied] = []
        while time.monotonic() < end:
            answers += await asyncio.gather(*(each.call() for each in (one, other) for _ in range(5)))
        probes = sum(isinstance(message, ProbeGranted) for message in await all_messages(any_store))
        assert len(answers) > 50
        assert 2 <= probes <= 10  # at 0.2, 0.4, 0.4 … seconds
        assert server.calls["500"] - before == probes
        assert server.peak == 1
        falls = Counter(answer.falls[0].reason for answer in answers)
        assert falls["circuit-open"] == len(answers) - probes
        assert {answer.tier for answer in answers} == {"rules"}


async def test_a_new_process_knows_the_recorded_circuit(server: Scripted, any_store: EventStore) -> None:
    table = chain(server, "500", circuits=QUICK | {"cooldown": 60, "longest": 60})
    async with process(table, any_store) as one:
        for _ in range(5):
            await one.call()
        await until(lambda: opened(any_store))
    before = server.calls["500"]
    async with process(table, any_store) as other:
        (fall, *_) = (await other.call()).falls
        assert (fall.reason, fall.attempt) == ("circuit-open", 0)
        assert "5 of 5 calls failed (error)" in fall.detail
    assert server.calls["500"] == before


async def test_one_of_many_calls_is_the_probe_and_a_good_one_closes_the_circuit_for_all(server: Scripted) -> None:
    script = "500+500+500+500+500+ok@300ms"
    store = InMemoryEventStore()
    table = chain(server, script, circuits=QUICK)
    async with process(table, store) as one, process(table, store) as other:
        for _ in range(5):
            await one.call()
        await until(lambda: opened(store))
        await other.call()
        circuit = (await all_messages(store))[-1]
        tiers: Counter[str] = Counter()
        while not tiers["first"]:
            tiers += Counter(a.tier for a in await asyncio.gather(*(each.call() for each in (one, other) for _ in range(10))))
        assert tiers["first"] == 1, circuit
        assert server.calls[script] == 6

        async def closed() -> bool:
            return all([(await each.call()).tier == "first" for each in (one, other)])

        await until(closed)
        kinds = [type(message) for message in await messages_of(store, circuit_stream("first", datetime.now(UTC)))]
        assert kinds == [CircuitOpened, ProbeGranted, CircuitClosed]


async def test_a_probe_whose_process_stopped_is_followed_by_a_second_one(server: Scripted) -> None:
    store = InMemoryEventStore()
    table = chain(server, "500+500+500+500+500+timeout+ok", circuits=QUICK, endpoint={"timeout": 1})
    async with process(table, store) as one:
        for _ in range(5):
            await one.call()
        await until(lambda: opened(store))

        async def probing() -> bool:
            await asyncio.wait_for(one.loop.process([]), 5)
            return any(isinstance(m, ProbeGranted) for m in await all_messages(store))

        lost = [asyncio.create_task(one.call()) for _ in range(1)]
        while not await probing():
            lost.append(asyncio.create_task(one.call()))
            await asyncio.sleep(0.05)
    for task in lost:
        task.cancel()
    async with process(table, store) as other:

        async def answered() -> bool:
            return (await other.call()).tier == "first"

        await until(answered)
    assert sum(isinstance(message, ProbeGranted) for message in await all_messages(store)) == 2


async def test_slow_calls_with_short_deadlines_do_not_open_a_circuit(server: Scripted) -> None:
    store = InMemoryEventStore()
    table = chain(server, "ok@2s", circuits=QUICK)
    async with process(table, store) as one:
        await asyncio.gather(*(one.call(seconds=0.1) for _ in range(10)))
    assert not await opened(store)


async def test_refused_calls_do_not_open_a_circuit(server: Scripted) -> None:
    store = InMemoryEventStore()
    async with process(chain(server, "400", circuits=QUICK), store) as one:
        for _ in range(10):
            assert (await one.call()).falls[0].reason == "refused"
    assert not await opened(store)


async def test_a_call_that_waits_for_a_slot_is_not_sent_after_the_circuit_opened(server: Scripted) -> None:
    store = InMemoryEventStore()
    table = chain(server, "500@100ms", circuits=QUICK | {"cooldown": 60, "longest": 60}, endpoint={"concurrency": 1})
    async with process(table, store) as one:
        answers = await asyncio.gather(*(one.call() for _ in range(30)))
    assert server.calls["500@100ms"] <= 7
    assert Counter(answer.falls[0].reason for answer in answers)["circuit-open"] >= 23


# Retries


async def test_retries_never_exceed_a_tenth_of_the_calls_and_the_reserve(server: Scripted, any_store: EventStore) -> None:
    table = chain(server, "500", circuits=NEVER, retries={"reserve": 3}, endpoint={"max_retries": 1})
    async with process(table, any_store) as one, process(table, any_store) as other:
        answers = await asyncio.gather(*(each.call(f"{n}?") for each in (one, other) for n in range(40)))
        await asyncio.sleep(1.1)
        answers += await asyncio.gather(*(each.call(f"{n}!") for each in (one, other) for n in range(40)))
        messages = await all_messages(any_store)
    retries = server.calls["500"] - 160
    granted = sum(message.granted for message in messages if isinstance(message, RetriesGranted))
    assert 3 < retries <= granted <= 3 + 16
    reasons = Counter(fall.reason for answer in answers for fall in answer.falls)
    assert reasons["error"] == server.calls["500"]
    assert reasons["retry-budget"] == 160 - retries
    assert all(fall.detail for answer in answers for fall in answer.falls)


async def test_the_first_failure_of_a_quiet_hour_is_retried(server: Scripted) -> None:
    store = InMemoryEventStore()
    async with process(chain(server, "500+ok", endpoint={"max_retries": 1}), store) as one:
        assert (await one.call()).tier == "first"


# Deadlines


@settings(max_examples=10, deadline=None)
@given(
    scripts=st.lists(
        st.sampled_from(["ok", "ok@2s", "500", "429@9s", "timeout", "reset", "half", "garbage", "empty", "drip@50ms"])
    ),
    seconds=st.floats(0.05, 0.8),
    stream_tokens=st.booleans(),
    slot=st.booleans(),
    hours=st.sampled_from([-1, 0, 1]),
)
def test_a_caller_has_an_answer_within_the_deadline(
    scripts: list[str], seconds: float, stream_tokens: bool, slot: bool, hours: int
) -> None:
    async def call() -> None:
        async with Scripted() as server:
            script = "+".join([*scripts, "500"])
            endpoints = [
                {"name": name, "url": server.url, "model": f"{script}#{name}", "max_retries": 2} for name in ("first", "second")
            ]
            table = Chain.model_validate({"endpoints": endpoints, "answers": ANSWERS})
            async with process(table, skewed([hours]), stream_tokens) as one:
                await one.call(seconds=0.3)  # the first call of the SDK takes longer than all others
                began = time.monotonic()
                answer = await one.call("And now?", seconds=seconds, slot=slot)
                assert time.monotonic() - began < seconds + TICK
        assert all(fall.reason and fall.detail for fall in answer.falls)

    asyncio.run(call())


# The audit


async def test_an_audit_finds_every_decision_as_it_was_made(server: Scripted) -> None:
    store = InMemoryEventStore()
    table = chain(server, "ok+500", circuits=QUICK, learning={"hours": 1}, endpoint={"max_retries": 1})
    async with process(table, store) as one, process(table, store) as other:
        await one.call("first")
        await asyncio.sleep(0.6)
        for _ in range(6):
            await asyncio.gather(one.call("first"), other.call("second"))
        await asyncio.sleep(0.3)
        await asyncio.gather(one.call("first"), other.call("second"), one.call("third", slot=False))
    workflows = {one.stream[:2] for batch in [b async for b in store.read_all()] for one in batch}
    assert ("default", "endpoint.first") in workflows
    for tenant, workflow in workflows:
        report = await verify(store, {"gateway": service(table)}, TOPICS, tenant, workflow)
        # the calls came from this test, so they are not on the record
        found = [d for d in report.differences if "the message that was processed is not on the record" not in d.what]
        assert found == []
        assert report.forged == []
