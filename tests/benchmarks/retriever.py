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

PASSAGES = (
    Passage(source="erskine-may", text="Hansard is the substantially verbatim report of what is said in Parliament."),
    Passage(source="library", text="Its name comes from Thomas Curson Hansard, a London printer, who published it from 1812."),
    Passage(source="standing-orders", text="What is not on the record does not count in a later dispute about what was said."),
)


def decide(answered: bool, heard: Message, _: Context) -> Iterable[Message]:
    if isinstance(heard, PerformTask) and not answered:
        yield TaskAnswered(
            task=heard.task, role=heard.role, text="Three passages.", passages=PASSAGES,
            sources=tuple(passage.source for passage in PASSAGES), tier="code", model="", cost=Decimal(0),
        )  # fmt: skip


service = Service(
    "retriever",
    Decider(False, decide, lambda answered, said: answered or isinstance(said, TaskAnswered)),
    hears={PerformTask: lambda task: task.task if task.service == "retriever" else None},
)
