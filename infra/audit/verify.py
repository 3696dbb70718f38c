"""Decides every recorded hearing again, from the fold up to it, and compares byte for byte. The core is pure."""

import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from itertools import pairwise
from typing import Any
from uuid import UUID

from contracts.catalog import Topics
from contracts.dead_letters import DeadLettered
from hansard.codec import Invalid, decode
from hansard.decider import WakeUp
from hansard.envelope import Unreadable
from hansard.envelope import read as read_envelope
from hansard.identity import source_of
from hansard.message import Intent, Message, Outcome
from infra.audit.policies import Floors, Policies, floor_of
from shared.eventstore.model import (
    LONG_AGO,
    DoorMessage,
    History,
    InboxEntry,
    ListedWorkflow,
    StoredMessage,
    Stream,
    WorkflowHistory,
)
from shared.eventstore.ports import AuditReader
from shared.runtime.inbound import Inbound
from shared.runtime.processor import Processor, StreamState
from shared.service import Service

HeardMessages = Mapping[UUID, Inbound]
Decode = Callable[[type[Message], bytes], Message]
ROWS = 5000  # events and hearings that are held at a time, unless one workflow alone has more


@dataclass(frozen=True)
class Difference:
    """Where the record is not what today's code, or the record itself, says it must be."""

    stream: Stream
    sequence: int  # the hearing, counted from 1; 0 where it is about the stream as a whole
    what: str
    recorded: str = ""
    today: str = ""


@dataclass
class Report:
    """What came out for one workflow. `strangers` were heard on an internal topic, are not on the record, and changed nothing."""

    tenant: str
    workflow: str
    streams: int = 0
    decided: int = 0  # hearings decided again
    trusted: int = 0  # a performer's outcomes, and dead hearings
    differences: list[Difference] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)


def differences(
    service: Service[Any] | None,
    history: History,
    entries: Sequence[InboxEntry],
    entry: HeardMessages,
    topics: Topics | None = None,
    floors: Floors | None = None,
    received: Mapping[UUID, datetime | None] | None = None,
    read: Decode = decode,
) -> list[Difference]:
    """Everything about one stream that does not hold, in the order of its hearings.

    `hearings` are all of the stream, every attempt, in order; `heard` is what was heard, by cause id: of what came from
    within (a waking, an outcome) nothing is needed. `floors` are where the policies decide that hearings name; where one is
    not in there, only today's is known. `received` tells when what was heard was recorded itself. Without a service nothing
    is decided again. Never raises for what is in the record.
    """
    if broken := list(_broken(history, entries)):
        return broken
    topics = topics or Topics()
    decided = _decided(service, history, entries, entry, topics, floors or {}, read) if service else ()
    return sorted((*decided, *untimely(history, entries, received or {})), key=lambda one: one.sequence)


def _decided(
    service: Service[Any],
    history: History,
    entries: Sequence[InboxEntry],
    entry: HeardMessages,
    topics: Topics,
    floors: Floors,
    read: Decode,
) -> Iterator[Difference]:
    state, trusted = service.decider.initial, outcomes(service)
    causation_ids: dict[UUID, InboxEntry] = {}
    for inbox_entry, stored in _spoken(history, entries):
        before = (
            {inbox_entry.causation_id: causation_ids[inbox_entry.causation_id]}
            if inbox_entry.causation_id in causation_ids
            else {}
        )
        live = StreamState(state, inbox_entry.sequence - 1, inbox_entry.version_before, entries=before)
        not_before = floors.get(inbox_entry.policy) or floor_of(service, inbox_entry.policy, None, topics)
        yield from _one(service, not_before, history.stream, live, inbox_entry, stored, entry, trusted)
        causation_ids[inbox_entry.causation_id] = inbox_entry
        try:
            state = service.decider.fold((read(topics.kinds[one.kind], one.data) for one in stored), state)
        except (KeyError, Invalid) as unknown:
            yield Difference(history.stream, inbox_entry.sequence, f"this code cannot read what was said: {unknown}")
            return
        except Exception as failed:
            problem = f"this code cannot fold what was said: {type(failed).__name__}: {failed}"
            yield Difference(history.stream, inbox_entry.sequence, problem)
            return


