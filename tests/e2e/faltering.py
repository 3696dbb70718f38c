"""A worker that answers at its second attempt, or, where a step's input is `never`, not at all."""

from collections.abc import Iterable
from decimal import Decimal

from contracts.specialists import PerformTask, TaskAnswered, TaskFailed
from hansard.decider import Context, Decider
from hansard.message import Message
from hansard.service import Service


def decide(done: bool, received: Message, _: Context) -> Iterable[Message]:
    match received:
        case PerformTask(input="never"):
            pass
        case PerformTask(task=task, role=role) if task.endswith(".1") and not done:
            yield TaskFailed(task=task, role=role, reason="no-answer", detail="not today")
        case PerformTask(task=task, role=role) if not done:
            yield TaskAnswered(task=task, role=role, text="Here I am.", tier="code", model="", cost=Decimal(0))
        case _:
            pass


service = Service(
    "faltering",
    Decider(False, decide, lambda *_: True),
    receives={PerformTask: lambda task: task.task if task.service == "faltering" else None},
)
