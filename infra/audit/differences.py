"""Decides one stream's inbox entries again, each from the state before it, and compares byte for byte. Pure."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any
from uuid import UUID

from contracts.catalog import Topics
from contracts.dead_letters import DeadLettered
from hansard.codec import Invalid, decode
from hansard.decider import WakeUp
from hansard.identity import source_of
from hansard.message import Intent, Message, Outcome
from hansard.service import Service
from infra.audit.policies import Processors, processor_of
from shared.eventstore.model import LONG_AGO, History, InboxEntry, StoredMessage, Stream
from shared.runtime.inbound import Inbound
from shared.runtime.processor import Processor, StreamState

Decode = Callable[[type[Message], bytes], Message]


@dataclass(frozen=True)
class Difference:
    """A place at which the record differs from today's code, or contradicts itself."""

    stream: Stream
    sequence: int  # of the inbox entry, counted from 1; 0 if it is about the stream as a whole
    what: str
    recorded: str = ""
    today: str = ""


def differences(
    service: Service[Any] | None,
    history: History,
    entries: Sequence[InboxEntry],
    received: Mapping[UUID, Inbound],
    topics: Topics | None = None,
    processors: Processors | None = None,
    recorded_at: Mapping[UUID, datetime | None] | None = None,
    read: Decode = decode,
) -> list[Difference]:
    """All differences of one stream, in the order of its inbox entries.

    `entries` are all of the stream, every attempt, in order. `received` holds the messages that they processed, by causation
    id; it may lack wake-ups and outcomes. `processors` are those of the policies that the entries name; without one, only
    today's policy is known. `recorded_at` has the recorded times of the processed messages. Without a service nothing is
    decided again. Never raises because of the record's content.
    """
    if broken := list(_broken(history, entries)):
        return broken
    decided = _decided(service, history, entries, received, topics or Topics(), processors or {}, read) if service else ()
    found = (*decided, *untimely(history, entries, recorded_at or {}))
    return sorted(found, key=lambda difference: difference.sequence)


def untimely(
    history: History, entries: Sequence[InboxEntry], recorded_at: Mapping[UUID, datetime | None]
) -> Iterator[Difference]:
    """Impossible recorded times: before an earlier entry's or the processed message's, or a message's that is not its entry's."""
    last = LONG_AGO
    for entry, stored in _with_messages(history, entries):
        for what, other in _contradicted(entry.at, last, recorded_at.get(entry.causation_id), stored):
            yield Difference(history.stream, entry.sequence, f"{entry.kind}: {what}", f"{entry.at}", f"{other}")
        last = entry.at


def outcomes(service: Service[Any] | None) -> frozenset[str]:
    """The kinds of a performer's reports: they are trusted, never decided again."""
    return frozenset(kind.kind for kind in service.receives if issubclass(kind, Outcome)) if service else frozenset()


def _decided(
    service: Service[Any],
    history: History,
    entries: Sequence[InboxEntry],
    received: Mapping[UUID, Inbound],
    topics: Topics,
    processors: Processors,
    read: Decode,
) -> Iterator[Difference]:
    state, trusted = service.decider.initial, outcomes(service)
    earlier: dict[UUID, InboxEntry] = {}
    for entry, stored in _with_messages(history, entries):
        before = {entry.causation_id: earlier[entry.causation_id]} if entry.causation_id in earlier else {}
        known = StreamState(state, entry.sequence - 1, entry.version_before, entries=before)
        processor = processors.get(entry.policy) or processor_of(service, entry.policy, None, topics)
        yield from _entry(service, processor, history.stream, known, entry, stored, received, trusted)
        earlier[entry.causation_id] = entry
        try:
            state = service.decider.fold((read(topics.kinds[one.kind], one.data) for one in stored), state)
        except (KeyError, Invalid) as unknown:
            yield Difference(history.stream, entry.sequence, f"this code cannot read a message of this stream: {unknown}")
            return
        except Exception as failed:  # `evolve` is a service's own code: it may raise anything
            problem = f"this code cannot fold the messages of this stream: {type(failed).__name__}: {failed}"
            yield Difference(history.stream, entry.sequence, problem)
            return


def _contradicted(
    at: datetime, last: datetime, message_at: datetime | None, stored: Iterable[StoredMessage]
) -> Iterator[tuple[str, datetime | None]]:
    """The contradictions to an entry's time `at`, each with the time that contradicts it."""
    if at < last:
        yield "it has an earlier time than the inbox entry before it", last
    if message_at is not None and at < message_at:
        yield "it has an earlier time than the message that it processed", message_at
    for one in stored:
        if one.at != at:
            yield f"version {one.version} has another time than its inbox entry", one.at
            return


