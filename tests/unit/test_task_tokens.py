"""An answer of a worker outside counts only for a task that was given to it, and bears the token of that task."""

from dataclasses import replace
from uuid import UUID

import pytest

from contracts.catalog import Topics
from hansard.codec import encode
from hansard.envelope import Envelope, headers, read
from hansard.message import Message
from hansard.outside import reply
from hansard.tasks import CancelTask, PerformTask, TaskAnswered, TaskFailed
from services.planner.app import build
from shared.eventstore.model import StoredMessage, Stream
from shared.kafka.producer import headers as headers_of
from shared.kafka.record import Record
from shared.runtime.inbound import Inbound, InboundParser
from shared.settings import Settings
from shared.task_tokens import TaskTokens
from tests.unit.toy import NOON

SETTINGS = Settings(outside_workers=("cook", "baker"))
TOKENS = TaskTokens(b"of this deployment", frozenset(SETTINGS.outside_workers))
PARSER = InboundParser(build(SETTINGS), Topics(outside=SETTINGS.outside_workers), 9000, TOKENS)
TASK = PerformTask(task="dinner.1", role="cook", goal="Soup.", deadline=NOON, service="cook")
ANSWER = TaskAnswered(task="dinner.1", role="cook", text="Soup.", tier="own", cost=0)


def command(task: Message = TASK, topic: str = "cook.commands", workflow: str = "w1") -> Record:
    """A task as the planner's producer publishes it."""
    data = encode(task)
    stored = StoredMessage(
        Stream("default", workflow, "planner"), 2, UUID(int=7), task.kind, topic, UUID(int=6), data, b"", at=NOON
    )
    return Record(topic, 0, 0, 0, workflow.encode(), data, tuple(headers_of(stored, TOKENS)))


def answered(answer: TaskAnswered | TaskFailed = ANSWER, to: Record | None = None) -> Envelope:
    return reply(to or command(), answer).envelope


def received(envelope: Envelope, topic: str = "cook.events", offset: int = 4) -> Inbound:
    found = PARSER.parse(Record(topic, 0, offset, 0, b"w1", envelope.data, tuple(headers(envelope))))
    assert found is not None
    return found


def test_a_reply_to_a_task_counts() -> None:
    assert received(answered()).dead is None
    assert received(answered(TaskFailed(task="dinner.1", role="cook", reason="internal", detail="burnt"))).dead is None


def test_a_reply_to_a_call_off_counts_too() -> None:
    cancel = command(CancelTask(task="dinner.1", service="cook"))
    assert received(answered(to=cancel)).dead is None


FORGED = {
    "no token": replace(answered(), tasktoken=""),
    "a token of nothing": replace(answered(), tasktoken="0" * 32),
    "a token that is not ASCII": replace(answered(), tasktoken="é"),
    "another task": answered(ANSWER.model_copy(update={"task": "supper.1"})),
    "another attempt": answered(ANSWER.model_copy(update={"task": "dinner.2"})),
    "another workflow": replace(answered(), correlation_id="w2"),
    "another tenant": replace(answered(), tenant="other"),
    "the token of another workflow's task": replace(answered(), tasktoken=answered(to=command(workflow="w2")).tasktoken),
}


@pytest.mark.parametrize("envelope", FORGED.values(), ids=FORGED)
def test_an_answer_without_the_token_of_its_task_is_dead_and_takes_nobodys_place(envelope: Envelope) -> None:
    forged, genuine = received(envelope), received(answered(), offset=5)
    assert forged.dead is not None
    assert (forged.dead.reason, "tasktoken" in forged.dead.detail) == ("not-expected", True)
    assert forged.causation_id != genuine.causation_id, "the genuine answer is not taken for a repeat of it"
    assert forged.stream.workflow == "cook.events.0.4", "and the workflow that it names is not told"


def test_a_worker_cannot_answer_for_another() -> None:
    assert received(answered(), topic="baker.events").dead is not None


def test_only_tasks_for_workers_outside_carry_a_token() -> None:
    given, ours = (command(topic=topic) for topic in ("cook.commands", "specialists.commands"))
    assert read(given.value, given.headers).tasktoken != "" == read(ours.value, ours.headers).tasktoken


def test_each_task_has_a_token_of_its_own_and_another_deployment_has_others() -> None:
    names = [
        ("default", "w1", "cook", "a"),
        ("default", "w1", "cook", "b"),
        ("default", "w1/cook", "", "a"),
        ("x", "w1", "cook", "a"),
    ]
    assert len({tokens.of(*name) for name in names for tokens in (TOKENS, replace(TOKENS, key=b"other"))}) == 8
