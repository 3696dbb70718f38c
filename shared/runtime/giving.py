"""Gives a fact to a stream of a service from outside of its processes: what an operator states, who may write to the store.

No topic leads here, so nobody who can publish to Kafka can give such a fact. Nothing is published either: the next process of the
service finds the messages in its outbox.
"""

from collections.abc import Callable, Sequence
from typing import Any

from hansard.codec import decode
from hansard.message import Message, Outcome
from hansard.service import Service
from shared.eventstore.model import StoreRefused, Stream
from shared.eventstore.ports import EventStore
from shared.runtime.assembly import store_policy
from shared.runtime.inbound import internal_message
from shared.runtime.processor import PendingAppend, Processor
from shared.settings import Settings

TRIES = 20  # of an append that another one overtakes


class NotTaken(Exception):
    """The service does not take the fact, or cannot be given one now. The text says why. Nothing was recorded."""


async def give(
    store: EventStore,
    service: Service[Any],
    settings: Settings,
    stream: Stream,
    fact: Callable[[Sequence[Message]], Outcome | None],
    name: str,
) -> list[Message]:
    """What the stream stored for the fact that `fact` makes of its messages, as they are at that moment; None: there is none.

    A fact is given once under a `name`, which no other may have. Raises NotTaken, and StoreUnavailable.
    """
    if service.prepare is not None:
        service = await service.prepare(store)
    await store_policy(store, service)
    processor = Processor(service, settings.topics, settings.max_message_bytes)
    for _ in range(TRIES):
        history = (await store.load([stream]))[stream]
        loaded = processor.fold_or_set_aside(history)
        if loaded.dead is not None:
            raise NotTaken(f"this version cannot read {stream}: {loaded.dead.detail}")
        given = fact([decode(settings.topics.kinds[stored.kind], stored.data) for stored in history.messages])
        if given is None:
            return []
        pending = processor.begin(stream, loaded, max(store.now(), loaded.at), loaded.at)
        if not processor.process(pending, internal_message(stream, given, name)):
            return []
        if await _appended(store, processor, pending):
            return pending.decided
    raise NotTaken(f"others write to {stream} all the time: try again")


async def _appended(store: EventStore, processor: Processor[Any], pending: PendingAppend[Any]) -> bool:
    """Whether the store took it; otherwise another append came first. Raises NotTaken."""
    if any(entry.dead for entry in pending.entries):
        raise NotTaken("; ".join(getattr(message, "detail", "") for message in pending.decided))
    processor.set_wake_up(pending, "")
    try:
        return pending.stream in (await store.append([pending])).accepted
    except StoreRefused as refused:
        raise NotTaken(f"the event store refuses it: {refused}") from None
