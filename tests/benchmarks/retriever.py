"""A worker of the benchmark's own: three fixed passages for every task, no model.

Hears  tasks.
Says   that they are answered.
"""

from collections.abc import Iterable
from decimal import Decimal

from contracts.message import Message
from contracts.specialists import PerformTask, TaskAnswered
from contracts.verifier import Passage
from shared.decider import Context, Decider
from shared.service import Service
from tests.benchmarks.passages import PASSAGES

FOUND = tuple(Passage(source=source, text=text) for source, text in PASSAGES)


def decide(answered: bool, heard: Message, _: Context) -> Iterable[Message]:
    if isinstance(heard, PerformTask) and not answered:
        yield TaskAnswered(
            task=heard.task, role=heard.role, text="Three passages.", passages=FOUND,
            sources=tuple(passage.source for passage in FOUND), tier="code", model="", cost=Decimal(0),
        )  # fmt: skip


service = Service(
    "retriever",
    Decider(False, decide, lambda answered, said: answered or isinstance(said, TaskAnswered)),
    hears={PerformTask: lambda task: task.task if task.service == "retriever" else None},
)
