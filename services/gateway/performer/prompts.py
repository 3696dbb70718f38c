"""A call with the whole texts that it carries by reference."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from contracts.gateway import ChatMessage
from hansard.references import references
from hansard.service import PerformerContext
from hansard.values import ContentReference
from services.gateway.call import Attempting
from shared.eventstore.model import Stream
from shared.shortening import shortened


async def with_whole_call(context: PerformerContext, stream: Stream, state: Attempting) -> Attempting:
    """The same state, whose call has no excerpts. Raises LookupError, ValueError, StoreUnavailable."""
    call = state.before.call
    if next(references(call), None) is None:
        return state

    async def read(reference: ContentReference) -> bytes:
        return await context.content(stream, reference)

    call = await context.whole(stream, call)
    messages = tuple([await _with_inserts(message, read) for message in call.messages])
    return replace(state, before=replace(state.before, call=call.model_copy(update={"messages": messages})))


async def _with_inserts(message: ChatMessage, read: Callable[[ContentReference], Awaitable[bytes]]) -> ChatMessage:
    if not message.inserts:
        return message
    parts, end = [], 0
    for insert in message.inserts:
        parts += [message.content[end : insert.start], shortened((await read(insert.whole)).decode(), insert.limit)]
        end = insert.end
    return message.model_copy(update={"content": "".join(parts) + message.content[end:], "inserts": ()})
