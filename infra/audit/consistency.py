"""Whether the rows of one workflow agree with each other: times, transactions, numbers, identities. Decides nothing. Pure."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from uuid import UUID

from contracts.catalog import Topics
from contracts.dead_letters import DeadLettered
from hansard.codec import Invalid, decode, encode
from hansard.decider import WakeUp
from hansard.envelope import Unreadable, named, read
from hansard.identity import (
    door_causation_id,
    elsewhere_causation_id,
    forged_causation_id,
    place_of,
    reused_causation_id,
    stored_message_id,
    unreadable_causation_id,
    wake_up_causation_id,
)
from infra.audit.differences import Difference, with_messages
from shared.eventstore.model import (
    DoorIdentity,
    DoorMessage,
    History,
    InboxEntry,
    StoredMessage,
    Stream,
    WorkflowHistory,
    body_hash,
)
from shared.runtime.claims import forged_stream

_WAKE_UP_HASH = hashlib.sha256(encode(WakeUp())).digest()


def contradictions(whole: WorkflowHistory, topics: Topics) -> Iterator[Difference]:
    """What contradicts itself in a workflow, except for the counts and hashes that `differences` checks."""
    for stream, history in sorted(whole.histories.items()):
        entries = whole.entries[stream]
        if history.processed == len(entries) and history.version == len(history.messages):
            yield from _of_stream(whole, history, entries)
    by_id: dict[UUID, list[InboxEntry]] = {}
    for mine in whole.entries.values():
        for entry in mine:
            by_id.setdefault(entry.causation_id, []).append(entry)
    for door in whole.door_messages.values():
        at_door = Stream(whole.tenant, whole.workflow, f"{door.topic}/{door.partition}/{door.offset}")
        found = _of_door(door, by_id.get(door.causation_id, ()), whole.identities.get(door.causation_id))
        yield from (Difference(at_door, 0, f"the message from outside: {what}", *both) for what, *both in found)


def _of_stream(whole: WorkflowHistory, history: History, entries: Sequence[InboxEntry]) -> Iterator[Difference]:
    stream = history.stream
    stored_at = [(one.transaction, one.position) for one in history.messages]
    processed_at = [(one.transaction, one.position) for one in entries]
    order = (*_order("message", stored_at), *_order("inbox entry", processed_at))
    for what, recorded, expected in (*_row(whole, history, entries), *order):
        yield Difference(stream, 0, what, recorded, expected)
    attempts: dict[UUID, int] = {}
    for entry, stored in with_messages(history, entries):
        attempts[entry.causation_id] = attempts.get(entry.causation_id, 0) + 1
        found = (*_entry(stream, entry, attempts[entry.causation_id], stored), *_dead_letters(whole, stream, entry, stored))
        yield from (Difference(stream, entry.sequence, f"{entry.kind}: {what}", *both) for what, *both in found)


Found = Iterator[tuple[str, str, str]]  # what, as it is recorded, as the other row has it


def _row(whole: WorkflowHistory, history: History, entries: Sequence[InboxEntry]) -> Found:
    last = whole.last_appends.get(history.stream)
    if last is None or not entries:
        yield "the stream and its inbox entries are not both there", f"row {last is not None}", f"{len(entries)} entries"
        return
    if last.at != entries[-1].at:
        yield "the stream has another time than its last inbox entry", f"{last.at}", f"{entries[-1].at}"
    if not 0 <= history.published <= history.version:
        yield "more or less than its messages is marked as published", str(history.published), f"0 to {history.version}"
    n = last.processed_before
    if not 0 <= n < len(entries) or last.version_before != entries[n].version_before:
        yield (
            "the stream's last append built upon other numbers than its inbox entries have",
            f"{n} entries, version {last.version_before}",
            f"version {entries[n].version_before}" if 0 <= n < len(entries) else f"{len(entries)} entries",
        )


def _order(what: str, places: Iterable[tuple[int, int]]) -> Found:
    """`places`: transaction and position. A stream's rows are stored one append after the other; within one append their order
    of storing means nothing."""
    for n, ((before, first), (after, second)) in enumerate(pairwise(places), 2):
        if before > after or (before < after and first > second):
            yield f"{what} {n} was stored before the one that it follows", f"{after}/{second}", f"after {before}/{first}"
            return


def _entry(stream: Stream, entry: InboxEntry, attempt: int, stored: Iterable[StoredMessage]) -> Found:
    if entry.attempt != attempt:
        yield "it is not the next attempt", str(entry.attempt), str(attempt)
    for one in stored:
        if one.transaction != entry.transaction:
            yield f"version {one.version} was stored in another transaction", str(one.transaction), str(entry.transaction)
    if entry.kind == WakeUp.kind:
        expected = wake_up_causation_id(stream, entry.sequence - 1)
        if (entry.causation_id, entry.hash) != (expected, _WAKE_UP_HASH):
            yield "the stream could not get this wake-up", f"{entry.causation_id} {entry.hash.hex()}", f"{expected}"


def _dead_letters(whole: WorkflowHistory, stream: Stream, entry: InboxEntry, stored: Iterable[StoredMessage]) -> Found:
    """A dead letter repeats what its entry and the message from outside say."""
    for one in stored:
        if one.kind != DeadLettered.kind:
            continue
        try:
            letter = decode(DeadLettered, one.data)
        except Invalid as invalid:
            yield "its dead letter cannot be read", one.data.decode("utf-8", "backslashreplace"), str(invalid)
            continue
        expected = stored_message_id(letter, stream, entry.causation_id, 1, entry.attempt)
        stated = (str(one.id), letter.service, letter.causation_id, letter.hash)
        known = (str(expected), stream.service, str(entry.causation_id), entry.hash.hex())
        if stated != known:
            yield "its dead letter states otherwise", " ".join(stated), " ".join(known)
        door = whole.door_messages.get(entry.causation_id)
        place = (letter.topic, letter.partition, letter.offset)
        if letter.reason == "not-on-the-record":
            first = min(letter.offsets, default=0)
            id_ = forged_causation_id(place_of(letter.topic, letter.partition, first))
            about = f"{entry.causation_id} {stream} {letter.offset}"
            expected_about = f"{id_} {forged_stream(stream.service, letter.topic, letter.partition, first)} {first}"
            if about != expected_about:
                yield "its dead letter is about other forged messages", about, expected_about
        is_redrive = entry.attempt > 1  # whose place is what its sender states; kind and body are those of the dead message
        if letter.door and not is_redrive and (door is None or place != (door.topic, door.partition, door.offset)):
            is_there = f"{door.topic}/{door.partition}/{door.offset}" if door else "is not there"
            yield "the message from outside that its dead letter names", "/".join(map(str, place)), is_there


def _of_door(door: DoorMessage, entries: Sequence[InboxEntry], identity: DoorIdentity | None) -> Found:
    if not entries:
        yield "no stream processed it", str(door.causation_id), ""
    elif not any((entry.at, entry.transaction) == (door.recorded_at, door.transaction) for entry in entries):
        stored = ", ".join(f"{entry.at} in {entry.transaction}" for entry in entries)
        yield "it was not stored with an inbox entry", f"{door.recorded_at} in {door.transaction}", stored
    expected = DoorIdentity(door.workflow, body_hash(door))
    if identity != expected:
        stated = f"{identity.workflow} {identity.hash.hex()}" if identity else "is not there"
        yield "its identity is not that of its body and its workflow", stated, f"{expected.workflow} {expected.hash.hex()}"
    if door.causation_id not in _possible_ids(door):
        yield "its headers give another id, tenant or workflow", str(door.causation_id), ""


def _possible_ids(door: DoorMessage) -> Iterator[UUID]:
    """The causation ids under which this message can be on the record of its workflow."""
    place = place_of(door.topic, door.partition, door.offset)
    if door.workflow == place:
        yield unreadable_causation_id(place)
    try:
        envelope = read(door.body, door.headers)
    except Unreadable as unreadable:
        if named(unreadable, door.key) == (door.tenant, door.workflow):  # its sender waits there for the refusal
            yield unreadable_causation_id(place)
        return
    if (envelope.tenant, envelope.correlation_id) != (door.tenant, door.workflow):
        return
    digest = hashlib.sha256(envelope.data).digest()
    own = door_causation_id(envelope.tenant, door.topic, envelope.source, envelope.id)
    for id_ in (own, elsewhere_causation_id(own, door.workflow)):
        yield id_
        yield reused_causation_id(id_, digest)