def untimely(history: History, entries: Sequence[InboxEntry], received: Mapping[UUID, datetime | None]) -> Iterator[Difference]:
    """Recorded times that cannot be: one that goes back, in a stream or from what was heard, or is not that of its hearing."""
    last = LONG_AGO
    for entry, stored in _spoken(history, entries):
        for what, other in _contradicted(entry.at, last, received.get(entry.causation_id), stored):
            yield Difference(history.stream, entry.sequence, f"{entry.kind}: {what}", f"{entry.at}", f"{other}")
        last = entry.at


def _contradicted(
    at: datetime, last: datetime, entry: datetime | None, stored: Iterable[StoredMessage]
) -> Iterator[tuple[str, datetime | None]]:
    """What contradicts that a hearing was recorded at `at`, and with which time."""
    if at < last:
        yield "it was recorded at an earlier time than the hearing before it", last
    if entry is not None and at < entry:
        yield "it was recorded at an earlier time than what was heard", entry
    for one in stored:
        if one.at != at:
            yield f"version {one.version} bears another time than the hearing it stands in", one.at
            return


def _broken(history: History, entries: Sequence[InboxEntry]) -> Iterator[Difference]:
    """What needs no code to be seen: gaps, and bytes that are not those that were said."""
    stream = history.stream
    for expected, stored in enumerate(history.messages, 1):
        if stored.version != expected:
            yield Difference(stream, 0, "there is a gap in the versions", str(stored.version), str(expected))
            return
        if hashlib.sha256(stored.data).digest() != stored.hash:
            actual = hashlib.sha256(stored.data).hexdigest()
            yield Difference(
                stream, 0, f"the bytes of version {stored.version} are not those of its hash", stored.hash.hex(), actual
            )
    if history.version != len(history.messages):
        yield Difference(
            stream, 0, "the head does not stand at the last version", str(history.version), str(len(history.messages))
        )
    for expected, entry in enumerate(entries, 1):
        if entry.sequence != expected:
            yield Difference(stream, expected, "there is a gap in the hearings", str(entry.sequence), str(expected))
            return
    if history.processed != len(entries):
        yield Difference(stream, 0, "the head counts other hearings than there are", str(history.processed), str(len(entries)))
        return
    for one, next_ in pairwise(entries):
        if next_.version_before < one.version_before:
            yield Difference(
                stream,
                next_.sequence,
                "a hearing stands before an earlier one",
                str(next_.version_before),
                str(one.version_before),
            )
            return
    first = entries[0].version_before if entries else 0
    if first or (history.messages and not entries):
        yield Difference(stream, 1, "something was said before anything was heard", str(first), "0")


def _spoken(history: History, entries: Sequence[InboxEntry]) -> Iterator[tuple[InboxEntry, list[StoredMessage]]]:
    """Each hearing with what was said to it."""
    ends = [*(entry.version_before for entry in entries[1:]), len(history.messages)]
    for entry, end in zip(entries, ends, strict=True):
        yield entry, history.messages[entry.version_before : end]


def _one(
    service: Service[Any],
    not_before: Processor[Any] | str,
    stream: Stream,
    live: StreamState[Any],
    entry: InboxEntry,
    stored: Sequence[StoredMessage],
    received: HeardMessages,
    trusted: frozenset[str],
) -> Iterator[Difference]:
    def differs(what: str, recorded: str = "", today: str = "") -> Difference:
        return Difference(stream, entry.sequence, f"{entry.kind}: {what}", recorded, today)

    stray = next((one for one in stored if one.causation_id != entry.causation_id), None)
    if stray is not None:
        what = "an event says another cause than the hearing it stands in"
        yield differs(what, f"{stray.kind} of {stray.causation_id}", str(entry.causation_id))
        return
    if entry.dead:
        if not any(one.kind == DeadLettered.kind for one in stored):
            yield differs("it is marked dead, and no dead letter was said", _told(stored), DeadLettered.kind)
        return
    if entry.kind in trusted:
        return
    message = _message(stream, entry, received)
    if message is None:
        yield differs("it was heard, and it is not on the record", str(entry.causation_id))
        return
    if isinstance(not_before, str):
        yield differs(not_before, entry.policy, service.decider.policy)
        return
    work = not_before.begin(stream, live, entry.at)
    intended = any(issubclass(not_before.topics.kinds.get(one.kind, Message), Intent) for one in stored)
    message.redrive = entry.attempt > 1
    not_before.process(work, message, may_perform=intended)  # that a slot was free is on record by what was said
    yield from _compared(differs, stored, work.messages)


