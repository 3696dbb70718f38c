"""A worker of your own as a typed FastStream handler: it reads tasks on `sommelier.commands`, answers on `sommelier.events`.

The deployment must know its name (HANSARD_OUTSIDE_WORKERS=sommelier); then `hansard topics` makes both topics, and a plan
may say `worker: sommelier`. Run it with `HANSARD_KAFKA=localhost:9092 faststream run worker:app`.
"""

import asyncio
import os
from uuid import uuid4

import pytest
from aiokafka.errors import KafkaError
from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker, KafkaMessage, TestKafkaBroker

from hansard import CancelTask, Message, PerformTask, TaskAnswered, TaskFailed
from hansard.codec import decode, encode
from hansard.envelope import Envelope, headers, read
from hansard.outside import keeping_bytes, of_kind, reply

WINES = {"fish": "a dry Riesling", "cheese": "an old Port"}


def worker(brokers: str, prefix: str = "") -> KafkaBroker:
    """`prefix` is the deployment's HANSARD_TOPIC_PREFIX."""
    broker = KafkaBroker(brokers, acks="all", enable_idempotence=True)
    tasks = broker.subscriber(
        f"{prefix}sommelier.commands",
        group_id=f"{prefix}sommelier",
        auto_offset_reset="earliest",
        ack_policy=AckPolicy.MANUAL,  # by hand: only what is answered is acknowledged
        parser=keeping_bytes,  # no header stops it
    )

    @tasks(filter=of_kind(PerformTask))
    async def recommend(task: PerformTask, message: KafkaMessage) -> None:
        answer: TaskAnswered | TaskFailed
        try:
            answer = task.answer(WINES[task.goal])
        except Exception as failed:  # whatever the work raises: the planner is told, and tries again where the step says so
            answer = task.failure("internal", f"{type(failed).__name__}: {failed}")
        try:
            await broker.publish(**reply(message, answer).for_faststream)
        except KafkaError:  # not answered, so not acknowledged: the task comes again, and its answer has the same id
            await asyncio.sleep(1)
            await message.nack()
        else:
            await message.ack()

    @tasks
    async def pass_over(message: KafkaMessage) -> None:
        """What else is on the topic, and what cannot be read."""
        await message.ack()

    return broker


app = FastStream(worker(os.environ.get("HANSARD_KAFKA", "localhost:9092"), os.environ.get("HANSARD_TOPIC_PREFIX", "")))


# Its tests, in FastStream's own test broker.

TASK = PerformTask(task="wine.1", service="sommelier", role="sommelier", goal="fish", deadline="2100-01-01T00:00:00Z")


class Restaurant:
    """`async with Restaurant() as here: await here.ask(TASK)` — what the worker published is in `here.answers`."""

    def __init__(self) -> None:
        self.broker = worker("unused:9092")
        self.answers: list[Envelope] = []
        self.test = TestKafkaBroker(self.broker)

        @self.broker.subscriber("sommelier.events", parser=keeping_bytes)
        async def note(message: KafkaMessage) -> None:
            record = message.raw_message
            assert not isinstance(record, tuple)
            self.answers.append(read(record.value, record.headers))

    async def __aenter__(self) -> "Restaurant":
        await self.test.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.test.__aexit__(None, None, None)

    async def ask(self, message: Message, id: str = "", **more: str) -> None:
        envelope = Envelope(id or str(uuid4()), "/hansard/planner", message.kind, encode(message), "wf-1")
        given = {name: value.decode() for name, value in headers(envelope)} | more
        await self.broker.publish(envelope.data, "sommelier.commands", key=b"wf-1", headers=given)


async def test_a_task_is_answered_in_its_own_workflow() -> None:
    async with Restaurant() as here:
        await here.ask(TASK, id := str(uuid4()))
    [answer] = here.answers
    assert decode(TaskAnswered, answer.data) == TASK.answer("a dry Riesling")
    assert (answer.correlation_id, answer.causation_id, answer.type) == ("wf-1", id, TaskAnswered.kind)


async def test_a_task_that_comes_twice_is_answered_under_the_same_id() -> None:
    async with Restaurant() as here:
        for id in ("018f3d2e-5b7a-7c11-9f00-000000000001",) * 2 + ("018f3d2e-5b7a-7c11-9f00-000000000002",):
            await here.ask(TASK, id)
    first, again, another = here.answers
    assert (first.id, first.data) == (again.id, again.data) and first.id != another.id


async def test_a_task_that_it_cannot_do_is_answered_with_a_failure() -> None:
    async with Restaurant() as here:
        await here.ask(TASK.model_copy(update={"goal": "soup"}))
    [answer] = here.answers
    assert decode(TaskFailed, answer.data).detail == "KeyError: 'soup'"


async def test_what_is_no_task_is_passed_over() -> None:
    async with Restaurant() as here:
        await here.ask(CancelTask(task="wine.1", service="sommelier"))
        await here.broker.publish(b"\x00", "sommelier.commands")
    assert here.answers == []


async def test_a_header_that_is_not_utf_8_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """FastStream's test broker encodes headers as text; this one puts the byte 0xFF into the record that it delivers."""
    from faststream.kafka import testing

    build = testing.build_message

    async def with_a_bad_header(*given: object, **more: object) -> object:
        record = await build(*given, **more)  # type: ignore[arg-type]
        record.headers = (*record.headers, ("x-from-elsewhere", b"\xff"), ("x-empty", None))
        return record

    monkeypatch.setattr(testing, "build_message", with_a_bad_header)
    async with Restaurant() as here:
        await here.ask(TASK)
    assert len(here.answers) == 1
