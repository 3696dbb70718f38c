"""Verifies workflows: decides again everything that the store has of one, also what a performer brought back. Reads pages, never
the whole record."""

import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple
from uuid import UUID

from contracts.catalog import Topics
from contracts.dead_letters import DeadLettered
from hansard.codec import Invalid, decode
from hansard.decider import WakeUp
from hansard.envelope import Unreadable
from hansard.envelope import read as read_envelope
from hansard.identity import PEOPLE, source_of
from hansard.message import Outcome
from hansard.service import Service
from infra.audit.consistency import contradictions
from infra.audit.differences import Decode, Difference, differences, with_messages
from infra.audit.lookups import misread, reads_people
from infra.audit.policies import Policies
from shared.eventstore.model import DoorMessage, History, InboxEntry, ListedWorkflow, StoredMessage, Stream, WorkflowHistory
from shared.eventstore.outcomes import whole as whole_outcome
from shared.eventstore.ports import AuditReader
from shared.runtime.inbound import Inbound

ROWS = 5000  # messages and inbox entries held in memory at a time, unless one workflow alone has more


@dataclass
class Report:
    """The findings in one workflow. `forged`: where messages were received, as `topic/partition/offset`, that are not on the
    record; they changed nothing."""

    tenant: str
    workflow: str
    streams: int = 0
    decided: int = 0  # inbox entries decided again
    dead: int = 0  # inbox entries whose message was dead-lettered: they decided nothing
    outcomes: int = 0  # of performers, among those that were decided again
    unknown: int = 0  # inbox entries of services that this process does not know
    differences: list[Difference] = field(default_factory=list)
    forged: list[str] = field(default_factory=list)
    unknown_workers: set[str] = field(default_factory=set)  # that the record names and the catalogue does not know


async def workflows(store: AuditReader, since: datetime | None = None) -> dict[tuple[str, str], None]:
    """Every (tenant, workflow) that stored a message since then, in order."""
    return {(one.tenant, one.workflow): None async for page in store.list_workflows(since) for one in page if one.active}


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


SLACK = 120.0  # seconds by which a recorded time may lie before one that was stored earlier: an append waits a minute at most


async def of_all_tables(store: AuditReader, limit: int) -> list[Difference]:
    """What contradicts itself in the tables as a whole, `limit` of each sort at most."""
    late = "was stored after rows with a much later time: its time was changed, or the clock of Postgres was set back before it"
    alone = "the identity of a message from outside is there, and the message is not"
    disorder, identities = await store.disorder(SLACK, limit), await store.identities_without_door(limit)
    found = [Difference(Stream(*one[1:4]), 0, f"a row of {one.table} {late}", f"{one.at}", f"{one.after}") for one in disorder]
    return found + [Difference(Stream(tenant, workflow, ""), 0, alone, str(id_)) for tenant, id_, workflow in identities]


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
    reading = list(dict.fromkeys((whole.tenant, PEOPLE) for whole in wholes if reads_people(whole)))
    people = {one.tenant: one.histories for one in (await store.load_workflows(reading) if reading else ())}
    for whole, ids in zip(wholes, foreign, strict=True):
        report = await _report(whole, {id_: elsewhere[id_] for id_ in ids if id_ in elsewhere}, services, topics, policies)
        report.differences.extend(misread(whole, people.get(whole.tenant, {})))
        yield report


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
    report.differences.extend(contradictions(whole, topics))
    for stream, history in sorted(whole.histories.items()):
        entries, service = whole.entries[stream], services.get(stream.service)
        received = dict(processed.by(stream, history, entries, service)) if service else {}
        processors = await policies.of(service, (entry.policy for entry in entries)) if service else {}
        report.differences.extend(differences(service, history, entries, received, topics, processors, recorded_at, read))
        report.streams += 1
        for entry in entries:
            _count(report, service, entry)
    names = {*(stream.service for stream in whole.histories), *_of_unknown_topics(messages.values(), topics)}
    report.unknown_workers.update(names - services.keys() - set(topics.added))
    report.differences.extend(
        Difference(Stream(whole.tenant, whole.workflow, ""), 0, f"{door.topic}/{door.partition}/{door.offset} is not at a door")
        for door in whole.door_messages.values()
        if not topics.is_door(door.topic)
    )
    report.forged.extend(_forged(messages.values(), read))
    return report


