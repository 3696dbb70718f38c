"""The ledger as a service."""

from contextlib import AbstractAsyncContextManager

from contracts.ledger import PostingStarted
from hansard.service import Perform, Performer, PerformerContext, Service
from hansard.tasks import CancelTask, PerformTask
from services.ledger.decider import PostingState, ledger
from services.ledger.facts import PostingReturned
from shared.settings import Settings


def build(settings: Settings) -> Service[PostingState]:
    def task_of(message: PerformTask | CancelTask) -> str | None:
        return message.task if message.service == "ledger" else None

    def open_performer(context: PerformerContext) -> AbstractAsyncContextManager[Perform[PostingState, PostingStarted]]:
        from services.ledger import performer  # a process that decides alone needs no book

        return performer.open_performer(settings.ledger_file, context)

    return Service(
        name="ledger",
        decider=ledger,
        receives={PerformTask: task_of, CancelTask: task_of, PostingReturned: lambda _: None},  # its performer's only
        performer=Performer(PostingStarted, open_performer),
    )
