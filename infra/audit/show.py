"""The whole story of one workflow, from the record: in order, each word with what caused it. Pure, but for one read."""

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from contracts.catalog import Topics
from hansard.decider import WakeUp
from hansard.envelope import Unreadable, read
from infra.audit.verify import hearings_of
from infra.audit.words import Word, money
from shared.eventstore.model import DoorMessage, History, InboxEntry, StoredMessage, Stream
from shared.eventstore.ports import AuditReader


@dataclass(frozen=True)
class Story:
    """All words of a workflow, in the order in which they got on the record. `silent` hearings said nothing."""

    tenant: str
    workflow: str
    words: tuple[Word, ...]
    entries: Mapping[Stream, list[InboxEntry]] = field(repr=False, default_factory=dict)
    doors: Mapping[UUID, DoorMessage] = field(repr=False, default_factory=dict)

    @property
    def began(self) -> datetime | None:
        return self.words[0].at if self.words else None

    @property
    def result(self) -> Word | None:
        return next((word for word in self.words if word.kind.startswith("hansard.results.")), None)

    @property
    def cost(self) -> Decimal:
        """US dollars that left the house: every attempt's, once."""
        return sum((spent(word) for word in self.words), Decimal(0))

    @property
    def silent(self) -> int:
        spoken = {(word.stream, word.causation_id) for word in self.words}
        return sum(
            (stream.name, str(entry.causation_id)) not in spoken for stream, mine in self.entries.items() for entry in mine
        )


_PAID = ("hansard.gateway.model-replied.v1", "hansard.gateway.model-failed.v1", "hansard.gateway.reply-discarded.v1")


def spent(word: Word) -> Decimal:
    """What a word adds to the bill: only the gateway's last word on a call counts, the others repeat it."""
    return money(word.data.get("cost")) if word.kind in _PAID else Decimal(0)


async def story(store: AuditReader, topics: Topics, tenant: str, workflow: str) -> Story | None:
    """The story of one workflow; None where nothing is known of it."""
    histories = await store.load_workflow(tenant, workflow)
    doors = await store.door_messages(tenant, workflow)
    if not histories and not doors:
        return None
    entries = {stream: await hearings_of(store, history) for stream, history in histories.items()}
    return told(tenant, workflow, histories, doors, entries)


def told(
    tenant: str,
    workflow: str,
    histories: Mapping[Stream, History],
    doors: Mapping[UUID, DoorMessage],
    entries: Mapping[Stream, list[InboxEntry]],
) -> Story:
    """The same from what was read."""
    outside = sorted((_at_the_door(door) for door in doors.values()), key=lambda word: word.at)
    inside = sorted((s for history in histories.values() for s in history.messages), key=lambda s: (s.position, s.version))
    within = dict(_within(entries, histories))
    words = [*_merged(outside, [_said(one, within) for one in inside], entries)]
    return Story(tenant, workflow, tuple(words), entries, doors)


class _Within(NamedTuple):
    id: str
    woke_up: bool = False


def _merged(outside: list[Word], inside: list[Word], entries: Mapping[Stream, list[InboxEntry]]) -> Iterator[Word]:
    """What came in at a door stands before the first word that it caused, whatever the clocks say."""
    waiting = {word.id: word for word in outside}
    for word in inside:
        if word.causation_id in waiting:
            yield waiting.pop(word.causation_id)
        yield word
    yield from waiting.values()


def _within(entries: Mapping[Stream, list[InboxEntry]], histories: Mapping[Stream, History]) -> Iterator[tuple[str, _Within]]:
    """What came from within a stream (a wake-up, an outcome) is told as caused by the stream's own word before it."""
    for stream, mine in entries.items():
        stored = histories[stream].messages if stream in histories else []
        for entry in mine:
            woken = entry.kind == WakeUp.kind
            if woken or entry.kind.endswith("-returned.v1"):
                before = next((one for one in reversed(stored) if one.version <= entry.version_before), None)
                if before is not None:
                    yield str(entry.causation_id), _Within(str(before.id), woken)


def _said(stored: StoredMessage, within: Mapping[str, _Within]) -> Word:
    assert stored.at is not None
    causation_id = within.get(str(stored.causation_id), _Within(str(stored.causation_id)))
    return Word(
        id=str(stored.id),
        at=stored.at,
        workflow=stored.stream.workflow,
        stream=stored.stream.name,
        kind=stored.kind,
        causation_id=causation_id.id,
        data=_json(stored.data),
        topic=stored.topic,
        tenant=stored.stream.tenant,
        woke_up=causation_id.woke_up,
    )


def _at_the_door(door: DoorMessage) -> Word:
    try:
        envelope = read(door.body, door.headers)
        kind, data, source = envelope.type, _json(envelope.data), envelope.source
    except Unreadable as unreadable:
        kind, data, source = "unreadable", {"detail": str(unreadable)}, ""
    who = "" if not source.startswith("/hansard/") else source.removeprefix("/hansard/")
    return Word(str(door.causation_id), door.at, door.workflow, who, kind, "", data, door.topic, door.tenant)


def _json(data: bytes) -> dict[str, Any]:
    try:
        read_ = json.loads(data)
    except (ValueError, RecursionError):
        return {"detail": data[:200].decode("utf-8", "backslashreplace")}
    return read_ if isinstance(read_, dict) else {"text": str(read_)}


def as_json(story: Story) -> Iterator[dict[str, Any]]:
    """One object a word, then one a hearing, for programs."""
    for word in story.words:
        yield {
            "at": word.at.isoformat(),
            "tenant": word.tenant,
            "workflow": word.workflow,
            "stream": word.stream,
            "id": word.id,
            "type": word.kind,
            "causation_id": word.causation_id,
            "topic": word.topic,
            "data": word.data,
        }
    for stream, mine in story.entries.items():
        for entry in mine:
            yield {
                "at": entry.at.isoformat(),
                "stream": stream.name,
                "hearing": entry.sequence,
                "type": entry.kind,
                "causation_id": str(entry.causation_id),
                "before": entry.version_before,
                "hash": entry.hash.hex(),
                "code": entry.code,
                "policy": entry.policy,
                "dead": entry.dead,
                "attempt": entry.attempt,
            }


def raw(door: DoorMessage) -> dict[str, Any]:
    """What came in at a door, byte for byte."""
    return {
        "topic": door.topic,
        "partition": door.partition,
        "offset": door.offset,
        "headers": [(name, value.decode("utf-8", "backslashreplace")) for name, value in door.headers],
        "body": None if door.body is None else base64.b64encode(door.body).decode(),
    }
