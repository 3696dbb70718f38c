"""For workers that are programs of their own: a FastStream handler, plain aiokafka, anything that reads Kafka.

Such a worker reads tasks on `NAME.commands` and publishes answers on `NAME.events`. HANSARD_OUTSIDE_WORKERS=NAME makes both
topics and lets plans name it. `reply` makes the envelope of an answer from its task: the same task gives the same id, so a
task that is delivered twice is answered once. (A second answer with another text is a dead letter, `id-reused`.) An answer
counts only if it bears `ce_tasktoken` as its task carries it; `reply` copies it.

With FastStream, change these defaults:

- Ack by hand (`AckPolicy.MANUAL`), after the answer is published. The default acknowledges before the handler runs, `ACK`
  acknowledges failed messages too, and `NACK_ON_ERROR` tries a failing message again without a pause.
- Turn every exception of the handler into `task.failure(…)`: the next ack passes over an unacknowledged message.
- Give it `parser=keeping_bytes`: its own raises for a header that is not UTF-8.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

from hansard.codec import encode
from hansard.envelope import Envelope, Unreadable, headers, read
from hansard.identity import answer_id
from hansard.message import Message
from hansard.tasks import TaskAnswered, TaskCancelled, TaskFailed

COMMANDS, EVENTS = ".commands", ".events"
Answer = TaskAnswered | TaskFailed | TaskCancelled


class Record(Protocol):
    """A Kafka record, as aiokafka's ConsumerRecord."""

    topic: str
    value: Any
    headers: Any


@dataclass(frozen=True)
class Reply:
    """An answer, ready to be published by any Kafka client."""

    topic: str
    key: bytes
    value: bytes
    envelope: Envelope

    @property
    def headers(self) -> list[tuple[str, bytes]]:
        return headers(self.envelope)

    @property
    def for_faststream(self) -> dict[str, Any]:
        """The arguments of FastStream's `publish`: `await broker.publish(**reply(message, answer).for_faststream)`."""
        text = {name: value.decode() for name, value in self.headers}
        return {"message": self.value, "topic": self.topic, "key": self.key, "headers": text}


def reply(task: Any, answer: Answer) -> Reply:
    """The answer to a task. `task` is the message as FastStream hands it over, or a record of aiokafka's.

    Raises Unreadable if its envelope cannot be read, ValueError if it is not on a topic of commands.
    """
    record: Record = getattr(task, "raw_message", task)
    if not record.topic.endswith(COMMANDS):
        raise ValueError(f"a task is answered on {COMMANDS} → {EVENTS}, and this is on {record.topic}")
    asked = read(record.value, record.headers)
    base = record.topic.removesuffix(COMMANDS)
    name = base.rpartition(".")[2]
    envelope = Envelope(
        id=str(answer_id(UUID(asked.id))),
        source=f"/{name}",
        type=answer.kind,
        data=encode(answer),
        correlation_id=asked.correlation_id,
        tenant=asked.tenant,
        subject=f"{name}/{answer.task}",
        time=datetime.now(UTC),
        causation_id=asked.id,
        traceparent=asked.traceparent,
        tasktoken=asked.tasktoken,
    )
    return Reply(base + EVENTS, asked.correlation_id.encode(), envelope.data, envelope)


def of_kind(*kinds: type[Message]) -> Callable[[Any], bool]:
    """A FastStream filter: whether a message is of one of these kinds."""
    wanted = {kind.kind for kind in kinds}

    def is_one(message: Any) -> bool:
        record: Record = message.raw_message
        try:
            return read(record.value, record.headers).type in wanted
        except Unreadable:
            return False

    return is_one


async def keeping_bytes(record: Any, parse: Callable[[Any], Any]) -> Any:
    """A FastStream parser that no header stops. `message.raw_message` keeps the headers as bytes."""
    message = await parse(replace(record, headers=tuple(_readable(record.headers))))
    message.raw_message = record
    return message


def _readable(given: Iterable[tuple[str, bytes | None]]) -> Iterable[tuple[str, bytes]]:
    for name, value in given:
        yield name, (value or b"").decode("utf-8", "backslashreplace").encode()
