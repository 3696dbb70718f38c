"""Everything on the record of one workflow: in order, each message with what caused it. Pure, but for one read."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from hansard.decider import WakeUp
from hansard.envelope import Unreadable, read
from hansard.identity import outcome_causation_id
from hansard.outside import EVENTS
from infra.audit.message import WAKE_UP, ShownMessage, cause_within
from infra.audit.verify import entries_of
from shared.eventstore.model import DoorMessage, History, InboxEntry, StoredMessage, Stream
from shared.eventstore.ports import AuditReader

UNREADABLE = "unreadable"  # shown as the kind of a record without a readable envelope
_PAID = ("hansard.gateway.model-replied.v1", "hansard.gateway.model-failed.v1", "hansard.gateway.reply-discarded.v1")


@dataclass(frozen=True)
class Timeline:
    """All messages of a workflow, in the order in which they were stored, and the inbox entries of its streams."""

    tenant: str
    workflow: str
    messages: tuple[ShownMessage, ...]
    entries: Mapping[Stream, list[InboxEntry]] = field(repr=False, default_factory=dict)
    doors: Mapping[UUID, DoorMessage] = field(repr=False, default_factory=dict)

    @property
    def began(self) -> datetime | None:
        return self.messages[0].at if self.messages else None

    @property
    def result(self) -> ShownMessage | None:
        return next((message for message in self.messages if message.kind.startswith("hansard.results.")), None)

    @property
    def cost(self) -> Decimal:
        """US dollars that the models cost: every attempt's, once."""
        return sum((billed(message) for message in self.messages), Decimal(0))

    @property
    def without_message(self) -> int:
        """Inbox entries at which nothing was stored."""
        answered = {(message.stream, message.causation_id) for message in self.messages}
        return sum(
            (stream.name, str(entry.causation_id)) not in answered for stream, mine in self.entries.items() for entry in mine
        )


def billed(message: ShownMessage) -> Decimal:
    """What a message adds to the bill: only the gateway's last message about a call counts, the others repeat it."""
    return message.cost if message.kind in _PAID else Decimal(0)


async def timeline(store: AuditReader, tenant: str, workflow: str) -> Timeline | None:
    """The timeline of one workflow; None where nothing is on record of it."""
    histories = await store.load_workflow(tenant, workflow)
    doors = await store.door_messages(tenant, workflow)
    if not histories and not doors:
        return None
    entries = {stream: await entries_of(store, history) for stream, history in histories.items()}
    return timeline_of(tenant, workflow, histories, doors, entries)


def timeline_of(
    tenant: str,
    workflow: str,
    histories: Mapping[Stream, History],
    doors: Mapping[UUID, DoorMessage],
    entries: Mapping[Stream, list[InboxEntry]],
) -> Timeline:
    """The same from what was read."""
    outside = sorted((_at_the_door(door) for door in doors.values()), key=lambda message: message.at)
    inside = sorted((s for history in histories.values() for s in history.messages), key=lambda s: (s.position, s.version))
    causes = dict(_causes_within(entries))
    messages = _merged(outside, [_shown(stored, causes) for stored in inside])
    return Timeline(tenant, workflow, tuple(messages), entries, doors)


def _merged(outside: list[ShownMessage], inside: list[ShownMessage]) -> Iterator[ShownMessage]:
    """A door's message stands before the first message that it caused, whatever the clocks say."""
    waiting = {message.id: message for message in outside}
    for message in inside:
        if message.causation_id in waiting:
            yield waiting.pop(message.causation_id)
        yield message
    yield from waiting.values()


def _causes_within(entries: Mapping[Stream, list[InboxEntry]]) -> Iterator[tuple[str, str]]:
    """What a causation id means that is no message's: a wake-up or the outcome of an attempt, neither of which is stored."""
    for stream, mine in entries.items():
        attempts = {outcome_causation_id(stream, n): f"attempt {n}" for n in range(1, len(mine) + 1)}
        for entry in mine:
            if cause := WAKE_UP if entry.kind == WakeUp.kind else attempts.get(entry.causation_id):
                yield str(entry.causation_id), cause


def _shown(stored: StoredMessage, causes: Mapping[str, str]) -> ShownMessage:
    assert stored.at is not None
    return ShownMessage(
        id=str(stored.id),
        at=stored.at,
        workflow=stored.stream.workflow,
        stream=stored.stream.name,
        kind=stored.kind,
        causation_id=str(stored.causation_id),
        data=_json(stored.data),
        topic=stored.topic,
        tenant=stored.stream.tenant,
        cause=causes.get(str(stored.causation_id), ""),
    )


def _at_the_door(door: DoorMessage) -> ShownMessage:
    try:
        envelope = read(door.body, door.headers)
        kind, data, source = envelope.type, _json(envelope.data), envelope.source
    except Unreadable as unreadable:
        kind, data, source = UNREADABLE, {"detail": str(unreadable)}, ""
    sender = source.removeprefix("/hansard/") if source.startswith("/hansard/") else ""
    if not sender and door.topic.endswith(EVENTS):
        sender = f"{door.topic.removesuffix(EVENTS)} (unproven)"
    return ShownMessage(str(door.causation_id), door.at, door.workflow, sender, kind, "", data, door.topic, door.tenant)


def _json(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return {"detail": data[:200].decode("utf-8", "backslashreplace")}
    return value if isinstance(value, dict) else {"text": str(value)}


def message_as_json(message: ShownMessage) -> dict[str, Any]:
    """One message, for programs: the same fields in `audit show` and `watch`. `cause`: `wake-up` or `attempt 2` where the
    causation id is of no message."""
    return {
        "at": message.at.isoformat(),
        "tenant": message.tenant,
        "workflow": message.workflow,
        "topic": message.topic,
        "stream": message.stream,
        "id": message.id,
        "type": message.kind,
        "causation_id": message.causation_id,
        "cause": message.cause or cause_within(message),
        "data": message.data,
    }


def as_json(timeline: Timeline) -> Iterator[dict[str, Any]]:
    """One object a message, then one an inbox entry, for programs."""
    yield from map(message_as_json, timeline.messages)
    for stream, mine in timeline.entries.items():
        for entry in mine:
            yield {
                "at": entry.at.isoformat(),
                "stream": stream.name,
                "inbox_entry": entry.sequence,
                "type": entry.kind,
                "causation_id": str(entry.causation_id),
                "version_before": entry.version_before,
                "hash": entry.hash.hex(),
                "code": entry.code,
                "policy": entry.policy,
                "dead": entry.dead,
                "attempt": entry.attempt,
            }