def _broken(history: History, entries: Sequence[InboxEntry]) -> Iterator[Difference]:
    """The differences that need no decision: gaps, wrong counts, and data that does not match its hash."""
    stream, messages = history.stream, history.messages
    for expected, stored in enumerate(messages, 1):
        if stored.version != expected:
            yield Difference(stream, 0, "there is a gap in the versions", str(stored.version), str(expected))
            return
        digest = hashlib.sha256(stored.data)
        if digest.digest() != stored.hash:
            what = f"the data of version {stored.version} does not match its hash"
            yield Difference(stream, 0, what, stored.hash.hex(), digest.hexdigest())
    if history.version != len(messages):
        what = "the stream's version is not that of its last message"
        yield Difference(stream, 0, what, str(history.version), str(len(messages)))
    yield from _broken_inbox(history, entries)


def _broken_inbox(history: History, entries: Sequence[InboxEntry]) -> Iterator[Difference]:
    stream = history.stream
    for expected, entry in enumerate(entries, 1):
        if entry.sequence != expected:
            yield Difference(stream, expected, "there is a gap in the inbox entries", str(entry.sequence), str(expected))
            return
    if history.processed != len(entries):
        what = "the stream's count of inbox entries is not their number"
        yield Difference(stream, 0, what, str(history.processed), str(len(entries)))
        return
    for entry, following in pairwise(entries):
        if following.version_before < entry.version_before:
            what = "an inbox entry has a lower version than the entry before it"
            before, after = str(entry.version_before), str(following.version_before)
            yield Difference(stream, following.sequence, what, after, before)
            return
    first = entries[0].version_before if entries else 0
    if first or (history.messages and not entries):
        yield Difference(stream, 1, "a message was stored before the first inbox entry", str(first), "0")


def _with_messages(history: History, entries: Sequence[InboxEntry]) -> Iterator[tuple[InboxEntry, list[StoredMessage]]]:
    """Yields each inbox entry with the messages that were stored with it."""
    ends = [*(entry.version_before for entry in entries[1:]), len(history.messages)]
    for entry, end in zip(entries, ends, strict=True):
        yield entry, history.messages[entry.version_before : end]


def _entry(
    service: Service[Any],
    processor: Processor[Any] | str,
    stream: Stream,
    known: StreamState[Any],
    entry: InboxEntry,
    stored: Sequence[StoredMessage],
    received: Mapping[UUID, Inbound],
    trusted: frozenset[str],
) -> Iterator[Difference]:
    """The first difference of one inbox entry and its messages, if there is one."""

    def differs(what: str, recorded: str = "", today: str = "") -> Difference:
        return Difference(stream, entry.sequence, f"{entry.kind}: {what}", recorded, today)

    stray = next((one for one in stored if one.causation_id != entry.causation_id), None)
    if stray is not None:
        what = "a message has another causation id than its inbox entry"
        yield differs(what, f"{stray.kind} of {stray.causation_id}", str(entry.causation_id))
        return
    if entry.dead:
        if entry.kind != DeadLettered.kind and not any(one.kind == DeadLettered.kind for one in stored):
            yield differs("the entry is marked dead, and no dead letter was stored", _listed(stored), DeadLettered.kind)
        return
    if entry.kind in trusted:
        return
    inbound = _inbound(stream, entry, received)
    if inbound is None:
        yield differs("the message that was processed is not on the record", str(entry.causation_id))
        return
    if isinstance(processor, str):
        yield differs(processor, entry.policy, service.decider.policy)
        return
    pending = processor.begin(stream, known, entry.at)
    may_perform = any(issubclass(processor.topics.kinds.get(one.kind, Message), Intent) for one in stored)
    inbound.redrive = entry.attempt > 1
    processor.process(pending, inbound, may_perform=may_perform)  # an intent on the record means that a slot was free
    yield from _compared(differs, stored, pending.messages)


def _compared(
    differs: Callable[[str, str, str], Difference], recorded: Sequence[StoredMessage], today: Sequence[StoredMessage]
) -> Iterator[Difference]:
    if [one.kind for one in recorded] != [one.kind for one in today]:
        yield differs("today's code stores other messages", _listed(recorded), _listed(today))
        return
    for then, now in zip(recorded, today, strict=True):
        if then.data != now.data:
            yield differs(f"today's code stores {then.kind} with other data", _text(then.data), _text(now.data))
        elif then.id != now.id:
            yield differs(f"{then.kind} has an id that does not follow from its causation id", str(then.id), str(now.id))
        elif then.topic != now.topic:
            yield differs(f"today's code publishes {then.kind} on another topic", then.topic, now.topic)
        else:
            continue
        return


def _inbound(stream: Stream, entry: InboxEntry, received: Mapping[UUID, Inbound]) -> Inbound | None:
    """The message of this entry, as the stream received it."""
    if entry.kind == WakeUp.kind:
        source = source_of(stream.service)
        return Inbound(stream, entry.causation_id, entry.kind, entry.hash, source, str(entry.causation_id), message=WakeUp())
    return received.get(entry.causation_id)


def _listed(stored: Iterable[StoredMessage]) -> str:
    return "\n".join(f"{one.kind} {_text(one.data)}" for one in stored) or "(no message)"


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")
