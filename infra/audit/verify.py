"""Verifies workflows: decides again everything that the store has of one. Reads pages, never the whole record."""

import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple
from uuid import UUID

from contracts.catalog import Topics
from hansard.codec import Invalid, decode
from hansard.decider import WakeUp
from hansard.envelope import Unreadable
from hansard.envelope import read as read_envelope
from hansard.identity import source_of
from hansard.service import Service
from infra.audit.differences import Decode, Difference, differences, outcomes
from infra.audit.policies import Policies
from shared.eventstore.model import DoorMessage, History, InboxEntry, ListedWorkflow, StoredMessage, Stream, WorkflowHistory
from shared.eventstore.ports import AuditReader
from shared.runtime.inbound import Inbound

ROWS = 5000  # messages and inbox entries held in memory at a time, unless one workflow alone has more


@dataclass
class Report:
    """The findings in one workflow. `forged` messages came on an internal topic, are not on the record, and changed nothing."""

    tenant: str
    workflow: str
    streams: int = 0
    decided: int = 0  # inbox entries decided again
    dead: int = 0  # inbox entries whose message was dead-lettered: they decided nothing
    outcomes: int = 0  # of performers: they came from outside, and are trusted
    unknown: int = 0  # inbox entries of services that this process does not know
    differences: list[Difference] = field(default_factory=list)
    forged: list[str] = field(default_factory=list)
    unknown_workers: set[str] = field(default_factory=set)  # that the record names and the catalogue does not know


async def workflows(store: AuditReader, since: datetime | None = None) -> dict[tuple[str, str], None]:
    """Every (tenant, workflow) that stored a message since then, in order."""
    return {(one.tenant, one.workflow): None async for page in store.list_workflows(since) for one in page if one.active}


async def entries_of(store: AuditReader, history: History) -> list[InboxEntry]:
    """All inbox entries of a stream, in order. After a redrive a history lacks earlier attempts: only then reads the store."""
    if len(history.entries) == history.processed and all(entry.attempt == 1 for entry in history.entries.values()):
        return sorted(history.entries.values(), key=lambda entry: entry.sequence)
    return await store.inbox_entries(history.stream)


async def verify(
    store: AuditReader,
    services: Mapping[str, Service[Any]],
    topics: Topics,
    tenant: str,
    workflow: str,
    policies: Policies | None = None,
) -> Report:
    """Verifies all streams of one workflow. Streams of services that this process does not know are checked without deciding.

    Pass `policies` of the same store to read them once for many workflows.
    """
    only, policies = [(tenant, workflow)], policies or Policies(store, topics)
    [report] = [one async for one in _reports(store, services, topics, policies, only)]
    return report


async def verify_all(
    store: AuditReader,
    services: Mapping[str, Service[Any]],
    topics: Topics,
    since: datetime | None = None,
    passed: Callable[[int], object] = lambda count: None,
) -> AsyncIterator[Report]:
    """Verifies every workflow that stored a message since then. Yields each as soon as it is done, by (tenant, workflow).

    Holds some thousand rows at a time, or those of the largest workflow. `passed` is called with the number of messages done.
    """
    policies = Policies(store, topics)
    async for page in store.list_workflows(since):
        for part in in_parts(page):
            wanted = [(one.tenant, one.workflow) for one in part if one.active]
            if wanted:
                async for report in _reports(store, services, topics, policies, wanted):
                    yield report
            passed(sum(one.messages for one in part))


def in_parts(page: Iterable[ListedWorkflow], rows: int = ROWS) -> Iterator[list[ListedWorkflow]]:
    """Splits a page into parts of at most `rows` rows to read, but of at least one workflow."""
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
    """The ids of messages that were processed here and neither stored in this workflow nor received at a door."""
    processed = {entry.causation_id for mine in whole.entries.values() for entry in mine}
    return (
        processed
        - whole.door_messages.keys()
        - {stored.id for history in whole.histories.values() for stored in history.messages}
    )


