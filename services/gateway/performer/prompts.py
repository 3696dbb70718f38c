"""A call with the whole texts that it carries by reference."""

from dataclasses import replace

from hansard.references import references
from hansard.service import PerformerContext
from services.gateway.call import Attempting
from shared.eventstore.model import Stream


async def with_whole_call(context: PerformerContext, stream: Stream, state: Attempting) -> Attempting:
    """The same state, whose call has no excerpts. Raises LookupError, ValueError, StoreUnavailable."""
    call = state.before.call
    if next(references(call), None) is None:
        return state
    return replace(state, before=replace(state.before, call=await context.whole(stream, call)))