def _compared(differs: Any, recorded: Sequence[StoredMessage], today: Sequence[StoredMessage]) -> Iterator[Difference]:
    if [one.kind for one in recorded] != [one.kind for one in today]:
        yield differs("something else would be said today", _told(recorded), _told(today))
        return
    for then, now in zip(recorded, today, strict=True):
        if then.data != now.data:
            yield differs(f"{then.kind} would have another text today", _text(then.data), _text(now.data))
        elif then.id != now.id:
            yield differs(f"{then.kind} has an id that does not follow from its cause", str(then.id), str(now.id))
        elif then.topic != now.topic:
            yield differs(f"{then.kind} would be said elsewhere today", then.topic, now.topic)
        else:
            continue
        return


def _message(stream: Stream, entry: InboxEntry, received: HeardMessages) -> Inbound | None:
    """What was heard, as the stream heard it then."""
    if entry.kind == WakeUp.kind:
        source = source_of(stream.service)
        return Inbound(stream, entry.causation_id, entry.kind, entry.hash, source, str(entry.causation_id), message=WakeUp())
    return received.get(entry.causation_id)


def outcomes(service: Service[Any] | None) -> frozenset[str]:
    """The kinds that a performer brings: they are trusted, never decided again."""
    return frozenset(one.kind for one in service.receives if issubclass(one, Outcome)) if service else frozenset()


def _told(stored: Iterable[StoredMessage]) -> str:
    return "\n".join(f"{one.kind} {_text(one.data)}" for one in stored) or "(silence)"


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


async def workflows(store: AuditReader, since: datetime | None = None) -> dict[tuple[str, str], None]:
    """Every (tenant, workflow) that said something since then, in order."""
    return {(one.tenant, one.workflow): None async for page in store.list_workflows(since) for one in page if one.active}


async def hearings_of(store: AuditReader, history: History) -> list[InboxEntry]:
    """All hearings of a stream, in order; asked for only where a history does not have them all: after a redrive."""
    if len(history.entries) == history.processed and all(one.attempt == 1 for one in history.entries.values()):
        return sorted(history.entries.values(), key=lambda one: one.sequence)
    return await store.inbox_entries(history.stream)


async def verify(
    store: AuditReader,
    services: Mapping[str, Service[Any]],
    topics: Topics,
    tenant: str,
    workflow: str,
    policies: Policies | None = None,
) -> Report:
    """One workflow, all of its streams. Streams of services that this process does not have are only checked for gaps.

    `policies` of the same store save reading them again for every workflow.
    """
    only, policies = [(tenant, workflow)], policies or Policies(store, topics)
    [report] = [one async for one in _reports(store, services, topics, policies, only)]
    return report


async def verify_all(
    store: AuditReader,
    services: Mapping[str, Service[Any]],
    topics: Topics,
    since: datetime | None = None,
    passed: Callable[[int], object] = lambda events: None,
) -> AsyncIterator[Report]:
    """Every workflow that said something since then, in the order of (tenant, workflow), each as soon as it is done.

    Holds some thousand rows at a time, or those of the largest workflow. `passed` is told of events as they are done with.
    """
    policies = Policies(store, topics)
    async for page in store.list_workflows(since):
        for some in in_parts(page):
            wanted = [(one.tenant, one.workflow) for one in some if one.active]
            if wanted:
                async for report in _reports(store, services, topics, policies, wanted):
                    yield report
            passed(sum(one.messages for one in some))


def in_parts(page: Iterable[ListedWorkflow], rows: int = ROWS) -> Iterator[list[ListedWorkflow]]:
    """The same in parts that have about so many rows to read: at least one workflow, and not many more than fit."""
    part: list[ListedWorkflow] = []
    size = 0
    for one in page:
        more = one.messages + one.entries if one.active else 0
        if part and size + more > rows:
            yield part
            part, size = [], 0
        part.append(one)
        size += more
    if part:
        yield part