async def _report(
    whole: WorkflowHistory,
    elsewhere: Mapping[UUID, StoredMessage],
    services: Mapping[str, Service[Any]],
    topics: Topics,
    policies: Policies,
) -> Report:
    report, read = (
        Report(whole.tenant, whole.workflow),
        cache(decode),
    )  # cached, since one stream processes the messages of another
    messages = {stored.id: stored for history in whole.histories.values() for stored in history.messages} | dict(elsewhere)
    recorded_at = {
        id_: stored.at for id_, stored in messages.items()
    }  # for a message from outside only the broker's time is known, so it is left out
    processed = _Processed(messages, whole.door_messages, topics, read, report)
    for stream, history in sorted(whole.histories.items()):
        entries, service = whole.entries[stream], services.get(stream.service)
        received = dict(processed.by(stream, entries)) if service else {}
        processors = await policies.of(service, (entry.policy for entry in entries)) if service else {}
        report.differences.extend(differences(service, history, entries, received, topics, processors, recorded_at, read))
        of_performers = outcomes(service)
        report.streams += 1
        for entry in entries:
            _count(report, service, entry, of_performers)
    names = {*(stream.service for stream in whole.histories), *_of_unknown_topics(messages.values(), topics)}
    report.unknown_workers.update(names - services.keys() - set(topics.added))
    report.forged.extend(
        f"{whole.workflow}: bytes at {door.topic}/{door.partition}/{door.offset}, which is not a door"
        for door in whole.door_messages.values()
        if (topic := topics.by_name.get(door.topic)) is None or not topic.door
    )
    return report


def _count(report: Report, service: Service[Any] | None, entry: InboxEntry, of_performers: frozenset[str]) -> None:
    if service is None:
        report.unknown += 1
    elif entry.dead:
        report.dead += 1
    elif entry.kind in of_performers:
        report.outcomes += 1
    else:
        report.decided += 1


def _of_unknown_topics(messages: Iterable[StoredMessage], topics: Topics) -> Iterator[str]:
    """The names of the services whose own topics carried messages here, where the catalogue has no such topic."""
    for stored in messages:
        name, dot, _ = stored.topic.partition(".")
        if dot and stored.topic not in topics.by_name:
            yield name


@dataclass
class _Processed:
    """Finds the messages that streams processed, from the record alone. Reports those that are forged or have other bytes."""

    messages: Mapping[UUID, StoredMessage]
    doors: Mapping[UUID, DoorMessage]
    topics: Topics
    read: Decode
    report: Report

    def by(self, stream: Stream, entries: Sequence[InboxEntry]) -> Iterator[tuple[UUID, Inbound]]:
        for entry in entries:
            kind = self.topics.kinds.get(entry.kind)
            stored, door = self.messages.get(entry.causation_id), self.doors.get(entry.causation_id)
            if kind is None:
                continue
            if entry.dead:
                if stored is None and door is None and entry.kind != WakeUp.kind:
                    self.report.forged.append(f"{stream}: {entry.kind} with id {entry.causation_id}, dead-lettered")
                continue
            try:
                sent = _sent(stored, door)
                if sent is None or not self._has_its_hash(stream, entry, sent.data):
                    continue
                message = self.read(kind, sent.data)
            except (Unreadable, Invalid):
                continue
            yield (
                entry.causation_id,
                Inbound(stream, entry.causation_id, entry.kind, entry.hash, sent.source, sent.id, message=message),
            )

    def _has_its_hash(self, stream: Stream, entry: InboxEntry, data: bytes) -> bool:
        actual = hashlib.sha256(data)
        if actual.digest() == entry.hash:
            return True
        what = f"{entry.kind}: the message that was processed has other bytes than the one on the record"
        self.report.differences.append(Difference(stream, entry.sequence, what, entry.hash.hex(), actual.hexdigest()))
        return False


class _Sent(NamedTuple):
    data: bytes
    source: str
    id: str


def _sent(stored: StoredMessage | None, door: DoorMessage | None) -> _Sent | None:
    """The message as its sender sent it. Raises Unreadable."""
    if stored is not None:
        return _Sent(stored.data, source_of(stored.stream.service), str(stored.id))
    if door is None:
        return None
    envelope = read_envelope(door.body, door.headers)
    return _Sent(envelope.data, envelope.source, envelope.id)