def _forged(messages: Iterable[StoredMessage], read: Decode) -> Iterator[str]:
    """The places of the forged messages that dead letters are about."""
    for stored in messages:
        if stored.kind == DeadLettered.kind:
            with suppress(Invalid):
                letter = read(DeadLettered, stored.data)
                assert isinstance(letter, DeadLettered)
                if letter.reason == "not-on-the-record":
                    yield from (f"{letter.topic}/{letter.partition}/{offset}" for offset in letter.offsets)


def _count(report: Report, service: Service[Any] | None, entry: InboxEntry) -> None:
    if service is None:
        report.unknown += 1
    elif entry.dead:
        report.dead += 1
    else:
        report.decided += 1
        report.outcomes += entry.outcome is not None


def _of_unknown_topics(messages: Iterable[StoredMessage], topics: Topics) -> Iterator[str]:
    """The names of the services whose own topics carried messages here, where the catalogue has no such topic."""
    for stored in messages:
        name, dot, _ = stored.topic.partition(".")
        if dot and stored.topic not in topics.by_name:
            yield name


@dataclass
class _Processed:
    """Finds the messages that streams processed, from the record alone. Reports those that are not there or have other bytes."""

    messages: Mapping[UUID, StoredMessage]
    doors: Mapping[UUID, DoorMessage]
    topics: Topics
    read: Decode
    report: Report

    def by(
        self, stream: Stream, history: History, entries: Sequence[InboxEntry], service: Service[Any]
    ) -> Iterator[tuple[UUID, Inbound]]:
        performed = {kind.kind: kind for kind in service.receives if issubclass(kind, Outcome)}
        for entry, answers in with_messages(history, entries):
            kind = performed.get(entry.kind) or self.topics.kinds.get(entry.kind)
            try:
                sent = self._sent(stream, entry, answers)
                if sent is None:
                    if entry.dead and entry.kind != WakeUp.kind and kind is not None:
                        what = f"{entry.kind}: a dead letter is about a message that is not on the record"
                        self.report.differences.append(Difference(stream, entry.sequence, what, str(entry.causation_id)))
                    continue
                if not self._is_the_same(stream, entry, sent) or entry.dead or kind is None:
                    continue
                message = self.read(kind, sent.data)
            except (Unreadable, Invalid):
                continue
            inbound = Inbound(stream, entry.causation_id, entry.kind, entry.hash, sent.source, sent.id, message=message)
            inbound.outcome, inbound.door = sent.data if entry.outcome is not None else None, sent.door
            yield entry.causation_id, inbound

    def _sent(self, stream: Stream, entry: InboxEntry, answers: Sequence[StoredMessage]) -> "_Sent | None":
        """What the stream processed, as it was sent. Raises Unreadable."""
        if entry.outcome is not None:
            data = whole_outcome(entry.outcome, entry.hash, [stored.data for stored in answers])
            return _Sent(data, entry.kind, source_of(stream.service), str(entry.causation_id))
        stored, door = self.messages.get(entry.causation_id), self.doors.get(entry.causation_id)
        if stored is not None:
            return _Sent(stored.data, stored.kind, source_of(stored.stream.service), str(stored.id))
        if door is None:
            return None
        envelope = read_envelope(door.body, door.headers)
        return _Sent(envelope.data, envelope.type, envelope.source, envelope.id, door)

    def _is_the_same(self, stream: Stream, entry: InboxEntry, sent: "_Sent") -> bool:
        actual = hashlib.sha256(sent.data)
        if (actual.digest(), sent.kind) == (entry.hash, entry.kind or sent.kind):
            return True
        what = f"{entry.kind}: the message that was processed has other bytes than the one on the record"
        recorded, there = f"{entry.kind} {entry.hash.hex()}", f"{sent.kind} {actual.hexdigest()}"
        self.report.differences.append(Difference(stream, entry.sequence, what, recorded, there))
        return False


class _Sent(NamedTuple):
    data: bytes
    kind: str
    source: str
    id: str
    door: DoorMessage | None = None
