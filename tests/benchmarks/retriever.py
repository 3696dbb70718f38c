"""A worker of the benchmark's own: three fixed passages for every task, no model.

Receives   tasks.
Publishes  that they are answered.
"""

from collections.abc import Iterable
from decimal import Decimal

from contracts.specialists import PerformTask, TaskAnswered
from contracts.verifier import Passage
from hansard.decider import Context, Decider
from hansard.message import Message
from hansard.service import Service
from tests.benchmarks.passages import PASSAGES

FOUND = tuple(Passage(source=source, text=text) for source, text in PASSAGES)


def decide(answered: bool, entry: Message, _: Context) -> Iterable[Message]:
    if isinstance(entry, PerformTask) and not answered:
        yield TaskAnswered(
            task=entry.task, role=entry.role, text="Three passages.", passages=FOUND,
            sources=tuple(passage.source for passage in FOUND), tier="code", model="", cost=Decimal(0),
        )  # fmt: skip


service = Service(
    "retriever",
    Decider(False, decide, lambda answered, stored: answered or isinstance(stored, TaskAnswered)),
    receives={PerformTask: lambda task: task.task if task.service == "retriever" else None},
)