async def _reports(
    store: AuditReader,
    services: Mapping[str, Service[Any]],
    topics: Topics,
    policies: Policies,
    names: Sequence[tuple[str, str]],
) -> AsyncIterator[Report]:
    wholes = await store.load_workflows(names)
    foreign = [_foreign(whole) for whole in wholes]
    wanted = set().union(*foreign)
    elsewhere = await store.find_messages(sorted(wanted)) if wanted else {}
    for whole, ids in zip(wholes, foreign, strict=True):
        yield await _report(whole, {id_: elsewhere[id_] for id_ in ids if id_ in elsewhere}, services, topics, policies)


def _foreign(whole: WorkflowHistory) -> set[UUID]:
    """Ids of what was heard and neither said in this workflow nor brought to it from outside."""
    entries = {entry.causation_id for mine in whole.entries.values() for entry in mine}
    return (
        entries - whole.door_messages.keys() - {stored.id for history in whole.histories.values() for stored in history.messages}
    )


async def _report(
    whole: WorkflowHistory,
    elsewhere: Mapping[UUID, StoredMessage],
    services: Mapping[str, Service[Any]],
    topics: Topics,
    policies: Policies,
) -> Report:
    report, doors = Report(whole.tenant, whole.workflow), whole.door_messages
    read = cache(decode)  # what one stream says another hears
    spoken = {stored.id: stored for history in whole.histories.values() for stored in history.messages} | dict(elsewhere)
    received = {id_: stored.at for id_, stored in spoken.items()}  # of what came from outside only a broker's time is known
    for stream, history in sorted(whole.histories.items()):
        mine, service = whole.entries[stream], services.get(stream.service)
        entry = dict(_heard(stream, mine, spoken, doors, topics, read, report)) if service else {}
        floors = await policies.of(service, (inbox_entry.policy for inbox_entry in mine)) if service else {}
        report.differences.extend(differences(service, history, mine, entry, topics, floors, received, read))
        brought = outcomes(service)
        trusted = sum(service is None or inbox_entry.dead or inbox_entry.kind in brought for inbox_entry in mine)
        report.streams += 1
        report.trusted += trusted
        report.decided += len(mine) - trusted
    report.strangers.extend(
        f"{whole.workflow}: bytes at {door.topic}/{door.partition}/{door.offset}, which is not a door"
        for door in doors.values()
        if (topic := topics.by_name.get(door.topic)) is None or not topic.door
    )
    return report


def _heard(
    stream: Stream,
    entries: Sequence[InboxEntry],
    spoken: Mapping[UUID, StoredMessage],
    doors: Mapping[UUID, DoorMessage],
    topics: Topics,
    read: Decode,
    report: Report,
) -> Iterator[tuple[UUID, Inbound]]:
    """What the stream heard, from the record alone."""
    for entry in entries:
        causation_id, kind = entry.causation_id, topics.kinds.get(entry.kind)
        stored, door = spoken.get(causation_id), doors.get(causation_id)
        if entry.dead:
            if stored is None and door is None and entry.kind != WakeUp.kind and kind is not None:
                report.strangers.append(f"{stream}: {entry.kind} with id {causation_id}, turned away")
            continue
        if kind is None or (stored is None and door is None):
            continue
        try:
            data, source, id_ = _as_said(stored) if stored else _as_at_the_door(door)
        except Unreadable:
            continue
        if hashlib.sha256(data).digest() != entry.hash:
            actual = hashlib.sha256(data).hexdigest()
            what = f"{entry.kind}: what was heard has other bytes than what is on the record"
            report.differences.append(Difference(stream, entry.sequence, what, entry.hash.hex(), actual))
            continue
        try:
            message = read(kind, data)
        except Invalid:
            continue
        yield causation_id, Inbound(stream, causation_id, entry.kind, entry.hash, source, id_, message=message)


def _as_said(stored: StoredMessage) -> tuple[bytes, str, str]:
    """Data, source and message id, here and below."""
    return stored.data, source_of(stored.stream.service), str(stored.id)


def _as_at_the_door(door: DoorMessage | None) -> tuple[bytes, str, str]:
    assert door is not None
    envelope = read_envelope(door.body, door.headers)
    return envelope.data, envelope.source, envelope.id
