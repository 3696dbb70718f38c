"""One-time tokens of tasks that are given to workers outside: programs that store nothing, whose answers come in at a door.

Whoever may publish to such a door could answer any step: the ids of tasks can be predicted. So each task carries a token, a
MAC over tenant, workflow, worker and task under a key that only the event store has, and an answer counts only if it bears
the token of its own task. It shows that its sender has read that task, not who that is: until a principal or a signature is
checked, the answer is unproven.
"""

import hashlib
import hmac
import json
from dataclasses import dataclass

from hansard.envelope import Envelope
from hansard.message import Message
from hansard.outside import COMMANDS, EVENTS
from hansard.tasks import task_topics
from shared.eventstore.model import StoredMessage


@dataclass(frozen=True)
class TaskTokens:
    """`workers`: the names of the workers outside (HANSARD_OUTSIDE_WORKERS)."""

    key: bytes
    workers: frozenset[str]

    def of(self, tenant: str, workflow: str, worker: str, task: str) -> str:
        """Made of JSON, so that no other four names give the same text."""
        names = json.dumps([tenant, workflow, worker, task]).encode()
        return hmac.new(self.key, names, hashlib.sha256).hexdigest()[:32]

    def for_message(self, stored: StoredMessage) -> str:
        """The token that this message carries to its worker; "" for all others."""
        worker = self._worker(stored.topic, COMMANDS)
        task = json.loads(stored.data).get("task") if worker else None
        return self.of(stored.stream.tenant, stored.stream.workflow, worker, task) if isinstance(task, str) else ""

    def problem(self, topic: str, envelope: Envelope, answer: Message) -> str:
        """Why this answer at a worker's door does not count; "" if it does, or if the topic is another one."""
        worker = self._worker(topic, EVENTS)
        if not worker:
            return ""
        task = getattr(answer, "task", "")
        if not envelope.tasktoken:
            return f"an answer of {worker} needs ce_tasktoken as its task {task!r} carries it: `hansard.outside.reply` copies it"
        expected = self.of(envelope.tenant, envelope.correlation_id, worker, task)
        if hmac.compare_digest(envelope.tasktoken.encode(), expected.encode()):
            return ""
        return f"its ce_tasktoken is not that of a task {task!r} which was given to {worker} in this workflow"

    def _worker(self, topic: str, suffix: str) -> str:
        name = topic.removesuffix(suffix)
        return name if name != topic and name in self.workers else ""


NO_TOKENS = TaskTokens(b"", frozenset())


def gives_tasks_outside(service: str) -> bool:
    """Whether it publishes the tasks of workers outside, or receives their answers: then it needs the key."""
    return any(service in (*topic.producers, *topic.consumers) for topic in task_topics("any worker", outside=True))
