"""Reads the record for a decision: similar cases among approval's own, and the registrations of people. It changes nothing."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

from contracts.approval import LookupStarted
from hansard.envelope import PRINTABLE
from hansard.identity import Stream, person_stream
from hansard.service import Perform, PerformerContext
from services.approval.facts import LookedUp, Registration
from services.approval.people import Registered
from services.approval.performer.cases import Cases
from shared.backoff import Backoff
from shared.eventstore.model import StoreUnavailable
from shared.eventstore.ports import RecentMessages

AT_ONCE = 16  # lookups of a process that read at the same time


class ApprovalContext(PerformerContext, Protocol):
    """What approval's performer may use: what was stored last, too."""

    @property
    def recent(self) -> RecentMessages: ...


@asynccontextmanager
async def open_performer(context: ApprovalContext) -> AsyncIterator[Perform[Any, LookupStarted]]:
    cases, slots = Cases(context.recent, context.now), asyncio.Semaphore(AT_ONCE)

    async def perform(_: Any, intent: LookupStarted, stream: Stream) -> LookedUp:
        """Tries again until the deadline where the event store is away."""
        action_id = stream.name.removeprefix("approval/")
        backoff, trouble = Backoff(most=1.0), "there was no time to read it"
        try:
            async with asyncio.timeout((intent.deadline - context.now()).total_seconds()):
                while True:
                    try:
                        async with slots:
                            return await look_up(intent, stream, action_id)
                    except StoreUnavailable as away:
                        trouble = f"the event store is unavailable: {away}"
                        await backoff.wait()
        except TimeoutError:
            return LookedUp(attempt=intent.attempt, action_id=action_id, trouble=trouble)

    async def look_up(intent: LookupStarted, stream: Stream, action_id: str) -> LookedUp:
        people = await registrations(context, stream.tenant, intent.people) if intent.people else ()
        similar, searched = await cases.similar(stream, intent.similar_to) if intent.similar_to else ((), 0)
        return LookedUp(attempt=intent.attempt, action_id=action_id, similar=similar, cases=searched, people=people)

    yield perform


async def registrations(context: PerformerContext, tenant: str, names: Sequence[str]) -> tuple[Registration, ...]:
    """What the record holds of these people now. No stream can have some names that reviews may claim: nobody has them."""
    streams = {name: person_stream(tenant, name) for name in names}
    possible = {name: stream for name, stream in streams.items() if PRINTABLE.match(stream.name)}
    found = dict(zip(possible, await context.load(list(possible.values())), strict=True)) if possible else {}
    return tuple(_registration(name, found.get(name)) for name in names)


def _registration(name: str, state: Any) -> Registration:
    return state.as_read(name) if isinstance(state, Registered) else Registration(name=name)
