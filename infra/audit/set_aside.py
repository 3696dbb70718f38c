"""Streams that are set aside: a version of the code could not fold their history, and what they received is still dead."""

from collections.abc import Sequence
from typing import Protocol

from contracts.catalog import Topics
from contracts.dead_letters import DeadLettered
from infra.audit.projections import read
from shared.eventstore.model import History, StoredMessage, Stream
from shared.eventstore.ports import MessageReader, StreamStore

NEWEST = 20_000  # dead letters on the record that are looked at


class Store(MessageReader, StreamStore, Protocol): ...


async def streams_set_aside(store: Store, topics: Topics) -> list[tuple[Stream, str]]:
    """Each such stream, and why, as far as the newest messages tell."""
    found = await store.read_last([DeadLettered.kind], NEWEST)
    histories = await store.load(sorted({stored.stream for stored in found}))
    return _still_dead(found, histories, topics)


def _still_dead(found: Sequence[StoredMessage], histories: dict[Stream, History], topics: Topics) -> list[tuple[Stream, str]]:
    streams: dict[Stream, str] = {}
    for stored in found:
        letter, entry = read(stored, topics), histories[stored.stream].entries.get(stored.causation_id)
        if isinstance(letter, DeadLettered) and letter.reason == "set-aside" and entry is not None and entry.dead:
            streams[stored.stream] = letter.detail
    return list(streams.items())
